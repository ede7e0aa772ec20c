"""Programs that start in a copy of a process which has imported what takes long: `import keras` takes 6 s, here 1 s.

A server imports the modules once and forks for each program. The program starts as `python program.py` does: as
`__main__`, with its own arguments, environment, working directory and output. It ends as any other: threads are
joined, exit functions called, its own objects deleted. Only the imported modules are not taken apart, which would
copy all their memory first. The modules are none of those that trackhooks looks for, so that what a program imports
first does not change. The examples in `examples/` are started without this.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

SCIENCE = (
    "numpy",
    "scipy.stats",
    "sklearn.model_selection",
    "matplotlib.pyplot",
    "torch._dynamo",
    "torchvision",
)
"""What Keras, Ultralytics and Lightning import."""
INTEGRATED = {
    "keras", "lightgbm", "lightning", "mlflow", "optuna", "ray", "tensorboard", "trackhooks", "transformers",
    "ultralytics", "wandb", "xgboost",
}  # fmt: skip
THREADED = ("pandas", "polars", "pyarrow")
"""Imported by the programs only: they start threads, which a fork does not copy."""
_SERVER = """
import sys
from warm import serve
serve(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
"""
_LARGEST = 1 << 17
_LOOK_S = 0.02


class WarmProgram:
    """A program that has been started; like `subprocess.Popen`, with files for its output."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.pid = pid
        self._folder = folder

    def poll(self) -> int | None:
        """How it ended; None while it runs."""
        ended = self._folder / "ended"
        return int(ended.read_text()) if ended.exists() else None

    def wait(self, timeout: float) -> int:
        """Wait for its end."""
        until = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                self.kill()
                raise TimeoutError(self.errors)
            time.sleep(_LOOK_S)
        return code

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.wait(60)

    @property
    def output(self) -> str:
        return (self._folder / "output").read_text(errors="replace")

    @property
    def errors(self) -> str:
        return (self._folder / "errors").read_text(errors="replace")


def start_server(
    folder: Path, modules: Sequence[str] = SCIENCE, env: Mapping[str, str] | None = None
) -> None:
    """Start a server with these modules. It ends with the tests: with this process, or with that which divides them.

    Args:
        folder: for its socket, and for the output of the programs.
        modules: what it imports.
        env: its environment besides that of this process.

    Raises:
        subprocess.CalledProcessError: it cannot import them.
    """
    until = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
    subprocess.run(
        [sys.executable, "-c", _SERVER, folder / "socket", str(until), *modules],
        cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},  # else NumPy starts threads
        check=True,
    )


class WarmPython:
    """Starts programs, by the server in this folder. Several processes may use one server."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count, self._mutex = folder, 0, threading.Lock()
        self._control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.connect(str(folder / "socket"))

    def start(
        self, program: Path, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None
    ) -> WarmProgram:
        """Start a program, with the environment of this process by default."""
        with self._mutex:
            self._count += 1
            folder = self._folder / f"{os.getpid()}-{self._count}"
            folder.mkdir()
            request = {
                "program": str(program),
                "arguments": arguments,
                "cwd": str(cwd),
                "env": dict(os.environ if env is None else env),
                "folder": str(folder),
            }
            self._control.sendall(json.dumps(request).encode())
            return WarmProgram(int(self._control.recv(_LARGEST)), folder)

    def close(self) -> None:
        self._control.close()


# The server


def serve(path: str, until: int, modules: Sequence[str]) -> None:
    """Start programs until a process ends. Returns in each program, when it has ended."""
    codes: list[int] = []
    atexit.register(_leave, codes)  # before anything that the modules register, and so called after it
    _import(modules)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the keepers end unobserved
    with (
        selectors.DefaultSelector() as waiting,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener,
    ):
        listener.bind(path)
        listener.listen()
        if os.fork():
            os._exit(0)  # that is how it says that it is ready
        end = os.pidfd_open(until)
        waiting.register(end, selectors.EVENT_READ)
        waiting.register(listener, selectors.EVENT_READ)
        _serve(waiting, listener, end, codes)


def _import(modules: Sequence[str]) -> None:
    """Import what the programs share, and keep it out of their garbage collections."""
    hidden: dict[str, Any] = dict.fromkeys(THREADED)
    sys.modules.update(hidden)
    for module in modules:
        importlib.import_module(module)
    for name in THREADED:
        del sys.modules[name]
    assert len(os.listdir("/proc/self/task")) == threading.active_count() == 1, "a thread would not be forked"  # noqa: PTH208
    wanted = {module.partition(".")[0] for module in modules}
    assert not sys.modules.keys() & (INTEGRATED - wanted), "what trackhooks integrates comes later"
    gc.freeze()
    gc.set_threshold(20_000)  # 5 to 10 % of what the programs import


def _serve(waiting: selectors.BaseSelector, listener: socket.socket, end: int, codes: list[int]) -> None:
    while True:
        for key, _ in waiting.select():
            if key.fileobj == end:
                os._exit(0)
            if key.fileobj == listener:
                waiting.register(listener.accept()[0], selectors.EVENT_READ)
                continue
            control = cast("socket.socket", key.fileobj)
            request = control.recv(_LARGEST)
            if not request:
                waiting.unregister(control)
                control.close()
            elif not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _close_others(waiting, control, end)
                _keep(control, json.loads(request), codes)
                return


def _close_others(waiting: selectors.BaseSelector, control: socket.socket, end: int) -> None:
    for key in list(waiting.get_map().values()):
        if isinstance(key.fileobj, socket.socket) and key.fileobj is not control:
            key.fileobj.close()
    os.close(end)
    waiting.close()


def _keep(control: socket.socket, request: dict[str, Any], codes: list[int]) -> None:
    """Fork the program, and note how it ended. Returns in the program only."""
    pid = os.fork()
    if not pid:
        control.close()
        _become(request, codes)
        return
    control.sendall(str(pid).encode())
    control.close()
    _, status = os.waitpid(pid, 0)
    folder = Path(request["folder"])
    (folder / "ending").write_text(str(os.waitstatus_to_exitcode(status)))
    (folder / "ending").rename(folder / "ended")
    os._exit(0)


def _become(request: dict[str, Any], codes: list[int]) -> None:
    """Run the program in this process, in the place of this module."""
    program, folder = Path(request["program"]), Path(request["folder"])
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    for number, path in enumerate((Path(os.devnull), folder / "output", folder / "errors")):
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    sys.argv[:] = sys.orig_argv[1:] = [str(program), *request["arguments"]]
    sys.path[0] = str(program.parent)
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    main = vars(sys.modules["__main__"])
    for name in [name for name in main if not name.startswith("__")]:
        del main[name]
    main["__file__"] = str(program)
    try:
        exec(compile(program.read_bytes(), program, "exec"), main)
    except BaseException as error:
        codes += _code_of(error)
        raise
    codes.append(0)


def _code_of(error: BaseException) -> list[int]:
    """Return the exit code of a program that an exception ends; nothing if a signal will end it."""
    if isinstance(error, KeyboardInterrupt):
        return []
    code = error.code if isinstance(error, SystemExit) else 1
    return [0 if code is None else code & 0xFF if isinstance(code, int) else 1]


def _leave(codes: list[int]) -> None:
    if codes:
        vars(sys.modules["__main__"]).clear()
        gc.collect()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(codes[0])
