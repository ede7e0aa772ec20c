"""The table of runs: exact values, with what is needed to sort and to mark the best ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ...hooks.metric_goals import Goal
from .. import formats
from ..compared import Compared
from ..differences import value_of
from ..summary import RunSummary

_EXACT = 2**53
"""Integers up to this one are exact in JavaScript."""
_MOST_PARAMS, _MOST_METRICS = 100, 50

Json = Any
"""What JSON can hold."""


class Column(NamedTuple):
    """A column of the table."""

    title: str
    kind: str
    """`"text"`, `"number"`, `"duration"` or `"moment"`."""
    block: str
    """What the columns next to each other have in common: `"best"`, `"last"`, …"""
    goal: str
    read: Callable[[RunSummary], Any]


def table(of: Compared) -> dict[str, Json]:
    """Return the columns and the rows of the table."""
    columns = [*_params(of), *_metrics(of), *_FIELDS]
    rows = [[cell(column.read(run)) for column in columns] for run in of.runs]
    filled = [number for number in range(len(columns)) if any(row[number] is not None for row in rows)]
    return {
        "columns": [
            {
                "title": formats.plain(column.title),
                "kind": column.kind,
                "block": column.block,
                "goal": column.goal,
            }
            for column in (columns[number] for number in filled)
        ],
        "rows": [[row[number] for number in filled] for row in rows],
    }


def cell(value: Any) -> Json:
    """Return a value as JSON. Numbers that JavaScript cannot hold are pairs of their text and a number to sort by."""
    if value is None or isinstance(value, bool):
        return None if value is None else str(value)
    if isinstance(value, int) and abs(value) > _EXACT:
        return [str(value), math.copysign(min(abs(value), 10**300), value)]
    if isinstance(value, float) and not math.isfinite(value):
        return [str(value), None if value != value else math.copysign(1.7e308, value)]
    return value if isinstance(value, (int, float)) else formats.plain(str(value))


def _params(of: Compared) -> list[Column]:
    def column(name: str) -> Column:
        return Column(name, "number", "parameters", "", lambda run: value_of(run, name))

    return [column(name) for name in of.params[:_MOST_PARAMS]]


def _metrics(of: Compared) -> list[Column]:
    def column(name: str, which: str, goal: str) -> Column:
        def read(run: RunSummary) -> float | None:
            return getattr(run.metrics[name], which) if name in run.metrics else None

        return Column(name, "number", which, goal, read)

    names = of.metrics[:_MOST_METRICS]
    goals = {name: goal_of(of.runs, name) for name in names}
    best = [column(name, "best", goals[name]) for name in names if goals[name]]
    return best + [column(name, "last", goals[name]) for name in names]


def goal_of(runs: Sequence[RunSummary], name: str) -> Goal:
    """Return whether the lowest (`"min"`) or the highest (`"max"`) value of a metric is the best; empty if neither."""
    return next((run.metrics[name].goal for run in runs if name in run.metrics), "")


_FIELDS = (
    Column("epochs", "number", "run", "", lambda run: run.epochs or None),
    Column("steps", "number", "run", "", lambda run: run.steps or None),
    Column("duration", "duration", "run", "", lambda run: run.duration),
    Column("created", "moment", "run", "", lambda run: run.created),
)
