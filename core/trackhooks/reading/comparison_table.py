"""The table of a comparison: one column per run, or one row per run if there are many."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..event import Scalar
from ..hooks.metric_goals import Goal
from ..storage.patches import Change
from . import formats
from .compared import Compared
from .differences import all_params, block_of, block_of_fact, is_equal
from .groups import Column, Spread, Which
from .selection import damage_notes
from .table import Cell, Section, Table, status_cell

_MOST_COLUMNS = 6
"""Maximum number of runs that are columns."""
_LONGEST_VALUE = 40
_MOST_FILES = 10
_MOST_PARTINGS = 8
_COMMIT = 10
"""Number of characters of a commit that are shown."""
_BEST, _BETTER, _WORSE = "bold green", "green", "red"
_MARK = "*"
"""Follows the best value of a row."""


class Line(NamedTuple):
    """One parameter, metric or field of all runs: a row or a column of the table."""

    title: str
    cells: list[Cell]


def table_of(comparison: Compared, most_params: int | None) -> Table:
    """Return the table of a comparison, with at most this number of parameters."""
    params = comparison.params[:most_params]
    if len(comparison.columns) > _MOST_COLUMNS:
        return _runs_as_rows(comparison, params)
    return _runs_as_columns(comparison, params)


def _runs_as_columns(of: Compared, params: Sequence[str]) -> Table:
    blocks = {"": _facts(of), "parameters": _params(of, params)}
    if of.at:
        blocks[f"at the best {formats.plain(of.at)}"] = [_moment(of), *_metrics(of, "last")]
    else:
        blocks |= {"best (at epoch)": _metrics(of, "best"), "last": _metrics(of, "last")}
    blocks |= {"curves part at": _partings(of), **_differences(of)}
    sections = [
        Section(title, [[Cell(line.title), *line.cells] for line in lines])
        for title, lines in blocks.items()
        if lines
    ]
    return Table(["", *_headers(of)], sections, _notes(of, params, sections, "row"), wraps=True)


def _runs_as_rows(of: Compared, params: Sequence[str]) -> Table:
    metrics = [_moment(of), *_metrics(of, "last")] if of.at else _ratings(of)
    facts = [line for line in _facts(of) if line.title == "status" or len(set(line.cells)) > 1]
    differences = itertools.chain(*_differences(of).values())
    every = [*_params(of, params), *metrics, *_partings(of), *differences, *facts]
    lines = [line for line in every if any(cell.text for cell in line.cells)]
    heads = _headers(of)
    rows = [
        [Cell(head, "bold"), *(line.cells[number] for line in lines)] for number, head in enumerate(heads)
    ]
    sections = [Section("", rows)]
    header = ["run", *(line.title for line in lines)]
    return Table(header, sections, _notes(of, params, sections, "column"), wraps=True)


def _headers(of: Compared) -> list[str]:
    return [formats.plain(column.label) + _remark(of, column) for column in of.columns]


def _remark(of: Compared, column: Column) -> str:
    size = f"n={len(column.runs)}" if column.run is None else ""
    remark = ", ".join(filter(None, [size, "baseline" if column is of.baseline else ""]))
    return f" ({remark})" if remark else ""


# Lines


def _line(of: Compared, title: str, read: Callable[[Column], Cell]) -> Line:
    return Line(formats.plain(title), [read(column) for column in of.columns])


def _facts(of: Compared) -> list[Line]:
    """Return the lines of status, time and length."""
    names = {
        "status": True,
        "created": True,
        "duration": True,
        "epochs": any(run.epochs for run in of.runs),
        "steps": not all(run.epochs for run in of.runs),
    }
    return [_line(of, name, _FACTS[name]) for name, shown in names.items() if shown]


_FACTS: dict[str, Callable[[Column], Cell]] = {
    "status": lambda column: status_cell(column.status, {run.status for run in column.runs}),
    "created": lambda column: Cell(formats.moment(max(run.created for run in column.runs))),
    "duration": lambda column: Cell(formats.duration(column.field("duration"))),
    "epochs": lambda column: Cell(formats.number(float(column.field("epochs")) or None)),
    "steps": lambda column: Cell(formats.number(float(column.field("steps")) or None)),
}


def _params(of: Compared, names: Sequence[str]) -> list[Line]:
    return [_line(of, name, lambda column, name=name: _values(column.param(name))) for name in names]  # type: ignore[misc]


def _differences(of: Compared) -> dict[str, list[Line]]:
    """Return the lines of what differs besides the parameters, in blocks."""
    blocks: dict[str, list[Line]] = {"model and optimizer": [], "data": [], "code": []}
    for name in of.shown.environment:
        blocks.setdefault(block_of(name), []).append(_environment(of, name))
    for name in of.shown.facts:
        if name != "code/patch" or not of.uncommitted:  # the lines of the files say more than the hash
            blocks[block_of_fact(name)].append(*_params(of, [name]))
    blocks["code"] += _uncommitted(of)
    return blocks


def _environment(of: Compared, name: str) -> Line:
    return _line(of, name.removeprefix("package/"), lambda column: _environment_cell(column, name))


def _uncommitted(of: Compared) -> list[Line]:
    """Return a line for each file whose uncommitted changes differ."""
    changes = list(of.uncommitted.items())
    lines = [
        Line(formats.plain(name), [Cell(_change(change, row[0])) for change in row])
        for name, row in changes[:_MOST_FILES]
    ]
    if hidden := len(changes) - len(lines):
        lines.append(Line(f"and {formats.counted(hidden, 'file')} more", [Cell("…")] * len(of.columns)))
    return lines


def _change(change: Change | None, first: Change | None) -> str:
    if change is None:
        return ""
    is_other = first is not None and str(change) == str(first) and change != first
    return f"{change} (other lines)" if is_other else str(change)


def _partings(of: Compared) -> list[Line]:
    """Return a line for each metric: the first step or epoch at which it differs from that of the first run."""
    found = [{parting.metric: str(parting) for parting in of_run} for of_run in of.partings]
    names = formats.unique(name for by_name in found for name in by_name)
    return [
        Line(formats.plain(name), [Cell(by_name.get(name, "")) for by_name in found])
        for name in names[:_MOST_PARTINGS]
    ]


def _environment_cell(column: Column, name: str) -> Cell:
    values = column.environment(name)
    if name == "git/commit":
        values = [str(value)[:_COMMIT] for value in values]
    return _values(values)


def _values(values: Sequence[Scalar]) -> Cell:
    return Cell(formats.shortened(", ".join(map(formats.parameter, values)), _LONGEST_VALUE))


def _moment(of: Compared) -> Line:
    """Return the line of the epochs of `at`, or of the steps if the metric is logged over steps."""
    name = of.at
    axis = next(run.metrics[name].axis for run in of.runs if name in run.metrics)

    def place(column: Column) -> Cell:
        found = [getattr(run.metrics[name], axis) for run in column.runs if name in run.metrics]
        return Cell(", ".join(map(str, found)))

    return _line(of, axis, place)


# Metrics


def _metrics(of: Compared, which: Which) -> list[Line]:
    """Return the lines of the last values, or of the best values of the metrics that have one."""
    names = [name for name in of.metrics if which == "last" or _goal(of, name)]
    return [_metric(of, name, which) for name in names]


def _ratings(of: Compared) -> list[Line]:
    """Return a line for each metric: its best value, or its last one if it has no best value."""
    return [_metric(of, name, "best" if _goal(of, name) else "last") for name in of.metrics]


def _goal(of: Compared, name: str) -> Goal:
    return next((run.metrics[name].goal for run in of.runs if name in run.metrics), "")


def _metric(of: Compared, name: str, which: Which) -> Line:
    goal = _goal(of, name)
    found = [column.spread(name, which) for column in of.columns]
    best = _best_of(found, goal)
    cells = [
        _metric_cell(column, name, which, value, change, _style(goal, value, best, change))
        for column, value, change in zip(of.columns, found, of.changes(name, which), strict=True)
    ]
    return Line(formats.with_goal(name, goal), cells)


def _style(goal: Goal, value: Spread | None, best: float | None, change: float | None) -> str:
    """Return the style of a value: whether it is the best, or better or worse than the baseline."""
    if value is not None and value.mean == best:
        return _BEST
    if not goal or not change:
        return ""
    return _BETTER if (change < 0) == (goal == "min") else _WORSE


def _best_of(found: Sequence[Spread | None], goal: Goal) -> float | None:
    """Return the best mean, unless all are the same or there is nothing to compare."""
    values = [value.mean for value in found if value is not None and value.mean == value.mean]
    if not goal or len(set(values)) < 2:
        return None
    return min(values) if goal == "min" else max(values)


def _metric_cell(
    column: Column, name: str, which: Which, value: Spread | None, change: float | None, style: str
) -> Cell:
    if value is None:
        return Cell("")
    parts = [
        formats.spread(value.mean, value.std),
        f"n={value.n}" if value.n != len(column.runs) else "",
        _position(column, name, which),
        formats.percent(change),
        _MARK if style == _BEST else "",
    ]
    return Cell(" ".join(filter(None, parts)), style)


def _position(column: Column, name: str, which: Which) -> str:
    """Return the epoch or the step of the best value of a run."""
    if which == "last" or column.run is None:
        return ""
    return f"({column.run.metrics[name].best_place})"


# Notes


def _notes(of: Compared, params: Sequence[str], sections: Sequence[Section], direction: str) -> list[str]:
    notes = []
    if any(cell.style == _BEST for section in sections for row in section.rows for cell in row):
        notes.append(f"{_MARK} the best of its {direction}")
    if _has_groups(of):
        notes.append("mean ± standard deviation of n runs. Each run: --group-by none (group_by=None)")
    if hidden := _hidden_params(of, params):
        notes.append(f"Not shown: {hidden} (--all-params)")
    return notes + damage_notes(of.runs)


def _has_groups(of: Compared) -> bool:
    return any(column.run is None for column in of.columns)


def _hidden_params(of: Compared, shown: Sequence[str]) -> str:
    """Describe the parameters that are not in the table."""
    runs, named = of.runs, {*of.params, *of.shown.facts}
    hidden = [name for name in all_params(runs) if name not in named]
    equal = sum(is_equal(runs, name) for name in hidden) if len(runs) > 1 else 0
    counts = {
        "differing parameter": len(of.params) - len(shown),
        "equal parameter": equal,
        "default, generated or repeated value": len(hidden) - equal,
    }
    return ", ".join(formats.counted(count, noun) for noun, count in counts.items() if count)
