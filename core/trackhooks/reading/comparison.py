"""`compare`: compare the parameters and metrics of runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..errors import InvalidValueError
from . import formats
from .finding import RunLike, find
from .listing import param_cell
from .selection import all_params as all_params_of
from .selection import damage_notes, differing_params, matching_metrics, shown_metrics
from .summary import Metric, RunSummary, summarize
from .table import Cell, Section, Table, as_html, as_text, status_cell, terminal_width

_MOST_PARAMS = 100
"""Maximum number of parameters in a printed table."""
_LONGEST_VALUE = 40
_BEST_STYLE = "bold green"


class Comparison:
    """A comparison of runs. It prints as a table.

    Args:
        runs: the runs, one per column.
        params: the names of the parameters to show.
        metrics: the names of the metrics to show.
    """

    def __init__(self, runs: list[RunSummary], params: list[str], metrics: list[str]) -> None:
        self.runs = runs
        self.params = params
        self.metrics = metrics

    @property
    def labels(self) -> list[str]:
        """The headers of the columns: the names of the runs, or their folders if two runs have the same name."""
        names = [run.name for run in self.runs]
        if len(set(names)) == len(names):
            return names
        return [os.path.relpath(run.path) for run in self.runs]

    def to_dict(self) -> dict[str, Any]:
        """Return a dict of lists with one value per run, or None for runs that have no value.

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
        """Return `to_dict()` as JSON. NaN and infinities become `"NaN"`, `"Infinity"` and `"-Infinity"`."""
        return formats.as_json(self.to_dict())

    def to_csv(self) -> str:
        """Return one row per run as CSV.

        The columns are `param/…`, and for each metric `last/…`, `best/…` and `best_epoch/…` or `best_step/…`.
        """
        return formats.as_csv([run.to_row(self.params, self.metrics) for run in self.runs])

    def table(self, most_params: int | None = None) -> Table:
        """Return the table that is printed, with one column per run.

        Args:
            most_params: the maximum number of parameters; by default all are shown.
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
        """Return the row of the best values of a metric, with the best of all highlighted."""
        found = [run.metrics[name].best if name in run.metrics else None for run in self.runs]
        values = [value for value in found if value is not None]
        minimal = self._goal(name) == "min"
        best = (min if minimal else max)(values, default=None)
        differ = len(set(values)) > 1
        cells = [
            Cell(_best(run, name), _BEST_STYLE if differ and value == best else "")
            for run, value in zip(self.runs, found, strict=True)
        ]
        return [Cell(formats.with_goal(name, self._goal(name))), *cells]

    def _notes(self, params: list[str]) -> list[str]:
        hidden = ", ".join(self._hidden_params(params))
        notes = [f"Not shown: {hidden} (--all-params)"] if hidden else []
        return notes + damage_notes(self.runs)

    def _hidden_params(self, shown: list[str]) -> Iterator[str]:
        """Describe the parameters that are not in the table."""
        if more := len(self.params) - len(shown):
            yield formats.counted(more, "differing parameter")
        if same := len(all_params_of(self.runs)) - len(self.params):
            yield formats.counted(same, "equal parameter")

    def __str__(self) -> str:
        width = terminal_width()
        return as_text(self.table(_MOST_PARAMS), width)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return as_html(self.table(_MOST_PARAMS))


def compare(runs: Iterable[RunLike], *, all_params: bool = False, metrics: str | None = None) -> Comparison:
    """Compare runs: the parameters that differ, and the last and the best value of each metric.

    Args:
        runs: the runs to compare: folders, names of runs in `TRACKHOOKS_DIR` (by default `runs`), directories of
            runs, or run objects.
        all_params: whether to include parameters that are the same in all runs.
        metrics: a comma-separated list of patterns for the names of the metrics, such as `"val/*"` or `"val/*,lr/0"`.
            By default, all metrics are included except for `speed/…`, `system/…`, `best/…`, and `train_batch/x` if
            there is `train/x`.

    Raises:
        UnknownNameError: if a run or metric does not exist; the message suggests the nearest name.
        InvalidValueError: if no run is given, or if a value cannot name a run.
        TrackhooksError: if a run cannot be read.
    """
    if isinstance(runs, (str, os.PathLike)):
        runs = [runs]
    found = [summarize(path) for path in find(runs)]
    return compare_summaries(found, all_params, metrics)


def compare_summaries(runs: list[RunSummary], all_params: bool, metrics: str | None) -> Comparison:
    """Compare runs that are already summarized: see `compare`."""
    if not runs:
        raise InvalidValueError("there are no runs to compare. Name some: compare(['runs/a', 'runs/b'])")
    params = all_params_of(runs) if all_params or len(runs) == 1 else differing_params(runs)
    names = shown_metrics(runs) if metrics is None else matching_metrics(runs, metrics)
    return Comparison(runs, params, names)


_CellOf = Callable[[RunSummary, str], Cell]


_FACTS: dict[str, _CellOf] = {
    "status": lambda run, _: status_cell(run.status),
    "created": lambda run, _: Cell(formats.moment(run.created)),
    "duration": lambda run, _: Cell(formats.duration(run.duration)),
    "epochs": lambda run, _: Cell(str(run.epochs or "")),
    "steps": lambda run, _: Cell(str(run.steps or "")),
}


def _param(run: RunSummary, name: str) -> Cell:
    return param_cell(run, name, _LONGEST_VALUE)


def _last(run: RunSummary, name: str) -> Cell:
    return Cell(formats.number(run.metrics[name].last)) if name in run.metrics else Cell("")


def _best(run: RunSummary, name: str) -> str:
    metric = run.metrics.get(name)
    if metric is None or metric.best is None:
        return ""
    position = metric.best_epoch if metric.axis == "epoch" else f"step {metric.best_step}"
    return f"{formats.number(metric.best)} ({position})"
