"""`KerasLoop`, which forwards the hooks of Keras to one run."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trackhooks.errors import InvalidValueError, warn
from trackhooks.event import File, Scalar
from trackhooks.frameworks import double_logging, resume_marker
from trackhooks.frameworks.helpers import (
    Lookups,
    array_facts,
    checked_logs,
    file,
    flag,
    loader_facts,
    prefixed,
    status_of,
)
from trackhooks.frameworks.interface import Logs, RunHooks

from . import description
from .description import Description

_BATCH_HOOKS = tuple(
    f"on_{part}_batch_{edge}" for part in ("train", "val", "predict") for edge in ("start", "end")
)
_IN_PLACE = (*_BATCH_HOOKS, "on_train_epoch_end", "on_val_start")
"""Hooks that are called late when Keras ends its batches on other threads."""


_DATA = ("x", "y", "sample_weight")
"""The arguments of `fit` that contain data."""


class KerasLoop:
    """Forward Keras' hooks to the callbacks of one run, and add the hooks that Keras does not have.

    Args:
        run: the run.
    """

    def __init__(self, run: RunHooks) -> None:
        self.run = run
        self.keras = run.keras
        self.callback: Any = None
        """The callback that the user passes to Keras; None until it is created."""
        self._lookups = run.lookups
        self._arguments: Mapping[str, Any] = {}
        self._steps: int | None = None
        self._epoch = 0
        self._batch = -1
        self._logs: Mapping[str, Any] = {}
        self._in_train_part = False
        self._epoch_started = 0.0
        self._predicted = 0
        self._prediction_started = 0.0

    @property
    def listens_in_place(self) -> bool:
        """Whether a callback must be called immediately at each batch, on the training thread."""
        return any(map(self.run.hears, _IN_PLACE))

    def _begin(self, model: Any, params: Mapping[str, Any] | None) -> None:
        """Describe the loop and set the model, at the start of a mode."""
        self.run.describe("a Keras model")
        self.run.set_model(model, params)

    # Training

    def train_begin(
        self, model: Any, params: Mapping[str, Any] | None, arguments: Mapping[str, Any], logs: Logs | None
    ) -> None:
        """Record the model and the hyper-parameters, then start the training."""
        self._begin(model, params)
        self._arguments = arguments
        steps = (params or {}).get("steps")
        self._steps = steps if type(steps) is int else None
        self._lookups.find("the callbacks of fit", None, self._warn_of_other_loggers, model, arguments)
        stop = flag(model, "stop_training")  # requested by a callback that comes before ours
        described = self._described(model)
        self.run.introduce(
            model,
            described.parameters(params or {}, arguments),
            lambda: {"facts": described.sizes() | self._data(arguments), "media": described.media()},
            described.defaults(),
        )
        self.keras.on_train_begin(logs)
        if stop:
            problem = f"{type(model).__name__}.stop_training could not be set to True"
            self._lookups.guard(problem, None, setattr, model, "stop_training", True)

    def _data(self, arguments: Mapping[str, Any]) -> dict[str, Scalar]:
        """Return facts about the data that `fit` was given."""
        return self._lookups.find("the data of fit", {}, _data_facts, arguments)

    def _warn_of_other_loggers(self, model: Any, arguments: Mapping[str, Any]) -> None:
        fit, callbacks = getattr(type(model), "fit", None), flatten(arguments.get("callbacks"))
        double_logging.warn_of_wrappers(self.run, fit, callbacks)

    def _described(self, model: Any) -> Description:
        return Description(model, self._lookups)

    def epoch_begin(self, epoch: int, logs: Logs | None) -> None:
        """Start an epoch and its training part."""
        self._epoch, self._batch, self._logs = epoch, -1, {}
        self._in_train_part, self._epoch_started = True, time.monotonic()
        self.keras.on_epoch_begin(epoch, logs)

    def train_batch_end(self, batch: int, logs: Logs | None) -> None:
        """Record the end of a batch.

        With `steps_per_execution`, Keras' batch index may exceed the end of the epoch. The steps of the run do not.
        """
        if type(logs) is not dict:
            logs = checked_logs("on_train_batch_end", logs)
        if self._steps and batch >= self._steps:
            self.run.overshoot(batch - self._steps + 1)
        self._batch, self._logs = batch, logs
        self.keras.on_train_batch_end(batch, logs)

    def rates(self) -> dict[str, float]:
        """Return the current learning rate, or nothing if it has been recorded for this epoch."""
        return self.rates_of(self.run.model) if self._in_train_part else {}

    def rates_of(self, model: Any) -> dict[str, float]:
        """Return the current learning rate of a model."""
        return self._described(model).learning_rates()

    def end_train_part(self, rates: Mapping[str, float], logs: Mapping[str, Any] | None = None) -> None:
        """Fire `on_train_epoch_end`, once per epoch.

        Args:
            rates: the learning rate. The one in the logs was read before a callback could change it.
            logs: the logs of the epoch. If they are not available yet, those of the last batch are used.
        """
        if not self._in_train_part:
            return
        self._in_train_part = False
        metrics = {prefixed("train/", name): value for name, value in (logs or self._logs).items()}
        self.run.fire("on_train_epoch_end", None, {**rates, **metrics, **self._speed()}, epoch=self._epoch)

    def _speed(self) -> dict[str, float]:
        seconds = time.monotonic() - self._epoch_started
        samples = description.samples(self._arguments, self._lookups)
        return {"speed/train_samples_per_s": samples / seconds} if samples and seconds else {}

    def epoch_end(self, epoch: int, rates: Mapping[str, float], logs: Logs | None) -> None:
        """End an epoch, and its training part if that has not ended."""
        logs = checked_logs("on_epoch_end", logs)
        self.end_train_part(rates, logs)
        self.keras.on_epoch_end(epoch, logs)

    def train_end(self, logs: Logs | None) -> None:
        """End the training."""
        self.keras.on_train_end(logs)
        self._arguments = {}

    def failed(self) -> None:
        """Reset the state after `fit`, `evaluate` or `predict` raised an exception."""
        self._in_train_part = False
        self._arguments = {}

    # Validation, evaluation, prediction

    def validation_begin(self, rates: Mapping[str, float], logs: Logs | None) -> None:
        """Start the validation of an epoch, which ends the training part of the epoch."""
        self.end_train_part(rates)
        self.keras.on_test_begin(logs)

    def evaluation_begin(self, model: Any, params: Mapping[str, Any] | None, logs: Logs | None) -> None:
        """Start a separate evaluation. One that a callback starts during a training is not the epoch's validation."""
        self._begin(model, params)
        self.keras.on_test_begin(logs)

    def predict_begin(self, model: Any, params: Mapping[str, Any] | None, logs: Logs | None) -> None:
        """Start a prediction."""
        self._begin(model, params)
        self._predicted, self._prediction_started = 0, time.monotonic()
        self.keras.on_predict_begin(logs)

    def predict_batch_end(self, batch: int, logs: Logs | None) -> None:
        """Count the predicted samples of a batch."""
        logs = checked_logs("on_predict_batch_end", logs)
        count = description.predicted(logs, self._lookups)
        self._predicted += count
        self.run.saw(count)
        if self.run.takes("on_predict_batch_end"):
            self.keras.on_predict_batch_end(batch, logs)

    def predict_end(self, logs: Logs | None) -> None:
        """Record how many samples were predicted, and how fast."""
        seconds = time.monotonic() - self._prediction_started
        counted = {"predict/samples": float(self._predicted)}
        if self._predicted and seconds:
            counted["predict/samples_per_s"] = self._predicted / seconds
            counted["predict/ms_per_sample"] = 1000 * seconds / self._predicted
        self.keras.fire("on_predict_end", logs, besides=counted)

    # Files

    def saved(self, path: Path) -> None:
        """Record a checkpoint. After the last batch of an epoch, this also ends the epoch's training part."""
        backup = backup_folder(self._arguments, self._lookups)
        if backup is not None and path.absolute().is_relative_to(backup):
            resume_marker.leave(backup, self.run)  # Keras deletes both after the training
            return
        if self._steps and self._batch >= self._steps - 1:
            self.end_train_part(self.rates())
        best = self._lookups.find("a ModelCheckpoint among the callbacks", False, self._is_best, path)
        if path.exists():
            self.run.saved(path, ["best" if best else "last"])
        else:  # the path is in a storage that only Keras can read
            self.run.fire("on_model_save")

    def _is_best(self, path: Path) -> bool:
        return any(
            made.save_best_only and _is_made_from(path, made.filepath)
            for made in _given(self._arguments, "ModelCheckpoint")
        )

    @contextmanager
    def exporting(self, path: Path, form: str) -> Iterator[None]:
        """Record an export: its files and its duration, or the reason why it failed."""
        started = time.monotonic()
        self.run.fire("on_export_start")
        try:
            yield
        except BaseException as error:
            self.run.log_text("export failed", f"{form} → {path}\n\n{status_of(error)[1]}")
            raise
        files = _exported(path, form, self.run.last_file, time.monotonic() - started)
        self.run.fire("on_export_end", files=files)


