"""`KerasLoop`: what one run hears of Keras."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trackhooks.errors import InvalidValueError, warn
from trackhooks.event import File
from trackhooks.frameworks import double_logging, resume_marker
from trackhooks.frameworks.helpers import Lookups, file, flag, prefixed, status_of
from trackhooks.frameworks.interface import Logs, RunHooks

from . import description
from .description import Description

_BATCH_HOOKS = tuple(
    f"on_{part}_batch_{edge}" for part in ("train", "val", "predict") for edge in ("start", "end")
)
_IN_PLACE = (*_BATCH_HOOKS, "on_train_epoch_end", "on_val_start")
"""Hooks that come late where Keras ends its batches on other threads."""


class KerasLoop:
    """Hands Keras' hooks on to the callbacks of one run, and adds those that Keras does not have.

    Args:
        run: the run.
    """

    def __init__(self, run: RunHooks) -> None:
        self.run = run
        self.keras = run.keras
        self.callback: Any = None
        """What the user gives to Keras, once it was asked for."""
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
        """Whether a callback must be called at the very moment of a batch, on the thread that trains."""
        return any(map(self.run.hears, _IN_PLACE))

    def _begin(self, model: Any, params: Mapping[str, Any] | None) -> None:
        """A mode begins."""
        self.run.describe("a Keras model")
        self.run.set_model(model, params)

    # Training

    def train_begin(
        self, model: Any, params: Mapping[str, Any] | None, arguments: Mapping[str, Any], logs: Logs | None
    ) -> None:
        """Says what is trained, then that the training starts."""
        self._begin(model, params)
        self._arguments = arguments
        self._steps = (params or {}).get("steps")
        self._lookups.find("the callbacks of fit", None, self._tell_of_others, model, arguments)
        stop = flag(model, "stop_training")  # asked for by a callback in front of ours
        described = self._described(model)
        self.run.introduce(
            model,
            described.parameters(params or {}, arguments),
            lambda: {"params": described.sizes(), "media": described.media()},
        )
        self.keras.on_train_begin(logs)
        if stop:
            problem = f"{type(model).__name__}.stop_training could not be set to True"
            self._lookups.guard(problem, None, setattr, model, "stop_training", True)

    def _tell_of_others(self, model: Any, arguments: Mapping[str, Any]) -> None:
        double_logging.tell(self.run, getattr(type(model), "fit", None), flatten(arguments.get("callbacks")))

    def _described(self, model: Any) -> Description:
        return Description(model, self._lookups)

    def epoch_begin(self, epoch: int, logs: Logs | None) -> None:
        """The first hook of an epoch."""
        self._epoch, self._batch, self._logs = epoch, -1, {}
        self._in_train_part, self._epoch_started = True, time.monotonic()
        self.keras.on_epoch_begin(epoch, logs)

    def train_batch_end(self, batch: int, logs: Logs | None) -> None:
        """With `steps_per_execution` Keras counts beyond the end of an epoch; the steps of the run do not."""
        if self._steps and batch >= self._steps:
            self.run.overshoot(batch - self._steps + 1)
        self._batch, self._logs = batch, logs or {}
        self.keras.on_train_batch_end(batch, logs)

    def rates(self) -> dict[str, float]:
        """The learning rate, as long as this epoch's has not been recorded."""
        return self.rates_of(self.run.model) if self._in_train_part else {}

    def rates_of(self, model: Any) -> dict[str, float]:
        """The present learning rate of a model."""
        return self._described(model).learning_rates()

    def end_train_part(self, rates: Mapping[str, float], logs: Mapping[str, Any] | None = None) -> None:
        """Fires `on_train_epoch_end`, once an epoch.

        Args:
            rates: the learning rate; that which the logs name is the one before a callback changed it.
            logs: of the epoch; before they are known, those of its last batch are the same.
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
        """The last hook of an epoch."""
        self.end_train_part(rates, logs)
        self.keras.on_epoch_end(epoch, logs)

    def train_end(self, logs: Logs | None) -> None:
        """The end of the training."""
        self.keras.on_train_end(logs)
        self._arguments = {}

    def failed(self) -> None:
        """An exception left `fit`, `evaluate` or `predict`."""
        self._in_train_part = False

    # Validation, evaluation, prediction

    def validation_begin(self, rates: Mapping[str, float], logs: Logs | None) -> None:
        """The validation of an epoch."""
        self.end_train_part(rates)
        self.keras.on_test_begin(logs)

    def evaluation_begin(self, model: Any, params: Mapping[str, Any] | None, logs: Logs | None) -> None:
        """An evaluation on its own; one that a callback makes within a training is not the validation of the epoch."""
        self._begin(model, params)
        self.keras.on_test_begin(logs)

    def predict_begin(self, model: Any, params: Mapping[str, Any] | None, logs: Logs | None) -> None:
        """A prediction."""
        self._begin(model, params)
        self._predicted, self._prediction_started = 0, time.monotonic()
        self.keras.on_predict_begin(logs)

    def predict_batch_end(self, batch: int, logs: Logs | None) -> None:
        """Counts what was predicted."""
        count = description.predicted(logs, self._lookups)
        self._predicted += count
        self.run.saw(count)
        if self.run.takes("on_predict_batch_end"):
            self.keras.on_predict_batch_end(batch, logs)

    def predict_end(self, logs: Logs | None) -> None:
        """How many were predicted, and how fast."""
        seconds = time.monotonic() - self._prediction_started
        counted = {"predict/samples": float(self._predicted)}
        if self._predicted and seconds:
            counted["predict/samples_per_s"] = self._predicted / seconds
            counted["predict/ms_per_sample"] = 1000 * seconds / self._predicted
        self.keras.fire("on_predict_end", logs, besides=counted)

    # Files

    def saved(self, path: Path) -> None:
        """A checkpoint has been written; where the last batch of an epoch is over, so is its training part."""
        backup = backup_folder(self._arguments, self._lookups)
        if backup is not None and path.absolute().is_relative_to(backup):
            resume_marker.leave(backup, self.run)  # it deletes both again when the training has ended
            return
        if self._steps and self._batch >= self._steps - 1:
            self.end_train_part(self.rates())
        best = self._lookups.find("a ModelCheckpoint among the callbacks", False, self._is_best, path)
        if path.exists():
            self.run.saved(path, ["best" if best else "last"])
        else:  # in a store that only Keras can read
            self.run.fire("on_model_save")

    def _is_best(self, path: Path) -> bool:
        return any(
            made.save_best_only and _is_made_from(path, made.filepath)
            for made in _given(self._arguments, "ModelCheckpoint")
        )

    @contextmanager
    def exporting(self, path: Path, form: str) -> Iterator[None]:
        """An export: what it wrote and how long it took, or why it failed."""
        started = time.monotonic()
        self.run.fire("on_export_start")
        try:
            yield
        except BaseException as error:
            self.run.log_text("export failed", f"{form} → {path}\n\n{status_of(error)[1]}")
            raise
        files = _exported(path, form, self.run.last_file, time.monotonic() - started)
        self.run.fire("on_export_end", files=files)


def flatten(callbacks: Any) -> list[Any]:
    """The callbacks of a list in lists, or the one that is no list."""
    if callbacks is None:
        return []
    if isinstance(callbacks, (list, tuple)):
        return [found for callback in callbacks for found in flatten(callback)]
    return [callbacks]


def backup_folder(arguments: Mapping[str, Any], lookups: Lookups) -> Path | None:
    """Where a `BackupAndRestore` among the callbacks of a `fit` keeps what an interrupted training goes on from."""
    return lookups.find("a BackupAndRestore among the callbacks", None, _backup_folder, arguments)


def _backup_folder(arguments: Mapping[str, Any]) -> Path | None:
    folders = (Path(found.backup_dir) for found in _given(arguments, "BackupAndRestore"))
    return next((folder.absolute() for folder in folders), None)


def _given(arguments: Mapping[str, Any], kind: str) -> list[Any]:
    """The callbacks that `fit` was given of this class of Keras."""
    found = flatten(arguments.get("callbacks"))
    return [made for made in found if any(cls.__name__ == kind for cls in type(made).__mro__)]


def _is_made_from(path: Path, template: Any) -> bool:
    """Whether the template of a `ModelCheckpoint`, such as `{epoch:02d}.keras`, gives this path."""
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
