"""`Training`: forwards the events of one call of `Trainer.train` to a run.

A Trainer calls `on_epoch_end` before it logs, evaluates and saves. So the epoch ends for callbacks when it has done all
of that: when `_maybe_log_save_evaluate` returns, or else at the next epoch or the end of the training. Losses are taken
from `training_step`, since the events of a Trainer have none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trackhooks.frameworks import double_logging, resume_marker
from trackhooks.frameworks.interface import RunHooks

from . import names
from .description import Arguments, batches_of, details, learning_rates
from .listening import Part

_LOGGERS = {"MLflowCallback": "mlflow", "TensorBoardCallback": "tensorboard", "WandbCallback": "wandb"}
"""The callbacks with which a Trainer logs by itself → our trackers for the same backends."""


class Training(Part):
    """Record one training.

    Args:
        run: where it is recorded.
        trainer: the Trainer.
    """

    def __init__(self, run: RunHooks, trainer: Any) -> None:
        self._run = run
        self._trainer = trainer
        self._epoch = -1
        self._batches: int | None = None
        self._batch = -1
        self._in_batch = False
        self._in_train_part = False
        self._in_epoch = False
        self._validating = False
        self._val_batch = -1
        self._loss: Any = None
        self._losses: Any = None
        """The sum of the losses of this epoch, on their device."""
        self._steps = 0
        """The optimizer steps of this epoch."""
        self._rates: Mapping[str, float] = {}
        self._metrics: dict[str, Any] = {}
        self._totals: Mapping[str, Any] = {}

    @property
    def includes_evaluate(self) -> bool:
        """Whether the Trainer is validating: a call of `evaluate` is then a part of that."""
        return self._validating

    def _hand_on_stop(self, control: Any) -> None:
        if self._run.stop:
            control.should_training_stop = True

    # The training

    def on_train_begin(self, state: Any, control: Any, given: Mapping[str, Any]) -> None:
        """Introduce the model and the arguments. With `auto_find_batch_size` the training may begin again."""
        run, trainer, model = self._run, self._trainer, given.get("model")
        self._batches = batches_of(given.get("train_dataloader"))
        self._epoch, self._in_train_part, self._in_epoch, self._in_batch = -1, False, False, False
        run.describe("a Trainer of transformers")
        run.set_model(model, {"epochs": state.num_train_epochs, "steps": self._batches})
        run.lookups.find("the callbacks of the Trainer", None, _warn_of_loggers, run, trainer)
        described = Arguments(trainer.args, run.lookups)

        def more() -> dict[str, Any]:
            found = details(trainer, given, run.lookups)
            return {**found, "facts": {**described.facts, **found["facts"]}}

        run.introduce(model, described.params, more, described.defaults)
        run.fire("on_train_start")
        self._hand_on_stop(control)

    def on_train_end(self, state: Any, control: Any, given: Mapping[str, Any]) -> None:
        """End the training."""
        self._end_epoch(state, control)
        self._run.fire("on_train_end", None, self._totals)

    # Epochs

    def on_epoch_begin(self, state: Any, control: Any, given: Mapping[str, Any]) -> None:
        """Start an epoch. The first one may continue an earlier training, also in the middle of the epoch."""
        self._end_epoch(state, control)
        self._batch = -1
        if self._epoch < 0:
            self._resume(float(state.epoch or 0.0))
        else:
            self._epoch += 1
        self._in_epoch = self._in_train_part = True
        self._losses, self._steps, self._metrics, self._rates = None, 0, {}, {}
        self._run.fire("on_train_epoch_start", epoch=self._epoch)

    def _resume(self, position: float) -> None:
        """Go to a position in epochs, at which the training begins."""
        self._epoch = int(position)
        if position and self._batches:
            self._run.expect(self._epoch, self._epoch * self._batches - 1)
            if not self._trainer.args.ignore_data_skip:
                self._batch += round((position - self._epoch) * self._batches)

    def on_epoch_end(self, state: Any, control: Any, given: Mapping[str, Any]) -> None:
        """End the training part of an epoch. The Trainer logs, evaluates and saves after it."""
        self._in_train_part = self._in_batch = False
        mean = self._run.lookups.find("the mean loss of an epoch", {}, self._mean_loss)
        self._metrics = {**self._rates, **mean}
        self._run.fire("on_train_epoch_end", None, dict(self._metrics), epoch=self._epoch)
        self._hand_on_stop(control)

    def _mean_loss(self) -> dict[str, float]:
        if self._losses is None or not self._steps:
            return {}
        return {"train/loss": float(self._losses) / self._steps}

    def log_save_evaluate(self, call: Callable[[], Any]) -> Any:
        """Make the call in which a Trainer logs, evaluates and saves: the epoch ends with it.

        If it fails, the metrics of the epoch are recorded nevertheless.
        """
        trainer = self._trainer
        try:
            found = call()
        except BaseException:
            if not self._validating:
                with self._run.without_callbacks():
                    self._end_epoch(trainer.state, trainer.control)
            raise
        self._end_epoch(trainer.state, trainer.control)
        return found

    def _end_epoch(self, state: Any, control: Any) -> None:
        """End an epoch whose training part has ended."""
        if not self._in_epoch or self._in_train_part:
            return
        self._in_epoch = False
        if control.should_training_stop and state.global_step < state.max_steps:
            self._run.ask_stop()
        self._run.fire("on_fit_epoch_end", None, self._metrics, epoch=self._epoch)
        self._hand_on_stop(control)

    # Batches

    @contextmanager
    def hearing_steps(self) -> Iterator[None]:
        """Hear `training_step` of the Trainer, also that of a subclass: an attribute of the object hides it."""
        trainer = self._trainer
        own, original = vars(trainer).get("training_step"), trainer.training_step

        @functools.wraps(original)
        def training_step(*args: Any, **kwargs: Any) -> Any:
            self._begin_batch()
            self._loss = original(*args, **kwargs)
            return self._loss

        trainer.training_step = training_step
        try:
            yield
        finally:
            if vars(trainer).get("training_step") is training_step:
                del trainer.training_step
                if own is not None:
                    trainer.training_step = own

    def on_step_begin(self, state: Any, control: Any, given: Mapping[str, Any]) -> None:
        """Start the first batch of an optimizer step."""
        self._begin_batch()

    def _begin_batch(self) -> None:
        if not self._in_batch:
            self._in_batch, self._loss = True, None
            self._batch += 1
            self._run.fire_batch("on_train_batch_start", {}, self._batch)

    def on_optimizer_step(self, state: Any, control: Any, given: Mapping[str, Any]) -> None:
        """Note the learning rates before the scheduler changes them. The gradients are set to zero next."""
        self._steps += 1
        self._rates = self._run.lookups.find("the learning rates", {}, learning_rates, given.get("optimizer"))
        for hook in ("optimizer_step", "on_before_zero_grad"):
            if self._run.takes(hook):
                self._run.fire(hook)

    def on_substep_end(self, state: Any, control: Any, given: Mapping[str, Any]) -> None:
        """End a batch whose gradients are accumulated."""
        self._end_batch(control)

    def on_step_end(self, state: Any, control: Any, given: Mapping[str, Any]) -> None:
        """End the batch that completes an optimizer step."""
        self._end_batch(control)

    def _end_batch(self, control: Any) -> None:
        self._in_batch = False
        metrics = self._run.lookups.find("the loss of a batch", {}, self._add_loss)
        self._run.fire_batch("on_train_batch_end", metrics, self._batch)
        self._hand_on_stop(control)

    def _add_loss(self) -> dict[str, Any]:
        """Return the loss of the batch, and add it to those of the epoch, on its device: nothing waits for it."""
        if self._loss is None:
            return {}
        loss, self._loss = self._loss.detach(), None
        self._losses = loss if self._losses is None else self._losses + loss
        parts = getattr(self._trainer, "current_gradient_accumulation_steps", None)
        parts = parts or self._trainer.args.gradient_accumulation_steps
        return {"train_batch/loss": loss * parts if parts > 1 else loss}

    # Validation

    def validate(self, call: Callable[[], Any]) -> Any:
        """Make the call in which a Trainer evaluates its model, of one or several data sets."""
        if not self._in_epoch:  # `eval_on_start`
            return call()
        self._validating, self._val_batch = True, -1
        self._run.fire("on_val_start")
        found = call()
        self._end_validation(found)
        return found

    def on_prediction_step(self, state: Any, control: Any, given: Mapping[str, Any]) -> None:
        """Count the batches of the validation."""
        self._val_batch += 1
        for hook in ("on_val_batch_start", "on_val_batch_end"):
            if self._run.takes(hook):
                self._run.fire_batch(hook, {}, self._val_batch)

    def on_evaluate(self, state: Any, control: Any, given: Mapping[str, Any]) -> None:
        """End the validation, unless there are more data sets: it ends with the last one."""
        if not isinstance(self._trainer.eval_dataset, dict):
            self._end_validation(given["metrics"])

    def _end_validation(self, metrics: Mapping[str, Any]) -> None:
        """End the validation. One within the training part of an epoch is a point over the steps."""
        if not self._validating:
            return
        self._validating = False
        found = names.of_evaluation(metrics, "val")
        if self._in_train_part:
            self._run.fire("on_val_end", None, found, batch=self._batch)
        else:
            self._metrics |= found
            self._run.fire("on_val_end", None, found)

    # Logs and files

    def on_log(self, state: Any, control: Any, given: Mapping[str, Any]) -> None:
        """Record what is logged within the training. The metrics of an evaluation come with `on_evaluate`."""
        logs = given.get("logs") or {}
        if "train_runtime" in logs:
            self._totals = names.of_totals(logs)
        elif not self._validating:
            if not self._in_train_part and "loss" in logs and self._logs_epochs:
                self._metrics["train/loss"] = logs["loss"]
            self._run.log(names.of_logs(logs))

    @property
    def _logs_epochs(self) -> bool:
        """Whether the logged loss is the mean over the epoch, and over all processes."""
        return str(getattr(self._trainer.args.logging_strategy, "value", "")) == "epoch"

    def on_save(self, state: Any, control: Any, given: Mapping[str, Any]) -> None:
        """Record a checkpoint, which is a folder, and note the run in it: a training may resume from it."""
        folder = self._run.lookups.find(
            "the folder of the checkpoint", None, _checkpoint, self._trainer, state
        )
        if folder is not None and folder.is_dir():
            best = state.best_model_checkpoint
            is_best = best is not None and Path(best).absolute() == folder.absolute()
            self._run.saved(folder, ["last", "best"] if is_best else ["last"])
            resume_marker.leave(folder, self._run)


def _checkpoint(trainer: Any, state: Any) -> Path:
    folder = trainer._get_output_dir(trial=getattr(trainer, "_trial", None))
    return Path(folder) / f"checkpoint-{state.global_step}"


def _warn_of_loggers(run: RunHooks, trainer: Any) -> None:
    """Warn of the loggers of `report_to`, which by default are all installed ones before transformers 5."""
    for callback in trainer.callback_handler.callbacks:
        tracker = _LOGGERS.get(type(callback).__name__)
        if tracker is not None and tracker in run.trackers:
            double_logging.warn_once(
                tracker, f"by {type(callback).__name__}", 'Pass report_to="none" to TrainingArguments.'
            )
