"""The points of metrics, with their positions on the horizontal axes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...errors import JournalError
from ..points import Points, points
from ..summary import RunSummary
from . import axes
from .axes import Floats, XAxis


class Track(NamedTuple):
    """The points of a metric of a run, in the order of their steps."""

    step: Floats
    epoch: Floats
    time: Floats
    value: Floats

    def over(self, axis: XAxis, created: float) -> Floats:
        """Return the positions on an axis, with times in seconds."""
        if axis == "step":
            return self.step
        if axis == "epoch":
            return axes.epochs(self.step, self.epoch)
        return self.time - created if axis == "relative" else self.time + _zone(created)


def _zone(moment: float) -> int:
    """Return the offset of local time in seconds: axes of Bokeh show UTC unless times are shifted."""
    return time.localtime(moment).tm_gmtoff


def load(run: RunSummary, names: Sequence[str]) -> dict[str, Track]:
    """Read the points of metrics of a run. Those that it does not have are left out."""
    if not any(name in run.metrics for name in names):
        return {}
    try:
        found = points(run.info.path, frozenset(names).__contains__)
    except JournalError:  # the summary reports it
        return {}
    return {name: _track(found[name]) for name in names if name in found}


def _track(found: Points) -> Track:
    step = found.step.astype(float)
    order = slice(None) if (np.diff(step) >= 0).all() else np.argsort(step, kind="stable")
    return Track(step[order], found.epoch[order].astype(float), found.time[order], found.value[order])
