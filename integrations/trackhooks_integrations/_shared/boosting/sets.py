"""The recorded names of what is evaluated in a round.

- The set that is the training data itself, or is called `train` or `training`, is `train/…`.
- Of the others, the validation set is `val/…`: the one that is called `val`, `valid`, `validation`, `eval` or `dev`, or
  else the last one.
- Further sets keep their names: `holdout/…`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

_TRAIN = frozenset({"train", "training"})
_VALIDATION = frozenset({"val", "valid", "validation", "eval", "dev"})


class Score(NamedTuple):
    """One metric of one set."""

    set: str
    """The name of the set."""
    metric: str
    value: Any
    spread: Any = None
    """The standard deviation over the folds of a cross-validation."""


def metrics_of(scores: Sequence[Score], train: Iterable[str]) -> dict[str, Any]:
    """Return the metrics of a round under their recorded names.

    Args:
        scores: in the order of the sets.
        train: the names of sets that are the training data itself.
    """
    prefixes = _prefixes(dict.fromkeys(score.set for score in scores), {*train, *_TRAIN})
    found: dict[str, Any] = {}
    for score in scores:
        name = f"{prefixes[score.set]}/{score.metric}"
        found[name] = score.value
        if score.spread is not None:
            found[f"{name}_std"] = score.spread
    return found


def _prefixes(sets: Iterable[str], train: set[str]) -> dict[str, str]:
    prefixes = {name: "train" if name in train else name for name in sets}
    others = [name for name, prefix in prefixes.items() if prefix != "train"]
    validation = next(
        (name for name in others if str(name).lower() in _VALIDATION), others[-1] if others else None
    )
    if validation is not None:
        prefixes[validation] = "val"
    return prefixes
