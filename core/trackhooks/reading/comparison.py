"""`compare`: what differs between runs, and what came of it."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import InvalidValueError, unknown
from . import formats
from .finding import RunLike, find
from .listing import damage_notes, differing, shown_metrics
from .summary import Metric, RunSummary, summarize
from .table import Cell, Section, Table, as_html, as_text, status_cell, terminal_width

_MOST_PARAMS = 100
"""Parameters in a printed table, unless all are asked for."""
_LONGEST_VALUE = 40
_BEST_STYLE = "bold green"


class Comparison:
    """Runs side by side. Printed it is a table.

    Args:
        runs: the runs, in the order of the columns.
        params: the names of the parameters to show.
        metrics: the names of the metrics to show.
    """

    def __init__(self, runs: list[RunSummary], params: list[str], metrics: list[str]) -> None:
        self.runs = runs
        self.params = params
        self.metrics = metrics

    @property
    def labels(self) -> list[str]:
        """What the runs are called here: their names, or their folders where two bear one name."""
        names = [run.name for run in self.runs]
        if len(set(names)) == len(names):
            return names
        return [os.path.relpath(run.path) for run in self.runs]

    def to_dict(self) -> dict[str, Any]:
        """By name, a list with one value for each of the runs; None where a run has none.

        `{"runs": …, "status": …, "duration": …, "params": {name: …}, "metrics": {name: {"last": …, "best": …}}}`
        """
        facts = {name: [getattr(run, name) for run in self.runs] for name in _FACTS}
        params = {name: [run.params.get(name) for run in self.runs] for name in self.params}
        return {
            "runs": self.labels,
            **facts,
            "params": params,
            "metrics": dict(map(self._metric, self.metrics)),
        }

    def _metric(self, name: str) -> tuple[str, dict[str, list[Any]]]:
        found = [run.metrics.get(name) for run in self.runs]
        return name, {
            field: [None if metric is None else getattr(metric, field) for metric in found]
            for field in Metric.__struct_fields__
        }

    def to_json(self) -> str:
        """`to_dict` as JSON, in which NaN and infinities are `"NaN"`, `"Infinity"` and `"-Infinity"`."""
        return formats.as_json(self.to_dict())

    def to_csv(self) -> str:
        """A row for each run; `param/…`, and for each metric `last/…`, `best/…` and `best_epoch/…` or `best_step/…`."""
        return formats.as_csv([run.to_row(self.params, self.metrics) for run in self.runs])

    def table(self, most_params: int | None = None) -> Table:
        """What is printed: a column for each run.

        Args:
            most_params: how many parameters at most; None for all.
        """
        params = self.params[:most_params]
        sections = [
            Section("", [self._row(name, cell, name) for name, cell in _FACTS.items()]),
            Section("parameters", [self._row(formats.plain(name), _param, name) for name in params]),
            Section("last", [self._row(formats.plain(name), _last, name) for name in self.metrics]),
            Section("best (at epoch)", [self._best_row(name) for name in self.metrics if self._goal(name)]),
        ]
        header = ["", *map(formats.plain, self.labels)]
        return Table(
            header, [section for section in sections if section.rows], self._notes(params), wraps=True
        )

    def _row(self, title: str, cell: _CellOf, name: str) -> list[Cell]:
        return [Cell(title), *(cell(run, name) for run in self.runs)]

    def _goal(self, name: str) -> str:
        return next((run.metrics[name].goal for run in self.runs if name in run.metrics), "")

    def _best_row(self, name: str) -> list[Cell]:
        """The best of each run, that of the best run highlighted."""
        found = [run.metrics[name].best if name in run.metrics else None for run in self.runs]
        values = [value for value in found if value is not None]
        minimal = self._goal(name) == "min"
        best = (min if minimal else max)(values, default=None)
        telling = len(set(values)) > 1
        cells = [
            Cell(_best(run, name), _BEST_STYLE if telling and value == best else "")
            for run, value in zip(self.runs, found, strict=True)
        ]
        return [Cell(formats.with_goal(name, self._goal(name))), *cells]

    def _notes(self, params: list[str]) -> list[str]:
        """What is not in the table."""
        same = len({name for run in self.runs for name in run.params}) - len(self.params)
        left_out = len(self.params) - len(params)
        hidden = [f"that differ: {left_out:,}"] * bool(left_out) + [f"that are the same: {same:,}"] * bool(
            same
        )
        notes = [f"More parameters {', '.join(hidden)} (--all-params)"] * bool(hidden)
        return notes + damage_notes(self.runs)

    def __str__(self) -> str:
        width = terminal_width()
        return as_text(self.table(_MOST_PARAMS), width)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return as_html(self.table(_MOST_PARAMS))


def compare(runs: Iterable[RunLike], *, all_params: bool = False, metrics: str | None = None) -> Comparison:
    """Compares runs: the parameters that differ, and the last and the best value of each metric.

    Args:
        runs: folders of runs, names in the directory of the runs (`TRACKHOOKS_DIR`, or `runs`), directories of runs,
            or runs themselves.
        all_params: show the parameters that are the same in all runs, too.
        metrics: show the metrics whose names match, as in `"val/*"` or `"val/*,lr/0"`; by default all but
            `speed/…`, `system/…`, `best/…`, and `batch/x` where there is `train/x`.

    Raises:
        UnknownNameError: there is no such run or metric; the message holds the nearest name.
        InvalidValueError: no run is given, or something that is none.
        TrackhooksError: a run cannot be read.
    """
    if isinstance(runs, (str, os.PathLike)):
        runs = [runs]
    found = [summarize(path) for path in find(runs)]
    return compare_summaries(found, all_params, metrics)


def compare_summaries(runs: list[RunSummary], all_params: bool, metrics: str | None) -> Comparison:
    """Compares runs that have been read: see `compare`."""
    if not runs:
        raise InvalidValueError("no run to compare: trackhooks.compare(['runs/a', 'runs/b'])")
    given = [run.params for run in runs]
    one = all_params or len(runs) == 1
    params = formats.unique(name for each in given for name in each) if one else differing(given)
    return Comparison(runs, params, shown_metrics(runs) if metrics is None else _matching(runs, metrics))


def _matching(runs: list[RunSummary], patterns: str) -> list[str]:
    names = formats.unique(name for run in runs for name in run.metrics)
    found = [match for pattern in patterns.split(",") for match in _match(names, pattern.strip())]
    return formats.unique(found)


def _match(names: list[str], pattern: str) -> list[str]:
    """Brackets stand in metrics' names, not for sets of characters: `metrics/mAP50(B)`, `iou[0]`."""
    found = [name for name in names if fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))]
    if not found:
        raise unknown("metric", pattern, names)
    return found


_CellOf = Callable[[RunSummary, str], Cell]


_FACTS: dict[str, _CellOf] = {
    "status": lambda run, _: status_cell(run.status),
    "created": lambda run, _: Cell(formats.moment(run.created)),
    "duration": lambda run, _: Cell(formats.duration(run.duration)),
    "epochs": lambda run, _: Cell(str(run.epochs or "")),
    "steps": lambda run, _: Cell(str(run.steps or "")),
}


def _param(run: RunSummary, name: str) -> Cell:
    if name not in run.params:
        return Cell("")
    return Cell(formats.shortened(formats.parameter(run.params[name]), _LONGEST_VALUE))


def _last(run: RunSummary, name: str) -> Cell:
    return Cell(formats.number(run.metrics[name].last)) if name in run.metrics else Cell("")


def _best(run: RunSummary, name: str) -> str:
    metric = run.metrics.get(name)
    if metric is None or metric.best is None:
        return ""
    where = metric.best_epoch if metric.axis == "epoch" else f"step {metric.best_step}"
    return f"{formats.number(metric.best)} ({where})"
