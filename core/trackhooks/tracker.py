"""`Tracker`: the base class of trackers, which maps all hooks to a few verbs.

A tracker is fed from the journal, one event after the other, usually in the delivery process::

    tracker.start(run, state)              # state: what flush() returned last time, or {}
    for event in …:
        tracker.handle(event)              # → on_fit_epoch_end(event), … → record(event) → the verbs
        # after each batch of events:
        state = tracker.flush()            # saved together with the cursor
    tracker.finish(status, reason)         # after a last flush()

    tracker.abort()                        # instead of the remaining calls, if one of them raised

If the delivery process dies, the events since the last `flush` are delivered again, after a `start` with the state
that this `flush` returned. A tracker that returns to that state has every event exactly once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import msgspec

from .errors import UnknownNameError, log
from .errors.foreign import described_error
from .event import FINAL, Event, File, Graph, Histogram, RunInfo, Scalar, Table, Text
from .hooks.callback import check_hook_names
from .hooks.metric_goals import better as better
from .hooks.vocabulary import BY_NAME, FROM_KERAS, HOOKS, KERAS_ALIASES
from .hooks.vocabulary import Axis as Axis
from .hooks.vocabulary import axis_of as axis_of

State = dict[str, Any]
"""What a tracker needs to continue a run, as JSON values."""

_CANONICAL = {name: name for name in BY_NAME} | FROM_KERAS
_CANONICAL |= {alias: FROM_KERAS[event] for alias, event in KERAS_ALIASES.items()}
"""The names that the method of a hook may have → the hook."""


class Tracker:
    """Delivers the events of runs to a backend.

    Implement the verbs that your backend supports; by default they do nothing. If a verb is not enough, override a
    hook by its Ultralytics or its Keras name. It gets the `Event`, and `super()` calls the verbs.

    If a verb raises, the same events are delivered again later, after a `start` with the last saved state. So raise
    an error if the backend cannot be reached, and do not retry.

    Raises:
        UnknownNameError: A subclass defines a method `on_…` that is not a hook.
    """

    name: ClassVar[str] = ""
    """The name that users pass. Defaults to the name of the class in lower case."""
    requires: ClassVar[Mapping[str, str]] = {}
    """The packages that the tracker imports → what to install for each (`{"mlflow": "trackhooks[mlflow]"}`)."""
    unneeded: ClassVar[frozenset[str]] = frozenset()
    """The packages that its backend imports if they are installed, and that it can do without (`{"pandas"}`). In the
    delivery process they are hidden while the tracker starts, which saves time and memory."""
    every: ClassVar[int | str] = 1
    """How often it gets the metrics of training batches by default: every N steps, or `"1s"`."""
    takes_earlier: ClassVar[bool] = True
    """Whether it accepts metrics of earlier batches after later ones, so that what `every` left out can be added."""
    system: ClassVar[bool] = True
    """Whether it accepts the system metrics, `system/…`, over their own steps."""
    writes_files: ClassVar[bool] = False
    """Whether it only writes files of this machine. The end of a program at a prompt waits for such trackers only."""
    extra_hooks: ClassVar[frozenset[str]] = frozenset()
    """The hooks that it overrides and that are recorded only on request. Set when the class is defined."""

    run: RunInfo
    """The run that is being delivered. Set before `start`."""

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
        """Return the options that join what the program has opened in this backend itself, such as an MLflow run.

        Called in the training process when a run opens. It must not import the backend. If the user passed another
        value for one of the options, the run is meant for another place, and nothing is joined.
        """
        return {}

    @property
    def in_place(self) -> bool:
        """Whether it writes to an object of the training process, and so must be fed there."""
        return False

    # The verbs

    @property
    def destination(self) -> str:
        """The place outside of the run's folder that it delivers to. A cursor is only valid for its destination."""
        return ""

    @property
    def url(self) -> str | None:
        """The address at which users can see the run."""
        return None

    def start(self, run: RunInfo, state: State) -> None:
        """Open the run. If it was delivered before, `state` is what the last `flush` returned.

        Raises:
            StateLostError: The backend has lost data that the state says it has. The whole run is delivered again,
                with an empty state.
        """

    def log_params(self, params: Mapping[str, Scalar], event: Event) -> None:
        """Log hyper-parameters. Later values of a name replace earlier ones.

        Those in `event.defaults` have the default value of the framework: if a dashboard shows only a few parameters,
        show the others.
        """

    def log_facts(self, facts: Mapping[str, Scalar], event: Event) -> None:
        """Log facts about the run, such as `model/parameters`. They are not hyper-parameters: no one set them.

        Later values of a name replace earlier ones.
        """

    def log_metrics(self, metrics: Mapping[str, float], axis: Axis, event: Event) -> None:
        """Log metrics, to be plotted over `event.step` or over `event.epoch`, depending on `axis`.

        The metrics of an epoch are passed once: `on_fit_epoch_end` does not repeat those of `on_train_epoch_end`,
        unless the value changed. Those of a validation are passed when the epoch ends. If a metric is validated several
        times in an epoch, the last value is the one of the epoch, and earlier ones are passed over the step.
        The best values so far are among them, as `best/<name>`.

        Args:
            metrics: The values by name.
            axis: What they are plotted over.
            event: The event that has them.
        """

    def log_file(self, file: File, path: Path | None, event: Event) -> None:
        """Log a file.

        Args:
            file: The description of the file.
            path: The file itself. None if it was overwritten before it could be copied (`file.superseded`), or if it
                is a checkpoint of a run that does not keep any.
            event: The event that recorded it.
        """

    def log_image(self, file: File, path: Path | None, event: Event) -> None:
        """Log a picture in PNG format, the next one of the series `file.name`."""

    def log_text(self, text: Text, event: Event) -> None:
        """Log a string."""

    def log_table(self, table: Table, event: Event) -> None:
        """Log a table."""

    def log_histogram(self, histogram: Histogram, event: Event) -> None:
        """Log a histogram."""

    def log_graph(self, graph: Graph, event: Event) -> None:
        """Log the graph of a model."""

    def flush(self) -> State:
        """Store everything that was logged, and return the state from which to continue."""
        return {}

    def finish(self, status: str, reason: str) -> None:
        """Close the run with its status. If the run is continued later, `start` opens it again."""

    def abort(self) -> None:
        """Release files and connections after a failure. The next attempt begins with `start`."""

    def cannot_hold(self, what: str, count: int = 1) -> None:
        """Call this for something that the backend cannot hold. It is reported once, and `sync` shows the number.

        Args:
            what: what is not held, in the plural, such as `"values that are infinite"`.
            count: how many of them.
        """
        if what not in self.not_held:
            log.warning("%s cannot hold %s.", self.name, what, extra={"run": self.run.path})
        self.not_held[what] = self.not_held.get(what, 0) + count

    @property
    def not_held(self) -> dict[str, int]:
        """What the backend could not hold, and how often. Delivery saves it with the state."""
        found: dict[str, int] = self.__dict__.setdefault("_not_held", {})
        return found

    @not_held.setter
    def not_held(self, counts: dict[str, int]) -> None:
        self.__dict__["_not_held"] = counts

    def explain(self, error: BaseException) -> str:
        """Return why the backend cannot be used now, in one plain line, such as `no server at http://127.0.0.1:9`.

        Called with every error that the tracker raises. The line is shown in the training, by `sync` and by `doctor`.
        By default it is the type of the error and the first line of its message.
        """
        return described_error(error)

    # From hooks to verbs

    def handle(self, event: Event) -> None:
        """Call the method of the event's hook."""
        method: Callable[[Event], None] = getattr(self, event.hook) if event.hook in BY_NAME else self.record
        method(event)

    def record(self, event: Event) -> None:
        """Call the verbs for everything in the event. This is what every hook does by default."""
        if event.params:
            self.log_params(event.params, event)
        if event.facts:
            self.log_facts(event.facts, event)
        for axis, due in self._due(event):
            due.run = event.run
            self.log_metrics(due.metrics, axis, due)
        for file in event.files:
            path = self._path(file)
            (self.log_image if file.kind == "image" else self.log_file)(file, path, event)
        for media in event.media:
            getattr(self, _VERBS[type(media)])(media, event)

    def _due(self, event: Event) -> Iterator[tuple[Axis, Event]]:
        """Yield what is to be logged when this event comes, as events with the metrics that are due."""
        if axis_of(event) == "epoch":
            yield from self.epoch_metrics.add(event)
        elif event.metrics:
            yield "step", event
        if event.status in FINAL:
            yield from self.epoch_metrics.settle()

    def _path(self, file: File) -> Path | None:
        if file.superseded or (file.kind == "model" and self.run.keep == "none"):
            return None
        return Path(self.run.path, file.kept) if file.kept else Path(file.path)

    @property
    def epoch_metrics(self) -> EpochMetrics:
        """The metrics of the current epoch. Subclasses need not call `super().__init__()` for them."""
        found: EpochMetrics | None = self.__dict__.get("_epoch_metrics")
        if found is None:
            found = self.__dict__["_epoch_metrics"] = EpochMetrics()
        return found


