"""The interface between trackhooks and the integration of a training framework.

An integration implements `Framework` and is found by an entry point in the group `trackhooks.frameworks`, whose name is
the module that the integration waits for::

    [project.entry-points."trackhooks.frameworks"]
    "keras" = "my_package:Keras"

The integration calls `Runs` to get the run of a training, evaluation or prediction, enters the `Mode` that it gets, and
fires hooks on the `RunHooks` of that mode. Steps, epochs, the status and everything else that callbacks see follow from
the hooks that are fired: an integration never sets them.

Besides this module an integration may import `trackhooks`, `trackhooks.event`, `trackhooks.errors`, and from
`trackhooks.frameworks`: `lookup`, `patching`, `resume_marker`, `double_logging`, `launched` and `helpers`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from ..event import File
from ..hooks.lookups import Lookups

API = 1
"""The version of this interface. It changes when a member is removed or changes its meaning."""

Kind = Literal["train", "val", "predict", "other"]
"""What a mode does.

An evaluation (`val`) inside a training leaves that training aside: its metrics are not those of an epoch. Anything
`other`, such as an export, is a part of the training around it.
"""

Logs = dict[str, Any]
Function = Callable[[Any], None]
Own = TypeVar("Own")


class Framework(Protocol):
    """The integration of one framework.

    The class is made without arguments, once a process. Importing it and making it must not import the framework.
    """

    api: ClassVar[int]
    """The `API` that the integration was written for."""
    attaches: ClassVar[str]
    """What `attach` accepts, for an error message, such as "a model of Ultralytics"; "" if it accepts nothing."""

    def install(self, runs: Runs, module: str) -> None:
        """Record everything that the framework does from now on into these runs.

        Args:
            runs: opens the runs.
            module: the imported module that the entry point names.
        """

    def uninstall(self, runs: Runs) -> None:
        """Undo `install`, and restore every attribute that was replaced, unless someone else has replaced it since."""

    def attach(self, run: RunHooks, model: Any) -> bool:
        """Record everything that a model does into a run, until the run is closed: `run.attach(model)`.

        Returns:
            False if the model is not of this framework.
        """

    def callback(self, runs: Runs) -> Any:
        """Make a callback for the framework's own list of callbacks: `run.callback(…)`.

        Returns:
            None if the framework has no such list.
        """


class Runs(Protocol):
    """Picks or opens the run that a model's training, evaluation or prediction belongs to."""

    @property
    def only(self) -> RunHooks | None:
        """The run, if all modes belong to the same one; None if runs are opened as needed."""

    def training(self, model: Any, *, resumes: bool | Path = False) -> Mode:
        """Pick the run of a training, which may be a new one.

        Args:
            model: whatever the framework trains. It is not kept alive.
            resumes: the training continues an earlier one of this model, or the one that has this run's folder (see
                `resume_marker.find`).
        """

    def use(self, model: Any, kind: Kind) -> Mode:
        """Pick the run of anything but a training: that of the training around it, that of the model, or a new one."""


