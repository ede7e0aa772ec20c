"""Forwarding of Ultralytics' hooks to the callbacks of a run and to its record."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trackhooks.errors import warn
from trackhooks.frameworks import double_logging, launched, resume_marker
from trackhooks.frameworks.helpers import BY_NAME, Lookups, status_of
from trackhooks.frameworks.interface import Function, Mode, RunHooks

from .engine import Callbacks, Functions, carry, carrying, note_start
from .parts import Export, HookData, Pictures, Prediction, Training, Validation, unwrapped

_OWN_LOGGERS = {"mlflow": "mlflow", "tensorboard": "tensorboard", "wandb": "wb"}
"""Ultralytics' settings that enable its own loggers, which are also the names of our trackers → their modules."""
_NOT_STARTED = "the training did not start"
_NO_CALLBACKS = (
    "Ultralytics before 8.4.140 trains on several GPUs in processes that have no callbacks but its own."
    " To record it: pip install -U ultralytics"
)


class UltralyticsLoop:
    """Record one model, or one trainer, into the run that it currently belongs to."""

    def __init__(self) -> None:
        self._run: RunHooks | None = None
        self._part: RunHooks | None = None
        """The run of one training out of several. The callbacks of the main run are called for it."""
        self._part_mode: Mode | None = None
        self._last_run: Callable[[], RunHooks | None] = lambda: None
        self._lookups = Lookups()
        self._pictures = Pictures(self._lookups)
        self._prediction = Prediction(self._lookups)
        self._export = Export(self._lookups)
        self._new_training()
        self._apart = False
        """Whether each training becomes a separate run, as a part of the main run."""
        self.launches = False
        """Whether `train` was called and no hook has fired in this process yet: it may launch other processes."""
        self._went_elsewhere = False
        """Whether this loop was pickled for a process of the training."""

    def _new_training(self) -> None:
        training = Training(self._pictures, self._lookups)
        self._parts: dict[str, Any] = {
            "trainer": training,
            "validator": Validation(training, self._pictures, self._lookups),
            "predictor": self._prediction,
            "exporter": self._export,
        }

    @property
    def run(self) -> RunHooks:
        """The current run, or the part of it that is being trained."""
        run = self._part or self._run
        assert run is not None
        return run

    @property
    def active(self) -> bool:
        """Whether hooks are recorded now."""
        return self._run is not None and not self._run.closed

    # Calls from Ultralytics

    @contextmanager
    def recording(self, run: RunHooks, callbacks: Callbacks) -> Iterator[None]:
        """Record into this run all objects that have these callbacks, or get them meanwhile."""
        before = self._run, self._part, self._part_mode
        if run is not self._run:
            self.serve(run)
        self._last_run = weakref.ref(run)
        try:
            with carrying(self, callbacks):
                yield
        finally:
            recorded = self.run
            self._run, self._part, self._part_mode = before
            recorded.note_files(self._pictures.late())

    def serve(self, run: RunHooks) -> None:
        """Record into this run from now on."""
        self._run, self._part, self._part_mode = run, None, None
        run.describe("an Ultralytics loop")
        self._lookups.strict = run.strict

    def serve_always(self, run: RunHooks, callbacks: Callbacks) -> None:
        """Record the object that has these callbacks until the run is closed, also if it has started already."""
        self.serve(run)
        carry(self, callbacks)

    def functions(self, hook: str, source: Any, own: Iterable[Function]) -> Functions:
        """Yield the functions that Ultralytics has to call at a hook: its own, then those of the run. Record the hook.

        If one of its own raises, this is closed: the hook is then recorded, and the run's functions are not called.
        """
        if hook in _STARTS:
            note_start(source, self)
        try:
            yield from own
        except GeneratorExit:
            with self.run.without_callbacks():
                deque(self._functions_of_run(hook, source), maxlen=0)
            raise
        yield from self._functions_of_run(hook, source)

    def _functions_of_run(self, hook: str, source: Any) -> Iterator[Function]:
        data = self._read(hook, source)
        try:
            yield from self.run.calls(
                hook, source, data.metrics, epoch=data.epoch, batch=data.batch, objects=data.to_objects,
                records=data.to_record, besides=data.besides, **data.more,
            )  # fmt: skip
        finally:
            if hook == "teardown":
                self._close_part()

    def _read(self, hook: str, source: Any) -> HookData:
        if hook in _BEFORE:
            _BEFORE[hook](self, source)
        read = getattr(self._parts[BY_NAME[hook].source], hook, None)
        if read is None:
            return HookData()
        return self._lookups.find(f"the data of {hook}", HookData(), read, source)

    # Trainings

    @contextmanager
    def training(self, apart: bool) -> Iterator[None]:
        """Record a call of `train`.

        Args:
            apart: whether each training of the call becomes a separate run.
        """
        self.launches, self._apart, self._went_elsewhere = True, apart, False
        try:
            yield
            if self.launches and not self._went_elsewhere:
                warn(f"run {self.run.name!r}: nothing of this training was heard; {_NO_CALLBACKS}")
        finally:
            self._close_part(_NOT_STARTED)
            self._new_training()
            self.launches = self._apart = False

    def announce(self, trainer: Any) -> None:
        """Start the training of a trainer that fired its first hook before it was recorded."""
        self._open_training(trainer)
        self.run.fire("on_pretrain_routine_start", trainer)

    def _open_training(self, trainer: Any) -> None:
        self._close_part(_NOT_STARTED)
        self.launches = False
        self._new_training()
        if self._apart:
            folder = self._lookups.find(f"the folder of {type(trainer).__name__}", None, _folder, trainer)
            name = self.run.name if folder is None else f"{self.run.name}-{folder.name}"
            self._part_mode = self.run.part(name)
            self._part = self._part_mode.begin()
        what = f"the callbacks of {type(trainer).__name__}"
        self._lookups.find(what, None, warn_of_own_loggers, trainer, self.run.trackers)

    def _start_training(self, trainer: Any) -> None:
        """Set the model and its params. A resumed training continues after the batches of its checkpoint."""
        kind = type(trainer).__name__
        batches = self._lookups.find(f"the number of batches of {kind}", None, _batches, trainer)
        start = self._lookups.find(f"the start epoch of {kind}", 0, _start_epoch, trainer)
        if start and batches is not None:
            self.run.expect(start, start * batches - 1)
        folder = self._lookups.find(f"the folder of {kind}", None, _folder, trainer)
        if folder is not None:
            resume_marker.leave(folder, self.run)
        params = {
            "verbose": self._lookups.find(f"the arguments of {kind}", 0, _verbose, trainer),
            "epochs": self._lookups.find(f"the epochs of {kind}", None, getattr, trainer, "epochs"),
            "steps": batches,
            "initial_epoch": start,
        }
        self.run.set_model(self._lookups.find(f"the model of {kind}", None, _model, trainer), params)

    def _close_part(self, error: str | None = None) -> None:
        """End the run of one training, if each training has a separate run."""
        mode, self._part, self._part_mode = self._part_mode, None, None
        if mode is not None:
            mode.end(error)

    # Data that are available when a call returns

    def record_export(self, path: Any) -> None:
        """Record the exported file or folder."""
        if self._export.running:
            self._export.running = False
            self.run.record("on_export_end", {}, files=self._export.file(path))

    def record_failed_export(self, form: str, error: BaseException) -> None:
        """Record why an export failed. The status of the run does not change: it is that of the training."""
        self._export.running = False
        _, reason = status_of(error)
        self.run.log_text("export", f"The export to {form} failed: {reason}")

    def record_left_prediction(self) -> None:
        """Record the predictions of a stream that was closed before its end. No hook fires in this case."""
        if self._prediction.running:
            data = self._prediction.end()
            self.run.record("on_predict_end", data.metrics, **data.more)

    def record_table(self, name: str, table: Any) -> None:
        """Record a table."""
        self.run.log_table(name, table)

    def record_late_pictures(self, run: RunHooks) -> None:
        """Record plots that Ultralytics drew in other threads and that were not ready when the call returned."""
        if self._last_run() is run:
            run.note_files(self._pictures.late())

    # Use in another process

    def __reduce__(self) -> Any:
        """Pack the run for the processes of a training. The first of them records into the same folder."""
        import cloudpickle  # installed, because Ultralytics pickles with it

        self._went_elsewhere = True
        return _continued, (launched.pack(self.run, cloudpickle.dumps),)


