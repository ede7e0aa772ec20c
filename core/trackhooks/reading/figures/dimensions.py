"""Values of runs as positions on an axis: numbers, also on a logarithmic scale, and other values side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from .. import fields, formats
from ..summary import RunSummary

_LOG_RATIO = 100
"""Positive numbers whose largest is this many times the smallest are shown on a logarithmic scale."""
_LONGEST = 24


class Dimension(NamedTuple):
    """The values of all runs."""

    name: str
    values: list[float | None]
    """The number of each run, or the place of its value in `labels`; None if it has none that can be drawn."""
    texts: list[str]
    """The values for people."""
    labels: list[str]
    """The names of the values, if they are not numbers."""
    log: bool = False

    @property
    def limits(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        found = [value for value in self.values if value is not None]
        return (min(found), max(found)) if found else (0.0, 1.0)

    def place(self, value: float) -> float:
        """Return the place of a value between the smallest, 0, and the largest, 1."""
        low, high = (math.log(end) for end in self.limits) if self.log else self.limits
        return ((math.log(value) if self.log else value) - low) / (high - low) if high > low else 0.5

    def ticks(self) -> list[tuple[float, str]]:
        """Return the places from 0 to 1 that have a label, with the labels."""
        if self.labels:
            return [(self.place(number), label) for number, label in enumerate(self.labels)]
        low, high = self.limits
        if low == high:
            return [(0.5, f"{low:.4g}")]
        middle = math.sqrt(low * high) if self.log else low / 2 + high / 2
        return [(place, f"{value:.3g}") for place, value in ((0.0, low), (0.5, middle), (1.0, high))]


def dimension(runs: Sequence[RunSummary], name: str) -> Dimension:
    """Return the values that a name means, as in filters: `params.lr`, `best.val/loss`, `duration`.

    Raises:
        UnknownNameError: if no run has it; the message suggests the nearest name.
    """
    field = fields.find(runs, name)
    found = [field.read(run) for run in runs]
    texts = [_text(value) for value in found]
    if all(value is None or _is_number(value) for value in found):
        numbers = [_number(value) for value in found]
        finite = [value for value in numbers if value is not None]
        log = bool(finite) and min(finite) > 0 and max(finite) >= _LOG_RATIO * min(finite)
        return Dimension(name, numbers, texts, [], log)
    labels = formats.unique(text for value, text in zip(found, texts, strict=True) if value is not None)
    places = [
        None if value is None else float(labels.index(text)) for value, text in zip(found, texts, strict=True)
    ]
    return Dimension(name, places, texts, labels)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _number(value: Any) -> float | None:
    try:
        found = None if value is None else float(value)
    except OverflowError:
        return None
    return found if found is not None and math.isfinite(found) else None


def _text(value: Any) -> str:
    if value is None:
        return ""
    text = ", ".join(value) if isinstance(value, list) else formats.parameter(value)
    return formats.shortened(text, _LONGEST)
