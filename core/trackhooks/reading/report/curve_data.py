"""The curves of the page, reduced on a grid that all runs and all metrics share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...hooks.metric_goals import Goal
from ..figures.axes import Floats
from ..figures.loading import Track, load
from ..figures.reduction import Grid, is_whole, kept, means
from ..summary import RunSummary
from . import encoding

_PER_CHART, _PER_PAGE = 120_000, 400_000
"""How many buckets a chart and a page may have, so that it is drawn fast and the file stays small."""
_LEAST, _MOST = 500, 2000
_TIMES = 2**16
"""How many moments of a run are told apart."""
_EPOCHS = 1 / 256
"""Fractions of epochs are rounded to this."""


class Reduced(NamedTuple):
    """The curve of a run, as far as it is drawn."""

    run: int
    buckets: int
    step: Floats
    epoch: Floats
    time: Floats
    """Seconds since the start of the run."""
    value: Floats
    mean: Floats
    """The mean of each bucket; empty if all points are kept."""
    size: NDArray[np.intp]
    """The number of points of each bucket."""


def grid_of(runs: Sequence[RunSummary], metrics: Sequence[str]) -> Grid:
    """Return the grid over the steps of all runs."""
    curves = sum(name in run.metrics for run in runs for name in metrics) or 1
    buckets = min(_PER_CHART // max(len(runs), 1), _PER_PAGE // curves, _MOST)
    return Grid(0.0, float(max(run.steps for run in runs) or 1), max(buckets, _LEAST))


def reduce(number: int, run: RunSummary, track: Track, on: Grid) -> Reduced:
    """Reduce the curve of a run to the exact minimum and maximum of each bucket."""
    step, epoch, time = (track.over(axis, run.created) for axis in ("step", "epoch", "relative"))
    places = kept(step, track.value, on)
    fine = on.finer(step)
    whole = is_whole(track.value, on)
    mean = means(step[:0], step[:0], fine) if whole else means(step, track.value, fine)
    return Reduced(
        number,
        fine.buckets,
        step[places],
        epoch[places],
        time[places],
        track.value[places],
        mean.value,
        mean.size,
    )


def reduced(
    runs: Sequence[RunSummary], metrics: Sequence[str], on: Grid, progress: Callable[[], None]
) -> dict[str, list[Reduced]]:
    """Read and reduce the curves of all runs, one after the other."""
    found: dict[str, list[Reduced]] = {name: [] for name in metrics}
    for number, run in enumerate(runs):
        for name, track in load(run, metrics).items():
            found[name].append(reduce(number, run, track, on))
        progress()
    return found


def encoded(name: str, goal: Goal, curves: Sequence[Reduced], on: Grid) -> dict[str, Any]:
    """Return the curves of a metric as the page stores them."""
    length = max((float(curve.time.max()) for curve in curves if len(curve.time)), default=0.0)
    return {
        "metric": name,
        "goal": goal,
        "low": on.low,
        "high": on.high,
        "runs": [curve.run for curve in curves],
        "buckets": [curve.buckets for curve in curves],
        "sizes": [len(curve.value) for curve in curves],
        "meanSizes": [len(curve.mean) for curve in curves],
        "step": encoding.places(_joined(curve.step for curve in curves), 1.0),
        "epoch": encoding.places(_joined(curve.epoch for curve in curves), _EPOCHS),
        "time": encoding.places(_joined(curve.time for curve in curves), max(length / _TIMES, 1e-6)),
        "value": encoding.values(_joined(curve.value for curve in curves)),
        "mean": encoding.values(_joined(curve.mean for curve in curves)),
        "count": encoding.counts(
            np.concatenate([curve.size for curve in curves]) if curves else np.array([], int)
        ),
    }


def _joined(columns: Iterable[Floats]) -> Floats:
    found = list(columns)
    return np.concatenate(found) if found else np.array([])
