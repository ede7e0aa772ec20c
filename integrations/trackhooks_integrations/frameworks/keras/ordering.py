"""`InOrder`: the order of the hooks, where batches end on other threads than the one that trains.

Keras may end its batches on a pool of threads, so that the training need not wait for the accelerator. The thread that
trains announces each batch, and goes on; what follows a batch is held until that batch has ended.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Call = Callable[[], None]


class _Slot:
    """A place in the order: for a call, or for the end of a batch that has been announced."""

    __slots__ = ("batch", "call")

    def __init__(self, batch: int, call: Call | None = None) -> None:
        self.batch = batch
        self.call = call


class InOrder:
    """Makes calls in the order in which they were added or announced. Safe with threads."""

    def __init__(self) -> None:
        self._slots: deque[_Slot] = deque()
        self._mutex = threading.RLock()

    def add(self, call: Call) -> None:
        """Makes a call, as soon as everything before it has come."""
        with self._mutex:
            self._slots.append(_Slot(-1, call))
            self._run()

    def announce(self, batch: int) -> None:
        """Keeps the place for the end of a batch, by the index that it begins with."""
        with self._mutex:
            self._slots.append(_Slot(batch))

    def end(self, batch: int, call: Call) -> None:
        """Makes the call for the end of a batch.

        Args:
            batch: the index that it ends with: several batches may be run as one.
            call: is made in the place of the newest announced batch that begins there or before.
        """
        with self._mutex:
            for slot in reversed(self._slots):
                if slot.call is None and 0 <= slot.batch <= batch:
                    slot.call = call
                    break
            else:
                self._slots.append(_Slot(-1, call))
            self._run()

    def finish(self) -> None:
        """Makes all calls that wait: whatever was announced and has not come does not come any more."""
        with self._mutex:
            self._slots = deque(slot for slot in self._slots if slot.call is not None)
            self._run()

    def clear(self) -> None:
        """Drops all calls that wait."""
        with self._mutex:
            self._slots.clear()

    def _run(self) -> None:
        """A call may add calls itself, and is out of the order before it is made."""
        while self._slots and self._slots[0].call is not None:
            self._slots.popleft().call()  # type: ignore[misc] # which is not None
