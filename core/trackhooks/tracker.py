"""`Tracker`: the full hook set in terms of few verbs; and `load`, which finds one by its name.

A tracker is fed from the journal, mostly in the delivery process, one event after the other::

    tracker.start(run, state)              # state: what flush() returned when this run was last delivered, or {}
    for event in …:
        tracker.handle(event)              # → on_fit_epoch_end(event), … → record(event) → the verbs
        # after every batch of events:
        state = tracker.flush()            # saved together with the cursor
    tracker.finish(status, reason)         # flush() has been called before

    tracker.abort()                        # instead of all that follows, where one of them raised

When the delivery process dies, the events since the last `flush` come again, after a `start` with the state that this
`flush` returned: a tracker that goes back to that state holds every event exactly once.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import itertools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from .errors import UnknownNameError
from .event import Event, File, Graph, Histogram, RunInfo, Scalar, Table, Text
from .hooks.callback import check_hook_names
from .hooks.vocabulary import BY_NAME, FROM_KERAS, HOOKS, KERAS_ALIASES

Axis = Literal["step", "epoch"]
State = dict[str, Any]
"""What a tracker needs to continue a run: plain JSON values."""

_CANONICAL = {name: name for name in BY_NAME} | FROM_KERAS
_CANONICAL |= {alias: FROM_KERAS[event] for alias, event in KERAS_ALIASES.items()}
"""What a hook's method may be called → the hook."""


class Tracker:
    """Takes a run's events to where they can be looked at.

    Implement the verbs that your backend has; each does nothing by default. Override a hook where a verb is not
    enough, under its Ultralytics or its Keras name; it gets the `Event`, and `super()` calls the verbs.

    A verb that raises is called again later, with the same events, after a `start` with the last saved state: raise
    where the backend cannot be reached; do not retry yourself.

    Raises:
        UnknownNameError: when the class is made, where a method `on_…` is no hook.
    """

    name: ClassVar[str] = ""
    """What users call it; by default the class's name in lower case."""
    requires: ClassVar[Mapping[str, str]] = {}
    """The packages it imports → the extra that installs each (`{"mlflow": "trackhooks[mlflow]"}`)."""
    every: ClassVar[int | str] = 1
    """How often it takes the metrics of training batches by default: every N steps, or `"1s"`."""
    takes_earlier: ClassVar[bool] = True
    """Whether it takes metrics of earlier batches after later ones, so that what `every` held back can follow."""
    system: ClassVar[bool] = True
    """Whether it takes the measurements of the process and the machine, `system/…`, as metrics over their own steps."""
    extra_hooks: ClassVar[frozenset[str]] = frozenset()
    """The hooks it overrides which are journaled only when something asks for them; found when the class is made."""

    run: RunInfo
    """The run that is delivered; set before `start`."""

    _is_fed_from_journal: ClassVar[bool] = True  # for CallbackList.append, which refuses trackers

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        own = _own_members(cls)
        check_hook_names(cls.__name__, own, frozenset(_CANONICAL))
        overridden = _overridden_hooks(cls, own)
        for hook, name in overridden.items():
            setattr(cls, hook, own[name])
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()
        cls.extra_hooks = cls.extra_hooks | {hook for hook in overridden if not BY_NAME[hook].journaled}

    @classmethod
    def active(cls) -> Mapping[str, Any]:
        """The options that join what the program has opened in this backend by itself, such as an MLflow run.

        Asked in the training process when a run opens. The backend is not to be imported for it. Where an option that
        the user gave is another, the run is to go elsewhere, and nothing is joined.
        """
        return {}

    @property
    def in_place(self) -> bool:
        """Whether it writes to an object of the training process, and so cannot be fed anywhere else."""
        return False

    # The verbs

    @property
    def destination(self) -> str:
        """Where it delivers to, beyond the run's folder: a cursor counts only for the destination it was made for."""
        return ""

    @property
    def url(self) -> str | None:
        """Where a person looks at the run."""
        return None

    def start(self, run: RunInfo, state: State) -> None:
        """Opens the run, or opens it again: then `state` is what the last `flush` returned.

        Raises:
            StateLostError: the backend has not got all that the state says; the whole run comes again, with no state.
        """

    def log_params(self, params: Mapping[str, Scalar], event: Event) -> None:
        """Takes hyper-parameters; later ones of the same name replace earlier ones."""

    def log_metrics(self, metrics: Mapping[str, float], axis: Axis, event: Event) -> None:
        """Takes metrics, to be drawn over `event.step` or over `event.epoch`, as `axis` says.

        An epoch's metrics come once, as soon as they are known: what `on_train_epoch_end` and `on_val_end` gave is
        not repeated by `on_fit_epoch_end`, unless its value changed.
        """

    def log_file(self, file: File, path: Path | None, event: Event) -> None:
        """Takes a file.

        Args:
            file: what is known of it.
            path: where its bytes are; None where there are none to take: it was overwritten before it could be copied
                (`file.superseded`), or it is a checkpoint of a run that keeps none.
            event: the record that noted it.
        """

    def log_image(self, file: File, path: Path | None, event: Event) -> None:
        """Takes a PNG picture, one of the series `file.name`."""

    def log_text(self, text: Text, event: Event) -> None:
        """Takes a text."""

    def log_table(self, table: Table, event: Event) -> None:
        """Takes a table."""

    def log_histogram(self, histogram: Histogram, event: Event) -> None:
        """Takes a histogram."""

    def log_graph(self, graph: Graph, event: Event) -> None:
        """Takes a model's graph."""

    def flush(self) -> State:
        """Makes all that was logged safe, and returns the state to continue from."""
        return {}

    def finish(self, status: str, reason: str) -> None:
        """Closes the run with its status; a run that goes on afterwards is opened by `start` again."""

    def abort(self) -> None:
        """Lets go of files and connections after a failure; the next attempt begins with `start`."""

    # From hooks to verbs

    def handle(self, event: Event) -> None:
        """Calls the method of the event's hook."""
        method: Callable[[Event], None] = getattr(self, event.hook) if event.hook in BY_NAME else self.record
        method(event)

    def record(self, event: Event) -> None:
        """Calls the verb of each thing that the event holds: what every hook does by default."""
        if event.params:
            self.log_params(event.params, event)
        if event.metrics:
            self._record_metrics(event)
        for file in event.files:
            path = self._path(file)
            (self.log_image if file.kind == "image" else self.log_file)(file, path, event)
        for media in event.media:
            getattr(self, _VERBS[type(media)])(media, event)

    def _record_metrics(self, event: Event) -> None:
        if axis_of(event) == "step":
            self.log_metrics(event.metrics, "step", event)
            return
        fresh = self.epoch_metrics.fresh(event)
        if fresh:
            self.log_metrics(fresh, "epoch", event)

    def _path(self, file: File) -> Path | None:
        if file.superseded or (file.kind == "model" and self.run.keep == "none"):
            return None
        return Path(self.run.path, file.kept) if file.kept else Path(file.path)

    @property
    def epoch_metrics(self) -> EpochMetrics:
        """What the tracker has of the present epoch; a subclass need not call `super().__init__()` for it."""
        found: EpochMetrics | None = self.__dict__.get("_epoch_metrics")
        if found is None:
            found = self.__dict__["_epoch_metrics"] = EpochMetrics()
        return found