class Mode(Protocol):
    """One call of a framework: a training, an evaluation, a prediction, an export.

    `with mode as run:` around the call, or `begin` and `end`. The end of a training fires `teardown` if a training was
    started, and sets the status of the run: finished, failed with the reason, pruned, or killed. `on_train_end` is
    fired by the integration. The end of a mode inside another one does not end the outer one.
    """

    def begin(self) -> RunHooks:
        """Enter the mode."""

    def end(self, error: BaseException | str | None = None) -> None:
        """Leave the mode. Calls after the first do nothing.

        Args:
            error: the exception that ended it, or the reason why it failed.
        """

    def __enter__(self) -> RunHooks: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class RunHooks(Protocol):
    """One run, as an integration sees it."""

    @property
    def name(self) -> str:
        """The name of the run, for messages."""

    @property
    def path(self) -> Path:
        """The folder of the run."""

    @property
    def trackers(self) -> Sequence[str]:
        """The names of the trackers that the run is delivered to."""

    @property
    def records(self) -> bool:
        """Whether anything is written: false on ranks other than 0, when tracking is disabled, and after the end."""

    @property
    def strict(self) -> bool:
        """Whether failures of trackhooks are raised, rather than reported by warnings."""

    @property
    def lookups(self) -> Lookups:
        """Reads attributes that a user's class may have overridden; failures are reported once a run."""

    @property
    def closed(self) -> bool:
        """Whether the run has been closed."""

    @property
    def training(self) -> bool:
        """Whether a training of this run is in progress, leaving aside evaluations inside it."""

    @property
    def model(self) -> Any:
        """The model that `set_model` was given."""

    @property
    def last_file(self) -> str | None:
        """The path of the newest checkpoint or export."""

    @property
    def stop(self) -> bool:
        """Whether a callback asked the training to stop. Read it after each batch and epoch."""

    def ask_stop(self) -> None:
        """Tell the callbacks that the framework decided to stop."""

    def mode(self, model: Any, kind: Kind) -> Mode:
        """A training, evaluation or prediction of this very run."""

    # What is trained

    def describe(self, loop: str) -> None:
        """Set what error messages call the loop, such as "a Keras model"."""

    def set_model(self, model: Any, params: Mapping[str, Any] | None = None) -> None:
        """Give the callbacks their `model` and `params`. Does nothing inside a training: they keep its model.

        Evaluations, saves and exports of this model belong to the run from now on.

        Args:
            model: has `stop_training` or is a `torch.nn.Module`; None if there is none.
            params: Keras' parameters of a loop: `verbose`, `epochs`, `steps`.
        """

    def introduce(
        self,
        model: Any,
        params: Mapping[str, Any],
        details: Callable[[], Mapping[str, Any]] = dict,
        defaults: Collection[str] = (),
    ) -> None:
        """Fire both pretrain hooks, once a model; later record only the hyper-parameters that have changed.

        Args:
            model: the model, or None.
            params: the hyper-parameters, flat.
            details: returns what else is recorded with `on_pretrain_routine_end`: `facts` and `media`.
            defaults: the names of the parameters that the user left at the framework's default. Settings of the
                optimizer that repeat a parameter of the user are recorded as facts.
        """

    def expect(self, epoch: int, step: int) -> None:
        """Say that this epoch of a resumed training begins after this step, unless that is known already."""

    def overshoot(self, batches: int) -> None:
        """Say that the batch which ends next has an index that is too high by this many.

        Frameworks that run several batches as one count beyond the end of the epoch; the steps of a run do not.
        """

    def saw(self, samples: int) -> None:
        """Say that this many samples were predicted."""

    # Hooks

    def takes(self, hook: str) -> bool:
        """Whether a callback hears this hook or it is recorded. If not, it need not be fired."""

    def hears(self, hook: str) -> bool:
        """Whether a callback hears this hook, and so must be called at that moment, on the thread that trains."""

    def fire(
        self,
        event: str,
        source: Any = None,
        metrics: Mapping[str, Any] | None = None,
        *,
        epoch: int | None = None,
        batch: int | None = None,
        **more: Any,
    ) -> None:
        """Fire a hook: call everyone who hears it, then record it.

        Args:
            event: one of the 25 hooks, other than `teardown`.
            source: the native trainer, validator, predictor or exporter, which functions get; without it they get a
                view of the run. Its `stop` is kept the same as that of the run.
            metrics: by the names that are recorded, such as `train/loss`.
            epoch: from 0.
            batch: the index within the epoch, from 0. With `on_val_end` it says that the validation is between the
                batches of an epoch, after this one: its metrics are then points over the steps.
            **more: what else is recorded: `params`, `defaults`, `facts`, `files`, `media`.
        """

    def fire_batch(self, hook: str, metrics: Mapping[str, Any], /, batch: int) -> None:
        """Fire a hook of every batch, without a source. Metrics may be device tensors: they are fetched later."""

    def calls(
        self,
        hook: str,
        source: Any,
        metrics: dict[str, Any],
        *,
        epoch: int | None = None,
        batch: int | None = None,
        objects: bool = True,
        records: bool = True,
        besides: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Iterator[Function]:
        """Fire a hook for a framework that calls functions from its own frame: yield each one when it is due.

        Args:
            hook: one of the 25. A `teardown` with `status` and `reason` sets the status of the run.
            source: the native object.
            metrics: as in `fire`; changed if a callback changes them.
            epoch: from 0.
            batch: the index within the epoch, from 0.
            objects: False if only functions are to hear it, not objects with methods of Keras' names.
            records: False if it is not recorded.
            besides: metrics that are recorded but not heard.
            **more: what else is recorded: `params`, `files`, `media`, `status`, `reason`.
        """

    def without_callbacks(self) -> AbstractContextManager[None]:
        """Within it, hooks that are fired are recorded, and no one is called: an earlier callback has raised."""

    @property
    def keras(self) -> KerasEvents:
        """The hooks in Keras' words, with a dict of logs that callbacks may change, for frameworks that speak them."""

    # What else is recorded

    def record(self, hook: str, metrics: Mapping[str, Any], **more: Any) -> None:
        """Record a hook without calling anyone: the framework has called them already, or ended without it."""

    def log(self, metrics: Mapping[str, Any], /) -> None:
        """Record metrics that come at times of their own, at the current step; no one is called."""

    def log_params(self, params: Mapping[str, Any], /) -> None:
        """Record hyper-parameters."""

    def log_text(self, name: str, text: str) -> None:
        """Record a string."""

    def log_table(self, name: str, table: Any) -> None:
        """Record a table: a DataFrame, or rows."""

    def saved(self, path: Path, aliases: Iterable[str] = ()) -> None:
        """Record a checkpoint that exists: fires `on_model_save`. Aliases are names such as "best" and "last"."""

    def note_files(self, files: Sequence[File]) -> None:
        """Record files that the framework has written."""

    # What must outlive a hook

    def part(self, name: str) -> Mode:
        """A training that is a child run of this one, with this run's callbacks."""

    def own(self, kind: type[Own], make: Callable[[], Own]) -> Own:
        """The object of this type that the integration keeps for this run; made when it is first asked for."""

    def on_close(self, call: Callable[[], None]) -> None:
        """Call this once, when the run is closed, before its end is recorded."""


class KerasEvents(Protocol):
    """Keras' events. Objects get the logs as Keras converts them; what they change is changed in the passed dict."""

    def on_train_begin(self, logs: Logs | None = None) -> None: ...  # noqa: D102
    def on_train_end(self, logs: Logs | None = None) -> None: ...  # noqa: D102
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None: ...  # noqa: D102
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None: ...  # noqa: D102
    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...  # noqa: D102
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...  # noqa: D102
    def on_test_begin(self, logs: Logs | None = None) -> None: ...  # noqa: D102
    def on_test_end(self, logs: Logs | None = None) -> None: ...  # noqa: D102
    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...  # noqa: D102
    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...  # noqa: D102
    def on_predict_begin(self, logs: Logs | None = None) -> None: ...  # noqa: D102
    def on_predict_end(self, logs: Logs | None = None) -> None: ...  # noqa: D102
    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None: ...  # noqa: D102
    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...  # noqa: D102

    def fire(
        self,
        hook: str,
        logs: Logs | None,
        epoch: int | None = None,
        besides: Mapping[str, Any] | None = None,
    ) -> None:
        """Fire one of them by its canonical name, and record more metrics with it than the callbacks get."""
