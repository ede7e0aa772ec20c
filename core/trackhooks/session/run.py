"""`run`: opens a run. A `Run` is a recording with the methods of every loop."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from trackhooks_integrations.frameworks.keras import framework as keras
from trackhooks_integrations.frameworks.ultralytics import framework as ultralytics

from ..delivery.cursor import Spec, cursors
from ..delivery.registry import find
from ..errors import say, unknown
from ..event import RunInfo, Scalar
from ..hooks.callback_list import CallbackList
from ..hooks.dispatch import Function
from ..loop.batches import Item
from ..loop.loop import OwnLoop
from ..recording import environment, identity, open_runs
from ..recording.recorder import Recording, ending
from ..recording.status import status_of
from ..storage.journal import Writer
from ..storage.run_folder import as_file_name
from ..tracker import Tracker
from ..values import checks
from ..values.foreign import is_a
from ..values.params import flat_params
from .process_end import _deliverer
from .ranks import records_here
from .settings import Settings, _exhaustion_as_own_error, _text, settings


class Run(Recording):
    """A run that is being made. Open one with `trackhooks.run`; use it in a `with`, or call `close`.

    An exception that leaves the `with` gives it the status failed, Ctrl-C killed, and `sys.exit` with a code other
    than 0 failed.
    """

    run_callbacks: Callable[..., None]
    """Fires a hook: see `CallbackList.run_callbacks`."""

    def __init__(
        self, info: RunInfo, writer: Writer | None, callbacks: CallbackList, chosen: Settings
    ) -> None:
        super().__init__(info, writer, callbacks, chosen.extra_hooks, chosen.strict)
        self._settings = chosen
        self._spare = [copy.copy(made) for made in chosen.objects]
        # The list's own method: what calls a function must be what the loop calls, since functions look at frames.
        self.run_callbacks = callbacks.run_callbacks
        self._loop = OwnLoop(self)

    # The two vocabularies

    def add_callback(self, event: str, func: Function) -> None:
        """Calls `func(trainer)` (or validator, predictor, exporter) at a hook: see `CallbackList.add_callback`."""
        self.callbacks.add_callback(event, func)

    def _end_epoch(self) -> None:
        super()._end_epoch()
        _deliverer().check(self.info, self.strict)

    # Keras

    @property
    def keras(self) -> Any:
        """The run as a callback of Keras: `model.fit(x, y, callbacks=[run.keras])`.

        A true `keras.callbacks.Callback`, to be passed to `fit`, `evaluate` or `predict`. Afterwards evaluations,
        predictions, saves and exports of the model are recorded without it, until the run is closed.

        Raises:
            MissingPackageError: Keras has not been imported.
        """
        return keras.callback_of(self)

    # Ultralytics

    def attach(self, model: Any) -> None:
        """Records all that an Ultralytics model does, in every mode, until the run is closed.

        The model's own callbacks are called as before, and those of the run behind them. Several models may be
        attached to one run.

        Args:
            model: such as `YOLO("yolo11n.pt")`; a trainer that was made without one serves, too.

        Raises:
            InvalidValueError: it is no model of Ultralytics.
        """
        ultralytics.attach(self, model)

    def child(self, name: str) -> Run:
        """Opens a run that is a part of this one, with the same settings; each has trackers of its own."""
        checked = _text("run.child(…): name", name)
        trackers = [copy.copy(made) for made in self._spare]
        return open_run(
            msgspec.structs.replace(self._settings, name=checked, params={}, objects=trackers), parent=self
        )

    # A loop of your own

    def watch(
        self, model: Any, optimizer: Any = None, *, gradient_norm: bool = False, histograms: int = 0
    ) -> None:
        """Tells the run about the model and the optimizer: then all 25 hooks fire.

        Fires `on_pretrain_routine_start` and `_end`, with the model's summary and the optimizer's settings as
        parameters. Adds the learning rates of each epoch. Nothing of it runs the model or moves random numbers.

        Args:
            model: a `torch.nn.Module`; Keras callbacks get it as a `model` whose `stop_training` ends the loop.
            optimizer: a `torch.optim.Optimizer`; its steps and `zero_grad` fire `optimizer_step` and
                `on_before_zero_grad`.
            gradient_norm: log the norm of all gradients at each step, as `batch/gradients…`; costs a pass over them.
            histograms: log histograms of weights and gradients every so many steps; 0 for never.

        Raises:
            InvalidValueError: `model` or `optimizer` is of another kind.
        """
        self._loop.watch(model, optimizer, gradient_norm, histograms)

    def epochs(self, count: int, *, start: int | None = None, progress: bool = False) -> Iterable[int]:
        """Runs a training: `for epoch in run.epochs(10)`. Ends early when a callback asks for it.

        Args:
            count: how many epochs, behind those that the run already has; with `start`, the index to stop before.
            start: the index of the first epoch, as after a checkpoint was loaded.
            progress: show a bar for each epoch.

        Returns:
            The indices of the epochs, from 0; as long as there are epochs.

        Raises:
            InvalidValueError: `count` is no number of epochs.
        """
        return self._loop.epochs(count, start, progress)

    def train(self, batches: Iterable[Item]) -> Iterable[Item]:
        """Goes through the training batches of an epoch; what is logged in each becomes one record.

        What it returns can be gone through in every epoch anew, and is as long as the batches are. Without
        `run.epochs` around it each time is an epoch of its own.
        """
        return self._loop.train(batches)

    def validate(self, batches: Iterable[Item]) -> Iterable[Item]:
        """Goes through validation batches; the means of what is logged become `val/…`, outside of epochs `test/…`."""
        return self._loop.validate(batches)

    def predict(self, batches: Iterable[Item]) -> Iterable[Item]:
        """Goes through batches to predict; samples a second are recorded, and the means of what is logged."""
        return self._loop.predict(batches)

    # Where it is

    def url(self, tracker: str) -> str | None:
        """Where this run can be looked at in a tracker; None as long as the tracker has not said.

        Raises:
            UnknownNameError: the run has no such tracker.
        """
        if not is_a(tracker, str) or tracker not in self.info.trackers:
            raise unknown("tracker", tracker, self.info.trackers, f"run {self.name!r}: ")
        return next(
            (found.url for found in cursors(self.path) if found.tracker == tracker and found.url), None
        )

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until every tracker has all that was recorded so far.

        Args:
            timeout: how long at most, in seconds; None for as long as it takes.

        Returns:
            False on timeout, and if a tracker cannot be delivered to any more: its delivery process died, and could
            not be started again.
        """
        if self._events is None or self._settings.delivery == "off":
            return True
        if self.records:
            self.flush()
        return _deliverer().wait(self.info, self._settings.tracker_names, timeout)

    # The end

    def status_at_exit(self, error: BaseException | None) -> tuple[str, str]:
        """The status of a run that is still open when the process ends: see `Recording.status_at_exit`."""
        if error is None:
            self._loop.settle_at_exit()
        return super().status_at_exit(error)

    def close(self, status: str = "finished", reason: str = "") -> None:
        """Ends the run: fires `teardown` where a training has started, sets the status, closes the journal.

        Does not wait for delivery: see `wait`. Closing again does nothing.
        """
        status, reason = ending(status, reason)
        try:
            if status == "finished":
                self._loop.settle()
        except BaseException as error:  # of a callback of the user's own
            status, reason = status_of(error)
            raise
        finally:
            self._end(status, reason)

    def _end(self, status: str, reason: str) -> None:
        self._loop.abandon()
        for loop in (self._loop, *self.loops.values()):
            loop.release()
        recorded = self.records
        try:
            super().close(status, reason)
        finally:
            open_runs.remove(self)
            if recorded:
                _deliverer().end(self.info)

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(*status_of(error))

    def __repr__(self) -> str:
        return f"<trackhooks run {self.name!r}, {self.status}, in {self.info.path!r}>"


