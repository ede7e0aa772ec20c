"""`Parting`: the first step or epoch at which a metric of two runs differs.

The two journals are read side by side, and no further than until every metric has parted: runs that part early cost
little, however long they are, and memory does not grow with the number of steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator

import msgspec

from ..errors import JournalError
from ..event import Event
from ..hooks.vocabulary import Axis, axis_of
from ..storage.journal import Reader, path_of
from . import formats
from .summary import RunSummary

LARGE = 16 << 20
"""The size of a journal, in bytes, that is only read to the point of parting if the user asks for it."""
_NOTICEABLE = 0.01
_MOST_WAITING = 10_000
"""How many points of a metric wait for those of the other run."""


class Parting(msgspec.Struct):
    """Where the curves of one metric of two runs part. A resumed run counts with what it recorded first."""

    metric: str
    axis: Axis
    """Whether positions are steps or epochs."""
    shared: int = 0
    """The number of steps or epochs that were compared."""
    first: int | None = None
    """The first step or epoch at which the values differ; None if all that were compared are the same."""
    values: tuple[float, float] | None = None
    """The two values there."""
    apart: int | None = None
    """The first step or epoch at which they differ by more than 1 % of the larger one."""

    def add(self, position: int, one: float, other: float) -> None:
        """Compare the values at one position."""
        self.shared += 1
        if one == other or (one != one and other != other):
            return
        if self.first is None:
            self.first, self.values = position, (one, other)
        # Not `isclose`: NaN and infinities differ noticeably from every other value.
        if self.apart is None and not abs(one - other) < _NOTICEABLE * max(abs(one), abs(other)):
            self.apart = position

    def __str__(self) -> str:
        if self.first is None or self.values is None:
            return f"the same ({formats.counted(self.shared, self.axis)})"
        one, other = formats.told_apart(*self.values)
        by = "" if self.apart in (None, self.first) else f", by 1 % at {self.apart}"
        return f"{self.axis} {self.first}{by} ({one} → {other})"

    @property
    def is_known(self) -> bool:
        """Whether further points change nothing."""
        return self.apart is not None


def is_small(run: RunSummary) -> bool:
    """Return whether the journal of a run is read to the end in about a second."""
    path = path_of(run.path)
    return path.is_file() and path.stat().st_size <= LARGE


def partings(one: RunSummary, other: RunSummary, names: Collection[str]) -> list[Parting]:
    """Return where the curves of two runs part: the earliest first, those over steps before those over epochs.

    Args:
        one: the summary of a run.
        other: that of another run.
        names: the metrics to compare. Those that only one run has are left out.

    Raises:
        JournalError: if a journal cannot be read.
    """
    pairs = {name: _Pair(name, one.metrics[name].axis) for name in names if _is_shared(name, one, other)}
    try:
        with Reader(one.path) as first, Reader(other.path) as second:
            _compare(dict(pairs), (iter(first), iter(second)))
    except OSError as error:
        raise JournalError(
            f"the curves of {one.name} and {other.name} cannot be compared: {error}."
        ) from error
    return sorted((pair.parting for pair in pairs.values() if pair.parting.shared), key=_rank)


def _is_shared(name: str, one: RunSummary, other: RunSummary) -> bool:
    here, there = one.metrics.get(name), other.metrics.get(name)
    return here is not None and there is not None and here.axis == there.axis


def _rank(parting: Parting) -> tuple[bool, bool, int]:
    return parting.first is None, parting.axis == "epoch", -1 if parting.first is None else parting.first


class _Pair:
    """The points of a metric in two runs that wait for each other. The positions of each run only increase."""

    def __init__(self, name: str, axis: Axis) -> None:
        self.parting = Parting(name, axis)
        self._waiting: tuple[deque[tuple[int, float]], ...] = (
            deque(maxlen=_MOST_WAITING),
            deque(maxlen=_MOST_WAITING),
        )
        self._last = [-2, -2]

    def waits_for(self, side: int) -> bool:
        """Whether points of the other run wait for this one."""
        return bool(self._waiting[1 - side])

    def take(self, side: int, position: int, value: float) -> None:
        """Add a point of one run; a second value at the same position, or an earlier one, does not count."""
        if position <= self._last[side]:
            return
        self._last[side] = position
        self._waiting[side].append((position, value))
        one, other = self._waiting
        while one and other:
            (here, value), (there, another) = one[0], other[0]
            if here <= there:
                one.popleft()
            if there <= here:
                other.popleft()
            if here == there:
                self.parting.add(here, value, another)


def _compare(pairs: dict[str, _Pair], runs: tuple[Iterator[Event], Iterator[Event]]) -> None:
    """Read both runs, always the one that is behind, until every metric has parted or nothing is left to compare."""
    sides = [_Side(number, run) for number, run in enumerate(runs)]
    while pairs:
        if len(sides) < 2 and not any(pair.waits_for(sides[0].number) for pair in pairs.values()):
            return
        side = min(sides, key=_Side.place)
        event = next(side.run, None)
        if event is not None:
            side.move(event)
            _take(pairs, side.number, event)
        elif len(sides) == 1:
            return
        else:
            sides.remove(side)


def _take(pairs: dict[str, _Pair], side: int, event: Event) -> None:
    axis = axis_of(event)
    position = event.epoch if axis == "epoch" else event.step
    for name in [name for name in event.metrics if name in pairs]:
        pair = pairs[name]
        if pair.parting.axis == axis:
            pair.take(side, position, event.metrics[name])
            if pair.parting.is_known:
                del pairs[name]


class _Side:
    """One of the runs, and how far it has been read."""

    def __init__(self, number: int, run: Iterator[Event]) -> None:
        self.number = number
        self.run = run
        self._step = self._epoch = -1
        self._records = 0

    def move(self, event: Event) -> None:
        self._step, self._epoch = max(self._step, event.step), max(self._epoch, event.epoch)
        self._records += 1

    def place(self) -> tuple[int, int, int]:
        return self._step, self._epoch, self._records
