"""`Compared`: what a comparison consists of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from ..errors import JournalError
from ..storage.patches import Change
from . import formats
from .code import differing_changes
from .groups import Column, Which
from .listing import RunList
from .partings import Parting, is_small, partings
from .summary import RunSummary

_MOST_PATCHES = 20


class Shown(NamedTuple):
    """The names of what a comparison shows."""

    params: list[str]
    metrics: list[str]
    environment: list[str]
    """The entries of the environment that differ."""
    facts: list[str]
    """What differs in the model, the data and the code besides the parameters, such as `model/parameters`."""
    curves: Sequence[str] = ()
    """The metrics whose curves are compared point by point."""


class Compared:
    """The runs that are compared, and what is shown of them.

    Args:
        columns: the runs, or groups of runs, that are compared.
        shown: the names of what is shown.
        at: the metric at whose best value the others are compared; empty for the last and best values.
        baseline: the column that the metrics of the others are compared with.
        why: whether to compare the curves of all runs, however many and long they are.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        shown: Shown,
        at: str = "",
        baseline: Column | None = None,
        why: bool = False,
    ) -> None:
        self.columns = list(columns)
        self.shown = shown
        self.at = at
        self.baseline = baseline
        self.why = why

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

    @cached_property
    def partings(self) -> list[list[Parting]]:
        """Where the curves of each column part from those of the baseline, or of the first column without one.

        The list of the baseline is empty, and so are those of groups and of damaged runs. Unless `why` is set, only the
        curves of two runs are compared, and only if their journals are small enough to be read in about a second.
        """
        return [self._partings(self.base.run, column.run) for column in self.columns]

    @property
    def base(self) -> Column:
        """The column whose curves the others are compared with: the baseline, or else the first."""
        return self.baseline or self.columns[0]

    def _partings(self, base: RunSummary | None, run: RunSummary | None) -> list[Parting]:
        if base is None or run is None or base is run:
            return []
        if not self.why and not (len(self.columns) == 2 and is_small(base) and is_small(run)):
            return []
        try:
            return partings(base, run, self.shown.curves)
        except JournalError:  # the notes below the table name damaged journals
            return []

    @cached_property
    def uncommitted(self) -> dict[str, list[Change | None]]:
        """The files whose uncommitted changes are not the same in all runs, with the change in each column.

        Of more than 20 columns, the patches are only read if `why` is set.
        """
        if len(self.columns) > _MOST_PATCHES and not self.why:
            return {}
        return differing_changes([column.run for column in self.columns])
