"""LightGBM keeps the promises of an integration, with its estimator for scikit-learn, which calls `lightgbm.train`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest

from trackhooks import Run
from trackhooks.testing import FrameworkPromises
from trackhooks.testing.framework_promises.base import NOTHING, Numbers

pytestmark = pytest.mark.slow

X = np.random.default_rng(0).normal(size=(60, 3))
Y = X.sum(axis=1)
PARTS = ((X[:40], Y[:40]), (X[40:], Y[40:]))

HOOKS = ("on_train_epoch_start", "on_fit_epoch_end")


def loss(y: Any, predicted: Any) -> tuple[str, float, bool]:
    return "loss", float(np.square(y - predicted).mean()), False


class AtHook:
    """A callback of LightGBM that calls a function at one hook."""

    def __init__(self, hook: str, function: Callable[[], None]) -> None:
        self.before_iteration = hook == "on_train_epoch_start"
        self.function = function

    def __call__(self, env: Any) -> None:
        self.function()


class Stops:
    """Ends a training in LightGBM's own way."""

    before_iteration = stops = False

    def __call__(self, env: Any) -> None:
        if self.stops:
            raise lightgbm.callback.EarlyStopException(env.iteration, env.evaluation_result_list)


class Model(lightgbm.LGBMRegressor):
    """An estimator with a callback that may stop it."""

    stopper: Any = None


class TestLightGBM(FrameworkPromises):
    framework = "lightgbm"
    batches = 0
    params = {"max_depth": 2, "learning_rate": 0.5}
    hooks = HOOKS
    cannot = {
        "batches": "a round sees all data at once",
        "evaluation": "it has no callback at an evaluation outside of a training",
        "inner evaluation": "likewise",
        "prediction": "it has no callback at a prediction",
        "own loggers": "it has none; that of W&B does not work with LightGBM 4.7, and MLflow's takes too long",
        "processes": "it launches none",
    }

    def make(self) -> Any:
        return Model(
            max_depth=2, learning_rate=0.5, min_child_samples=2, n_jobs=1, verbose=-1, random_state=0
        )

    def train(
        self,
        model: Any,
        epochs: int,
        *,
        run: Run | None = None,
        in_batch: Callable[[], None] | None = None,
        at: Mapping[str, Callable[[], None]] = NOTHING,
        resume: bool = False,
        validate: bool = True,
    ) -> Numbers:
        def objective(y: Any, predicted: Any) -> Any:
            if in_batch is not None:
                in_batch()
            return predicted - y, np.ones_like(predicted)

        model.stopper = Stops()
        earlier = model.booster_ if resume else None
        model.set_params(
            objective=objective,
            n_estimators=epochs - (earlier.current_iteration() if earlier is not None else 0),
        )
        ours = [] if run is None else [run.callback("lightgbm")]
        self.fit(
            model,
            [*(AtHook(hook, function) for hook, function in at.items()), *ours, model.stopper],
            PARTS if validate else PARTS[:1],
            earlier,
        )
        return {
            f"{part}/{metric}": values
            for part, metrics in model.evals_result_.items()
            for metric, values in metrics.items()
        }

    def fit(self, model: Any, callbacks: list[Any], parts: Any = PARTS, earlier: Any = None) -> None:
        xs, ys = zip(*parts, strict=True)
        model.fit(
            *PARTS[0],
            eval_X=xs,
            eval_y=ys,
            eval_names=["train", "val"][: len(parts)],
            eval_metric=loss,
            callbacks=callbacks,
            init_model=earlier,
        )

    def train_with(self, model: Any, callback: Any) -> None:
        model.set_params(n_estimators=1)
        self.fit(model, [callback])

    def save(self, model: Any, path: Path) -> Path:
        model.booster_.save_model(path.with_suffix(".txt"))
        return path.with_suffix(".txt")

    def stop(self, model: Any) -> None:
        model.stopper.stops = True

    def weights(self, model: Any) -> bytes:
        return str(model.booster_.model_to_string()).encode()
