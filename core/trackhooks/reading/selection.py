"""Select what a list or a comparison shows: metrics, parameters, and notes about damage."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence

from ..errors import unknown
from ..event import Scalar
from ..hooks.metric_goals import OF_TRAIN_BATCHES
from . import formats
from .summary import RunSummary

HIDDEN = ("speed/", "best/", "system/")
"""Prefixes of metrics that are only shown on request; `best/…` repeats the best values of other metrics."""


def shown_metrics(runs: Sequence[RunSummary]) -> list[str]:
    """Return the names of the metrics to show by default.

    `train_batch/x` is left out if there is `train/x`, its mean over the epoch.
    """
    names = all_metrics(runs)
    known = set(names)
    means = [name[6:] for name in known if name.startswith("train/")]
    repeated = {f"{prefix}{name}" for prefix in OF_TRAIN_BATCHES for name in means}
    return [name for name in names if not name.startswith(HIDDEN) and name not in repeated]


def matching_metrics(runs: Sequence[RunSummary], patterns: str) -> list[str]:
    """Return the names of the metrics that match comma-separated patterns, such as `"val/*,lr/0"`.

    Raises:
        UnknownNameError: if a pattern matches no metric.
    """
    names = all_metrics(runs)
    found = [match for pattern in patterns.split(",") for match in _match(names, pattern.strip())]
    return formats.unique(found)


def all_metrics(runs: Iterable[RunSummary]) -> list[str]:
    """Return the names of all metrics of the runs."""
    return formats.unique(name for run in runs for name in run.metrics)


def _match(names: list[str], pattern: str) -> list[str]:
    # Metrics have brackets in their names, such as `iou[0]`: they are not sets of characters.
    found = [name for name in names if fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))]
    if not found:
        raise unknown("metric", pattern, names)
    return found


def all_params(runs: Iterable[RunSummary]) -> list[str]:
    """Return the names of all parameters of the runs."""
    return formats.unique(name for run in runs for name in run.params)


def differing_params(runs: Sequence[RunSummary]) -> list[str]:
    """Return the names of the parameters that are not the same in all runs."""
    return [
        name
        for name in all_params(runs)
        if not all(_is_same(run.params, runs[0].params, name) for run in runs)
    ]


def _is_same(one: dict[str, Scalar], other: dict[str, Scalar], name: str) -> bool:
    if name not in one or name not in other:
        return False
    return one[name] == other[name] or str(one[name]) == str(other[name])  # NaN is the same as NaN


def damage_notes(runs: Iterable[RunSummary]) -> list[str]:
    """Return a line that names the runs with a damaged journal, if there are any."""
    damaged = [formats.plain(run.name) for run in runs if run.journal.damage]
    return [f"Damaged journals: {', '.join(damaged)}. For details, run: trackhooks doctor"] if damaged else []
