"""Locks between processes, held by an open file; they end with the process that holds them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Waits for the lock and holds it; without locks on this platform or file system, it holds nothing."""
    lock = FileLock(path)
    lock.acquire(wait=True)
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether another process or object holds the lock now; nothing is made where there is none."""
    if not path.exists():
        return False
    lock = FileLock(path)
    free = lock.acquire()
    lock.release()
    return not free


class FileLock:
    """A lock by the name of a file, which is made where it is missing and left behind.

    Its folder is made as well, but not that folder's own: a run that was removed must not come back.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def acquire(self, wait: bool = False) -> bool:
        """Takes the lock; False where another process or object holds it."""
        self._path.parent.mkdir(exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        if fcntl is not None:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            except OSError:
                pass  # a file system without locks
        self._fd = fd
        return True

    def release(self) -> None:
        """Gives the lock back; releasing again does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