def _data_facts(arguments: Mapping[str, Any]) -> dict[str, Scalar]:
    val = arguments.get("validation_data")
    parts = val if isinstance(val, (list, tuple)) else [val]
    splits = {
        "train": {name: arguments.get(name) for name in _DATA},
        "val": dict(zip(_DATA, parts, strict=False)),
    }
    found: dict[str, Scalar] = {}
    for split, data in splits.items():
        # A loader of PyTorch is passed as `x`.
        found |= loader_facts(split, data.get("x")) or array_facts(split, data)
    return found


def flatten(callbacks: Any) -> list[Any]:
    """Flatten nested lists and dicts of callbacks, as Keras does. A single one becomes a list; None, an empty one."""
    if callbacks is None:
        return []
    if isinstance(callbacks, Mapping):
        return flatten([callbacks[name] for name in sorted(callbacks, key=str)])
    if isinstance(callbacks, (list, tuple)):
        return [found for callback in callbacks for found in flatten(callback)]
    return [callbacks]


def backup_folder(arguments: Mapping[str, Any], lookups: Lookups) -> Path | None:
    """Return the backup folder of the `BackupAndRestore` callback that `fit` was given; None if there is none."""
    return lookups.find("a BackupAndRestore among the callbacks", None, _backup_folder, arguments)


def _backup_folder(arguments: Mapping[str, Any]) -> Path | None:
    folders = (Path(found.backup_dir) for found in _given(arguments, "BackupAndRestore"))
    return next((folder.absolute() for folder in folders), None)


def _given(arguments: Mapping[str, Any], kind: str) -> list[Any]:
    """Return the callbacks passed to `fit` that are instances of the Keras class with this name."""
    found = flatten(arguments.get("callbacks"))
    return [made for made in found if any(cls.__name__ == kind for cls in type(made).__mro__)]


def _is_made_from(path: Path, template: Any) -> bool:
    """Whether the path matches the template of a `ModelCheckpoint`, such as `{epoch:02d}.keras`."""
    literal = re.split(r"\{.*?\}", str(template))
    return re.fullmatch(".*".join(map(re.escape, literal)), str(path)) is not None


def _exported(path: Path, form: str, parent: Any, duration: float) -> list[File]:
    if not path.exists():
        return []
    try:
        return [file(path, "export", format=form, parent=parent, duration=duration)]
    except (InvalidValueError, OSError) as error:
        warn(f"the export {path} is left out: {error}")
        return []
