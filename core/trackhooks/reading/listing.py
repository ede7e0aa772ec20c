"""`runs`: the runs of a directory, newest first."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import TrackhooksError, unknown, warn
from ..event import Scalar
from ..storage import run_folder
from . import formats
from .finding import runs_in
from .summary import RunSummary, summarize
from .table import Cell, Column, Section, Table, as_html, as_text, status_cell, terminal_width

HIDDEN = ("speed/", "best/", "system/")
"""Metrics that are shown only when they are asked for; `best/…` repeats the best of the others."""

_FALLING = ("created", "duration", "epochs", "steps")
_RISING = ("name", "project", "status")
_ALWAYS = 2
"""Columns that stand even where they do not fit: the name and the status."""
_MOST_COLUMNS = 14
"""Where no width sets a limit."""
_NARROWEST, _LONGEST_VALUE = 4, 20
_PREFERRED = ("val/", "metrics/", "test/")


class RunList(list[RunSummary]):
    """Runs, newest first. Printed it is a table, in which metrics have their best value."""

    def sorted_by(self, key: str) -> RunList:
        """The runs by a field, a metric or a parameter; those that lack it come last.

        Args:
            key: `"created"`, `"duration"`, `"epochs"` or `"steps"`, the largest first; `"name"`, `"project"`,
                `"status"`; a metric, the best first; or a parameter, the smallest first.

        Raises:
            UnknownNameError: no run has it; the message holds the nearest name.
        """
        names = {name for run in self for name in (*run.metrics, *run.params)}.union(_FALLING, _RISING)
        if self and key not in names:
            raise unknown("field, metric or parameter", key, names)
        return RunList(sorted(self, key=lambda run: _rank(run, key)))

    def to_dict(self) -> list[dict[str, Any]]:
        """Each run with its parameters and metrics; times are seconds since 1970."""
        return [run.to_dict() for run in self]

    def to_json(self) -> str:
        """`to_dict` as JSON, in which NaN and infinities are `"NaN"`, `"Infinity"` and `"-Infinity"`."""
        return formats.as_json(self.to_dict())

    def to_csv(self) -> str:
        """A row for each run; `param/…`, and for each metric `last/…`, `best/…` and `best_epoch/…` or `best_step/…`."""
        return formats.as_csv([run.to_row(run.params, run.metrics) for run in self])

    def table(self, width: int | None = None, first: str = "") -> Table:
        """What is printed.

        Args:
            width: columns of the terminal: as many columns are shown as fit. None for those that tell most.
            first: a metric or parameter that is shown before others.
        """
        columns = sorted(self._fitting(width, first), key=lambda column: column.place)
        rows = list(zip(*(column.cells for column in columns), strict=True))
        return Table([column.header for column in columns], [Section("", rows)], damage_notes(self))

    def _fitting(self, width: int | None, first: str) -> Iterator[Column]:
        """The columns that there is room for, the most important first."""
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
        """Every column that tells something, by importance."""
        metrics, params = self._telling_metrics(), self._telling_params()
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

    def _telling_metrics(self) -> list[str]:
        """The metrics that say how good a run is: those that most runs have, of validation before training."""
        goals = {name: metric.goal for run in self for name, metric in run.metrics.items()}
        names = [name for name in shown_metrics(self) if goals[name] or name.startswith("batch/")]
        return sorted(names, key=lambda name: (-sum(name in run.metrics for run in self), _preference(name)))

    def _telling_params(self) -> list[str]:
        """The parameters of which there are several values, those that most runs have first."""
        names = differing([run.params for run in self])
        values = {name: [str(run.params[name]) for run in self if name in run.params] for name in names}
        telling = [name for name in names if len(set(values[name])) > 1]
        return sorted(telling, key=lambda name: -len(values[name]))

    def __str__(self) -> str:
        width = terminal_width()
        return as_text(self.table(width), width) if self else "no runs"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return as_html(self.table())


def runs(
    dir: str | os.PathLike[str] | None = None,  # noqa: A002 — as in `run`
    project: str | None = None,
) -> RunList:
    """The runs of a directory, newest first.

    Nothing is written: a run whose process is gone is shown as `killed` or `lost`, whatever its `run.json` says.
    Other folders may stand among the runs. A run that cannot be read is left out with a warning.

    Args:
        dir: the directory; by default that of `TRACKHOOKS_DIR`, and `runs` where it is not set.
        project: only the runs of this project.

    Raises:
        TrackhooksError: there is no such directory.
    """
    return read_runs(runs_in(dir), project)


def read_runs(
    paths: Iterable[Path], project: str | None = None, progress: Callable[[int], None] | None = None
) -> RunList:
    """The summaries of these runs, newest first; `progress` as in `summarize`."""
    found = RunList()
    for path in paths:
        try:
            if project in (None, run_folder.read_info(path).project):
                found.append(summarize(path, progress))
        except TrackhooksError as error:
            warn(f"a run is left out: {error}")
    return found.sorted_by("created")


def shown_metrics(runs: Sequence[RunSummary]) -> list[str]:
    """The metrics of the runs but for those that repeat others, or that few ask for.

    `batch/x` is left out where there is `train/x`, its mean over the epoch.
    """
    names = formats.unique(name for run in runs for name in run.metrics)
    known = set(names)
    repeated = {f"batch/{name[6:]}" for name in known if name.startswith("train/")}
    return [name for name in names if not name.startswith(HIDDEN) and name not in repeated]


def differing(params: Sequence[dict[str, Scalar]]) -> list[str]:
    """The names of the parameters that are not the same in all of the runs."""
    names = formats.unique(name for given in params for name in given)
    return [name for name in names if not all(_same(given, params[0], name) for given in params)]


def damage_notes(runs: Iterable[RunSummary]) -> list[str]:
    """Says whose journal is damaged."""
    damaged = [formats.plain(run.name) for run in runs if run.journal.damage]
    return [f"The journal of {', '.join(damaged)} is damaged: trackhooks doctor"] if damaged else []


def _same(one: dict[str, Scalar], other: dict[str, Scalar], name: str) -> bool:
    if name not in one or name not in other:
        return False
    return one[name] == other[name] or str(one[name]) == str(other[name])  # NaN is no change


def _preference(name: str) -> int:
    return 0 if name.startswith(_PREFERRED) else 2 if name.startswith(("train/", "batch/")) else 1


def _rank(run: RunSummary, key: str) -> tuple[bool, float, str]:
    """Where a run stands in a list by this key: behind those whose rank is smaller."""
    if key in _FALLING:
        return False, -float(getattr(run, key)), run.name
    if key in _RISING:
        return False, 0.0, getattr(run, key) or ""
    if key in run.metrics:
        metric = run.metrics[key]
        value: Scalar = metric.best if metric.goal else metric.last
        return _rank_of(value, -1 if metric.goal == "max" else 1)
    return _rank_of(run.params.get(key))


def _rank_of(value: Scalar, sign: int = 1) -> tuple[bool, float, str]:
    if isinstance(value, (int, float)) and value == value:
        return False, sign * float(value), ""
    return value is None or value != value, 0.0, str(value)


def _name(run: RunSummary) -> Cell:
    return Cell(formats.plain(run.name), "bold")


def _project(run: RunSummary) -> Cell:
    return Cell(formats.plain(run.project or ""))


_FIXED: dict[str, Callable[[RunSummary], Cell]] = {
    "run": _name,
    "project": _project,
    "status": lambda run: status_cell(run.status),
    "created": lambda run: Cell(formats.moment(run.created)),
    "duration": lambda run: Cell(formats.duration(run.duration)),
    "trained": lambda run: Cell(run.length),
}
"""The columns that are no parameters or metrics, in the order in which they stand."""


def _best(run: RunSummary, name: str) -> Cell:
    metric = run.metrics.get(name)
    if metric is None:
        return Cell("")
    return Cell(formats.number(metric.last if metric.best is None else metric.best))


def _param(run: RunSummary, name: str) -> Cell:
    if name not in run.params:
        return Cell("")
    return Cell(formats.shortened(formats.parameter(run.params[name]), _LONGEST_VALUE))
