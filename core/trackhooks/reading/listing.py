"""`runs`: list the runs of a directory."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TrackhooksError, warn
from ..hooks.metric_goals import OF_TRAIN_BATCHES
from ..storage import run_folder
from . import fields, formats, frames
from .columns import Form, Over
from .differences import differing_params, value_of
from .finding import runs_in
from .history import History, history_of
from .query import where as matching
from .selection import damage_notes, importance, shown_metrics
from .sources import checked, sources
from .summary import RunSummary, summarize_info
from .table import Cell, Column, Section, Table, as_text, status_cell, terminal_width

if TYPE_CHECKING:
    import pandas
    import polars

_ALWAYS = 2
"""Number of columns that are shown even if they do not fit: the name and the status."""
_MOST_COLUMNS = 14
"""Maximum number of columns if no width is given."""
_NARROWEST, _LONGEST_VALUE = 4, 20


class RunList(list[RunSummary]):
    """A list of runs, newest first. It prints as a table with the best values of the metrics."""

    def sorted_by(self, key: str) -> RunList:
        """Return the runs sorted by a field, a metric or a parameter. Runs without it come last.

        Args:
            key: `"created"`, `"duration"`, `"epochs"` or `"steps"`, largest first; `"name"`, `"project"`, `"group"` or
                `"status"`, in alphabetical order; a metric, best first; or a parameter, smallest first. `"params.lr"`,
                `"best.val/loss"` and `"last.val/loss"` name one of them without ambiguity.

        Raises:
            UnknownNameError: if no run has this field, metric or parameter; the message suggests the nearest name.
        """
        field = fields.find(self, key)
        sign = -1 if field.goal == "max" or key in fields.FALLING else 1
        return RunList(sorted(self, key=lambda run: _rank(field.read(run), sign)))

    def where(self, text: str) -> RunList:
        """Return the runs that match a filter, such as `"params.lr < 0.1 and tag:baseline"`.

        Raises:
            InvalidValueError: if the filter cannot be read.
            UnknownNameError: if no run has a value that it names; the message suggests the nearest name.
        """
        return RunList(matching(self, text))

    def to_dict(self) -> list[dict[str, Any]]:
        """Return one dict per run, with its parameters and metrics. Times are in seconds since 1970."""
        return [run.to_dict() for run in self]

    def to_json(self) -> str:
        """Return `to_dict()` as JSON. NaN and infinities become `"NaN"`, `"Infinity"` and `"-Infinity"`."""
        return formats.as_json(self.to_dict())

    def to_csv(self) -> str:
        """Return one row per run as CSV.

        The columns are `param/…`, and for each metric `last/…`, `best/…` and `best_epoch/…` or `best_step/…`.
        """
        return formats.as_csv(self.to_rows())

    def to_rows(self) -> list[dict[str, Any]]:
        """Return one dict per run, with the columns of `to_csv`."""
        return [run.to_row(run.params, run.metrics) for run in self]

    def to_pandas(self) -> pandas.DataFrame:
        """Return one row per run as a DataFrame of pandas, with the columns of `to_csv`. `created` is a time stamp.

        Raises:
            MissingPackageError: if pandas is not installed.
        """
        return frames.to_pandas(self.to_rows())

    def to_polars(self) -> polars.DataFrame:
        """Return one row per run as a DataFrame of polars, with the columns of `to_csv`. `created` is a time stamp.

        A column whose values have several types is text.

        Raises:
            MissingPackageError: if polars is not installed.
        """
        return frames.to_polars(self.to_rows())

    def history(
        self, metrics: str = "*", *, form: Form = "wide", over: Over = "step", params: str | None = None
    ) -> History:
        """Return all points of the metrics of the runs, as `trackhooks.history` does.

        Raises:
            UnknownNameError: if a pattern matches no metric; the message suggests the nearest name.
            InvalidValueError: if there are no runs, or if an argument has another form.
            MissingPackageError: if NumPy is not installed.
        """
        options = checked(metrics=metrics, form=form, over=over, params=params)
        return history_of(sources(self, options), options)

    def table(self, width: int | None = None, first: str = "") -> Table:
        """Return the table that is printed.

        Args:
            width: the width of the terminal; the most important columns that fit are shown. By default, the number of
                columns is limited instead.
            first: a metric or parameter to show before others.
        """
        columns = sorted(self._fitting(width, first), key=lambda column: column.position)
        rows = list(zip(*(column.cells for column in columns), strict=True))
        return Table([column.header for column in columns], [Section("", rows)], damage_notes(self))

    def _fitting(self, width: int | None, first: str) -> Iterator[Column]:
        """Yield the columns that fit, the most important first."""
        columns = self._columns(first)
        if width is None:
            yield from itertools.islice(columns, _MOST_COLUMNS)
            return
        for number, column in enumerate(columns):
            if number < _ALWAYS or column.width <= width:
                width -= column.width
                yield column
            if width < _NARROWEST:
                return

    def _columns(self, first: str) -> Iterator[Column]:
        """Yield all columns that are not empty, the most important first."""
        metrics, params = self._rating_metrics(), self._varying_params()
        alternately = itertools.chain(*itertools.zip_longest(metrics[1:], params[1:], fillvalue=""))
        more = [*metrics[:1], "created", *params[:1], *metrics[1:3], "duration", "project", *alternately]
        for name in formats.unique(filter(None, ["run", "status", first, "trained", *more])):
            column = self._column(name)
            if any(cell.text for cell in column.cells):
                yield column

    def _column(self, name: str) -> Column:
        if name in _FIXED:
            return Column(name, [_FIXED[name](run) for run in self], list(_FIXED).index(name))
        goal = next((run.metrics[name].goal for run in self if name in run.metrics), None)
        if goal is None:
            return Column(formats.plain(name), [_param(run, name) for run in self], len(_FIXED))
        return Column(formats.with_goal(name, goal), [_best(run, name) for run in self], len(_FIXED) + 1)

    def _rating_metrics(self) -> list[str]:
        """Return the metrics that rate a run: common ones first, and validation before training."""
        goals = {name: metric.goal for run in self for name, metric in run.metrics.items()}
        names = [name for name in shown_metrics(self) if goals[name] or name.startswith(OF_TRAIN_BATCHES)]
        return sorted(names, key=lambda name: (-sum(name in run.metrics for run in self), importance(name)))

    def _varying_params(self) -> list[str]:
        """Return the parameters that have several values, common ones first."""
        names = differing_params(self)
        values = {name: [str(run.params[name]) for run in self if name in run.params] for name in names}
        varying = [name for name in names if len(set(values[name])) > 1]
        return sorted(varying, key=lambda name: -len(values[name]))

    def __str__(self) -> str:
        width = terminal_width()
        return as_text(self.table(width), width) if self else "no runs"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from .html import as_html  # only notebooks need it

        return as_html(self.table())


def runs(
    dir: str | os.PathLike[str] | None = None,  # noqa: A002 — as in `run`
    project: str | None = None,
    where: str | None = None,
) -> RunList:
    """List the runs of a directory, newest first.

    A run whose process has died is listed as `killed` or `lost`, even if its `run.json` says that it is running. Other
    folders in the directory are ignored. Runs that cannot be read are skipped with a warning. Only the file `summary`
    of a run is written, so that the next list does not read its journal again.

    Args:
        dir: the directory; by default `TRACKHOOKS_DIR`, or `runs` if that is not set.
        project: list only the runs of this project.
        where: list only the runs that match a filter, such as `"params.lr < 0.1 and tag:baseline"`.

    Raises:
        TrackhooksError: if the directory does not exist.
        InvalidValueError: if the filter cannot be read.
        UnknownNameError: if no run has a value that the filter names; the message suggests the nearest name.
    """
    found = read_runs(runs_in(dir), project)
    return found if where is None else found.where(where)


def read_runs(
    paths: Iterable[Path], project: str | None = None, progress: Callable[[int], None] | None = None
) -> RunList:
    """Summarize runs, newest first. `progress` is that of `summarize`."""
    found = RunList()
    for path in paths:
        try:
            info = run_folder.read_info(path)
            if project in (None, info.project):
                found.append(summarize_info(info, progress))
        except TrackhooksError as error:
            warn(f"run skipped: {error}")
    return found.sorted_by("created")


def _rank(value: Any, sign: int) -> tuple[bool, float, str]:
    """Return the sort key of a value: numbers first, then texts, then missing values."""
    if isinstance(value, (int, float)) and value == value:
        return False, sign * float(value), ""
    missing = value is None or value != value
    return missing, math.inf, "" if missing else str(value)


def _name(run: RunSummary) -> Cell:
    return Cell(formats.plain(run.name), "bold")


def _project(run: RunSummary) -> Cell:
    return Cell(formats.plain(run.project or ""))


_FIXED: dict[str, Callable[[RunSummary], Cell]] = {
    "run": _name,
    "project": _project,
    "status": lambda run: status_cell(run.status, [run.status]),
    "created": lambda run: Cell(formats.moment(run.created)),
    "duration": lambda run: Cell(formats.duration(run.duration)),
    "trained": lambda run: Cell(run.length),
}
"""The columns other than parameters and metrics, in order."""


def _best(run: RunSummary, name: str) -> Cell:
    metric = run.metrics.get(name)
    if metric is None:
        return Cell("")
    return Cell(formats.number(metric.last if metric.best is None else metric.best))


def _param(run: RunSummary, name: str) -> Cell:
    value = value_of(run, name, _ABSENT)
    return Cell("" if value is _ABSENT else formats.shortened(formats.parameter(value), _LONGEST_VALUE))


_ABSENT = object()
