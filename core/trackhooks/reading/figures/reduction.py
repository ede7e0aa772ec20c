"""Reduce curves to what can be seen: the exact minimum and maximum of each bucket of a grid.

The grid is the same for all runs, so that curves of different lengths line up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .axes import Floats

Places = NDArray[np.intp]


_MOST_PARTS = 2.0**30


class Grid(NamedTuple):
    """Buckets of equal width."""

    low: float
    high: float
    buckets: int

    def of(self, x: Floats) -> Places:
        """Return the numbers of the buckets of positions."""
        width = (self.high - self.low) or 1.0
        return np.clip((x - self.low) / width * self.buckets, 0, self.buckets - 1).astype(np.intp)

    def finer(self, x: Floats) -> Grid:
        """Return the grid for a curve that covers only a part of it: each bucket is divided into equal parts.

        So a short curve next to a long one keeps its form when it is magnified.
        """
        finite = x[np.isfinite(x)]
        width = float(finite.max() - finite.min()) if len(finite) else 0.0
        if not 0 < width < self.high - self.low:
            return self
        parts = min((self.high - self.low) / width, _MOST_PARTS)
        return self._replace(buckets=self.buckets * 2 ** int(np.log2(parts)))


def grid(curves: list[Floats], buckets: int) -> Grid:
    """Return a grid over the positions of all curves. Positions that are not finite do not count."""
    ends = [(finite.min(), finite.max()) for x in curves if len(finite := x[np.isfinite(x)])]
    if not ends:
        return Grid(0.0, 1.0, buckets)
    lows, highs = zip(*ends, strict=True)
    return Grid(float(min(lows)), float(max(highs)), buckets)


def kept(x: Floats, value: Floats, on: Grid) -> Places:
    """Return the indices of the points that are drawn, in order.

    These are, in each bucket, a point with the lowest and one with the highest value, the first and the last point of
    the curve, and the first point of each gap: of values that are NaN or infinite between two that are kept.
    """
    if is_whole(value, on):
        return np.arange(len(value))
    on = on.finer(x)
    finite = np.isfinite(value) & np.isfinite(x)
    points = np.flatnonzero(finite)
    if not len(points):
        return np.arange(min(len(value), 1))
    chosen = np.unique(np.concatenate([_extremes(on.of(x[points]), value[points], points), points[[0, -1]]]))
    return np.union1d(chosen, _gaps(np.flatnonzero(~finite), chosen))


def is_whole(value: Floats, on: Grid) -> bool:
    """Return whether a curve has so few points that all are kept."""
    return len(value) <= 2 * on.buckets


def _extremes(bucket: Places, value: Floats, points: Places) -> Places:
    order = np.lexsort((value, bucket))
    ordered = bucket[order]
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    starts = np.append(0, ends[:-1] + 1)
    found: Places = points[np.concatenate([order[starts], order[ends]])]
    return found


def _gaps(missing: Places, chosen: Places) -> Places:
    """Return the first missing point after each chosen one, and before all of them."""
    if not len(missing):
        return missing
    place = np.searchsorted(chosen, missing)
    first: Places = missing[np.append(True, np.diff(place) > 0)]
    return first


class Means(NamedTuple):
    """The mean of each bucket that has points: what smoothing and bands are computed from."""

    x: Floats
    value: Floats
    size: NDArray[np.intp]


def means(x: Floats, value: Floats, on: Grid) -> Means:
    """Return the mean position and the mean value of each bucket with finite points, and their number."""
    finite = np.isfinite(value) & np.isfinite(x)
    _, bucket, count = np.unique(on.of(x[finite]), return_inverse=True, return_counts=True)
    with np.errstate(over="ignore"):
        return Means(
            np.bincount(bucket, x[finite]) / count, np.bincount(bucket, value[finite]) / count, count
        )
