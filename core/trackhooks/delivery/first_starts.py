"""`first_starts`: trackers start for the first time, and so import their backends, one after the other.

Two packages that are imported by two threads at once may break each other for the rest of the process, if one of them
changes how a third one is imported.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..storage.forks import after_fork_in_child
from ..tracker import Tracker

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

    @contextmanager
    def turn(self, tracker: Tracker, starts: bool) -> Iterator[None]:
        """Hold the turn, after waiting for it, if this class of trackers has not been started.

        Args:
            tracker: the tracker that may import its backend now.
            starts: whether it is started now; later starts of the class then have no turns.
        """
        patience = _PATIENCE_S if tracker.requires else _SHORT_PATIENCE_S
        holds = type(tracker) not in self._started and self._mutex.acquire(timeout=patience)
        self._of_thread.tracker = tracker
        try:
            yield
        finally:
            self._of_thread.tracker = None
            if starts:
                self._started.add(type(tracker))
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
