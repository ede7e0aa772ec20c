"""`history`: all points of runs, as columns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import JournalError, UnknownNameError, unknown, warn
from . import conversions, export
from .columns import Columns, Form, Over, length_of, stacked, without_rows
from .finding import RunLike
from .formats import unique
from .history_table import table_of
from .points import Points
from .rank_points import Rank
from .selection import matcher, matching, wants_system
from .sources import Options, Source, checked, choose
from .table import Table, as_text, terminal_width

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from .packages import Array


class History(Mapping[str, "Array"]):
    """The points of runs: a mapping from the name of a column to its values, an array of NumPy.

    Printed, it is a table of the first and the last rows.
    """

    def __init__(self, columns: Columns, names: Sequence[str]) -> None:
        self._columns = columns
        self.names = list(names)
        """The names of the metrics."""

    @property
    def rows(self) -> int:
        """The number of rows."""
        return length_of(self._columns)

    def __getitem__(self, name: str) -> Array:
        try:
            return self._columns[name].values
        except (KeyError, TypeError):
            raise KeyError(str(unknown("column", name, self._columns))) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    __eq__ = object.__eq__  # comparing arrays gives arrays, and not True or False
    __hash__ = object.__hash__

    def to_dict(self) -> dict[str, list[Any]]:
        """Return a dict of lists, one per column. Missing values are None."""
        return {name: conversions.to_list(column) for name, column in self._columns.items()}

    def to_pandas(self) -> pandas.DataFrame:
        """Return a DataFrame of pandas. Missing values are NaN, and times are time stamps.

        Raises:
            MissingPackageError: if pandas is not installed.
        """
        return conversions.to_pandas(self._columns)

    def to_polars(self) -> polars.DataFrame:
        """Return a DataFrame of polars. Missing values are null, and times are time stamps.

        Raises:
            MissingPackageError: if polars is not installed.
        """
        return conversions.to_polars(self._columns)

    def to_arrow(self) -> pyarrow.Table:
        """Return a table of Arrow. Missing values are null, and times are time stamps.

        Raises:
            MissingPackageError: if pyarrow is not installed.
        """
        return conversions.to_arrow(self._columns)

    def write(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the columns to a file. It appears when it is complete.

        Missing values are null, or empty in CSV. Times are time stamps in Parquet and Arrow, and seconds since 1970 in
        the others. In JSON Lines, NaN and infinities are `"NaN"`, `"Infinity"` and `"-Infinity"`.

        Args:
            path: the file, which ends in `.parquet`, `.arrow`, `.csv` or `.jsonl`.
            overwrite: whether an existing file is replaced.

        Raises:
            InvalidValueError: if the file exists already, its directory does not exist, or its suffix is not known.
            MissingPackageError: if pyarrow is not installed, for Parquet and Arrow.
            OSError: if the file cannot be written.
        """
        checked = export.check(path, overwrite)
        export.write([self._columns], without_rows(self._columns), checked, overwrite=overwrite)

    def table(self, width: int | None = None) -> Table:
        """Return the table that is printed: the first and the last rows, and the columns that fit.

        Args:
            width: the width of the terminal; by default, the number of columns is limited instead.
        """
        return table_of(self._columns, width)

    def __str__(self) -> str:
        width = terminal_width()
        return as_text(self.table(width), width)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from .html import as_html  # only notebooks need it

        return as_html(self.table())


def history(
    runs: RunLike | Iterable[RunLike],
    metrics: str = "*",
    *,
    form: Form = "wide",
    over: Over = "step",
    where: str | None = None,
    params: str | None = None,
    rank: Rank | None = None,
) -> History:
    """Return all points of the metrics of runs, as columns.

    Nothing is sampled. The columns `step`, `epoch` and `time` are the positions of each row; the step is −1 before the
    first batch, and the epoch is −1 outside of epochs. The column `run` has the name of the run, or its folder if two
    runs have the same name; a wide history of one run, named by itself, does not have this column.

    In the wide form there is one column per metric, and one row per step, epoch or time at which a metric was recorded.
    Where a metric has no value, it is NaN. Of several values at the same step, such as those of an epoch that was
    trained again after a resume, it has the last one.

    The long form is exact: one row per recorded value, with the columns `run`, `metric`, `step`, `epoch`, `time` and
    `value`.

    Args:
        runs: a run or several: folders, names of runs in `TRACKHOOKS_DIR` (by default `runs`), run objects, or
            directories of runs, whose runs are ordered as in `runs()`: newest first.
        metrics: a comma-separated list of patterns for the names of the metrics, such as `"val/*"` or `"val/*,lr/0"`.
            Measurements of the machine are read if a pattern starts with `system`. Their steps are the numbers of the
            samples: read them over the time.
        form: `"wide"` or `"long"`.
        over: what the rows of the wide form are: `"step"`, `"epoch"` or `"time"`.
        where: read only the runs that match a filter, such as `"params.lr < 0.1 and tag:baseline"`.
        params: a comma-separated list of patterns for the names of parameters, such as `"lr,batch_size"` or `"*"`,
            which become columns `param/…`.
        rank: of runs whose ranks all recorded (`ranks="all"`): the number of one rank; `"all"` for the points of each,
            with a column `rank`; or `"min"`, `"mean"` or `"max"` over the ranks, at each step, or at each epoch with
            `over="epoch"`. By default the points of rank 0.

    Raises:
        UnknownNameError: if a run does not exist, or if a pattern matches no metric or parameter; the message suggests
            the nearest name.
        InvalidValueError: if there are no runs, if a run has no such rank, or if an argument has another form.
        JournalError: if the journal of the only run cannot be read, or those of all runs. Of several runs, such a run
            is left out with a warning.
        MissingPackageError: if NumPy is not installed.
    """
    options = checked(metrics=metrics, form=form, over=over, params=params, rank=rank)
    return history_of(*choose(runs, options, where))


def history_of(runs: Sequence[Source], options: Options) -> History:
    """Return the points of runs: see `history`."""
    found = list(read(runs, options))
    names = _names(found, options.metrics)
    parts = [run.columns(some, names, options) for run, some in found]
    return History(stacked(parts), names)


def read(runs: Sequence[Source], options: Options) -> Iterator[tuple[Source, dict[str, Points]]]:
    """Yield each run with its points. If one of several runs cannot be read, it is left out with a warning.

    Raises:
        JournalError: if no run can be read.
    """
    wanted, system = matcher(options.metrics), wants_system(options.metrics)
    failures = 0
    for run in runs:
        try:
            found = run.points(wanted, system=system)
        except JournalError as error:
            failures += 1
            if failures == len(runs):
                raise
            warn(f"run left out: {error}")
        else:
            yield run, found


def _names(found: Sequence[tuple[Source, Mapping[str, Points]]], patterns: str) -> list[str]:
    """Return the names of the metrics in the order of the patterns."""
    names = unique(name for _, some in found for name in some)
    if patterns == "*":  # also of a run that has not recorded a metric yet
        return names
    try:
        return matching(names, patterns, "metric")
    except UnknownNameError:  # for the nearest name, those of all metrics are needed
        every = [run.points(system=wants_system(patterns)) for run, _ in found]
        return matching(unique(name for some in every for name in some), patterns, "metric")
