"""A training of each framework that ends in a given way: the program of `endings`."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trackhooks
from trackhooks.testing.sample_runs import TrialPruned

End = Callable[..., None]


def _raise(error: BaseException) -> None:
    raise error


ENDS: dict[str, End] = {
    "return": lambda *_: None,
    "exception": lambda *_: _raise(ValueError("no")),
    "sys.exit(3)": lambda *_: sys.exit(3),
    "raise SystemExit(3)": lambda *_: _raise(SystemExit(3)),
    "Ctrl-C": lambda *_: os.kill(os.getpid(), signal.SIGINT),
    "SIGTERM": lambda *_: os.kill(os.getpid(), signal.SIGTERM),
    "SIGKILL": lambda *_: os.kill(os.getpid(), signal.SIGKILL),
    "pruned": lambda *_: _raise(TrialPruned("after an epoch")),
}


def pytorch(end: End, **settings: Any) -> None:
    """A custom loop."""
    with trackhooks.run(**settings) as run:
        for epoch in run.epochs(2):
            for batch in run.train(range(3)):
                run.log(loss=float(batch))
            if epoch == 0:
                end()


def keras(folder: Path, end: End) -> None:
    """A fit."""
    import keras
    from keras_models import X, Y, sequential

    end_of_epoch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: end() if epoch == 0 else None
    )
    sequential().fit(X, Y, epochs=2, verbose=0, callbacks=[end_of_epoch])


def ultralytics(folder: Path, end: End) -> None:
    """A YOLO training."""
    from yolo import Shapes

    shapes = Shapes(folder)
    model = shapes.model()
    model.add_callback("on_fit_epoch_end", lambda trainer: end() if trainer.epoch == 0 else None)
    shapes.train(model, epochs=2)


def lightning(folder: Path, end: End) -> None:
    """A fit of a Trainer."""
    import lightning.pytorch as pl
    from lightning_models import line, loader, trainer

    class Ending(pl.Callback):
        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            if trainer.current_epoch == 0:
                end()

    trainer(epochs=2, callbacks=[Ending()]).fit(line(), loader())


def transformers(folder: Path, end: End) -> None:
    """A training of a Trainer."""
    from trainers import at, trainer

    ending = at(on_epoch_end=lambda arguments, state, control: end() if state.epoch == 1 else None)
    trainer(folder, num_train_epochs=2, callbacks=[ending]).train()


def xgboost(folder: Path, end: End) -> None:
    """`xgboost.train`."""
    import numpy as np
    import xgboost as package

    def after_iteration(self: Any, model: Any, epoch: int, log: Any) -> bool:
        if epoch == 0:
            end()
        return False

    ending = type("Ending", (package.callback.TrainingCallback,), {"after_iteration": after_iteration})()
    data = package.DMatrix(np.arange(40.0).reshape(20, 2), np.arange(20.0))
    package.train({}, data, 3, evals=[(data, "train")], callbacks=[ending], verbose_eval=False)


def lightgbm(folder: Path, end: End) -> None:
    """`lightgbm.train`."""
    import lightgbm as package
    import numpy as np

    def ending(env: Any) -> None:
        if env.iteration == 0:
            end()

    data = package.Dataset(np.arange(80.0).reshape(40, 2), np.arange(40.0))
    package.train({"verbose": -1}, data, 3, valid_sets=[data], callbacks=[ending])


ENABLED = {made.__name__: made for made in (keras, ultralytics, lightning, transformers, xgboost, lightgbm)}
FRAMEWORKS = (pytorch.__name__, *ENABLED)


def main(framework: str, how: str, folder: Path, trackers: dict[str, Any]) -> None:
    """Train, and end so."""
    settings = {"dir": folder / "runs", "system": None, **trackers}
    if framework == pytorch.__name__:
        pytorch(ENDS[how], **settings)
    else:
        trackhooks.enable(**settings)
        ENABLED[framework](folder, ENDS[how])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4]))