def run(
    *trackers: str | Tracker,
    project: str | None = None,
    name: str | None = None,
    params: Any = None,
    tags: Iterable[str] = (),
    notes: str | None = None,
    group: str | None = None,
    dir: str | os.PathLike[str] | None = None,  # noqa: A002 — the name that users know from other trackers
    every: int | str | None = None,
    keep: str = "best,last",
    delivery: str | None = None,
    system: str | None = "10s",
    strict: bool = False,
    resume: str | os.PathLike[str] | None = None,
    **options: Mapping[str, Any],
) -> Run:
    """Opens a run.

    Args:
        *trackers: names (`"csv"`, `"mlflow"`, `"module:Class"`) or objects of a `Tracker`; by default those that the
            environment variable `TRACKHOOKS` names, and `csv` where it names none.
        project: what the runs belong to: MLflow's experiment, W&B's project.
        name: what people call the run; one that is taken gets a number behind it. By default one is made up.
        params: hyper-parameters, in whatever `log_params` takes; nested ones are flattened, secrets redacted.
        tags: words to find the run by.
        notes: a text about it.
        group: runs of one group belong together: the folds of a cross-validation, the trials of a sweep.
        dir: the directory of the runs; by default that of `TRACKHOOKS_DIR`, and `runs` where it is not set.
        every: how often trackers take the metrics of batches: every N steps, or `"1s"`; by default each its own way.
        keep: which checkpoints the run's folder keeps: `"best,last"`, `"all"`, `"none"` or `"every:N"`.
        delivery: `"process"`, `"inline"` (threads of this process) or `"off"` (record only, `trackhooks sync` later);
            by default that of `TRACKHOOKS_DELIVERY`, and `"process"` where it is not set.
        system: how often processor, memory, disk, network and GPU are measured, as `system/…`; None for never, and
            with `delivery="off"` nobody does.
        strict: raise what would be a warning otherwise: a value that is no number, a tracker that fails.
        resume: the folder of a run to go on with.
        **options: the options of a tracker by its name, as in `mlflow={"tracking_uri": …}`; it is then used, too.

    Returns:
        The run, to be used in a `with`. On a rank other than 0, and where `TRACKHOOKS_DISABLED` is 1, it records
        nothing and only calls the callbacks.

    Raises:
        UnknownNameError: there is no such tracker or option; the message holds the nearest name.
        InvalidValueError: a value is not accepted.
        MissingPackageError: a tracker's package is not installed; the message holds the install line.
        TrackhooksError: the directory cannot be written, or there is no run to resume.
    """
    chosen = settings(
        *trackers, project=project, name=name, params=params, tags=tags, notes=notes, group=group, dir=dir, every=every,
        keep=keep, delivery=delivery, system=system, strict=strict, **options,
    )  # fmt: skip
    return open_run(chosen, None if resume is None else checks.path("resume", resume))


