"""Implementation of `enable` and `run.callback` for LightGBM: `train`, `cv`, and the estimators, which call `train`.

LightGBM is never imported here: a program that trains with it has already imported it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trackhooks.frameworks.interface import Runs

from ..._shared.boosting import Boosting, Bridge, Call, Rounds
from .callback import LightGBMCallback, listeners


class LightGBM(Boosting):
    """The integration of LightGBM (implements `Framework`)."""

    package = "lightgbm"
    loop = "a LightGBM model"
    modules = ("lightgbm.engine", "lightgbm", "lightgbm.sklearn")
    continues = "init_model"

    def bridge(self, runs: Runs) -> Bridge:
        """Return a function with an `order`, as LightGBM calls it."""
        return LightGBMCallback(runs)

    def listeners(self, rounds: Rounds, call: Call) -> list[Any]:
        """Return callbacks that come before and after all others."""
        return listeners(rounds, call)

    def train_sets(self, call: Call) -> set[str]:
        """Return the names of the sets in `valid_sets` that are `train_set`."""
        return set(_train_sets(call))


def _train_sets(call: Call) -> Iterator[str]:
    sets, names = call.value("valid_sets") or (), call.value("valid_names") or ()
    sets = sets if isinstance(sets, (list, tuple)) else [sets]
    names = [names] if isinstance(names, str) else list(names)
    for number, found in enumerate(sets):
        if found is call.value("train_set"):
            yield names[number] if number < len(names) else "training"
