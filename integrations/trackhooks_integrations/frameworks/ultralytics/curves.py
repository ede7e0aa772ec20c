"""The curves of a validation as tables: precision over recall, and F1, precision and recall over the confidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from trackhooks.event import Scalar, Table

_POINTS = 101
_MOST_CLASSES = 20
"""Above this number, only the mean over the classes is recorded."""


def tables(validator: Any, prefix: str) -> list[Table]:
    """Return one table for each curve of the metrics. Classifiers, and validations that found nothing, have none.

    Ultralytics documents `curves` and `curves_results` (names; x, y of each class, and the titles of the axes).
    """
    metrics = validator.metrics
    names = list(dict(metrics.names).values()) if getattr(metrics, "names", None) else []
    curves = zip(getattr(metrics, "curves", ()), getattr(metrics, "curves_results", ()), strict=False)
    return [_table(f"{prefix}curves/{name}", names, *curve) for name, curve in curves if len(curve[1])]


def _table(name: str, classes: Sequence[str], x: Any, y: Any, x_title: str, y_title: str) -> Table:
    rows: list[list[Scalar]] = [list(row) for row in _rows(classes, x, y)]
    return Table(name, ["class", x_title.lower(), y_title.lower()], rows)


def _rows(classes: Sequence[str], x: Any, y: Any) -> Iterator[tuple[str, float, float]]:
    import numpy

    places = numpy.linspace(float(x[0]), float(x[-1]), _POINTS)
    lines = {"mean": numpy.mean(y, axis=0)}
    if len(y) <= _MOST_CLASSES:
        lines |= {str(name): line for name, line in zip(_named(classes, len(y)), y, strict=True)}
    for name, line in lines.items():
        for place, value in zip(places, numpy.interp(places, x, line), strict=True):
            yield name, round(float(place), 5), round(float(value), 5)


def _named(classes: Sequence[str], count: int) -> Sequence[str]:
    return classes if len(classes) == count else [f"class {number}" for number in range(count)]