class EpochMetrics:
    """The metrics that a tracker already has of the present epoch."""

    def __init__(self) -> None:
        self.epoch = -1
        self.seen: dict[str, float] = {}

    def fresh(self, event: Event) -> dict[str, float]:
        """What of the event's metrics is new, or changed."""
        if event.epoch != self.epoch:
            self.epoch, self.seen = event.epoch, {}
        fresh = {
            name: value for name, value in event.metrics.items() if not _same(self.seen.get(name), value)
        }
        self.seen.update(fresh)
        return fresh

    def state(self) -> State:
        """As JSON holds it: NaN and infinities as text."""
        return {"epoch": self.epoch, "seen": {name: repr(value) for name, value in self.seen.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes back to `state`."""
        self.epoch = state.get("epoch", -1)
        self.seen = {name: float(value) for name, value in state.get("seen", {}).items()}


def _same(old: float | None, new: float) -> bool:
    return old is not None and (old == new or (math.isnan(old) and math.isnan(new)))


def axis_of(event: Event) -> Axis:
    """What the event's metrics are drawn over; outside of epochs there are only steps."""
    hook = BY_NAME.get(event.hook)
    return "epoch" if hook is not None and hook.axis == "epoch" and event.epoch >= 0 else "step"


_VERBS: dict[type, str] = {
    Text: "log_text",
    Table: "log_table",
    Histogram: "log_histogram",
    Graph: "log_graph",
}


def _generate_hooks() -> None:
    """The 25 hooks of the base class, from the table, under the names of both vocabularies."""
    for hook in HOOKS:

        def method(self: Tracker, event: Event) -> None:
            self.record(event)

        method.__name__, method.__qualname__ = hook.name, f"Tracker.{hook.name}"
        method.__doc__ = f"Fires {hook.when}; records what the event holds."
        setattr(Tracker, hook.name, method)
        if hook.keras and hook.keras not in BY_NAME:
            setattr(Tracker, hook.keras, method)


def _own_members(cls: type[Tracker]) -> dict[str, Any]:
    """What the class defines, or takes from a base that is no tracker."""
    bases = itertools.takewhile(lambda base: base is cls or not issubclass(base, Tracker), cls.__mro__)
    own: dict[str, Any] = {}
    for base in reversed(list(bases)):
        own |= vars(base)
    return own


def _overridden_hooks(cls: type[Tracker], own: Mapping[str, Any]) -> dict[str, str]:
    """The hooks for which there is a method, each with the name that the method has.

    Raises:
        UnknownNameError: there are two for one hook.
    """
    found: dict[str, str] = {}
    for name in own:
        hook = _CANONICAL.get(name)
        if hook in found and own[found[hook]] is not own[name]:
            raise UnknownNameError(
                f"{cls.__name__} defines both {found[hook]!r} and {name!r}, which are one hook. Keep one of them."
            )
        if hook is not None:
            found[hook] = name
    return found


_generate_hooks()


_ours: dict[str, importlib.metadata.EntryPoint] = {}
