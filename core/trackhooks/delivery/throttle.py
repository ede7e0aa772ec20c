"""`Throttle`: how often a tracker gets the metrics of training batches, by steps or by time.

With a time, the last batch of each epoch is delivered as well, so that a curve ends at the same step as the training.
"""

from __future__ import annotations

import re
from typing import Any

from ..errors import InvalidValueError
from ..errors.foreign import is_a, shown
from ..event import FINAL, Event

_SECONDS = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|min)\s*")
_SHORTEST_S = 0.1
_ENDS = frozenset({"on_val_end", "on_train_epoch_end", "on_fit_epoch_end", "on_train_end", "teardown"})
"""Before these, a batch that was held back is delivered, because some trackers only accept increasing steps."""
_UNITS = {"ms": 0.001, "s": 1.0, "min": 60.0}


class Throttle:
    """Decides which training batches pass, by the steps and times in the journal, so that a replay decides the same.

    Args:
        every: N for every Nth step (the first is 0), or a time such as `"1s"`, `"500ms"`, `"2min"`.

    Raises:
        InvalidValueError: `every` is neither.
    """

    def __init__(self, every: Any) -> None:
        self._steps = every if is_a(every, int) and type(every) is not bool else 0
        self._seconds = _parse(every) if is_a(every, str) else 0.0
        if self._steps < 1 and self._seconds <= 0:
            raise InvalidValueError(
                f"every must be a positive number of steps or a time such as '1s', got {shown(every)}."
            )
        self.last = float("-inf")
        """When a batch last passed, in seconds since 1970."""
        self.waiting: Event | None = None
        """The last batch if it was held back; it passes just before the epoch ends."""

    def due(self, event: Event) -> list[Event]:
        """Return the events to deliver now: none, this event, or the last batch and this event.

        Only metrics of training batches are ever held back.
        """
        if not self._passes(event):
            self.waiting = event if self._seconds else None
            return []
        if event.hook == "on_train_batch_end":
            self.waiting = None
        elif self.waiting is not None and (event.hook in _ENDS or event.status in FINAL):
            last, self.waiting = self.waiting, None
            return [last, event]
        return [event]

    def _passes(self, event: Event) -> bool:
        if event.hook != "on_train_batch_end" or event.params or event.files or event.media or event.status:
            return True
        if self._steps:
            return event.step % self._steps == 0
        if 0 <= event.time - self.last < self._seconds:  # it is negative if the clock was set back
            return False
        self.last = event.time
        return True


def seconds(option: str, text: Any) -> float:
    """Parse a time such as `"10s"`. Returns it in seconds.

    Raises:
        InvalidValueError: it is not a time, or less than 100 ms.
    """
    found = _in_seconds(text) if is_a(text, str) else 0.0
    if found < _SHORTEST_S:
        raise InvalidValueError(
            f"{option} must be a time of at least '100ms', such as '10s', or None for never, got {shown(text)}."
        )
    return found


def _parse(text: str) -> float:
    if text.strip().isdecimal():
        raise InvalidValueError(
            f"every={text!r}: write a time with its unit, as in '{text.strip()}s', or steps as a number."
        )
    return _in_seconds(text)


def _in_seconds(text: str) -> float:
    found = _SECONDS.fullmatch(text)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0
