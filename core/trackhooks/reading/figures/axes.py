"""The horizontal axes of curves: step, epoch, wall time, and time since the start of the run."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidValueError, unknown
from ...errors.foreign import is_a, shown

XAxis = Literal["step", "epoch", "time", "relative"]
Floats = NDArray[np.float64]

LABELS: dict[XAxis, str] = {
    "step": "step",
    "epoch": "epoch",
    "time": "time",
    "relative": "time since the start",
}


def checked(over: Any) -> XAxis:
    """Return the name of an axis.

    Raises:
        UnknownNameError: there is no such axis; the message suggests the nearest one.
        InvalidValueError: it is not a string.
    """
    if not is_a(over, str):
        raise InvalidValueError(f"over must be one of {', '.join(get_args(XAxis))}, got {shown(over)}.")
    if over not in get_args(XAxis):
        raise unknown("axis", over, get_args(XAxis))
    found: XAxis = over
    return found


def epochs(step: Floats, epoch: Floats) -> Floats:
    """Return the epochs of points. The points between the first and the last step of an epoch are fractions of it.

    Points outside of epochs have NaN.
    """
    inside = epoch >= 0
    place = np.where(inside, epoch, np.nan)
    names, first, counts = np.unique(epoch[inside], return_index=True, return_counts=True)
    if not len(names) or counts.max() == 1:
        return place
    starts = step[inside][first]
    last = max(
        float(step[inside].max() - starts[-1] + 1),
        float(np.median(np.diff(starts))) if len(starts) > 1 else 1,
    )
    lengths = np.maximum(np.append(np.diff(starts), last), 1)
    number = np.searchsorted(names, epoch[inside])
    fraction = (step[inside] - starts[number]) / lengths[number]
    place[inside] += np.where(counts[number] > 1, np.clip(fraction, 0, 1), 0)
    return place
