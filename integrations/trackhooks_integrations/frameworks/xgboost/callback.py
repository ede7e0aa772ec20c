"""The callbacks that XGBoost calls. Their classes are made when they are needed, since XGBoost is not imported here."""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trackhooks.event import Scalar
from trackhooks.frameworks.interface import Runs

from ..._shared.boosting import Bridge, Call, Listener, Rounds, Score

_BEST: Mapping[str, type[int] | type[float]] = {"best_iteration": int, "best_score": float}
Log = Mapping[str, Mapping[str, list[Any]]]
"""Set → metric → the value of each round; in a cross-validation, the mean and the standard deviation of the folds."""


class _Bridge(Bridge):
    """The callback that users pass."""

    def maker(self) -> Callable[[Runs | None], Bridge]:
        """Return the function: the class is none of this module, and cannot be pickled."""
        return make_bridge

    def before_training(self, model: Any) -> Any:
        """Warn: only a call that is not recorded calls this."""
        self.records_nothing()
        return model


class _Listener(Listener):
    """Forwards a training. XGBoost passes the arguments by name, or by position."""

    def __init__(self, rounds: Rounds, call: Call) -> None:
        super().__init__(rounds)
        self._call = call
        self._first = 0

    def before_training(self, model: Any) -> Any:
        """Start the training. A booster that is trained further has rounds already."""
        call, crosses = self._call, self._call.crosses
        self._first = 0 if crosses else model.num_boosted_rounds()
        self._rounds.begin(
            None if crosses else model,
            self._first,
            call.value("num_boost_round"),
            lambda: _data_facts(call),
            lambda: {} if crosses else _facts(model),
        )
        return model

    def before_iteration(self, model: Any, epoch: int, evals_log: Log) -> bool:
        """End the round before this one, and stop if a callback of the run asked for it; else start a round."""
        self._rounds.finish_round()
        if self._rounds.stop:
            return True
        self._rounds.start_round(self._first + epoch)
        return False

    def after_iteration(self, model: Any, epoch: int, evals_log: Log) -> bool:
        """Record what was evaluated in the round."""
        self._rounds.end_round(list(_scores(evals_log, epoch)))
        return False

    def after_training(self, model: Any) -> Any:
        """End the training."""
        self._rounds.end()
        return model


def make_bridge(runs: Runs | None) -> Bridge:
    """Create a callback for users."""
    made: Bridge = _class(_Bridge)(runs)
    return made


def make_listener(rounds: Rounds, call: Call) -> Any:
    """Create a callback that forwards a training."""
    return _class(_Listener)(rounds, call)


@functools.cache
def _class(kind: type) -> type[Any]:
    base = importlib.import_module("xgboost.callback").TrainingCallback
    return type("TrackhooksCallback", (kind, base), {"__doc__": "Records what XGBoost trains into a run."})


def _scores(log: Log, epoch: int) -> Iterator[Score]:
    for name, metrics in log.items():
        for metric, values in metrics.items():
            if len(values) > epoch:
                value = values[epoch]
                mean, spread = value if isinstance(value, tuple) else (value, None)
                yield Score(name, metric, mean, spread)


def _data_facts(call: Call) -> dict[str, Scalar]:
    data = call.value("dtrain")
    return {"data/train/samples": int(data.num_row()), "data/train/features": int(data.num_col())}


def _facts(booster: Any) -> dict[str, Scalar]:
    facts: dict[str, Scalar] = {
        "model/rounds": int(booster.num_boosted_rounds()),
        "model/features": int(booster.num_features()),
    }
    trees = _trees(json.loads(booster.save_config())["learner"]["gradient_booster"])
    if trees is not None:
        facts["model/trees"] = trees
    found = booster.attributes()  # early stopping sets them
    best: dict[str, Scalar] = {
        f"model/{name}": kind(found[name]) for name, kind in _BEST.items() if name in found
    }
    return facts | best


def _trees(config: Mapping[str, Any]) -> int | None:
    """Return the number of trees; None of a linear model. Dart keeps them one level deeper."""
    found = config.get("gbtree", config).get("gbtree_model_param", {}).get("num_trees")
    return None if found is None else int(found)
