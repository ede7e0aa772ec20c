"""Hearing Ultralytics: what it calls at its hooks, and from there to the callbacks and the record.

Ultralytics walks over the list that it has for a hook and calls what it finds with the live trainer, validator,
predictor or exporter. It is given a list that finds the run's functions anew at each walk. So they are called from
Ultralytics' own frame, as functions that look at its local variables expect; those that are added in the middle of a
training are heard, though a trainer copies its callbacks at the start; and a copy holds no lock and no file.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

from trackhooks.errors import TrackhooksError, warn
from trackhooks.event import FINAL
from trackhooks.frameworks import double_logging, resume_marker
from trackhooks.hooks.dispatch import Function
from trackhooks.hooks.vocabulary import BY_NAME
from trackhooks.recording.log_verbs import LogVerbs
from trackhooks.recording.recorder import Recorder
from trackhooks.recording.status import status_of
from trackhooks.values.lookups import Lookups

from . import launch
from .parts import Export, Pictures, Prediction, Told, Training, Validation, unwrapped

Callbacks = MutableMapping[str, list[Function]]
"""The `callbacks` of a model, trainer, validator, predictor or exporter."""

_OWN_LOGGERS = {"mlflow": "mlflow", "tensorboard": "tensorboard", "wandb": "wb"}
"""Its settings that switch its own logging on, which are also our trackers' names → its modules."""
_UNHEARD = (
    "Ultralytics before 8.4.140 trains on several GPUs in processes that have no callbacks but its own."
    " To record it: pip install -U ultralytics"
)


class Parent(Protocol):
    """A run that can have parts: what `Run` adds to a recording."""

    def child(self, name: str) -> Recorder:
        """Opens a run that is a part of this one."""


class Listeners(list[Function]):
    """What Ultralytics calls at one hook: the functions in this list, and behind them what its loop has to call."""

    def __init__(self, loop: UltralyticsLoop, hook: str, functions: Iterable[Function] = ()) -> None:
        super().__init__(functions)
        self.loop = loop
        self.hook = hook

    def __iter__(self) -> Iterator[Function]:
        yield from super().__iter__()
        sources: list[Any] = []
        yield sources.append  # is called with the trainer, validator, predictor or exporter
        for source in sources:
            yield from self.loop.hear(self.hook, source)

    def __eq__(self, other: object) -> bool:
        """Never that of a list of functions: with several data sets only the callbacks that are added are heard."""
        return self is other

    __hash__ = None  # as of any list

    def plain(self) -> list[Function]:
        """Only the functions in this list."""
        return list(super().__iter__())

    def copy(self) -> Listeners:
        """As a trainer copies the lists that it is made with: the copy hears as well."""
        return Listeners(self.loop, self.hook, self.plain())

    def __deepcopy__(self, memo: dict[int, Any]) -> list[Function]:
        """A copy of a model is a model of its own, which no run hears."""
        return copy.deepcopy(self.plain(), memo)

    def __reduce__(self) -> Any:
        """Only to the processes that Ultralytics launches for a training does the loop go along."""
        if self.loop.launches:
            return Listeners, (self.loop, self.hook, self.plain())
        return list, (self.plain(),)


