"""`Block`: records that have the same metrics, as columns of NumPy. A journal is read into a few of them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from ..event import FINAL, Event
from ..hooks.vocabulary import axis_of
from ..tracker import EpochMetrics
from . import packages

if TYPE_CHECKING:
    from .packages import Array

Wanted = Callable[[str], bool]
"""Decides by its name whether a metric is read."""


class Block(NamedTuple):
    """Records that have the same metrics, in the order of the journal."""

    names: tuple[str, ...]
    """The names of the metrics."""
    order: Array
    """The places of the records among all points of the journal."""
    step: Array
    epoch: Array
    time: Array
    values: list[Array]
    """The values of each metric."""

    def only(self, wanted: Wanted) -> Block | None:
        """Return the wanted metrics; None if there are none."""
        pairs = [(name, values) for name, values in zip(self.names, self.values, strict=True) if wanted(name)]
        names, values = tuple(name for name, _ in pairs), [values for _, values in pairs]
        return self._replace(names=names, values=values) if names else None


class _Growing:
    """A block that is being read: the numbers of all records one after the other."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._places = array("q")
        self._values = array("d")

    def add(self, number: int, event: Event, values: Iterable[float]) -> None:
        """Add a record. This is called for every record that has a wanted metric."""
        self._places.extend((number, event.step, event.epoch))
        self._values.append(event.time)
        self._values.extend(values)

    def block(self) -> Block:
        """Return the block."""
        np = packages.numpy()
        order, step, epoch = np.ascontiguousarray(np.frombuffer(self._places, np.int64).reshape(-1, 3).T)
        width = len(self._names) + 1
        values = np.ascontiguousarray(np.frombuffer(self._values, np.float64).reshape(-1, width).T)
        return Block(self._names, order, step, epoch, values[0], list(values[1:]))


class Blocks:
    """Collects the wanted metrics in one pass over a journal, as a tracker gets them that takes every batch.

    The hooks at the end of an epoch repeat its metrics, but each is one point.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.whole = True
        """Whether every record was whole: the files of large records may be missing."""
        self._wanted = wanted
        # There may be millions of records, but few different sets of metrics: their names are looked at once.
        self._chosen: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._found: dict[tuple[str, ...], _Growing] = {}

    def read(self, events: Iterable[Event]) -> list[Block]:
        """Read all records, and return the blocks."""
        for number, event in enumerate(self._points(events)):
            metrics = event.metrics
            names = tuple(metrics)
            some = self._chosen.get(names)
            if some is None:
                some = self._choose(names)
            if some:
                values = metrics.values() if len(some) == len(names) else map(metrics.__getitem__, some)
                self._found[some].add(number, event, values)
        return [self._found.pop(names).block() for names in list(self._found)]  # frees the memory of each

    def _choose(self, names: tuple[str, ...]) -> tuple[str, ...]:
        some = self._chosen[names] = tuple(filter(self._wanted, names))
        if some and some not in self._found:
            self._found[some] = _Growing(some)
        return some

    def _points(self, events: Iterable[Event]) -> Iterator[Event]:
        """Yield the records with metrics; those of an epoch without what an earlier one had."""
        epoch = EpochMetrics()
        for event in events:
            if event.batch >= 0 or axis_of(event) == "step":
                if event.metrics:
                    yield event
            else:
                event.best = {}  # it repeats the best values of other metrics
                yield from (due for _, due in epoch.add(event))
            if event.status in FINAL:
                yield from (due for _, due in epoch.settle())
            if event.overflow:
                self.whole = False
        yield from (due for _, due in epoch.settle())
