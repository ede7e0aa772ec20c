"""Forwarding of Ultralytics' hooks to the callbacks of a run and to its record.

Ultralytics keeps a list of functions for each hook. It iterates over the list and calls each function with the current
trainer, validator, predictor or exporter. Each list is replaced by one that looks up the run's functions anew
at each iteration:

- Functions are called from Ultralytics' own frame. Functions that read its local variables need this.
- Functions added during a training are called, although a trainer copies its callbacks at the start.
- A copy of the list holds no lock and no file.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trackhooks.errors import warn
from trackhooks.frameworks import double_logging, launched, resume_marker
from trackhooks.frameworks.helpers import BY_NAME, Lookups, status_of
from trackhooks.frameworks.interface import Function, Mode, RunHooks

from .parts import Export, Pictures, Prediction, Told, Training, Validation, unwrapped

Callbacks = MutableMapping[str, list[Function]]
"""The `callbacks` of a model, trainer, validator, predictor or exporter."""

_OWN_LOGGERS = {"mlflow": "mlflow", "tensorboard": "tensorboard", "wandb": "wb"}
"""Ultralytics' settings that enable its own loggers, which are also the names of our trackers → their modules."""
_NOT_STARTED = "the training did not start"
_UNHEARD = (
    "Ultralytics before 8.4.140 trains on several GPUs in processes that have no callbacks but its own."
    " To record it: pip install -U ultralytics"
)


class Listeners(list[Function]):
    """List of functions for one hook: its own functions, followed by those of the run of its loop."""

    def __init__(self, loop: UltralyticsLoop, hook: str, functions: Iterable[Function] = ()) -> None:
        super().__init__(functions)
        self.loop = loop
        self.hook = hook

    def __iter__(self) -> Iterator[Function]:
        yield from super().__iter__()
        sources: list[Any] = []
        yield sources.append  # Ultralytics calls it with the trainer, validator, predictor or exporter
        for source in sources:
            yield from self.loop.hear(self.hook, source)

    def __eq__(self, other: object) -> bool:
        """Compare by identity, so that it never equals a plain list.

        With several datasets, Ultralytics uses the callbacks only if they differ from its defaults.
        """
        return self is other

    __hash__ = None  # like any list

    def plain(self) -> list[Function]:
        """Return only the functions in this list, without those of the run."""
        return list(super().__iter__())

    def copy(self) -> Listeners:
        """Return a list for the same loop and hook. A trainer copies the lists that it is created with."""
        return Listeners(self.loop, self.hook, self.plain())

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Function]:
        """Return a plain list: a copy of a model is a separate model, and is not recorded."""
        return copy.deepcopy(self.plain(), memo)

    def __reduce__(self) -> Any:
        """Pickle the loop only for the processes that Ultralytics launches for a training."""
        if self.loop.launches:
            return Listeners, (self.loop, self.hook, self.plain())
        return list, (self.plain(),)


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

    # Calls from Ultralytics

    @contextmanager
    def hearing(self, run: RunHooks, callbacks: Callbacks) -> Iterator[None]:
        """Record everything that is called through these callbacks, and restore them afterwards."""
        before = self._run, self._part, self._part_mode
        if run is not self._run:
            self._run, self._part, self._part_mode = run, None, None
        self._last_run = weakref.ref(run)
        originals = self._listen(run, callbacks)
        try:
            yield
        finally:
            heard = self.run
            for hook, original in originals.items():
                _give_back(callbacks, hook, original)
            self._run, self._part, self._part_mode = before
            heard.note_files(self._pictures.late())

    def serve(self, run: RunHooks) -> None:
        """Record into this run from now on."""
        self._run, self._part, self._part_mode = run, None, None

    def hear_always(self, run: RunHooks, callbacks: Callbacks) -> None:
        """Record everything that is called through these callbacks, permanently."""
        self.serve(run)
        self._listen(run, callbacks)

    def _listen(self, run: RunHooks, callbacks: Callbacks) -> dict[str, list[Function]]:
        """Replace the lists by this loop's lists, unless that is done already. Returns the lists that were replaced."""
        run.describe("an Ultralytics loop")
        self._lookups.strict = run.strict
        originals = {}
        for hook in BY_NAME:
            found = callbacks.get(hook, [])
            if not isinstance(found, Listeners) or found.loop is not self:
                originals[hook] = found
                callbacks[hook] = Listeners(self, hook, found)
        return originals

    def hear(self, hook: str, source: Any) -> Iterator[Function]:
        """Record an event, and yield each function that Ultralytics has to call for it."""
        if self._run is None:
            return
        told = self._told(hook, source)
        try:
            yield from self.run.calls(
                hook, source, told.metrics, epoch=told.epoch, batch=told.batch, objects=told.to_objects,
                records=told.to_record, besides=told.besides, **told.more,
            )  # fmt: skip
        finally:
            if hook == "teardown":
                self._close_part()

    def _told(self, hook: str, source: Any) -> Told:
        if hook in _BEFORE:
            _BEFORE[hook](self, source)
        tell = getattr(self._parts[BY_NAME[hook].source], hook, None)
        return Told() if tell is None else self._lookups.find(f"what {hook} tells", Told(), tell, source)

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
                warn(f"run {self.run.name!r}: nothing of this training was heard; {_UNHEARD}")
        finally:
            self._close_part(_NOT_STARTED)
            self._new_training()
            self.launches = self._apart = False

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
        self._lookups.find(what, None, tell_of_own_loggers, trainer, self.run.trackers)

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

    def record_failed_export(self, format: str, error: BaseException) -> None:  # noqa: A002
        """Record why an export failed. The status of the run does not change: it is that of the training."""
        self._export.running = False
        _, reason = status_of(error)
        self.run.log_text("export", f"The export to {format} failed: {reason}")

    def record_left_prediction(self) -> None:
        """Record the predictions of a stream that was closed before its end. No hook fires in this case."""
        if self._prediction.running:
            told = self._prediction.end()
            self.run.record("on_predict_end", told.metrics, **told.more)

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
        return _go_on, (launched.pack(self.run, cloudpickle.dumps),)


_BEFORE = {
    "on_pretrain_routine_start": UltralyticsLoop._open_training,
    "on_train_start": UltralyticsLoop._start_training,
}


def _give_back(callbacks: Callbacks, hook: str, original: list[Function]) -> None:
    """Restore a list, including functions added meanwhile. If the user has replaced the list, keep the user's list."""
    found = callbacks.get(hook)
    if isinstance(found, Listeners):
        original[:] = found.plain()
        callbacks[hook] = original


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


def tell_of_own_loggers(trainer: Any, trackers: Sequence[str]) -> None:
    """Warn if Ultralytics itself logs to one of these trackers."""
    modules = {
        getattr(function, "__module__", None)
        for functions in trainer.callbacks.values()
        for function in list.__iter__(functions)
    }
    for setting, module in _OWN_LOGGERS.items():
        if setting in trackers and f"ultralytics.utils.callbacks.{module}" in modules:
            remedy = f"To switch that off: ultralytics.settings.update({{{setting!r}: False}})"
            double_logging.tell_of(setting, "with Ultralytics' integration", remedy)


def _go_on(packed: launched.Packed) -> UltralyticsLoop:
    """Create the loop that records a training in a process launched for it."""
    loop = UltralyticsLoop()
    loop.serve(launched.unpack(packed))
    return loop
