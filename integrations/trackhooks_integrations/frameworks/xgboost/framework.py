"""Implementation of `enable` and `run.callback` for XGBoost: `train`, `cv`, and the estimators, which call `train`.

XGBoost is never imported here: a program that trains with it has already imported it.
"""

from __future__ import annotations

from typing import Any

from trackhooks.frameworks.interface import Runs

from ..._shared.boosting import Boosting, Bridge, Call, Rounds
from .callback import make_bridge, make_listener


class XGBoost(Boosting):
    """The integration of XGBoost (implements `Framework`)."""

    package = "xgboost"
    loop = "an XGBoost model"
    modules = ("xgboost.training", "xgboost", "xgboost.sklearn")
    continues = "xgb_model"

    def bridge(self, runs: Runs) -> Bridge:
        """Return a `TrainingCallback`."""
        return make_bridge(runs)

    def listeners(self, rounds: Rounds, call: Call) -> list[Any]:
        """Return the one callback, which comes first: XGBoost skips the others after one that stops the training."""
        return [make_listener(rounds, call)]

    def train_sets(self, call: Call) -> set[str]:
        """Return the names of the sets in `evals` that are `dtrain`."""
        data = call.value("dtrain")
        return {name for found, name in call.value("evals") or () if found is data}
