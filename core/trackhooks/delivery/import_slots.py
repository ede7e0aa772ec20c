"""`ImportSlots`: the delivery processes of a user import heavy backends a few at a time.

The imports of one process take seconds of a processor. If many trainings start together, as those of a sweep do, each
process would take as long as all of them need, and take that time from the trainings.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..storage.locks import FileLock
from ..storage.user_folder import user_folder

_PATIENCE_S = 60.0
"""The longest time that a process waits for others, altogether."""
_LOOK_S = (0.05, 0.2)
_CORES_FOR_A_SLOT = 2


class ImportSlots:
    """Lets this process import backends while it holds one of the user's slots, which all of its threads then share.

    A slot is a locked file, so that it becomes free when its process ends. If there is no folder for the files, or if
    they cannot be opened, no one waits.

    Args:
        paths: a file for each slot.
        patience: the longest time that this process waits for other processes, altogether, in seconds.
    """

    def __init__(self, paths: Sequence[Path], patience: float = _PATIENCE_S) -> None:
        self._locks = [FileLock(path) for path in paths]
        self._patience = patience
        self._until = float("inf")
        self._held: FileLock | None = None
        self._threads = 0
        self._mutex = threading.Lock()

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold a slot, after waiting for it for a bounded time."""
        with self._mutex:  # also while it waits: the other threads of this process wait for the same slot
            if not self._threads:
                self._held = self._acquired()
            self._threads += 1
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._mutex:
            self._threads -= 1
            if not self._threads and self._held is not None:
                self._held.release()
                self._held = None

    def _acquired(self) -> FileLock | None:
        """Wait for a free slot. Returns None if none became free in time, or if there are none."""
        self._until = min(self._until, time.monotonic() + self._patience)
        while self._locks:
            try:
                free = next((lock for lock in self._locks if lock.acquire()), None)
            except OSError:
                return None
            if free is not None or time.monotonic() > self._until:
                return free
            time.sleep(random.uniform(*_LOOK_S))
        return None


def user_slots() -> ImportSlots:
    """Return the slots of this user on this machine: one for every two cores."""
    folder = user_folder()
    count = max(_cores() // _CORES_FOR_A_SLOT, 1)
    return ImportSlots([] if folder is None else [folder / f"imports-{number}" for number in range(count)])


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return (os.cpu_count() or 1) if affinity is None else len(affinity(0))
