"""`Column`: what a comparison shows side by side: a run, or a group of runs with their means."""

from __future__ import annotations

import itertools
import math
import os
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

from ..errors import InvalidValueError
from ..event import RunInfo, Scalar
from . import fields, formats
from .differences import (
    all_params,
    differing_facts,
    differing_params,
    environment_of,
    is_seed,
    separates_seeds,
    value_of,
)
from .summary import RunSummary

Which = Literal["last", "best"]

SEEDS = "auto"
"""The value of `group_by` that groups runs that differ only in their seed."""
_MOST_IN_LABEL = 3
_ABSENT = object()


class Spread(NamedTuple):
    """A value of a run, or the mean of a group."""

    mean: float
    std: float | None
    """The sample standard deviation; None for fewer than two values."""
    n: int
    """The number of values."""


class Column:
    """A run, or a group of runs.

    Args:
        label: the header of the column.
        runs: the runs; a single run is not a group.
    """

    def __init__(self, label: str, runs: Sequence[RunSummary]) -> None:
        self.label = label
        self.runs = list(runs)

    @property
    def run(self) -> RunSummary | None:
        """The run, or None for a group."""
        return self.runs[0] if len(self.runs) == 1 else None

    def spread(self, metric: str, which: Which) -> Spread | None:
        """Return the last or the best value of a metric; None if no run has it."""
        found = [getattr(run.metrics[metric], which) for run in self.runs if metric in run.metrics]
        values = [value for value in found if value is not None]
        return spread(values) if values else None

    def param(self, name: str) -> list[Scalar]:
        """Return the values of a parameter, without duplicates and without runs that do not have it."""
        found = [value_of(run, name, _ABSENT) for run in self.runs]
        return _distinct(value for value in found if value is not _ABSENT)

    def environment(self, name: str) -> list[Scalar]:
        """Return the values of an entry of the environment, without duplicates and without runs that lack it."""
        found = [environment_of(run).get(name) for run in self.runs]
        return _distinct(value for value in found if value is not None)

    def field(self, name: str) -> Any:
        """Return a field of a run that is a number, or its mean in a group."""
        values = [getattr(run, name) for run in self.runs]
        return values[0] if len(values) == 1 else statistics.fmean(values)

    @property
    def status(self) -> str:
        """The status of a run, or those of a group with their numbers, such as `2 finished, 1 failed`."""
        if self.run is not None:
            return self.run.status
        counts = Counter(run.status for run in self.runs)
        return ", ".join(f"{count} {status}" for status, count in counts.most_common())

    def to_row(self, params: Iterable[str], metrics: Iterable[str]) -> dict[str, Any]:
        """Return one row of a table. That of a group has the means, and their standard deviations as `…_std`."""
        if self.run is not None:
            return self.run.to_row(params, metrics)
        row = {"name": self.label, "n": len(self.runs), "status": self.status}
        row |= {f"param/{name}": _only(self.param(name)) for name in params if self.param(name)}
        for name in metrics:
            row |= self._metric_row(name, "last") | self._metric_row(name, "best")
        return row

    def _metric_row(self, name: str, which: Which) -> dict[str, Any]:
        found = self.spread(name, which)
        return {} if found is None else {f"{which}/{name}": found.mean, f"{which}_std/{name}": found.std}


def spread(values: Sequence[float]) -> Spread:
    """Return the mean and the sample standard deviation. Neither is a number if the values have no finite mean."""
    n = len(values)
    if not all(map(math.isfinite, values)):
        return Spread(sum(values) / n, None if n == 1 else math.nan, n)
    return Spread(statistics.fmean(values), statistics.stdev(values) if n > 1 else None, n)


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list({str(value): value for value in values}.values())


def _only(values: Sequence[Scalar]) -> Scalar:
    return values[0] if len(values) == 1 else ", ".join(map(formats.parameter, values))


