"""`InOrder`, which keeps hooks in order when batches end on other threads than the training thread.

Keras may end its batches on a thread pool, so that the training does not wait for the accelerator. The training thread
announces each batch and continues. Calls that follow a batch are delayed until that batch has ended.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

Call = Callable[[], None]


class _Slot:
    """A position in the order, for a call or for the end of an announced batch."""

    __slots__ = ("batch", "call")

    def __init__(self, batch: int, call: Call | None = None) -> None:
        self.batch = batch
        self.call = call


class InOrder:
    """Make calls in the order in which they were added or announced. Thread-safe."""

    def __init__(self) -> None:
        self._slots: deque[_Slot] = deque()
        self._mutex = threading.RLock()

    def add(self, call: Call) -> None:
        """Make a call as soon as everything before it has been called."""
        with self._mutex:
            self._slots.append(_Slot(-1, call))
            self._run()

    def announce(self, batch: int) -> None:
        """Reserve the position for the end of a batch.

        Args:
            batch: the index of the first batch. Keras may run several batches as one.
        """
        with self._mutex:
            self._slots.append(_Slot(batch))

    def end(self, batch: int, call: Call) -> None:
        """Make the call for the end of a batch.

        Args:
            batch: the index of the last batch. Keras may run several batches as one.
            call: takes the position of the newest announced batch whose first index is not greater than `batch`.
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
        """Make all waiting calls, and drop announced batches that have not ended."""
        with self._mutex:
            self._slots = deque(slot for slot in self._slots if slot.call is not None)
            self._run()

    def clear(self) -> None:
        """Drop all waiting calls."""
        with self._mutex:
            self._slots.clear()

    def _run(self) -> None:
        """Make the calls that are due. Each one is removed before it is called, because it may add more calls."""
        while self._slots and self._slots[0].call is not None:
            self._slots.popleft().call()  # type: ignore[misc] # not None, see the condition above