class EpochMetrics:
    """The metrics of the current epoch that a tracker already has, and the validations that wait for the epoch's end.

    If a metric is validated several times in an epoch, the last value is the one of the epoch. The earlier ones are
    points over the steps, and so is the last, unless it is at the same step as they are.
    """

    def __init__(self) -> None:
        self.epoch = -1
        self.seen: dict[str, float] = {}
        self._waiting: list[Event] = []
        """Validations, without the metrics that a later one returned too."""
        self._steps: dict[str, int] = {}
        """Metrics that were validated several times → the last step of the earlier values."""

    def add(self, event: Event) -> list[tuple[Axis, Event]]:
        """Take an event of an epoch, and return what is to be logged now, as events with the metrics that are due."""
        due: list[tuple[Axis, Event]] = []
        if event.epoch != self.epoch:
            due += self.settle()
            self.epoch, self.seen = event.epoch, {}
        if event.hook == "on_val_end":
            return due + self._replaced_by(event)
        if event.hook in _EPOCH_ENDS and self._waiting:
            due += self.settle(event.metrics)
        return due + _with(event, "epoch", self._fresh(_metrics(event)))

    def settle(self, final: Mapping[str, float] = MappingProxyType({})) -> list[tuple[Axis, Event]]:
        """End the wait of the validations, and return what is due.

        Args:
            final: the metrics of the end of the epoch, which count if they are others; none after an exception.
        """
        due = self._last_points()
        for validation in self._waiting:
            items = validation.metrics.items()
            own = {name: value for name, value in items if name not in final or _same(final[name], value)}
            due += _with(validation, "epoch", self._fresh(own))
        self._waiting, self._steps = [], {}
        return due

    def _replaced_by(self, event: Event) -> list[tuple[Axis, Event]]:
        """Let a validation wait, and return the values that it replaces, over the steps."""
        due: list[tuple[Axis, Event]] = []
        waiting, self._waiting = self._waiting, []
        for validation in waiting:
            replaced = {name: value for name, value in validation.metrics.items() if name in event.metrics}
            self._steps.update(dict.fromkeys(replaced, validation.step))
            due += _with(validation, "step", replaced)
            rest = {name: value for name, value in validation.metrics.items() if name not in replaced}
            self._waiting.append(
                _validation(validation.index, validation.time, validation.step, event.epoch, rest)
            )
        self._waiting.append(_validation(event.index, event.time, event.step, event.epoch, event.metrics))
        return due

    def _last_points(self) -> list[tuple[Axis, Event]]:
        """Return the last values of the metrics that were validated at earlier steps of the epoch too."""
        due: list[tuple[Axis, Event]] = []
        for validation in self._waiting:
            step, points = validation.step, validation.metrics.items()
            due += _with(
                validation, "step", {name: it for name, it in points if self._steps.get(name, step) < step}
            )
        return due

    def _fresh(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """Return the metrics that are new or have changed."""
        fresh = {name: value for name, value in metrics.items() if not _same(self.seen.get(name), value)}
        self.seen.update(fresh)
        return fresh

    def state(self) -> State:
        """Return the state for JSON, with numbers as strings, because JSON does not have NaN and infinities."""
        return {
            "epoch": self.epoch,
            "seen": _as_texts(self.seen),
            "steps": dict(self._steps),
            "waiting": [
                [waits.index, waits.time, waits.step, waits.epoch, _as_texts(waits.metrics)]
                for waits in self._waiting
            ],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Return to a state."""
        self.epoch = state.get("epoch", -1)
        self.seen = _as_numbers(state.get("seen", {}))
        self._steps = dict(state.get("steps", {}))
        self._waiting = [
            _validation(index, time, step, epoch, _as_numbers(metrics))
            for index, time, step, epoch, metrics in state.get("waiting", ())
        ]


_EPOCH_ENDS = frozenset({"on_fit_epoch_end", "on_train_end", "teardown"})


def _validation(index: int, time: float, step: int, epoch: int, metrics: dict[str, float]) -> Event:
    return Event("on_val_end", index, time, step, epoch, metrics=metrics)


def _with(event: Event, axis: Axis, metrics: dict[str, float]) -> list[tuple[Axis, Event]]:
    return [(axis, msgspec.structs.replace(event, metrics=metrics))] if metrics else []


def _as_texts(metrics: Mapping[str, float]) -> dict[str, str]:
    return {name: repr(value) for name, value in metrics.items()}


def _as_numbers(texts: Mapping[str, str]) -> dict[str, float]:
    return {name: float(text) for name, text in texts.items()}


def _metrics(event: Event) -> dict[str, float]:
    best = {f"best/{name}": value for name, value in event.best.items()}
    return {**best, **event.metrics} if best else event.metrics


def _same(old: float | None, new: float) -> bool:
    return old is not None and (old == new or (math.isnan(old) and math.isnan(new)))


_VERBS: dict[type, str] = {
    Text: "log_text",
    Table: "log_table",
    Histogram: "log_histogram",
    Graph: "log_graph",
}


def _generate_hooks() -> None:
    """Add the methods of the 25 hooks to the base class, by the names of both vocabularies."""
    for hook in HOOKS:

        def method(self: Tracker, event: Event) -> None:
            self.record(event)

        method.__name__, method.__qualname__ = hook.name, f"Tracker.{hook.name}"
        method.__doc__ = f"Called {hook.when}. Calls the verbs for everything in the event."
        setattr(Tracker, hook.name, method)
        if hook.keras and hook.keras not in BY_NAME:
            setattr(Tracker, hook.keras, method)


def _own_members(cls: type[Tracker]) -> dict[str, Any]:
    """Return the members that the class defines, or inherits from a base that is not a tracker."""
    bases = itertools.takewhile(lambda base: base is cls or not issubclass(base, Tracker), cls.__mro__)
    own: dict[str, Any] = {}
    for base in reversed(list(bases)):
        own |= vars(base)
    return own


def _overridden_hooks(cls: type[Tracker], own: Mapping[str, Any]) -> dict[str, str]:
    """Return the hooks that have a method, each with the name of the method.

    Raises:
        UnknownNameError: A hook has two methods.
    """
    found: dict[str, str] = {}
    for name in own:
        hook = _CANONICAL.get(name)
        if hook in found and own[found[hook]] is not own[name]:
            raise UnknownNameError(
                f"{cls.__name__} defines both {found[hook]!r} and {name!r}, which are the same hook. Keep one of them."
            )
        if hook is not None:
            found[hook] = name
    return found


_generate_hooks()
