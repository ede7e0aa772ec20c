"""Lightning keeps the promises of an integration."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning_models import BATCHES, X, line, loader, trainer

from trackhooks import Run
from trackhooks.testing import FrameworkPromises
from trackhooks.testing.framework_promises.base import NOTHING, Numbers

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec"),
    pytest.mark.filterwarnings("ignore:It is recommended to use `self.log"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
]

OWN_NAMES = {
    "on_train_start": "on_train_start",
    "on_train_epoch_start": "on_train_epoch_start",
    "on_train_batch_start": "on_train_batch_start",
    "on_train_batch_end": "on_train_batch_end",
    "on_val_start": "on_validation_start",
    "on_val_end": "on_validation_end",
    "on_fit_epoch_end": "on_train_epoch_end",
    "on_train_end": "on_train_end",
}
"""Our hooks → the methods of Lightning's callbacks that are called then. None is called before the validation."""


class At(pl.Callback):
    """Calls functions at hooks."""

    def __init__(self, at: Mapping[str, Callable[[], None]]) -> None:
        for hook, function in at.items():
            setattr(self, OWN_NAMES[hook], self._outside_of_the_sanity_check(function))

    def _outside_of_the_sanity_check(self, function: Callable[[], None]) -> Callable[..., None]:
        def call(trainer: Any, *_: Any) -> None:
            if not trainer.sanity_checking:
                function()

        return call


class Noting(pl.Callback):
    """Notes what Lightning says of each epoch."""

    def __init__(self) -> None:
        self.own: dict[str, list[float]] = {}

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        names = {"train_loss_epoch": "train/loss", "val_loss": "val/loss"}
        for name in names.keys() & trainer.callback_metrics.keys():
            self.own.setdefault(names[name], []).append(float(trainer.callback_metrics[name]))


class TestLightning(FrameworkPromises):
    framework = "lightning.pytorch"
    batches = BATCHES
    params = {"lr": 0.1, "max_epochs": 1}
    hooks = tuple(OWN_NAMES)
    own_logger = "tensorboard"

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> Iterator[None]:
        self.checkpoints = tmp_path / "checkpoints"
        yield
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by Lightning after a Ctrl-C

    def make(self) -> Any:
        return line()

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
        noting = Noting()
        callbacks: list[Any] = [At({**at, **({"on_train_batch_end": in_batch} if in_batch else {})}), noting]
        saves = ModelCheckpoint(self.checkpoints, "last", enable_version_counter=False)
        made = trainer(
            epochs, [*callbacks, saves], enable_checkpointing=True, limit_val_batches=None if validate else 0
        )
        if run is not None:
            run.attach(made)
        try:
            made.fit(model, loader(), loader(), ckpt_path=self.checkpoints / "last.ckpt" if resume else None)
        except SystemExit as left:
            if isinstance(left.__context__, KeyboardInterrupt):  # which Lightning replaces
                raise left.__context__ from None
            raise
        return noting.own

    def train_with(self, model: Any, callback: Any) -> None:
        trainer(1, [callback]).fit(model, loader(), loader())

    def train_with_own_logger(self, model: Any, run: Run) -> None:
        made = trainer(logger=TensorBoardLogger(self.checkpoints), log_every_n_steps=1)
        run.attach(made)
        made.fit(model, loader())

    def launch(self, model: Any, epochs: int, run: Run) -> None:
        made = trainer(epochs, strategy="ddp_fork", devices=2)
        run.attach(made)
        made.fit(model, loader(), loader())

    def evaluate(self, model: Any, run: Run | None = None) -> Mapping[str, float]:
        made = trainer()
        if run is not None:
            run.attach(made)
        (found,) = made.test(model, loader(), verbose=False)
        return {"test/loss": found["test_loss"]}

    def predict(self, model: Any, run: Run | None = None) -> int:
        made = trainer()
        if run is not None:
            run.attach(made)
        made.predict(model, loader())
        return len(X)

    def save(self, model: Any, path: Path) -> Path:
        model.trainer.save_checkpoint(path.with_suffix(".ckpt"))
        return path.with_suffix(".ckpt")

    def stop(self, model: Any) -> None:
        model.trainer.should_stop = True

    def weights(self, model: Any) -> bytes:
        return b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())
