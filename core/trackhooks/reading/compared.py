"""`Compared`: what a comparison consists of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from . import formats
from .groups import Column, Which
from .listing import RunList


class Shown(NamedTuple):
    """The names of what a comparison shows."""

    params: list[str]
    metrics: list[str]
    environment: list[str]
    """The entries of the environment that differ."""
    facts: list[str]
    """What differs in the model and the optimizer besides the parameters, such as `model/parameters`."""


class Compared:
    """The runs that are compared, and what is shown of them.

    Args:
        columns: the runs, or groups of runs, that are compared.
        shown: the names of what is shown.
        at: the metric at whose best value the others are compared; empty for the last and best values.
        baseline: the column that the metrics of the others are compared with.
    """

    def __init__(
        self, columns: Sequence[Column], shown: Shown, at: str = "", baseline: Column | None = None
    ) -> None:
        self.columns = list(columns)
        self.shown = shown
        self.at = at
        self.baseline = baseline

    @property
    def runs(self) -> RunList:
        """All runs, also those inside of groups."""
        return RunList(run for column in self.columns for run in column.runs)

    @property
    def params(self) -> list[str]:
        """The names of the parameters."""
        return self.shown.params

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics, the most important first."""
        return self.shown.metrics

    def changes(self, name: str, which: Which) -> list[float | None]:
        """Return the differences of a metric from that of the baseline, in per cent."""
        base = None if self.baseline is None else self.baseline.spread(name, which)
        if base is None:
            return [None] * len(self.columns)
        found = (None if column is self.baseline else column.spread(name, which) for column in self.columns)
        return [None if spread is None else formats.change(spread.mean, base.mean) for spread in found]
