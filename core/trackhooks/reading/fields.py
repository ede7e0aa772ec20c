"""Find a value of a run by its name, as filters, sorting and grouping use it.

| Name | Value |
|---|---|
| `name`, `project`, `group`, `status`, `created`, `duration`, `epochs`, `steps`, `tag` | a field of the run |
| `params.lr` | a parameter |
| `best.val/loss`, `last.val/loss` | the best or the last value of a metric |
| `facts.model/parameters` | a fact about the model or the optimizer |
| `environment.git/commit` | an entry of the environment |
| `lr`, `val/loss` | a parameter, or the best value of a metric (the last one, if it has no best value) |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from ..errors import unknown
from ..hooks.metric_goals import Goal
from .differences import value_of
from .summary import Metric, RunSummary

FALLING = ("created", "duration", "epochs", "steps")
"""Fields that are sorted from the largest to the smallest."""
TEXTS = ("name", "project", "status", "group")
"""Fields that are strings."""


class Field(NamedTuple):
    """A value that runs have."""

    read: Callable[[RunSummary], Any]
    """Returns the value of a run; None if the run has none. The value of `tag` is a list."""
    goal: Goal = ""
    """`"min"` or `"max"`, if one end is better; otherwise empty."""
    parse: Callable[[str], float] | None = None
    """Converts a string that a filter compares with the value."""


def find(runs: Sequence[RunSummary], name: str) -> Field:
    """Return the field, parameter or metric with this name.

    Raises:
        UnknownNameError: if no run has it; the message suggests the nearest name.
    """
    for candidate in (_fixed(name), _metric(runs, name, _rating), _param(runs, name), _prefixed(runs, name)):
        if candidate is not None:
            return candidate
    if not runs:
        return Field(lambda run: None)
    raise unknown("field, metric or parameter", name, _known(runs, name))


def _fixed(name: str) -> Field | None:
    if name == "tag":
        return Field(lambda run: run.tags)
    if name == "created":
        return Field(lambda run: run.created, parse=_moment)
    if name in FALLING or name in TEXTS:
        return Field(lambda run: getattr(run, name))
    return None


def _prefixed(runs: Sequence[RunSummary], name: str) -> Field | None:
    kind, _, rest = name.partition(".")
    if kind in ("best", "last"):
        return _metric(runs, rest, lambda metric: getattr(metric, kind))
    if kind == "params":
        return _param(runs, rest)
    if kind in _TABLES:
        read = _TABLES[kind]
        return Field(lambda run: read(run).get(rest)) if any(rest in read(run) for run in runs) else None
    return None


_TABLES: dict[str, Callable[[RunSummary], Mapping[str, Any]]] = {
    "facts": lambda run: run.facts,
    "environment": lambda run: run.info.environment,
}


def _param(runs: Iterable[RunSummary], name: str) -> Field | None:
    if not any(name in run.params for run in runs):
        return None
    return Field(lambda run: value_of(run, name))


def _metric(runs: Iterable[RunSummary], name: str, read: Callable[[Metric], Any]) -> Field | None:
    found = next((run.metrics[name] for run in runs if name in run.metrics), None)
    if found is None:
        return None
    return Field(lambda run: read(run.metrics[name]) if name in run.metrics else None, found.goal)


def _rating(metric: Metric) -> float | None:
    return metric.best if metric.goal else metric.last


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _known(runs: Sequence[RunSummary], name: str) -> set[str]:
    """Return the names that an unknown one may be a misspelling of, with its prefix if it has one."""
    params = {found for run in runs for found in run.params}
    metrics = {found for run in runs for found in run.metrics}
    prefixed = {
        "params": params,
        "best": metrics,
        "last": metrics,
        **{kind: {found for run in runs for found in read(run)} for kind, read in _TABLES.items()},
    }
    kind, dot, _ = name.partition(".")
    if dot and kind in prefixed:
        return {f"{kind}.{found}" for found in prefixed[kind]}
    return params | metrics | {*FALLING, *TEXTS, "tag"}