class UltralyticsLoop:
    """Hears one model, or one trainer, for the run that it belongs to at the time."""

    def __init__(self) -> None:
        self._run: Recorder | None = None
        self._recording: Recorder | None = None
        self._last_run: Callable[[], Recorder | None] = lambda: None
        self._lookups = Lookups()
        self._pictures = Pictures(self._lookups)
        self._prediction = Prediction(self._lookups)
        self._export = Export(self._lookups)
        self._new_training()
        self._apart = False
        """Whether each training is to be a run of its own, as a part of the run."""
        self.launches = False
        """Whether a training was called and no hook has fired here: its processes are being launched."""

    def _new_training(self) -> None:
        training = Training(self._pictures, self._lookups)
        self._settled = False
        self._parts: dict[str, Any] = {
            "trainer": training,
            "validator": Validation(training, self._pictures, self._lookups),
            "predictor": self._prediction,
            "exporter": self._export,
        }

    @property
    def run(self) -> Recorder:
        """The run whose callbacks hear."""
        assert self._run is not None
        return self._run

    @property
    def recording(self) -> Recorder:
        """Where it is recorded: the run, or one that is a part of it."""
        assert self._recording is not None
        return self._recording

    # Being called by Ultralytics

    @contextmanager
    def hearing(self, run: Recorder, callbacks: Callbacks) -> Iterator[None]:
        """Hears what is called through these callbacks; afterwards they are as they were."""
        before = self._run, self._recording
        if run is not self._run:
            self._run = self._recording = run
        self._last_run = weakref.ref(run)
        originals = self._listen(run, callbacks)
        try:
            yield
        finally:
            recording = self.recording
            for hook, original in originals.items():
                _give_back(callbacks, hook, original)
            self._run, self._recording = before
            recording.note_files(self._pictures.late())

    def serve(self, run: Recorder) -> None:
        """Hears for this run from now on."""
        self._run = self._recording = run

    def hear_always(self, run: Recorder, callbacks: Callbacks) -> None:
        """Hears what is called through these callbacks, for good."""
        self.serve(run)
        self._listen(run, callbacks)

    def _listen(self, run: Recorder, callbacks: Callbacks) -> dict[str, list[Function]]:
        """Puts this loop's lists in the place of those that are there, which are returned; once is enough."""
        run.callbacks.state.loop = "an Ultralytics loop"
        self._lookups.strict = run.strict
        originals = {}
        for hook in BY_NAME:
            found = callbacks.get(hook, [])
            if not isinstance(found, Listeners) or found.loop is not self:
                originals[hook] = found
                callbacks[hook] = Listeners(self, hook, found)
        return originals

    def hear(self, hook: str, source: Any) -> Iterator[Function]:
        """Takes an event, and yields each function that Ultralytics has to call."""
        if self._run is None:
            return
        told = self._told(hook, source)
        callbacks = self._run.callbacks
        callbacks.update_state(hook, told.metrics, told.epoch, told.batch)
        if self.recording is not self._run:
            self.recording.callbacks.update_state(hook, told.metrics, told.epoch, told.batch)
        try:
            if callbacks.hears(hook):
                yield from callbacks.dispatch(hook, source, told.metrics, objects=told.to_objects)
        finally:  # what was measured is recorded even if a callback raises
            if told.to_record:
                self._record(hook, told)
            if hook == "teardown":
                self._close_training(told)

    def _told(self, hook: str, source: Any) -> Told:
        if hook in _BEFORE:
            _BEFORE[hook](self, source)
        tell = getattr(self._parts[BY_NAME[hook].source], hook, None)
        return Told() if tell is None else self._lookups.find(f"what {hook} tells", Told(), tell, source)

    def _record(self, hook: str, told: Told) -> None:
        metrics = {**told.metrics, **told.besides}
        self.recording.on_hook(hook, metrics, told.epoch, told.batch, **told.more)

    # Trainings

    @contextmanager
    def training(self, apart: bool) -> Iterator[None]:
        """Around a call of `train`: gives the run its status where Ultralytics' own `teardown` does not.

        Args:
            apart: whether each training that the call makes is a run of its own.
        """
        self.launches, self._apart, self._settled = True, apart, False
        run, failed = self.run, None
        try:
            yield
        except BaseException as error:
            failed = error
            raise
        finally:
            went_elsewhere = self._take_back(run)
            if self.launches and not went_elsewhere and failed is None:
                warn(f"run {run.name!r}: nothing of this training was heard; {_UNHEARD}")
            self._close_part("failed", "the training did not start")
            if not self._settled:
                run.settle(*status_of(failed))
            run.callbacks.forget_model()
            self._new_training()
            self.launches = self._apart = False

    def _take_back(self, run: Recorder) -> bool:
        """Goes on behind what processes of the training have recorded: were there any?"""
        try:
            lent = run.reacquire_journal()
        except TrackhooksError as error:
            warn(f"run {run.name!r}: nothing more is recorded of it. {error}")
            return True
        self._settled |= lent and run.status in FINAL
        return lent

    def _open_training(self, trainer: Any) -> None:
        self._close_part("failed", "the training did not start")
        self.launches = False
        self._new_training()
        if self._apart:
            folder = self._lookups.find(f"the folder of {type(trainer).__name__}", None, _folder, trainer)
            name = self.run.name if folder is None else f"{self.run.name}-{folder.name}"
            self._recording = cast(Parent, self.run).child(name)
        what = f"the callbacks of {type(trainer).__name__}"
        self._lookups.find(what, None, tell_of_own_loggers, trainer, self.run.info.trackers)

    def _start_training(self, trainer: Any) -> None:
        """A training that resumes goes on behind the batches that its checkpoint has seen."""
        kind = type(trainer).__name__
        batches = self._lookups.find(f"the number of batches of {kind}", None, _batches, trainer)
        start = self._lookups.find(f"the start epoch of {kind}", 0, _start_epoch, trainer)
        if start and batches is not None:
            self.recording.expect(start, start * batches - 1)
        folder = self._lookups.find(f"the folder of {kind}", None, _folder, trainer)
        if folder is not None:
            resume_marker.leave(folder, self.recording)
        self.run.callbacks.set_model(self._lookups.find(f"the model of {kind}", None, _model, trainer))
        self.run.callbacks.set_params(
            {
                "verbose": self._lookups.find(f"the arguments of {kind}", 0, _verbose, trainer),
                "epochs": self._lookups.find(f"the epochs of {kind}", None, getattr, trainer, "epochs"),
                "steps": batches,
                "initial_epoch": start,
            }
        )

    def _close_training(self, told: Told) -> None:
        if self._apart:
            self._close_part(told.more.get("status", "finished"), told.more.get("reason", ""))
        else:
            self._settled = "status" in told.more

    def _close_part(self, status: str, reason: str) -> None:
        """Closes the run of one training where each has one of its own."""
        part = self._recording
        if part is not None and part is not self._run:
            self._recording = self._run
            part.close(status, reason)

    # What is known when a call returns

    def record_export(self, path: Any) -> None:
        """Records the exported file, or folder."""
        if self._export.running:
            self._export.running = False
            self._record("on_export_end", Told(more={"files": self._export.file(path)}))

    def record_failed_export(self, format: str, error: BaseException) -> None:  # noqa: A002
        """Records why an export has failed; it does not change the run's status, which is that of its training."""
        self._export.running = False
        _, reason = status_of(error)
        LogVerbs(self.recording).log_text("export", f"The export to {format} failed: {reason}")

    def record_left_prediction(self) -> None:
        """Records what was predicted where a stream was left before its end: no hook fires then."""
        if self._prediction.running:
            self._record("on_predict_end", self._prediction.end())

    def record_table(self, name: str, table: Any) -> None:
        """Records a table."""
        LogVerbs(self.recording).log_table(name, table)

    def record_late_pictures(self, run: Recorder) -> None:
        """Records what Ultralytics has drawn in threads of its own, and was not ready when the call returned."""
        if self._last_run() is run:
            run.note_files(self._pictures.late())

    # Going along to another process

    def __reduce__(self) -> Any:
        """The processes of a training record into the same folder, the first of them."""
        self.run.release_journal()
        return _go_on, launch.baggage(self.run)


_BEFORE = {
    "on_pretrain_routine_start": UltralyticsLoop._open_training,
    "on_train_start": UltralyticsLoop._start_training,
}


def _give_back(callbacks: Callbacks, hook: str, original: list[Function]) -> None:
    """Puts a list back, with what was added meanwhile; one that was replaced meanwhile stays."""
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
    """Warns where Ultralytics logs to one of these trackers itself."""
    modules = {
        getattr(function, "__module__", None)
        for functions in trainer.callbacks.values()
        for function in list.__iter__(functions)
    }
    for setting, module in _OWN_LOGGERS.items():
        if setting in trackers and f"ultralytics.utils.callbacks.{module}" in modules:
            remedy = f"To switch that off: ultralytics.settings.update({{{setting!r}: False}})"
            double_logging.tell_of(setting, "with Ultralytics' integration", remedy)


def _go_on(*baggage: Any) -> UltralyticsLoop:
    """The loop that hears a training in a process that was launched for it."""
    loop = UltralyticsLoop()
    loop.serve(launch.unpacked(*baggage))
    return loop
