"""`Curve`: a curve with a limited number of points, for small plots."""

from __future__ import annotations

import math
from collections.abc import Iterable

_MOST = 400
"""Number of points above which a curve is reduced to half of them."""


class Curve:
    """The points of a metric. Memory is limited; each minimum and maximum is kept."""

    def __init__(self) -> None:
        self.points: list[tuple[float, float]] = []

    def add(self, x: float, y: float) -> None:
        """Add a point. Values that are not finite are left out."""
        if math.isfinite(y):
            self.points.append((x, y))
            if len(self.points) > _MOST:
                self._reduce()

    @property
    def limits(self) -> tuple[float, float, float, float]:
        """The lowest and highest x, and the lowest and highest y. There must be points."""
        places, values = zip(*self.points, strict=True)
        return min(places), max(places), min(values), max(values)

    def relative(self) -> list[tuple[float, float]]:
        """Return the points in a square from 0 to 1."""
        left, right, low, high = self.limits
        wide, tall = right - left or 1, high - low
        return [((x - left) / wide, (y - low) / tall if tall else 0.5) for x, y in self.points]

    def _reduce(self) -> None:
        """Keep the lowest and the highest of every four points in a row, and the last point."""
        points = self.points
        fours = (points[start : start + 4] for start in range(0, len(points) - 1, 4))
        self.points = [point for four in fours for point in _extremes(four)] + points[-1:]


def _extremes(points: list[tuple[float, float]]) -> Iterable[tuple[float, float]]:
    low, high = min(points, key=_y), max(points, key=_y)
    return dict.fromkeys(sorted([low, high]))


def _y(point: tuple[float, float]) -> float:
    return point[1]
