"""The processes that a training starts, such as the workers of a pool, have their runs delivered by its process.

A training listens at a Unix socket in a folder of its user, and leaves the socket to its delivery process, so that
workers can join before that has started. The name of the socket says whose delivery it is, and what a process must have
in common with that training to join it: what trackers may read from the environment, and what a system may limit or end
together. A worker looks for the sockets of its ancestors. If there is none with its own surroundings, it starts a
delivery process, as it does when the one that it has joined ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil

from ..storage.descriptors import above_the_streams
from ..storage.processes import created
from ..storage.user_folder import user_folder
from ..values.digests import sha256
from .orders import Delivery, Order, Orders, has_input, import_path

_DONE = b"done\n"
"""The answer when every run of a worker is delivered."""
_NAME = "delivery-"
_BACKLOG = 1024
_OF_WORKERS = re.compile(
    r"_|CUDA_VISIBLE_DEVICES|ENABLE_IPC|JOBLIB_.*|KMP_.*|LOKY_.*|OLDPWD|PWD|PYTEST_CURRENT_TEST|SHLVL|.*_THREADS"
)
"""The environment variables that differ between the workers of a pool, and that no tracker reads."""
_SAME = ("cgroup", "ns/pid", "ns/mnt", "ns/net", "ns/user")
"""Files and links of a process in `/proc` that must be the same."""


def _meeting_point(folder: Path, pid: int, surroundings: list[object]) -> Path:
    """Return the socket at which processes with these surroundings join the delivery of a training."""
    name = repr([created(pid), *surroundings]).encode(errors="replace")
    return folder / f"{_NAME}{pid}-{sha256(name).hexdigest()[:16]}"


def _folder() -> Path | None:
    """The folder of the sockets; None if there is none, or if the platform does not tell who connects."""
    return user_folder() if hasattr(socket, "SO_PEERCRED") else None


def _surroundings() -> list[object]:
    """Return what two processes must have in common to share a delivery process."""
    environment = sorted(item for item in os.environ.items() if not _OF_WORKERS.fullmatch(item[0]))
    path = sorted({os.path.realpath(entry) for entry in import_path()})
    system = [_of_this_process(name) for name in _SAME]
    return [sys.executable, sys.prefix, __file__, os.getcwd(), path, environment, system]  # noqa: PTH109


def _of_this_process(name: str) -> str:
    path = Path("/proc/self", name)
    with contextlib.suppress(OSError):
        return os.readlink(path) if path.is_symlink() else path.read_text()  # noqa: PTH115
    return ""


def listen() -> socket.socket | None:
    """Listen for processes that this one starts; None if that is impossible: they then have their own delivery."""
    folder = _folder()
    try:
        return None if folder is None else _bound(folder)
    except OSError:  # for example, the path is too long for a socket
        return None


def _bound(folder: Path) -> socket.socket:
    _remove_stale(folder)
    path = _meeting_point(folder, os.getpid(), _surroundings())
    path.unlink(missing_ok=True)  # of a delivery process that was killed
    with contextlib.ExitStack() as on_error:
        made = socket.socket(socket.AF_UNIX).detach()
        # Descriptors up to 2 become the streams of the delivery process.
        listening = on_error.enter_context(socket.socket(fileno=above_the_streams(made)))
        listening.bind(str(path))
        path.chmod(0o600)
        listening.listen(_BACKLOG)
        on_error.pop_all()
    return listening


def _remove_stale(folder: Path) -> None:
    """Remove sockets whose training has ended, and whose delivery process may have been killed."""
    for path in folder.glob(f"{_NAME}*"):
        if not Path("/proc", path.name.split("-")[1]).exists():
            path.unlink(missing_ok=True)


# The side of the worker


def join_an_ancestor() -> JoinedDelivery | None:
    """Join the delivery of the nearest ancestor that has one, and the same surroundings; None if there is none."""
    folder = _folder()
    with contextlib.suppress(OSError, psutil.Error):
        if folder is not None and any(folder.glob(f"{_NAME}*")):
            surroundings = _surroundings()
            for ancestor in psutil.Process().parents():
                path = _meeting_point(folder, ancestor.pid, surroundings)
                if path.exists():
                    return JoinedDelivery(path)
    return None


class JoinedDelivery(Delivery):
    """The delivery process of an ancestor.

    Raises:
        OSError: it has ended, or belongs to another user.
    """

    def __init__(self, path: Path) -> None:
        self._answer: bytes | None = None
        """What it said last: nothing if it was killed. None as long as it delivers."""
        self._connection = socket.socket(socket.AF_UNIX)
        try:
            self._connection.connect(str(path))
            if _peer(self._connection)[1] != os.getuid():
                raise PermissionError(f"{path} belongs to another user")
        except OSError:
            self._connection.close()
            raise
        self._send(Order(os.getpid(), created(os.getpid())))

    def _write(self, line: bytes) -> None:
        with contextlib.suppress(OSError):
            self._connection.sendall(line)

    @property
    def running(self) -> bool:
        """Whether the process takes orders."""
        return not self.wait(0)

    @property
    def gave_up(self) -> bool:
        """Whether the process has delivered everything, or cannot."""
        return self.wait(0) and self._answer == _DONE

    @property
    def how_it_ended(self) -> str:
        """How the process ended, in words; empty while it runs."""
        if self.running:
            return ""
        return (
            "the delivery process gave up"
            if self.gave_up
            else "the delivery process of the parent was killed"
        )

    def close(self) -> None:
        """Announce that there will be no more runs."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def wait(self, timeout: float) -> bool:
        """Wait until the process has delivered all runs of this one, or has ended. Returns False on timeout."""
        if self._answer is None and has_input(self._connection.fileno(), timeout):
            try:
                self._answer = self._connection.recv(len(_DONE))
            except OSError:  # it ended before it had read everything
                self._answer = b""
        return self._answer is not None

    def abandon(self) -> None:
        """Leave the connection to the parent; for a forked child."""
        self._answer = _DONE
        self._connection.close()


# The side of the delivery process


class Listener:
    """Takes the workers of a training, each in a thread.

    Args:
        serve: delivers the runs of a worker, and returns when they are delivered.
    """

    def __init__(self, serve: Callable[[Orders], None]) -> None:
        self._serve = serve
        self._socket: socket.socket | None = None
        self._threads: list[threading.Thread] = []

    def open(self, descriptor: int) -> None:
        """Take workers from now on. The descriptor is that of a socket that listens."""
        self._socket = socket.socket(fileno=descriptor)
        self._start(self._accept, self._socket)

    def close(self) -> None:
        """Take no more workers, and return when the runs of those that were taken are delivered."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # ends the thread that accepts
        for thread in self._threads:  # there may be more of them until that thread, the first, has ended
            thread.join()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="trackhooks-workers", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _accept(self, listening: socket.socket) -> None:
        """Workers that were not taken when this ends lose their connection, and have their own delivery."""
        path = Path(listening.getsockname())
        with listening, contextlib.suppress(OSError, RuntimeError):  # shut down, or no more files or threads
            while True:
                self._start(self._take, listening.accept()[0])
        with contextlib.suppress(OSError):
            path.unlink()

    def _take(self, connection: socket.socket) -> None:
        with connection:
            orders = Orders(connection.fileno())
            if _peer(connection) == (orders.training.parent, os.getuid()):
                self._serve(orders)
                with contextlib.suppress(OSError):  # the worker has not waited for it
                    connection.sendall(_DONE)


def _peer(connection: socket.socket) -> tuple[int, int]:
    """The process and the user at the other end, as the system knows them."""
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid
