"""`KerasLoop`: what one run hears of Keras."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trackhooks.errors import InvalidValueError, warn
from trackhooks.event import File
from trackhooks.frameworks import double_logging, resume_marker
from trackhooks.hooks.callback import Logs
from trackhooks.hooks.dispatch import flag
from trackhooks.hooks.metric_names import prefixed
from trackhooks.recording.log_verbs import LogVerbs
from trackhooks.recording.recorder import Recorder
from trackhooks.recording.status import status_of
from trackhooks.values import media
from trackhooks.values.lookups import Lookups
from trackhooks.values.weak_dict import WeakIdentityDict

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
        recording: the run.
        release: called when the run is closed.
    """

    def __init__(self, recording: Recorder, release: Callable[[KerasLoop], None]) -> None:
        self.recording = recording
        self._log = LogVerbs(recording)
        self.callbacks = recording.callbacks
        self.callback: Any = None
        """What the user gives to Keras, once it was asked for."""
        self._release = release
        self._state = recording.callbacks.state
        self._lookups = recording.callbacks.state.lookups
        self._introduced: WeakIdentityDict[dict[str, Any]] = WeakIdentityDict()
        self._arguments: Mapping[str, Any] = {}
        self._steps: int | None = None
        self._epoch = 0
        self._batch = -1
        self._logs: Mapping[str, Any] = {}
        self._in_train_part = False
        self._epoch_started = 0.0
        self._training_around: list[bool] = []
        self._predicted = 0
        self._prediction_started = 0.0

    def release(self) -> None:
        """The run is closed."""
        self._release(self)

    @property
    def listens_in_place(self) -> bool:
        """Whether a callback must be called at the very moment of a batch, on the thread that trains."""
        return any(map(self.callbacks.hears, _IN_PLACE))

    def _begin(self, model: Any, params: Mapping[str, Any] | None) -> None:
        """A mode begins; within a training, the callbacks keep its model."""
        if model is not None:
            self.recording.adopt(model)
        if not self._state.training:
            self._state.loop = "a Keras model"
            self.callbacks.set_model(model)
            self.callbacks.set_params(params)

    def _rest(self) -> None:
        """A mode has ended; a run that nobody holds must not keep its model alive."""
        if self.recording.automatic and not self._state.training:
            self.callbacks.forget_model()

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
        self._introduce(model, self._described(model).parameters(params or {}, arguments))
        self.callbacks.on_train_begin(logs)
        if stop:
            problem = f"{type(model).__name__}.stop_training could not be set to True"
            self._lookups.guard(problem, None, setattr, model, "stop_training", True)

    def _tell_of_others(self, model: Any, arguments: Mapping[str, Any]) -> None:
        double_logging.tell(
            self.recording, getattr(type(model), "fit", None), flatten(arguments.get("callbacks"))
        )

    def _described(self, model: Any) -> Description:
        return Description(model, self._lookups)

    def _introduce(self, model: Any, params: dict[str, Any]) -> None:
        """The two hooks in front of a training come once for a model; later only what has changed is recorded."""
        key = self if model is None else model
        known = self._introduced.get(key)
        self._introduced[key] = params
        self._state.args.update(params)
        if known is None:
            self.callbacks.run_callbacks("on_pretrain_routine_start", params=params)
            described = self._described(model)
            self.callbacks.run_callbacks(
                "on_pretrain_routine_end", params=described.sizes(), media=described.media()
            )
        elif known != params:
            changed = {name: value for name, value in params.items() if known.get(name) != value}
            self._log.log_params(changed)

    def epoch_begin(self, epoch: int, logs: Logs | None) -> None:
        """The first hook of an epoch."""
        self._epoch, self._batch, self._logs = epoch, -1, {}
        self._in_train_part, self._epoch_started = True, time.monotonic()
        self.callbacks.on_epoch_begin(epoch, logs)

    def train_batch_end(self, batch: int, logs: Logs | None) -> None:
        """With `steps_per_execution` Keras counts beyond the end of an epoch; the steps of the run do not."""
        if self._steps and batch >= self._steps:
            self.recording.overshoot(batch - self._steps + 1)
        self._batch, self._logs = batch, logs or {}
        self.callbacks.on_train_batch_end(batch, logs)

    def rates(self) -> dict[str, float]:
        """The learning rate, as long as this epoch's has not been recorded."""
        return self.rates_of(self._state.model) if self._in_train_part else {}

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
        self.callbacks.run_callbacks(
            "on_train_epoch_end", None, {**rates, **metrics, **self._speed()}, epoch=self._epoch
        )

    def _speed(self) -> dict[str, float]:
        seconds = time.monotonic() - self._epoch_started
        samples = description.samples(self._arguments, self._lookups)
        return {"speed/train_samples_per_s": samples / seconds} if samples and seconds else {}

    def epoch_end(self, epoch: int, rates: Mapping[str, float], logs: Logs | None) -> None:
        """The last hook of an epoch."""
        self.end_train_part(rates, logs)
        self.callbacks.on_epoch_end(epoch, logs)

    def train_end(self, logs: Logs | None) -> None:
        """The end of the training, and of the run where it was opened for it."""
        self.callbacks.on_train_end(logs)
        self._arguments = {}
        if self.recording.automatic:
            self.recording.settle("finished")
        self._rest()

    def failed(self, error: BaseException, trained: bool) -> None:
        """An exception left `fit` (then it `trained`), `evaluate` or `predict`."""
        self._in_train_part = False
        if self._training_around:
            self._state.training = self._training_around[0]
            self._training_around.clear()
        if trained:
            self.recording.settle(*status_of(error))
        self._rest()

    # Validation, evaluation, prediction

    def validation_begin(self, rates: Mapping[str, float], logs: Logs | None) -> None:
        """The validation of an epoch."""
        self.end_train_part(rates)
        self.callbacks.on_test_begin(logs)

    def evaluation_begin(self, model: Any, params: Mapping[str, Any] | None, logs: Logs | None) -> None:
        """An evaluation on its own; one that a callback makes within a training is no validation of the epoch."""
        self._begin(model, params)
        self._training_around.append(self._state.training)
        self._state.training = False
        self.callbacks.on_test_begin(logs)

    def evaluation_end(self, logs: Logs | None) -> None:
        """Its end."""
        self.callbacks.on_test_end(logs)
        self._state.training = self._training_around.pop()
        self._rest()

    def predict_begin(self, model: Any, params: Mapping[str, Any] | None, logs: Logs | None) -> None:
        """A prediction."""
        self._begin(model, params)
        self._predicted, self._prediction_started = 0, time.monotonic()
        self.callbacks.on_predict_begin(logs)

    def predict_batch_end(self, batch: int, logs: Logs | None) -> None:
        """Counts what was predicted."""
        count = description.predicted(logs, self._lookups)
        self._predicted += count
        self._state.seen += count
        if self.recording.takes("on_predict_batch_end"):
            self.callbacks.on_predict_batch_end(batch, logs)

    def predict_end(self, logs: Logs | None) -> None:
        """How many were predicted, and how fast."""
        seconds = time.monotonic() - self._prediction_started
        counted = {"predict/samples": float(self._predicted)}
        if self._predicted and seconds:
            counted["predict/samples_per_s"] = self._predicted / seconds
            counted["predict/ms_per_sample"] = 1000 * seconds / self._predicted
        self.callbacks.fire("on_predict_end", logs, besides=counted)
        self._rest()

    # Files

    def saved(self, path: Path) -> None:
        """A checkpoint has been written; where the last batch of an epoch is over, so is its training part."""
        backup = backup_folder(self._arguments, self._lookups)
        if backup is not None and path.absolute().is_relative_to(backup):
            resume_marker.leave(backup, self.recording)  # it deletes both again when the training has ended
            return
        if self._steps and self._batch >= self._steps - 1:
            self.end_train_part(self.rates())
        best = self._lookups.find("a ModelCheckpoint among the callbacks", False, self._is_best, path)
        if path.exists():
            self._log.log_model(path, ["best" if best else "last"])
        else:  # in a store that only Keras can read
            self.callbacks.run_callbacks("on_model_save")

    def _is_best(self, path: Path) -> bool:
        return any(
            made.save_best_only and _is_made_from(path, made.filepath)
            for made in _given(self._arguments, "ModelCheckpoint")
        )

    @contextmanager
    def exporting(self, path: Path, form: str) -> Iterator[None]:
        """An export: what it wrote and how long it took, or why it failed."""
        started = time.monotonic()
        self.callbacks.run_callbacks("on_export_start")
        try:
            yield
        except BaseException as error:
            self._log.log_text("export failed", f"{form} → {path}\n\n{status_of(error)[1]}")
            raise
        files = _exported(path, form, self._state.file, time.monotonic() - started)
        self.callbacks.run_callbacks("on_export_end", files=files)


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
        return [media.file(path, "export", format=form, parent=parent, duration=duration)]
    except (InvalidValueError, OSError) as error:
        warn(f"the export {path} is left out: {error}")
        return []
