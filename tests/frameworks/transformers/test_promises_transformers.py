"""The Trainer of transformers keeps the promises of an integration."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from trainers import BATCHES, Rows, arguments, at, trainer
from transformers.trainer_utils import IntervalStrategy

from trackhooks import Run
from trackhooks.testing import FrameworkPromises
from trackhooks.testing.framework_promises.base import NOTHING, Numbers

pytestmark = pytest.mark.slow

EVENTS = {
    "on_train_start": "on_train_begin",
    "on_train_epoch_start": "on_epoch_begin",
    "on_train_batch_start": "on_step_begin",
    "on_train_batch_end": "on_step_end",
    "on_train_epoch_end": "on_epoch_end",
    "on_val_end": "on_evaluate",
    "on_fit_epoch_end": "on_evaluate",  # the last event of an epoch, if it is evaluated and not saved
    "on_train_end": "on_train_end",
}
"""Our hooks → the events of a Trainer at which a user would do the same."""


class TestTransformers(FrameworkPromises):
    framework = "transformers.trainer"
    batches = BATCHES
    params = {"learning_rate": 0.1, "per_device_train_batch_size": 5, "optim": "sgd"}
    hooks = tuple(EVENTS)
    own_logger = "tensorboard"
    cannot = {"processes": "torchrun and accelerate launch them"}

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path / "trainers"
        self.arguments = arguments(self.folder)
        self.arguments.device  # noqa: B018 - now, before a test pretends to be one of several processes
        self.made = 0

    def make(self) -> Any:
        self.made += 1
        folder = self.folder / str(self.made)
        args = copy.copy(self.arguments)
        args.output_dir = str(folder)
        return trainer(folder, args=args)

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
        if run is not None:
            run.attach(model)
        model.args.num_train_epochs = epochs
        model.args.eval_strategy = IntervalStrategy("epoch" if validate else "no")
        model.args.save_strategy = IntervalStrategy("epoch" if epochs == 1 or resume else "no")
        added = [calling(EVENTS[hook], function) for hook, function in at.items()]
        if in_batch is not None:
            added.append(calling("on_step_end", in_batch))
        for callback in added:
            model.add_callback(callback)
        try:
            model.train(resume_from_checkpoint=resume)
        finally:
            for callback in added:
                model.remove_callback(callback)
        logs = model.state.log_history
        names = {"train/loss": "loss", "val/loss": "eval_loss", "lr/0": "learning_rate"}
        own = {name: [log[key] for log in logs if key in log] for name, key in names.items()}
        return {name: values for name, values in own.items() if values}

    def train_with(self, model: Any, callback: Any) -> None:
        model.add_callback(callback)
        model.train()

    def train_with_own_logger(self, model: Any, run: Run) -> None:
        made = trainer(self.folder / "logged", report_to="tensorboard")
        run.attach(made)
        made.train()

    def evaluate(self, model: Any, run: Run | None = None) -> Mapping[str, float]:
        if run is not None:
            run.attach(model)
        return {"test/loss": model.evaluate()["eval_loss"]}

    def predict(self, model: Any, run: Run | None = None) -> int:
        if run is not None:
            run.attach(model)
        return len(model.predict(Rows(7)).predictions)

    def save(self, model: Any, path: Path) -> Path:
        model.save_model(str(path))
        return path

    def stop(self, model: Any) -> None:
        model.control.should_training_stop = True

    def weights(self, model: Any) -> bytes:
        state: Mapping[str, torch.Tensor] = model.model.state_dict()
        return b"".join(tensor.numpy().tobytes() for tensor in state.values())


def calling(event: str, function: Callable[[], None]) -> Any:
    """A callback that calls a function at one event."""
    return at(**{event: lambda *_: function()})
