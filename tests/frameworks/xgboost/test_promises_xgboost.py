"""XGBoost keeps the promises of an integration, with its estimator for scikit-learn, which calls `xgboost.train`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from trackhooks import Run
from trackhooks.testing import FrameworkPromises
from trackhooks.testing.framework_promises.base import NOTHING, Numbers

pytestmark = pytest.mark.slow

X = np.random.default_rng(0).normal(size=(60, 3))
Y = X.sum(axis=1)
PARTS = ((X[:40], Y[:40]), (X[40:], Y[40:]))

METHODS = {
    "on_train_start": "before_training",
    "on_train_epoch_start": "before_iteration",
    "on_fit_epoch_end": "after_iteration",
    "on_train_end": "after_training",
}


def loss(y: Any, predicted: Any) -> float:
    return float(np.square(y - predicted).mean())


def at_hook(hook: str, function: Callable[[], None]) -> Any:
    """A callback of XGBoost that calls a function at one hook."""
    name = METHODS[hook]

    def call(self: Any, model: Any, *rest: Any, **named: Any) -> Any:
        function()
        return model if name.endswith("_training") else False

    return type("AtHook", (xgboost.callback.TrainingCallback,), {name: call})()


class Stops(xgboost.callback.TrainingCallback):
    """Ends a training in XGBoost's own way."""

    stops = False

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        return self.stops


class Model(xgboost.XGBRegressor):
    """An estimator with a callback that may stop it."""

    stopper: Any = None


class TestXGBoost(FrameworkPromises):
    framework = "xgboost"
    batches = 0
    params = {"max_depth": 2, "learning_rate": 0.5}
    hooks = tuple(METHODS)
    own_logger = "wandb"
    cannot = {
        "batches": "a round sees all data at once",
        "evaluation": "it has no callback at an evaluation outside of a training",
        "inner evaluation": "likewise",
        "prediction": "it has no callback at a prediction",
        "processes": "it launches none",
    }

    def make(self) -> Any:
        return Model(max_depth=2, learning_rate=0.5, eval_metric=loss, n_jobs=1)

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
        ours = [] if run is None else [run.callback("xgboost")]
        earlier = model.get_booster() if resume else None
        model.set_params(
            objective=objective,
            n_estimators=epochs - (earlier.num_boosted_rounds() if earlier is not None else 0),
            callbacks=[*(at_hook(hook, function) for hook, function in at.items()), *ours, model.stopper],
        )
        parts = PARTS if validate else PARTS[:1]
        model.fit(*PARTS[0], eval_set=parts, verbose=False, xgb_model=earlier)
        model.set_params(callbacks=None)
        names = dict(zip(("validation_0", "validation_1"), ("train", "val"), strict=True))
        return {
            f"{names[part]}/{metric}": values
            for part, metrics in model.evals_result().items()
            for metric, values in metrics.items()
        }

    def train_with(self, model: Any, callback: Any) -> None:
        model.set_params(callbacks=[callback], n_estimators=1)
        model.fit(*PARTS[0], eval_set=PARTS, verbose=False)

    def train_with_own_logger(self, model: Any, run: Run) -> None:
        import wandb
        from wandb.integration.xgboost import WandbCallback

        theirs = wandb.init(mode="disabled")
        own = [run.callback("xgboost"), WandbCallback(log_feature_importance=False)]
        xgboost.train({}, xgboost.DMatrix(X, Y), 1, callbacks=own)
        theirs.finish()  # after a `with`, W&B leaves a disabled run as the active one

    def save(self, model: Any, path: Path) -> Path:
        model.save_model(path.with_suffix(".json"))
        return path.with_suffix(".json")

    def stop(self, model: Any) -> None:
        model.stopper.stops = True

    def weights(self, model: Any) -> bytes:
        return bytes(model.get_booster().save_raw("ubj"))
