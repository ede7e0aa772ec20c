"""`history`: all points of runs, as columns."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast, get_args

import msgspec

from ..errors import InvalidValueError, JournalError, UnknownNameError, unknown, warn
from ..errors.foreign import shown
from ..event import RunInfo
from ..storage import run_folder
from ..values import checks
from . import conversions
from .blocks import Wanted
from .columns import RUN, Columns, Form, Over, constant, length_of, long, stacked, wide
from .finding import RunLike, find, is_one_run
from .formats import unique
from .groups import labels
from .history_table import table_of
from .points import Points, points
from .query import where as matching_runs
from .selection import matcher, matching
from .summary import RunSummary, summarize
from .table import Table, as_text, terminal_width

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from .packages import Array


class Options(msgspec.Struct, kw_only=True, frozen=True):
    """The options of `history`, which documents them."""

    metrics: str = "*"
    form: Form = "wide"
    over: Over = "step"


def checked(metrics: Any, form: Any, over: Any) -> Options:
    """Return the options.

    Raises:
        InvalidValueError: if one of them is not accepted.
    """
    return Options(
        metrics=checks.name("metrics", metrics),
        form=_one_of("form", form, Form),
        over=_one_of("over", over, Over),
    )


def _one_of(name: str, value: Any, kind: Any) -> Any:
    accepted = get_args(kind)
    if not isinstance(value, str) or value not in accepted:
        raise InvalidValueError(f"{name} must be one of {', '.join(accepted)}, got {shown(value)}.")
    return value


class History(Mapping[str, "Array"]):
    """The points of runs: a mapping from the name of a column to its values, an array of NumPy.

    Printed, it is a table of the first and the last rows.
    """

    def __init__(self, columns: Columns, names: Sequence[str], form: Form, over: Over) -> None:
        self._columns = columns
        self.names = list(names)
        """The names of the metrics."""
        self.form = form
        """`"wide"` or `"long"`."""
        self.over = over
        """What the rows of the wide form are: `"step"`, `"epoch"` or `"time"`."""

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

    Raises:
        UnknownNameError: if a run does not exist, or if a pattern matches no metric; the message suggests the nearest
            name.
        InvalidValueError: if there are no runs, or if an argument has another form.
        JournalError: if the journal of the only run cannot be read. Of several runs, such a run is left out with a
            warning.
        MissingPackageError: if NumPy is not installed.
    """
    options = checked(metrics, form, over)
    alone = isinstance(runs, (str, os.PathLike, RunSummary))
    given = [cast(RunLike, runs)] if alone else list(checks.iterator("runs", runs))
    paths = find(given, newest_first=True)
    found: Sequence[RunInfo | RunSummary]
    if where is None:
        found = [run_folder.read_info(path) for path in paths]
    else:
        found = matching_runs([summarize(path) for path in paths], where)
    if paths and not found:
        raise InvalidValueError(f"no run matches the filter {where!r}.")
    return history_of(found, options, named=not (alone and is_one_run(given[0])))


def history_of(runs: Sequence[RunInfo | RunSummary], options: Options, named: bool = True) -> History:
    """Return the points of runs: see `history`.

    Args:
        runs: the runs.
        options: the checked options.
        named: whether the wide form has a column with the names of the runs.
    """
    if not runs:
        raise InvalidValueError("there are no runs to read. Name some: history(['runs/a', 'runs/b'])")
    wanted, system = matcher(options.metrics), wants_system(options.metrics)
    found = {
        label: some
        for label, run in zip(labels(runs), runs, strict=True)
        if (some := _points(run, wanted, system, optional=len(runs) > 1)) is not None
    }
    names = _names(runs, unique(name for some in found.values() for name in some), options.metrics)
    parts = [
        columns_of(some, names, options, label if named or options.form == "long" else None)
        for label, some in found.items()
    ]
    return History(stacked(parts), names, options.form, options.over)


def columns_of(
    found: Mapping[str, Points], names: Sequence[str], options: Options, label: str | None
) -> Columns:
    """Return the columns of one run. With a label, the first of them is `run`."""
    columns = long(found, names) if options.form == "long" else wide(found, names, options.over)
    return columns if label is None else {RUN: constant(label, length_of(columns))} | columns


def wants_system(patterns: str) -> bool:
    """Return whether comma-separated patterns name measurements of the machine."""
    return any(pattern.strip().startswith("system") for pattern in patterns.split(","))


def _points(
    run: RunInfo | RunSummary, wanted: Wanted, system: bool, optional: bool
) -> dict[str, Points] | None:
    """Return the points of a run. If one of several runs cannot be read, warn and return None."""
    try:
        return points(run.path, wanted, system=system)
    except JournalError as error:
        if not optional:
            raise
        warn(f"run left out: {error}")
        return None


def _names(runs: Sequence[RunInfo | RunSummary], found: list[str], patterns: str) -> list[str]:
    """Return the names of the metrics in the order of the patterns."""
    if patterns == "*":  # also of a run that has not recorded a metric yet
        return found
    try:
        return matching(found, patterns, "metric")
    except UnknownNameError:  # for the nearest name, those of all metrics are needed
        every = [points(run.path, system=wants_system(patterns)) for run in runs]
        return matching(unique(name for some in every for name in some), patterns, "metric")
