"""The metrics of a run at the moment when one of them was best."""

from __future__ import annotations

import math
from contextlib import suppress

import msgspec

from ..errors import InvalidValueError, JournalError, unknown
from ..event import Event
from ..storage.journal import Reader
from .summary import Metric, RunSummary

_PREFIX = "best:"
_Place = tuple[float, int, int]
"""A value with its step and epoch."""


def metric_of(at: str) -> str:
    """Return the metric that `best:METRIC` names.

    Raises:
        InvalidValueError: if it is something else.
    """
    if not isinstance(at, str) or not at.startswith(_PREFIX) or at == _PREFIX:
        raise InvalidValueError(f"at must be 'best:METRIC', such as 'best:val/loss', got {at!r}.")
    return at.removeprefix(_PREFIX)


def check(runs: list[RunSummary], metric: str) -> None:
    """Check that a run has a best value of this metric.

    Raises:
        UnknownNameError: if no run has one; the message suggests the nearest name.
    """
    names = {name for run in runs for name, found in run.metrics.items() if found.goal}
    if metric not in names:
        raise unknown("metric with a best value", metric, names)


def at_best(run: RunSummary, metric: str) -> RunSummary:
    """Return the run as it was at the best value of a metric: the metrics of that epoch, as their last values.

    A metric that is logged over steps has no epoch: then each metric has its last value up to that step. A run without
    the metric has no metrics.
    """
    rated = run.metrics.get(metric)
    found = {} if rated is None else _moment(run, metric, rated)
    metrics = {
        name: Metric(*place, run.metrics[name].axis, run.metrics[name].goal)
        for name, place in found.items()
        if name in run.metrics  # a running one may have logged others since
    }
    return msgspec.structs.replace(run, metrics=metrics)


def _moment(run: RunSummary, name: str, rated: Metric) -> dict[str, _Place]:
    moment = _Moment(name, rated)
    with suppress(JournalError, OSError), Reader(run.info.path) as reader:  # the summary reports errors
        for event in reader:
            moment.take(event)
    return moment.found


class _Moment:
    """Collects the metrics at the best value so far, as value, step and epoch."""

    def __init__(self, name: str, rated: Metric) -> None:
        self._name = name
        self._per_epoch = rated.axis == "epoch"
        self._best = Metric(math.nan, -1, -1, rated.axis, rated.goal)
        self._epoch = -1
        self._present: dict[str, _Place] = {}
        self.found: dict[str, _Place] = {}

    def take(self, event: Event) -> None:
        """Add an event."""
        if self._per_epoch and event.epoch != self._epoch:
            self._epoch, self._present = event.epoch, {}
        rated = event.metrics.get(self._name)
        improves = rated is not None and self._best.take(rated, event)
        for name, value in event.metrics.items():
            if name != self._name or improves:
                self._present[name] = value, event.step, event.epoch
        if improves:
            # What follows in the same epoch belongs to it, but what follows in later steps does not.
            self.found = self._present if self._per_epoch else dict(self._present)
