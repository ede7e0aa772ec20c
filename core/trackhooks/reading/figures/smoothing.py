"""Smooth curves with an exponential moving average, as TensorBoard does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import InvalidValueError
from ...errors.foreign import Failure, attempt, shown
from ...values import checks
from .axes import Floats


def checked(smoothing: Any) -> float:
    """Return the weight of the past.

    Raises:
        InvalidValueError: it is not a number from 0 to below 1.
    """
    found = attempt(checks.number, "smoothing", smoothing)
    if isinstance(found, Failure) or found >= 1:
        raise InvalidValueError(
            f"smoothing must be a number from 0 to below 1, such as 0.9, got {shown(smoothing)}."
        )
    return found


def smooth(value: Floats, weight: float) -> Floats:
    """Return the average of each value and those before it, whose weight falls by this factor from one to the next.

    The first values are not drawn towards zero: the weights always have the sum 1. Values that are not finite stay as
    they are, and the average continues after them.
    """
    if not weight:
        return value
    found, average, total = [], 0.0, 0.0
    for number in value.tolist():
        if not math.isfinite(number):
            found.append(math.nan)
            continue
        average = average * weight + (1 - weight) * number
        total = total * weight + (1 - weight)
        found.append(average / total)
    return np.array(found)
