"""The callbacks that LightGBM calls.

They are sorted by their `order`, which must be an attribute of the object, not of its class: otherwise LightGBM sets it
to the place in the list. Early stopping has 30, and raises, so that later callbacks do not hear the last round.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

from trackhooks.event import Scalar

from ..._shared.boosting import Bridge, Call, Listener, Rounds, Score


class LightGBMCallback(Bridge):
    """The callback that users pass."""

    before_iteration = True

    def __call__(self, env: Any) -> None:
        """Warn at the first round: only a call that is not recorded calls this."""
        if env.iteration == env.begin_iteration:
            self.records_nothing()


class _Start(Listener):
    """Comes first before each round."""

    before_iteration = True

    def __init__(self, rounds: Rounds, call: Call) -> None:
        super().__init__(rounds)
        self.order = -math.inf
        self._call = call

    def __call__(self, env: Any) -> None:
        call, booster = self._call, None if self._call.crosses else env.model
        if not self._rounds.begun:
            self._rounds.begin(
                booster,
                env.begin_iteration,
                env.end_iteration - env.begin_iteration,
                lambda: _data_facts(call),
                lambda: {} if booster is None else _facts(booster),
            )
        self._rounds.start_round(env.iteration)


class _End(Listener):
    """Comes first after each round: early stopping must not hide its metrics."""

    before_iteration = False

    def __init__(self, rounds: Rounds) -> None:
        super().__init__(rounds)
        self.order = -math.inf

    def __call__(self, env: Any) -> None:
        self._rounds.end_round([_score(*found) for found in env.evaluation_result_list or ()])


class _Last(Listener):
    """Comes last after each round that no other callback has stopped."""

    before_iteration = False

    def __init__(self, rounds: Rounds) -> None:
        super().__init__(rounds)
        self.order = math.inf

    def __call__(self, env: Any) -> None:
        self._rounds.finish_round()
        if self._rounds.stop:
            stopped = importlib.import_module("lightgbm.callback").EarlyStopException
            raise stopped(env.iteration, env.evaluation_result_list or [])


def listeners(rounds: Rounds, call: Call) -> list[Any]:
    """Create the callbacks that forward a training."""
    return [_Start(rounds, call), _End(rounds), _Last(rounds)]


def _score(name: str, metric: str, value: Any, _: bool, spread: Any = None) -> Score:
    """Return what was evaluated. Before LightGBM 4, the set of a cross-validation was a part of the metric's name."""
    if name == "cv_agg":
        name, __, metric = metric.rpartition(" ")
    return Score(name or "valid", metric, value, spread)


def _data_facts(call: Call) -> dict[str, Scalar]:
    data = call.value("train_set")
    return {"data/train/samples": int(data.num_data()), "data/train/features": int(data.num_feature())}


def _facts(booster: Any) -> dict[str, Scalar]:
    facts: dict[str, Scalar] = {
        "model/rounds": int(booster.current_iteration()),
        "model/features": int(booster.num_feature()),
        "model/trees": int(booster.num_trees()),
    }
    if booster.best_iteration > 0:
        facts["model/best_iteration"] = booster.best_iteration - 1
    return facts