def open_run(chosen: Settings, resume: Path | None = None, parent: Recording | None = None) -> Run:
    """Opens a run with settings that were checked before; `parent` is the run that it is a part of.

    Raises:
        TrackhooksError: the directory cannot be written, no file can be opened, or there is no run to resume.
    """
    if not records_here():
        return silent_run(chosen)
    with _exhaustion_as_own_error():
        return _opened(chosen, resume, parent)


def _opened(chosen: Settings, resume: Path | None, parent: Recording | None) -> Run:
    info = identity.new_info(
        name="", project=chosen.project, tags=chosen.tags, notes=chosen.notes, group=chosen.group, keep=chosen.keep,
        trackers=chosen.tracker_names, system=chosen.system,
        parent=None if parent is None else parent.id,
        options={spec.name: options for spec in chosen.specs if (options := _stored_options(spec))},
    )  # fmt: skip
    made = Run(*_folder_of(info, chosen, resume), CallbackList(), chosen)
    open_runs.add(made)
    try:
        _begin(made, chosen, resumes=resume is not None)
    except BaseException as error:
        made.close(*status_of(error))
        raise
    return made


def _begin(made: Run, chosen: Settings, resumes: bool) -> None:
    _announce(made)
    specs, objects = _joining(chosen, made.name)
    _deliverer().follow(made.info, specs, [*chosen.objects, *objects], chosen.delivery)
    if resumes:
        made.tell("running")
    if chosen.params:
        made.log_params(chosen.params)


def _joining(chosen: Settings, run: str) -> tuple[list[Spec], list[Tracker]]:
    """The trackers by name, told what the program has active in their backends; and those that are then fed here."""
    specs: list[Spec] = []
    objects: list[Tracker] = []
    for spec in chosen.specs:
        active = find(spec.name).active()
        if active and all(spec.options.get(name, value) == value for name, value in active.items()):
            spec = Spec(spec.name, {**active, **spec.options}, spec.every)
            say(f"run {run} joins what is active in {spec.name}, and leaves it open")
        made = spec.make()
        if made.in_place:
            objects.append(made)
        else:
            specs.append(spec)
    return specs, objects


def _stored_options(spec: Spec) -> dict[str, Scalar]:
    """What `run.json` remembers, so that `sync` delivers to the same place, as often."""
    every = {} if spec.every is None else {"every": spec.every}
    return flat_params({**spec.options, **every})


def _folder_of(info: RunInfo, chosen: Settings, resume: Path | None) -> tuple[RunInfo, Writer]:
    if resume is None:
        return identity.create(chosen.dir, chosen.name, info)
    return identity.resume(resume, info)


def _announce(made: Run) -> None:
    here = environment.directory()
    path = os.path.relpath(made.path) if here and made.path.is_relative_to(here) else str(made.path)
    say(f"run {made.name} → {path} ({', '.join(made.info.trackers)})")


def silent_run(chosen: Settings) -> Run:
    """A run that calls its callbacks and records nothing."""
    name = as_file_name(chosen.name or "silent")
    info = RunInfo(
        id=f"silent-{os.getpid()}-{time.monotonic_ns()}", name=name, path=str((chosen.dir / name).absolute()),
        trackers=chosen.tracker_names,
    )  # fmt: skip
    return Run(info, None, CallbackList(), chosen)
