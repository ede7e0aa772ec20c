"""`Training`: a call of `fit`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trackhooks.frameworks import double_logging
from trackhooks.frameworks.interface import RunHooks

from . import logged
from .description import Description
from .loop import Loop

_LOGGERS = {"MLFlowLogger": "mlflow", "TensorBoardLogger": "tensorboard", "WandbLogger": "wandb"}
"""Lightning's loggers → our trackers for the same backend."""


class Training(Loop):
    """Records a training.

    Its steps are batches: `global_step` counts the steps of the optimizers, of which a batch may have none or several.
    Lightning's `on_train_epoch_end` comes after the validation, so the end of an epoch's training part is derived.
    """

    def __init__(self, run: RunHooks, trainer: Any) -> None:
        super().__init__(run, trainer)
        self._description: Description | None = None
        self._values = logged.BatchValues()
        self._epoch = self._global_step = 0
        self._batch = self._val_batch = -1
        self._rates: dict[str, float] = {}
        self._losses = _Mean()
        self._validated: dict[str, Any] = {}
        self._is_first_epoch = True
        self._in_epoch = self._in_train_part = self._is_ending = self._is_between = False

    # The training

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Record the model and the hyper-parameters, then start the training."""
        self._description = described = Description(trainer, module, self._lookups)
        epoch = trainer.current_epoch
        self._introduce_to_callbacks(module, trainer.max_epochs, trainer.num_training_batches, epoch)
        self._global_step = trainer.global_step
        self._lookups.find("the loggers of the Trainer", None, self._warn_of_loggers)
        self.run.introduce(module, described.params(), described.details, described.defaults())
        self.run.fire("on_train_start")
        self._pass_stop_on()

    def _warn_of_loggers(self) -> None:
        """Warn if Lightning itself logs to one of the trackers of the run."""
        made = {_LOGGERS.get(type(logger).__name__, "") for logger in self._trainer.loggers}
        for tracker in sorted(made.intersection(self.run.trackers)):
            remedy = "To switch that off: Trainer(logger=False)"
            double_logging.warn_once(tracker, "with a logger of Lightning", remedy)

    def on_load_checkpoint(self, trainer: Any, module: Any, checkpoint: Any) -> None:
        """Record that the weights are replaced."""
        self._introduce_to_callbacks(module, trainer.max_epochs, float("inf"))
        self.run.fire("on_params_update")

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        """Start an epoch."""
        self.end_epoch()
        self._begin_epoch(self._lookups.find("the number of batches", -1, _last_step, trainer))

    def _begin_epoch(self, before: int) -> None:
        """Start an epoch and its training part.

        Args:
            before: the last step before the epoch.
        """
        self._epoch = self._trainer.current_epoch
        if self._is_first_epoch and before >= 0:
            self.run.expect(self._epoch, before)
        self._is_first_epoch = self._is_ending = False
        self._in_epoch = self._in_train_part = True
        self._rates = self._description.learning_rates() if self._description is not None else {}
        self._losses, self._validated = _Mean(), {}
        self.run.fire("on_train_epoch_start", epoch=self._epoch)
        self._pass_stop_on()

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        """Start a batch, and an epoch that is resumed in its middle, which Lightning does not announce."""
        if not self._in_epoch:
            last = self._lookups.find("the number of batches", -1, _last_step, trainer)
            self._begin_epoch(last - batch_idx - 1)  # the last one is already that of this batch
        if self.run.takes("on_train_batch_start"):
            self.run.fire_batch("on_train_batch_start", {}, batch_idx)

    def on_before_zero_grad(self, *_: Any) -> None:
        """Fire the hook of the same name, if anyone hears it."""
        if self._in_train_part and self.run.takes("on_before_zero_grad"):
            self.run.fire("on_before_zero_grad")

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Record the loss and what was logged."""
        self._batch = batch_idx
        if self.run.takes("optimizer_step"):
            self._fire_step(trainer.global_step)
        metrics: dict[str, Any] = self._lookups.find("what was logged", {}, self._values.of_batch, trainer)
        loss = self._lookups.find("the loss of a batch", None, _loss, trainer, module, outputs)
        if loss is not None:
            self._losses.add(loss)
            metrics.setdefault("train_batch/loss", loss)
        self.run.fire_batch("on_train_batch_end", metrics, batch_idx)
        self._pass_stop_on()

    def _fire_step(self, global_step: int) -> None:
        if global_step > self._global_step:
            self.run.fire("optimizer_step")
        self._global_step = global_step

    def _end_train_part(self) -> None:
        if self._in_train_part:
            self._in_train_part = False
            self._see_stop()
            self.run.fire("on_train_epoch_end", None, self._rates, epoch=self._epoch)
            self._pass_stop_on()

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        """End the training part, if no validation has. The module, and callbacks after this one, may still log."""
        self._end_train_part()
        self._is_ending = True

    def end_epoch(self) -> None:
        """End the epoch: everything of it has been logged."""
        if not self._in_epoch:
            return
        self._in_epoch = self._is_ending = False
        metrics: dict[str, Any] = self._lookups.find(
            "what was logged", {}, logged.of_loop, self._trainer, "train"
        )
        if (loss := self._losses.value()) is not None:
            metrics.setdefault("train/loss", loss)
        self._see_stop()
        self.run.fire("on_fit_epoch_end", None, {**metrics, **self._validated}, epoch=self._epoch)
        self._pass_stop_on()

    def on_train_end(self, trainer: Any, module: Any) -> None:
        """End the training."""
        self.end_epoch()
        self._see_stop()
        self.run.fire("on_train_end")

    def failed(self) -> None:
        """Record an epoch at whose end a callback raised.

        With several processes it is left out: to reduce its metrics, all of them would be needed.
        """
        if self._is_ending and self._trainer.world_size == 1:
            with self.run.without_callbacks():
                self.end_epoch()

    # Its validations

    def on_validation_start(self, trainer: Any, module: Any) -> None:
        """Start a validation, which ends the training part of the epoch unless more batches follow."""
        if trainer.sanity_checking:
            return
        self._is_between = not self._lookups.find("the end of the batches", True, _has_trained, trainer)
        if not self._is_between:
            self._end_train_part()
        self._val_batch = -1
        self.run.fire("on_val_start")

    def on_validation_batch_start(self, trainer: Any, *_: Any) -> None:
        """Count the batch: Lightning's own index starts again with each data loader."""
        self._val_batch += 1
        if not trainer.sanity_checking and self.run.takes("on_val_batch_start"):
            self.run.fire_batch("on_val_batch_start", {}, self._val_batch)

    def on_validation_batch_end(self, trainer: Any, *_: Any) -> None:
        """Fire the end of a batch, if anyone hears it."""
        if not trainer.sanity_checking and self.run.takes("on_val_batch_end"):
            self.run.fire_batch("on_val_batch_end", {}, self._val_batch)

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """Record the metrics: of the epoch, or as points between its batches."""
        if trainer.sanity_checking:
            return
        metrics = self._lookups.find("what was logged", {}, logged.of_loop, trainer, "val")
        if self._is_between:
            self.run.fire("on_val_end", None, metrics, batch=self._batch)
        else:
            self._validated = metrics
            self.run.fire("on_val_end", None, metrics)
        self._pass_stop_on()

    # Stopping

    def _pass_stop_on(self) -> None:
        """Stop the Trainer if a callback of the run asked for it."""
        if self.run.stop:
            self._trainer.should_stop = True

    def _see_stop(self) -> None:
        """Show the callbacks of the run that the Trainer stops."""
        if self._trainer.should_stop:
            self.run.ask_stop()


class _Mean:
    """The mean of losses, on the device that they are on: nothing waits for them."""

    def __init__(self) -> None:
        self._sum: Any = None
        self._count = 0

    def add(self, loss: Any) -> None:
        self._sum = loss if self._sum is None else self._sum + loss
        self._count += 1

    def value(self) -> Any:
        return None if self._sum is None else self._sum / self._count


def _loss(trainer: Any, module: Any, outputs: Any) -> Any:
    """Return the loss of a batch; Lightning has divided it by the number of batches that are accumulated."""
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    if loss is None:
        return None
    accumulated = trainer.accumulate_grad_batches if module.automatic_optimization else 1
    return loss.detach() if accumulated == 1 else loss.detach() * accumulated


def _last_step(trainer: Any) -> int:
    """Return the index of the last batch that was trained, or is being trained, in all epochs."""
    return int(trainer.fit_loop.epoch_loop.batch_progress.total.ready) - 1


def _has_trained(trainer: Any) -> bool:
    """Whether no further batch of this epoch is trained."""
    fit = trainer.fit_loop
    return bool(fit.epoch_loop._is_training_done or (trainer.should_stop and fit._can_stop_early))
