"""Locks between processes. They are held by an open file, and released when the process that holds them ends."""

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
    """Hold the lock, after waiting for it. Does nothing if the platform or file system does not support locks."""
    lock = FileLock(path)
    lock.acquire(wait=True)
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether another process or object holds a lock on the file. False if the file cannot be opened."""
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        free = lock.acquire()
    except OSError:
        return False
    lock.release()
    return not free


class FileLock:
    """A lock on a file. The file is created if necessary, and not deleted.

    Its folder is created too, but not the parent of the folder: a run that was removed must not reappear.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def acquire(self, wait: bool = False) -> bool:
        """Acquire the lock. Returns False if another process or object holds it."""
        self._path.parent.mkdir(exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        if fcntl is not None:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            except OSError:
                pass  # the file system does not support locks
        self._fd = fd
        return True

    def release(self) -> None:
        """Release the lock. Does nothing if it is not held."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
