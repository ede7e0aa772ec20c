"""`first_starts`: trackers start for the first time, and so import their backends, one after the other.

Two packages that are imported by two threads at once may break each other for the rest of the process, if one of them
changes how a third one is imported.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from ..storage.forks import after_fork_in_child
from ..tracker import Tracker
from .import_slots import ImportSlots

_PATIENCE_S = 30.0
"""The longest time that a tracker waits for the others, so that a server that does not answer delays them only once."""
_SHORT_PATIENCE_S = 1.0
"""The longest time for a tracker that requires no packages, and so probably imports none."""


class FirstStarts:
    """Lets one thread at a time start a tracker of a class that has not been started in this process."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._started: set[type[Tracker]] = set()
        self._of_thread = threading.local()
        self._slots = ImportSlots([])

    def take_turns_with_other_processes(self, slots: ImportSlots) -> None:
        """Start heavy trackers only in one of these slots from now on. Only for a process that just delivers."""
        self._slots = slots

    @contextmanager
    def turn(self, tracker: Tracker, starts: bool) -> Iterator[None]:
        """Hold the turn, after waiting for it, if this class of trackers has not been started.

        Args:
            tracker: the tracker that may import its backend now.
            starts: whether it is started now; later starts of the class then have no turns.
        """
        is_first = type(tracker) not in self._started
        with self._slot(tracker, is_first), self._alone(tracker, is_first):
            self._of_thread.tracker = tracker
            try:
                yield
            finally:
                self._of_thread.tracker = None
                if starts:
                    self._started.add(type(tracker))

    def _slot(self, tracker: Tracker, is_first: bool) -> AbstractContextManager[None]:
        """Trackers that only write files here wait for no other process: the end of a program waits for them."""
        is_heavy = bool(tracker.requires) and not tracker.writes_files
        return self._slots.slot() if is_first and is_heavy else nullcontext()

    @contextmanager
    def _alone(self, tracker: Tracker, is_first: bool) -> Iterator[None]:
        patience = _PATIENCE_S if tracker.requires else _SHORT_PATIENCE_S
        holds = is_first and self._mutex.acquire(timeout=patience)
        try:
            yield
        finally:
            if holds:
                self._mutex.release()

    @property
    def unneeded(self) -> frozenset[str]:
        """The packages that the tracker which this thread is starting does not need."""
        tracker: Tracker | None = getattr(self._of_thread, "tracker", None)
        return frozenset() if tracker is None else tracker.unneeded

    def free(self) -> None:
        """End the turn of a thread that does not exist in a forked child."""
        self._mutex = threading.Lock()


first_starts = FirstStarts()
after_fork_in_child(first_starts.free)
