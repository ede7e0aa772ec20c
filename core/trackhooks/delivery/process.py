"""The delivery process: one for each training process, started with the first run, for all of its runs.

It is no child in the sense of `multiprocessing`: no fork, no `__main__` guard. It gets its orders as lines of JSON on
its standard input, so that no option or secret stands in an argument list; it watches the training process by its pid
and the time it was made, since a pipe or a lock is held on to by forked data loaders; and it ends by itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import msgspec
import psutil

from ..errors import TrackhooksError, log
from ..event import RunInfo
from ..storage.lost_runs import has_ended, whole_info
from ..storage.processes import alive
from .cursor import FOLDER, Spec
from .follower import Follower

_log = logging.getLogger("trackhooks")

_NICE = 10
_WATCH_S = 0.2
_LISTEN_S = 1.0

# Python's own modules first, then what else the training can import, in its order: a `platform.py` of the user's must
# not be taken for Python's.
_BOOTSTRAP = """\
import sys
path = list(sys.path)
import site
site.main()
sys.path[:] = dict.fromkeys([*path, *{path!r}, *sys.path])
from trackhooks.delivery.process import main
main()
"""


def _import_path() -> list[str]:
    """What this process can import from, in its order, but for the script's folder, which comes last.

    There anything may lie beside the script, such as a `wandb.py`; nobody has named it as a place of modules.
    """
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    beside = {"", os.path.dirname(os.path.realpath(script)) if script else ""}  # noqa: PTH120 — as sys.path has it
    return sorted(sys.path, key=lambda path: path in beside)


class _Order(msgspec.Struct, omit_defaults=True):
    """One line on the standard input."""

    parent: int = 0
    parent_created: float = 0.0
    follow: str = ""
    """The folder of a run to deliver."""
    specs: list[Spec] = []
    path: list[str] = []
    """What the training can import from: more, perhaps, than when the process was started."""
    end: str = ""
    """The folder of a run to which nothing more will be written."""


class DeliveryProcess:
    """The training's side: starts the process, and tells it which runs to follow.

    Raises:
        OSError: the process cannot be started.
    """

    def __init__(self, output: Path) -> None:
        me = psutil.Process()
        hello = _Order(me.pid, me.create_time())
        output.parent.mkdir(parents=True, exist_ok=True)
        with _opened(output) as log_file:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOTSTRAP.format(path=_import_path())],
                stdin=subprocess.PIPE,
                stdout=log_file,
                stderr=log_file,
                close_fds=True,
            )
        self.pid = self._process.pid
        self._send(hello)

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    @property
    def gave_up(self) -> bool:
        """Whether the process ended by itself, without an error: a further one would not get further."""
        return self._process.poll() == 0

    @property
    def how_it_ended(self) -> str:
        """What ended the process, in words; empty while it runs."""
        code = self._process.poll()
        if not code:
            return "" if code is None else "the delivery process gave up"
        how = f"was killed by signal {-code}" if code < 0 else f"failed with exit code {code}"
        return f"the delivery process {how}"

    def follow(self, run: RunInfo, specs: Sequence[Spec]) -> None:
        """Has a run delivered."""
        self._send(_Order(follow=run.path, specs=list(specs), path=_import_path()))

    def end(self, run: RunInfo) -> None:
        """Says that nothing more will be written to this run's journal."""
        self._send(_Order(end=run.path))

    def _send(self, order: _Order) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended; `running` says so
            self._process.stdin.write(msgspec.json.encode(order) + b"\n")
            self._process.stdin.flush()

    def close(self) -> None:
        """Says that no more runs come."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def wait(self, timeout: float) -> bool:
        """Waits for the process to end; False where the time was too short."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def abandon(self) -> None:
        """In a forked child: the process and its input belong to the parent."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            os.close(self._process.stdin.fileno())
        self._process.returncode = 0  # not ours to wait for


def _opened(path: Path) -> IO[bytes]:
    """Where the output of the process goes; a log that cannot be written keeps nothing from being delivered."""
    try:
        return path.open("ab")
    except (IsADirectoryError, PermissionError):
        return open(os.devnull, "ab")  # noqa: PTH123


def possible() -> str:
    """Why no delivery process can be started here; empty where one can."""
    if getattr(sys, "frozen", False):
        return "a frozen executable cannot start another Python"
    if not sys.executable:
        return "this Python does not know its own executable"
    return ""


# The process's own side


def main() -> None:
    """What the delivery process runs, until the training has ended and everything is delivered."""
    _become_background()
    orders = msgspec.json.Decoder(_Order)
    lines = iter(sys.stdin.buffer.readline, b"")
    first = orders.decode(next(lines))
    follower = Follower()
    told = threading.Event()

    def listen() -> None:
        for line in lines:
            try:
                _obey(orders.decode(line), follower)
            except (TrackhooksError, OSError, RuntimeError) as error:  # the other runs get theirs
                log.error("an order was not obeyed: %s", error)
        told.set()

    listener = threading.Thread(target=listen, name="trackhooks-orders", daemon=True)
    listener.start()
    while alive(first.parent, first.parent_created) and not (
        told.wait(_WATCH_S) and all(map(has_ended, follower.runs))
    ):
        time.sleep(
            _WATCH_S if told.is_set() else 0
        )  # its input ends a moment before a killed process is gone
    listener.join(_LISTEN_S)  # a parent that was killed may have left orders in the pipe
    for path in follower.runs:
        follower.end(path)
    _become_foreground()
    follower.join()


def _become_background() -> None:
    """Out of reach of the terminal's Ctrl-C, and behind the training where both want the processor.

    No session of its own: the scheduler would then weigh it against the training as an equal, whatever its nice value.
    """
    _log_to_the_runs()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
    with contextlib.suppress(OSError):
        os.nice(_NICE)


def _log_to_the_runs() -> None:
    layout = "%(asctime)s %(threadName)s %(levelname)s %(message)s"
    others = logging.StreamHandler()
    others.addFilter(lambda record: not hasattr(record, "run"))
    logging.basicConfig(level=logging.WARNING, format=layout, handlers=[others])
    handler = _RunLog()
    handler.setFormatter(logging.Formatter(layout))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)


class _RunLog(logging.Handler):
    """Writes what is said of one run into the log of this run; the process's own output goes to its first run's."""

    def emit(self, record: logging.LogRecord) -> None:
        run = getattr(record, "run", None)
        if run is not None:
            with contextlib.suppress(OSError), Path(run, FOLDER, "log").open("a") as file:
                file.write(self.format(record) + "\n")


def _become_foreground() -> None:
    """The training is over; going back needs a privilege, and without it everything only takes a little longer."""
    with contextlib.suppress(OSError, psutil.Error, AttributeError):
        for thread in psutil.Process().threads():
            os.setpriority(os.PRIO_PROCESS, thread.id, 0)


def _obey(order: _Order, follower: Follower) -> None:
    if order.follow:
        sys.path += [path for path in order.path if path not in sys.path]
        run = whole_info(order.follow)
        follower.follow(run, [(spec.make, spec, spec.every) for spec in order.specs])
    if order.end:
        follower.end(order.end)
