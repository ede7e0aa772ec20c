"""`Curves`: the scalars of a run, whose steps may come in any order.

TensorBoard keeps a point only if its step is higher than all earlier ones of its tag; a lower step removes those from
there on. That is right for a training that repeats steps, and a loss for a point that comes late. So a late point is
written together with the points that follow it, which are read back from the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from trackhooks.event import Event
from trackhooks.tracker import Axis, State

from ..._shared.repeats import Repeats

if TYPE_CHECKING:
    from .event_files import EventFile

_BELOW_ALL = -2
"""Less than every step and epoch."""

Points = dict[int, tuple[float, float]]
"""Step → value and time."""


class Curves:
    """The curves of one run.

    Args:
        events: the file that they are written to.
        state: the return value of `state`, to continue from it.
        replaced: called with the number of values that were lost because a later one has the same tag and step.
    """

    def __init__(self, events: EventFile, state: State, replaced: Callable[[int], None]) -> None:
        self._events = events
        self._replaced = replaced
        self._last: dict[str, int] = dict(state.get("last", {}))
        """Tag → the highest step."""
        self._values: dict[str, float] = {}
        """Tag → the value there, as far as it is known."""
        self._late: dict[str, Points] = {}
        self._training = Repeats(state.get("place", (-1, -1)))
        self._repeated: dict[str, int] = dict(state.get("repeated", {}))
        """Axis → the first step or epoch that a resumed training has repeated."""
        self._stale: set[str] = set(state.get("stale", ()))
        """The tags that have no points of the resumed training yet."""

    def __bool__(self) -> bool:
        return bool(self._last)

    def add(self, values: Mapping[str, float], axis: Axis, step: int, time: float) -> None:
        """Add the points of an event: tag → value."""
        last = self._last
        back = [tag for tag in values if last.get(tag, _BELOW_ALL) >= step]
        late = {tag for tag in back if self._is_late(tag, axis, step)} if back else ()
        if late:
            for tag in late:
                self._late.setdefault(tag, {})[step] = (values[tag], time)
            values = {tag: value for tag, value in values.items() if tag not in late}
        if values:
            if axis == "step" and len(back) > len(late):
                self._count_replaced(values, step)
            self._events.scalars(values.items(), step, time, again=len(back) > len(late))
            self._note(values, step)

    def _is_late(self, tag: str, axis: Axis, step: int) -> bool:
        """Whether the later points of the tag are still right: the step is lower, and not one that is repeated."""
        return step < self._last[tag] and not self._repeats(tag, axis, step)

    def _repeats(self, tag: str, axis: Axis, step: int) -> bool:
        return tag in self._stale and step >= self._repeated[axis]

    def _count_replaced(self, values: Mapping[str, float], step: int) -> None:
        same = (
            tag
            for tag, value in values.items()
            if self._last.get(tag) == step
            and not self._repeats(tag, "step", step)
            and self._values.get(tag) != value
        )
        self._report(sum(1 for _ in same))

    def _report(self, count: int) -> None:
        if count:
            self._replaced(count)

    def _note(self, values: Mapping[str, float], step: int) -> None:
        self._last.update(dict.fromkeys(values, step))
        self._values.update(values)
        if self._stale:
            self._stale.difference_update(values)

    def start_epoch(self, event: Event) -> bool:
        """Return whether a training was resumed from an earlier checkpoint, and so starts an epoch or a step again."""
        if not self._training.starts_again(event):
            return False
        self.write_late()
        self._repeated = {"step": event.step + 1, "epoch": event.epoch}
        self._stale = set(self._last)
        return True

    def trained(self, step: int) -> None:
        """Follow the end of a batch."""
        self._training.trained(step)

    def write_late(self) -> None:
        """Write the points that came late, each followed by the later points of its tag."""
        if not self._late:
            return
        held = self._events.points({tag: min(points) for tag, points in self._late.items()})
        for tag, late in self._late.items():
            tail = held[tag]
            self._report(sum(step in tail and tail[step][0] != value for step, (value, _) in late.items()))
            self._rewrite(tag, sorted((tail | late).items()))
        self._late.clear()

    def _rewrite(self, tag: str, points: Iterable[tuple[int, tuple[float, float]]]) -> None:
        again = True
        for step, (value, time) in points:
            self._events.scalars([(tag, value)], step, time, again)
            again = False

    def state(self) -> State:
        """Return the state as plain JSON values."""
        return {
            "last": dict(self._last), "place": self._training.state(), "repeated": self._repeated,
            "stale": sorted(self._stale),
        }  # fmt: skip