def columns(runs: Sequence[RunSummary], group_by: str | Sequence[str] | None) -> list[Column]:
    """Return the runs as columns, in the same order; a group is at the place of its first run.

    Args:
        runs: the runs.
        group_by: the names of the values that the runs of a group share, separated by commas or as a list; `"auto"`
            for groups of runs that differ only in their seed, if there are more than two runs; None or `"none"` for no
            groups.

    Raises:
        UnknownNameError: if no run has such a value.
        InvalidValueError: if `group_by` is neither a string nor a list of strings.
    """
    if group_by == SEEDS:
        return _by_seed(runs)
    names = _names(group_by)
    if not names:
        return _singles(runs)
    found = [fields.find(runs, name) for name in names]
    groups = _grouped(runs, lambda run: tuple(_text(field.read(run)) for field in found))
    labels = (_label(zip(names, key, strict=True)) for key in groups)
    return [Column(label, members) for label, members in zip(labels, groups.values(), strict=True)]


def _names(group_by: Any) -> list[str]:
    """Return the names by which runs are grouped; an empty list if they are not."""
    if group_by is None or group_by == "none":
        return []
    names = group_by.split(",") if isinstance(group_by, str) else group_by
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise InvalidValueError(
            f"group_by must be names of parameters or fields, 'auto' or None, got {type(group_by).__name__}."
        )
    return [name.strip() for name in names if name.strip()]


def _text(value: Any) -> str:
    return (
        "none" if value is None else ", ".join(value) if isinstance(value, list) else formats.parameter(value)
    )


def _grouped(
    runs: Iterable[RunSummary], key: Callable[[RunSummary], tuple[str, ...]]
) -> dict[tuple[str, ...], list[RunSummary]]:
    groups: dict[tuple[str, ...], list[RunSummary]] = defaultdict(list)
    for run in runs:
        groups[key(run)].append(run)
    return groups


def _label(pairs: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name.removeprefix('params.')}={value}" for name, value in pairs)


def _singles(runs: Sequence[RunSummary]) -> list[Column]:
    """Return a column for each run."""
    return [Column(label, [run]) for label, run in zip(labels(runs), runs, strict=True)]


def labels(runs: Sequence[RunSummary | RunInfo]) -> list[str]:
    """Return the names of runs. If two have the same name, all are labeled by their folders."""
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [os.path.relpath(run.path) for run in runs]


def _by_seed(runs: Sequence[RunSummary]) -> list[Column]:
    """Group the runs that differ only in their seed. Two runs stay two: else there would be nothing to compare."""
    seeds = [name for name in all_params(runs) if is_seed(name)]
    if not seeds or len(runs) <= 2:
        return _singles(runs)
    params = [name for name in differing_params(runs) if name not in seeds]
    names = params + [name for name in differing_facts(runs) if separates_seeds(name)]
    groups = _grouped(runs, lambda run: tuple(_value(run, name) for name in names))
    singles = {id(column.runs[0]): column for column in _singles(runs)}
    found: list[Column] = []
    for key, members in groups.items():
        if len({tuple(_value(run, seed) for seed in seeds) for run in members}) > 1:
            found.append(Column(_group_label(members, params, key), members))
        else:
            found += [singles[id(run)] for run in members]
    return found


def _value(run: RunSummary, name: str) -> str:
    value = value_of(run, name, _ABSENT)
    return "" if value is _ABSENT else formats.parameter(value)


def _group_label(members: Sequence[RunSummary], params: Sequence[str], key: Sequence[str]) -> str:
    """Return what distinguishes the group from others, or what the names of its runs have in common."""
    if 0 < len(params) <= _MOST_IN_LABEL:
        return _label(zip(params, key, strict=False))
    parts = zip(*(re.split(r"[-_, ]", run.name) for run in members), strict=False)
    common = itertools.takewhile(lambda part: len(set(part)) == 1, parts)
    return "-".join(part[0] for part in common) or f"{members[0].name} and {len(members) - 1} more"