_BEFORE = {
    "on_pretrain_routine_start": UltralyticsLoop._open_training,
    "on_train_start": UltralyticsLoop._start_training,
}
_STARTS = (
    "on_pretrain_routine_start",
    "on_train_start",
    "on_val_start",
    "on_predict_start",
    "on_export_start",
)


def _batches(trainer: Any) -> int:
    return len(trainer.train_loader)


def _start_epoch(trainer: Any) -> int:
    return int(trainer.start_epoch)


def _folder(trainer: Any) -> Path:
    return Path(trainer.save_dir)


def _model(trainer: Any) -> Any:
    return unwrapped(trainer.model)


def _verbose(trainer: Any) -> int:
    return int(bool(trainer.args.verbose))


def warn_of_own_loggers(trainer: Any, trackers: Sequence[str]) -> None:
    """Warn if Ultralytics itself logs to one of these trackers."""
    modules = {
        getattr(function, "__module__", None)
        for functions in trainer.callbacks.values()
        for function in functions
    }
    for setting, module in _OWN_LOGGERS.items():
        if setting in trackers and f"ultralytics.utils.callbacks.{module}" in modules:
            remedy = f"To switch that off: ultralytics.settings.update({{{setting!r}: False}})"
            double_logging.warn_once(setting, "with Ultralytics' integration", remedy)


def _continued(packed: launched.Packed) -> UltralyticsLoop:
    """Create the loop that records a training in a process launched for it."""
    loop = UltralyticsLoop()
    loop.serve(launched.unpack(packed))
    return loop
