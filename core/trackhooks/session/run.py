"""`run` and `Run`: a run that the user opens."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import unknown
from ..errors.foreign import is_a
from ..frameworks import registry
from ..frameworks.one_run import OneRun
from ..frameworks.run_hooks import hooks_of
from ..hooks.callback_list import CallbackList
from ..hooks.dispatch import Function
from ..loop.batches import Item
from ..loop.loop import OwnLoop
from ..recording.log_verbs import LogVerbs
from ..recording.recorder import Recorder
from ..recording.status import status_of
from ..values import checks
from .opening import open_recorder
from .other_names import RUN, missing
from .settings import Trackers, settings

_ADDRESS_S = 60.0
"""How long `Run.url` waits for an address."""


class Run(LogVerbs):
    """An open run. Open one with `trackhooks.run`, use it in a `with` statement, or call `close`.

    An exception that leaves the `with` sets the status: Ctrl-C to killed, Optuna's `TrialPruned` to pruned, other
    exceptions and `sys.exit` with a code other than 0 to failed.
    """

    run_callbacks: Callable[..., None]
    """Fires a hook: see `CallbackList.run_callbacks`."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self._loop = recorder.custom_loop = OwnLoop(recorder)
        # The method of the list itself: functions look at the frame that called them, which must be the loop's.
        self.run_callbacks = recorder.callbacks.run_callbacks

    # Identity and state

    @property
    def id(self) -> str:
        """The id of the run, which does not change if the folder moves; trackers that accept ids use it too."""
        return self._recorder.id

    @property
    def name(self) -> str:
        """The name of the run, and of its folder."""
        return self._recorder.name

    @property
    def path(self) -> Path:
        """The folder of the run; with `ranks="all"`, on ranks above 0, the folder of the rank inside it."""
        return self._recorder.path

    @property
    def status(self) -> str:
        """`"running"`, `"finished"`, `"failed"`, `"pruned"`, `"killed"` or `"lost"`."""
        return self._recorder.status

    @property
    def step(self) -> int:
        """The index of the last training batch, from 0, counted across epochs and resumes; −1 before the first.

        Set it to continue after another step, as after loading a checkpoint.
        """
        return self._recorder.place.step

    @step.setter
    def step(self, value: int) -> None:
        self._recorder.jump(value)

    @property
    def epoch(self) -> int:
        """The index of the current epoch, from 0, counted across trainings and resumes; −1 before the first."""
        return self._recorder.place.epoch

    @property
    def records(self) -> bool:
        """Whether anything is recorded: not on a rank that does not record, when disabled or closed, or in a fork."""
        return self._recorder.records

    # Callbacks

    @property
    def callbacks(self) -> CallbackList:
        """The callbacks of the run, in either vocabulary."""
        return self._recorder.callbacks

    def add_callback(self, event: str, func: Function) -> None:
        """Call `func(trainer)` (or validator, predictor, exporter) at a hook: see `CallbackList.add_callback`."""
        self.callbacks.add_callback(event, func)

    # Frameworks

    @property
    def keras(self) -> Any:
        """The run as a Keras callback: `model.fit(x, y, callbacks=[run.keras])`.

        It is an instance of `keras.callbacks.Callback`, for `fit`, `evaluate` or `predict`. After that, evaluations,
        predictions, saves and exports of the model are recorded without it, until the run is closed.

        Raises:
            MissingPackageError: Keras has not been imported.
        """
        return registry.callback("keras", OneRun(hooks_of(self._recorder)))

    def callback(self, framework: str) -> Any:
        """The run as a callback for a framework's own list: `xgboost.train(…, callbacks=[run.callback("xgboost")])`.

        Args:
            framework: the module that the integration of the framework waits for, such as `"xgboost"`.

        Raises:
            UnknownNameError: no integration of such a framework is installed; the message has the nearest name.
            InvalidValueError: the framework has no list of callbacks.
            MissingPackageError: the framework has not been imported.
        """
        self._recorder.is_open()
        return registry.callback(framework, OneRun(hooks_of(self._recorder)))

    def attach(self, model: Any) -> None:
        """Record everything that an Ultralytics model or a Trainer does, until the run is closed.

        Its callbacks are called as before. Several models may be attached to one run.

        Args:
            model: a model such as `YOLO("yolo11n.pt")`, a trainer of Ultralytics that was created without one, a
                `lightning.pytorch.Trainer`, or a `transformers.Trainer`.

        Raises:
            InvalidValueError: it is none of these, nor anything that another integration accepts.
        """
        self._recorder.is_open()
        registry.attach(hooks_of(self._recorder), model)

    def child(self, name: str) -> Run:
        """Open a run that is part of this one, with the same settings and its own trackers."""
        return Run(self._recorder.child(name))

    # A custom loop

    def watch(
        self, model: Any, optimizer: Any = None, *, gradient_norm: bool = False, histograms: int = 0
    ) -> None:
        """Tell the run about the model and the optimizer, so that all 25 hooks fire.

        Fires `on_pretrain_routine_start` and `on_pretrain_routine_end`, with a summary of the model and the settings
        of the optimizer as parameters. Adds the learning rates to each epoch. Never runs the model and never uses
        random numbers.

        Several models and optimizers are passed as dicts by name or as lists, or in several calls. Their names, or
        else their indices, are then part of what is recorded: `lr/generator/0`, `lr/1/0`, `model/generator/parameters`.

        Args:
            model: a `torch.nn.Module`, or a list or dict of them. Keras callbacks get it as their `model`; its
                `stop_training` ends the loop.
            optimizer: a `torch.optim.Optimizer`, a wrapper of one, or any object with `param_groups`; or a list or dict
                of them. If there are as many as models, they have the names of the models. Their `step` fires
                `optimizer_step`, and their `zero_grad` fires `on_before_zero_grad`.
            gradient_norm: log the norm of all gradients at each step, as `gradients/norm`. It takes a pass over them.
            histograms: log histograms of weights and gradients every N steps; 0 for never.

        Raises:
            InvalidValueError: `model` or `optimizer` has another type.
        """
        self._loop.watch(model, optimizer, gradient_norm, histograms)

    def epochs(self, count: int, *, start: int | None = None, progress: bool = False) -> Iterable[int]:
        """Run a training: `for epoch in run.epochs(10)`. It ends early if a callback asks for it.

        Args:
            count: the number of epochs, after those that the run already has; with `start`, the index to stop before.
            start: the index of the first epoch, as after loading a checkpoint.
            progress: show a progress bar for each epoch.

        Returns:
            The indices of the epochs, from 0, as an iterable with a length.

        Raises:
            InvalidValueError: `count` or `start` is not a whole number from 0.
        """
        return self._loop.epochs(count, start, progress)

    def train(self, batches: Iterable[Item]) -> Iterable[Item]:
        """Iterate over the training batches of an epoch. What is logged in a batch becomes one record.

        The result can be iterated again in every epoch, and has the length of `batches`. Outside `run.epochs`, each
        iteration is an epoch.
        """
        return self._loop.train(batches)

    def validate(self, batches: Iterable[Item]) -> Iterable[Item]:
        """Iterate over validation batches. The means of logged metrics become `val/…`, outside epochs `test/…`.

        They are metrics of the epoch; between the batches of `run.train` they are points over the steps, and the epoch
        keeps the last ones.
        """
        return self._loop.validate(batches)

    def predict(self, batches: Iterable[Item]) -> Iterable[Item]:
        """Iterate over batches to predict. Records samples per second, and the means of logged metrics."""
        return self._loop.predict(batches)

    # Delivery

    def url(self, tracker: str, timeout: float | None = None) -> str | None:
        """Return the address of this run in a tracker.

        A tracker has an address as soon as it has received the first record, which takes MLflow and W&B some seconds.

        Args:
            tracker: the name of the tracker.
            timeout: how long to wait for the address, in seconds; by default 60, and 0 during a training.

        Returns:
            None on timeout, if the tracker has failed, or if nothing is recorded or delivered.

        Raises:
            UnknownNameError: the run has no such tracker.
            InvalidValueError: `timeout` is not a number from 0.
        """
        names = self._recorder.info.trackers
        if not is_a(tracker, str) or tracker not in names:
            raise unknown("tracker", tracker, names, f"run {self.name!r}: ")
        if timeout is None:
            timeout = 0.0 if self._recorder.callbacks.state.training else _ADDRESS_S
        seconds = checks.number("run.url(…): timeout", timeout)
        return self._recorder.owner.url(self._recorder, tracker, seconds)

    def flush(self) -> None:
        """Write everything that is held back, and sync the journal to disk, so that it survives a system crash."""
        self._recorder.flush()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until every tracker has all that was recorded so far.

        Args:
            timeout: the longest time to wait, in seconds; None to wait as long as it takes.

        Returns:
            False on timeout, or if the delivery process died and could not be started again.
        """
        return self._recorder.owner.wait(self._recorder, timeout)

    # The end

    def close(self, status: str = "finished", reason: str = "") -> None:
        """End the run: fire `teardown` if a training has started, set the status, close the journal.

        Does not wait for delivery: see `wait`. Closing a closed run does nothing.
        """
        self._recorder.close(status, reason)

    def __enter__(self) -> Run:
        self._recorder.is_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(*status_of(error))

    if not TYPE_CHECKING:  # type checkers report a missing attribute by themselves

        def __getattr__(self, name: str) -> NoReturn:
            raise missing("A run", name, RUN, dir(Run))

    def __fspath__(self) -> str:
        """The folder of the run: functions that take the path of a run also take the run."""
        return str(self.path)

    def _repr_html_(self) -> str | None:
        from . import live_display  # only notebooks need it

        return live_display.html_of(self._recorder) if self._recorder.has_journal else None

    def _ipython_display_(self) -> None:
        """Show the run in a notebook, and keep it up to date while it is open."""
        from . import live_display  # only notebooks need it

        live_display.display(self._recorder, repr(self))

    def __repr__(self) -> str:
        return f"<trackhooks run {self.name!r}, {self.status}, in {str(self.path)!r}>"


def recorder_of(run: Run) -> Recorder:
    """Return what records this run: for the loops of frameworks, and for tests."""
    return run._recorder


def run(
    *trackers: Trackers,
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
    rank: int | None = None,
    ranks: str | None = None,
    wait: float | None = None,
    resume: str | os.PathLike[str] | None = None,
    **options: Mapping[str, Any],
) -> Run:
    """Open a run.

    Args:
        *trackers: names (`"csv"`, `"mlflow"`, `"module:Class"`) or instances of a `Tracker`; also in a list, or names
            separated by commas. By default those that the environment variable `TRACKHOOKS` names, otherwise `csv`.
        project: the project of the run: an experiment in MLflow, a project in W&B.
        name: the name of the run. A number is added if it is taken. By default it says which parameters differ from
            those of the newest run (`lr=0.1-batch=32`); without parameters a name is invented.
        params: hyper-parameters: anything that `log_params` accepts. Nested ones are flattened, and secrets redacted.
        tags: words to find the run by.
        notes: a description of the run.
        group: the group of the run, such as the folds of a cross-validation or the trials of a sweep. By default that
            of the run that it is part of, or of the SLURM job array that the program belongs to, such as `slurm-4711`.
        dir: the directory of the runs. By default that of `TRACKHOOKS_DIR`, otherwise `runs`.
        every: how often trackers take the metrics of batches: every N steps, or `"1s"`. By default each tracker has
            its own rate.
        keep: which checkpoints the folder of the run keeps: `"best,last"`, `"all"`, `"none"` or `"every:N"`.
        delivery: `"process"`, `"inline"` (threads of this process) or `"off"` (only record; deliver later with
            `trackhooks sync`). By default that of `TRACKHOOKS_DELIVERY`, otherwise `"process"`.
        system: how often CPU, memory, disk, network and GPU are measured, as `system/…`; None for never. They are not
            measured with `delivery="off"`.
        strict: raise errors instead of warnings, such as for a value that is not a number or a tracker that fails.
        rank: the rank of this process. By default that of `TRACKHOOKS_RANK`, otherwise the rank in a distributed job,
            which the launcher sets (`RANK`, `LOCAL_RANK`, …).
        ranks: which ranks of a distributed job record: `"zero"`, or `"all"` for each one into the same run; only rank 0
            feeds the trackers. By default that of `TRACKHOOKS_RANKS`, otherwise `"zero"`.
        wait: how long the end of the program waits until everything is delivered, in seconds; 0 for not at all. By
            default that of `TRACKHOOKS_WAIT`. Otherwise a program that was started at a prompt waits for CSV and
            TensorBoard only, at most 2 s, because the delivery process outlives it; so does a notebook's kernel. Any
            other program waits up to 60 s.
        resume: the folder of a run to continue; or `"auto"` to continue the run of the same job after an elastic
            restart or a requeue, and to open a new one if the job has none. By default that of `TRACKHOOKS_RESUME`.
        **options: the options of a tracker, by its name: `csv={…}` enables the tracker and sets its options.

    Returns:
        The run, for use in a `with` statement. If `TRACKHOOKS_DISABLED` is 1, or on a rank that does not record, it
        only calls the callbacks and records nothing.

    Raises:
        UnknownNameError: a tracker or option does not exist; the message has the nearest name.
        InvalidValueError: a value is not accepted.
        MissingPackageError: the package of a tracker is not installed; the message has the command that installs it.
        TrackhooksError: the directory cannot be written, or `resume` is not the folder of a run.
    """
    given = dict(locals())  # what is passed on is the signature, which a test compares with `Options`
    names, more = given.pop("trackers"), given.pop("options")
    chosen = settings(*names, **given, **more)
    return Run(open_recorder(chosen, chosen.resume))
