"""Encode columns of numbers for the page: compact, compressed, and as exact as can be seen.

Values keep at least 11 bits of their mantissa, and more if they differ by little: the error is never more than 1/4096
of a value, nor of the range of all values. Positions are rounded to a unit. Both are stored as differences from one to
the next, the bytes of equal weight together, which gzip makes small. `decode.js` is the reverse.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..figures.axes import Floats
from ..figures.embedding import compressed

_BITS, _MOST_BITS = 11, 23
"""How many bits of the mantissa are kept at least, and how many a 32-bit float has."""
_LARGE, _SMALL = 1e37, 1e-37
"""Numbers beyond these may not be 32-bit floats."""
_MOST_UNITS = 2**31 - 1
_MISSING = -_MOST_UNITS
"""Stands for a position that does not exist."""


def values(column: Floats) -> dict[str, Any]:
    """Encode values, of which any may be NaN or infinite."""
    finite = column[np.isfinite(column)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    largest, width = max(abs(low), abs(high)), high / 2 - low / 2
    base = low if width < largest / 2**_MOST_BITS * 2**_BITS else 0.0
    if base:
        largest = 2 * width
    scale = largest if largest > _LARGE or 0 < largest < _SMALL else 1.0
    bits = _BITS if not width else min(_BITS + max(math.ceil(math.log2(largest / width)), 0), _MOST_BITS)
    with np.errstate(over="ignore", under="ignore"):
        floats = ((column - base) / scale).astype("<f4")
    return {"base": base, "scale": scale, "data": _planes(_rounded(floats, _MOST_BITS - bits))}


def _rounded(floats: NDArray[np.float32], away: int) -> NDArray[np.uint32]:
    """Round to the nearest float whose last bits are zero."""
    found = floats.view("<u4")
    if away:
        finite = np.isfinite(floats)
        half, mask = np.uint32(1 << (away - 1)), np.uint32(2**32 - (1 << away))
        found = np.where(finite, (found + half) & mask, found)
        infinite = finite & ~np.isfinite(found.view("<f4"))  # the largest floats
        found = np.where(infinite, floats.view("<u4") & mask, found)
    return found


def places(column: Floats, unit: float) -> dict[str, Any]:
    """Encode positions, which are rounded to this unit, or to a larger one if they would not fit. NaN is kept."""
    there = np.isfinite(column)
    first, last = (float(column[there].min()), float(column[there].max())) if there.any() else (0.0, 0.0)
    unit = max(unit, (last - first) / _MOST_UNITS)
    numbers = np.full(len(column), _MISSING, "<i8")
    numbers[there] = np.rint((column[there] - first) / unit)
    return {"first": first, "unit": unit, "data": _planes(numbers.astype("<i4").view("<u4"))}


def counts(column: NDArray[np.intp]) -> dict[str, Any]:
    """Encode numbers from 0."""
    return places(column.astype(float), 1.0)


def _planes(words: NDArray[np.uint32]) -> str:
    """Return the differences of 32-bit words, small ones also if they are negative, as four planes of bytes."""
    differences = np.diff(words, prepend=np.uint32(0)).view("<i4")
    folded = ((differences << 1) ^ (differences >> 31)).astype("<i4")
    return compressed(folded.view("u1").reshape(-1, 4).T.tobytes())
