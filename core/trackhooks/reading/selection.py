"""Select the metrics that a list or a comparison shows, and the notes about damage."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence

from ..errors import unknown
from ..hooks.metric_goals import OF_TRAIN_BATCHES
from . import formats
from .differences import all_params, is_learning_rate
from .summary import RunSummary

HIDDEN = ("speed/", "best/", "system/")
"""Prefixes of metrics that are only shown on request; `best/…` repeats the best values of other metrics."""
_IMPORTANT = (
    ("fitness",), ("metrics/",), ("val/",), ("test/",), (), ("train/",), OF_TRAIN_BATCHES, ("lr/",),
)  # fmt: skip
"""Prefixes of metrics, the most important first. The empty one is the place of all others."""
_OTHERS = _IMPORTANT.index(())
_MOST_NAMES = 20
"""Number of runs that a note names."""


def shown_metrics(runs: Sequence[RunSummary]) -> list[str]:
    """Return the names of the metrics to show by default, the most important first.

    `train_batch/x` is left out if there is `train/x`, its mean over the epoch, and `lr/…` if a parameter has the
    learning rate.
    """
    names = all_metrics(runs)
    means = [name[6:] for name in names if name.startswith("train/")]
    repeated = {f"{prefix}{name}" for prefix in OF_TRAIN_BATCHES for name in means}
    hidden = (*HIDDEN, "lr/") if any(map(is_learning_rate, all_params(runs))) else HIDDEN
    shown = [name for name in names if not name.startswith(hidden) and name not in repeated]
    return sorted(shown, key=importance)


def is_hidden(name: str) -> bool:
    """Return whether a metric is only shown on request."""
    return name.startswith(HIDDEN)


def importance(name: str) -> tuple[int, bool]:
    """Return the sort key of a metric: the most important ones first, and a loss before those that it is the sum of."""
    found = (rank for rank, prefixes in enumerate(_IMPORTANT) if name.startswith(prefixes))
    return next(found, _OTHERS), name.endswith("_loss")


def matching_metrics(runs: Sequence[RunSummary], patterns: str) -> list[str]:
    """Return the names of the metrics that match comma-separated patterns, such as `"val/*,lr/0"`.

    Raises:
        UnknownNameError: if a pattern matches no metric.
    """
    return matching(all_metrics(runs), patterns, "metric")


def matching(names: Sequence[str], patterns: str, kind: str) -> list[str]:
    """Return the names that match comma-separated patterns, in the order of the patterns.

    Raises:
        UnknownNameError: if a pattern matches none of the names; `kind` says what they are for.
    """
    found: list[str] = []
    for pattern in _patterns(patterns):
        matches = list(filter(matcher(pattern), names))
        if not matches:
            raise unknown(kind, pattern, names)
        found += matches
    return formats.unique(found)


def matcher(patterns: str) -> Callable[[str], bool]:
    """Return a function that decides whether a name matches one of the comma-separated patterns."""
    # Metrics have brackets in their names, such as `iou[0]`: they are not sets of characters.
    every = [fnmatch.translate(pattern.replace("[", "[[]")) for pattern in _patterns(patterns)]
    found = re.compile("|".join(every)).match
    return lambda name: found(name) is not None


def wants_system(patterns: str) -> bool:
    """Return whether comma-separated patterns ask for the measurements of the machine, `system/…`."""
    return any(pattern.startswith("system") for pattern in _patterns(patterns))


def _patterns(patterns: str) -> list[str]:
    return [pattern.strip() for pattern in patterns.split(",")]


def all_metrics(runs: Iterable[RunSummary]) -> list[str]:
    """Return the names of all metrics of the runs."""
    return formats.unique(name for run in runs for name in run.metrics)


def damage_notes(runs: Iterable[RunSummary]) -> list[str]:
    """Return a line that names the runs with a damaged journal, if there are any; not all if they are many."""
    damaged = [formats.plain(run.name) for run in runs if run.journal.damage]
    more = [f"and {len(damaged) - _MOST_NAMES:,} more"] if len(damaged) > _MOST_NAMES else []
    names = ", ".join([*damaged[:_MOST_NAMES], *more])
    return [f"Damaged journals: {names}. For details, run: trackhooks doctor"] if damaged else []
