"""Indices of steps, epochs and batches: integers of any library, within bounds."""

from __future__ import annotations

import operator
from typing import Any

from ..errors import InvalidValueError
from ..errors.foreign import Failure, attempt, shown

LARGEST = 2**53
"""The largest index. JSON and dashboards are exact up to here, and sums of indices stay within 64 bits."""


def index(what: str, value: Any, least: int = 0) -> int:
    """Return a step, epoch, batch or count, which may be an integer of any library.

    Raises:
        InvalidValueError: It is not an integer, or out of range.
    """
    found = attempt(lambda: int(operator.index(value)))
    if isinstance(found, Failure) or not least <= found <= LARGEST:
        raise InvalidValueError(
            f"{what} must be a whole number from {least} to {LARGEST}, got {shown(value)}."
        )
    return found
