"""`Dispatcher`: the one path on which every hook is fired.

A hook is fired in one of two ways: in the canonical words, by `run_callbacks`, or in Keras' words, by `fire`. In both,
the state of the loop is updated first, then the callbacks are called in order, and the recorder is notified last, even
if a callback raises. `dispatch` decides who is called and with what: it calls the objects itself and yields the
functions, because a function may look at the variables of the frame that fires the hook (`f_back.f_back`).

Three shortcuts repeat this path without its loop, for the hooks of every batch if no callback listens to them:
`fire_batch`, `_fire_batch`, and `KerasEvents.on_train_batch_end`. `benchmarks/hot_path.py` measures them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple, Protocol

from ..errors import InvalidValueError, UnknownNameError, unknown
from ..errors.foreign import Failure, attempt, is_a, items, key_text, plain_text, shown
from .callback import Logs
from .indices import LARGEST, index
from .loop_state import LoopState
from .metric_names import from_keras, to_keras
from .shared_logs import SharedLogs
from .stop_flags import StopFlags
from .views import VIEWS, model_for_keras, needs_keras_model, no_keras_model
from .vocabulary import BY_NAME, FROM_KERAS, HOOKS, KERAS_ALIASES

Function = Callable[[Any], None]


class Recorder(Protocol):
    """What records the events of a `CallbackList`, such as a run."""

    def on_hook(
        self, hook: str, metrics: Mapping[str, Any], epoch: int | None, batch: int | None, **more: Any
    ) -> None:
        """Record an event, after all callbacks; metrics have the names under which they are recorded."""

    def end_clean_batch(self, metrics: dict[str, float], batch: int) -> None:
        """Record `on_train_batch_end` with less work, if all metrics are floats and no name contains a secret."""

    def checked(self, hook: str, more: dict[str, Any]) -> dict[str, Any]:
        """Return what else a hook records, in the form in which it is recorded.

        Raises:
            InvalidValueError: A value cannot be recorded.
        """


class Call(NamedTuple):
    """One callback of one hook."""

    kind: Literal["function", "object", "list"]
    call: Callable[..., Any]
    """The function, the method of the object, or the `relay` of the list."""
    listener: Any
    """What was registered."""


_KERAS_ARGS = {hook.name: hook.keras_args for hook in HOOKS}
_SOURCES = {hook.name: hook.source for hook in HOOKS}
_WITH_METRICS = frozenset({"on_fit_epoch_end", "on_val_end", "on_train_end"})
"""The hooks at which the `metrics` of a trainer or validator are up to date."""
_RECORDED = ("params", "defaults", "facts", "files", "media", "status", "reason")
"""What else than metrics a hook may record."""
_MOST_METRICS = 100_000


class Dispatcher:
    """Fires hooks: updates the state of the loop, calls the callbacks, and notifies the recorder."""

    def __init__(self) -> None:
        self.state = LoopState()
        """What the loop is doing, as the callbacks of the other vocabulary see it."""
        self.recorder: Recorder | None = None
        """Is notified of each event after the callbacks."""
        self.model: Any = None
        """The model as Keras objects get it."""
        self._stop = StopFlags(self.state)
        self.when_changed: list[Callable[[], None]] = []
        """Called after callbacks were added or removed."""
        self.quiet_batches = True
        """Whether no callback listens to the starts and ends of training batches."""
        self._calls: dict[str, tuple[Call, ...]] = {}
        self._set_calls({})
        self._views = {kind: view(self.state) for kind, view in VIEWS.items()}
        self._validated: set[str] = set()
        self._running: set[tuple[str, int, int]] = set()
        """The callbacks that are being called: the hook, the listener, the thread."""

    @contextmanager
    def without_callbacks(self) -> Iterator[None]:
        """Fire hooks without calling anyone: they are only recorded."""
        calls = self._calls
        self._set_calls({})
        try:
            yield
        finally:
            self._set_calls(calls)

    def _set_calls(self, calls: Mapping[str, tuple[Call, ...]]) -> None:
        """Set what is called at each hook."""
        self._calls = {hook: calls.get(hook, ()) for hook in BY_NAME}
        self.quiet_batches = not self._calls["on_train_batch_start"] and not self._calls["on_train_batch_end"]

    def may_hear(self, hook: str) -> bool:
        """Return whether a callback listens to this hook, or may do so later: a list among the callbacks may grow."""
        return bool(self._calls[hook])

    def hears(self, hook: str) -> bool:
        """Return whether a callback listens to this hook. Methods that a base class leaves empty do not count."""
        calls = self._calls[hook]
        return bool(calls) and any(call.kind != "list" or call.listener.hears(hook) for call in calls)

    # Firing in canonical words

    def run_callbacks(
        self,
        event: str,
        source: Any = None,
        metrics: Mapping[str, Any] | None = None,
        *,
        epoch: int | None = None,
        batch: int | None = None,
        **more: Any,
    ) -> None:
        """Fire a hook.

        Args:
            event: One of the 25 hooks.
            source: The trainer, validator, predictor or exporter that the functions get. Without one they get a
                `View` of this loop.
            metrics: What the loop measured, by the names under which it is recorded (`train/loss`). Defaults to the
                `metrics` of the source, if that is a mapping. Keras objects get the metrics in Keras' words, and what
                they change is recorded.
            epoch: From 0. Defaults to the `epoch` of the source.
            batch: The index within the epoch, from 0.
            **more: What else is recorded: `params`, `files`, `media`, `status`, `reason`.

        Raises:
            UnknownNameError: The hook does not exist. The message contains the nearest name.
            InvalidValueError: `metrics` is not a mapping, or an index is not an integer.
        """
        if type(event) is not str:
            event = plain_hook(event)
        calls = self._calls.get(event)
        if calls is None:
            raise no_hook(event)
        if source is not None:
            metrics, epoch = _read(source, event, metrics, epoch)
            self._stop.adopt(source)
        epoch = epoch if epoch is None else _index(event, epoch)
        batch = batch if batch is None else _index(event, batch)
        if more:
            more = self._checked_more(event, more)
        found = _with_str_names(checked_logs(event, metrics)) if metrics is not None else {}
        self.update_state(event, found, epoch, batch)
        try:
            if calls:
                given = self._views[_SOURCES[event]] if source is None else source
                for function in self.dispatch(event, source, found):
                    function(given)  # called from this frame: see the module
        finally:  # the metrics are recorded even if a callback raises, for example to prune a trial
            if self.recorder is not None:
                self.recorder.on_hook(event, found, epoch, batch, **more)

    def _checked_more(self, hook: str, more: dict[str, Any]) -> dict[str, Any]:
        for field in more:
            if field not in _RECORDED:
                raise unknown("argument", field, _RECORDED, f"run_callbacks({hook!r}): ")
        return more if self.recorder is None else self.recorder.checked(hook, more)

    def fire_batch(self, hook: str, metrics: Mapping[str, Any], batch: int) -> None:
        """Fire a hook of every batch, in a loop without a source: `run_callbacks`, but cheaper without callbacks."""
        if self._calls[hook]:
            self.run_callbacks(hook, None, metrics, batch=batch)
            return
        self.state.update_batch(hook, metrics, batch)
        if self.recorder is not None:
            self.recorder.on_hook(hook, metrics, None, batch)

    # Firing in Keras' words

    def fire(
        self,
        hook: str,
        logs: Logs | None = None,
        epoch: int | None = None,
        besides: Mapping[str, Any] | None = None,
    ) -> None:
        """Fire one of the 14 hooks that Keras has a name for, except those of batches.

        Args:
            hook: Its canonical name.
            logs: In Keras' words. The objects get them as Keras converts them; what they change is changed in this
                dict.
            epoch: From 0, if the hook has one.
            besides: Metrics that the objects do not get, by the names under which they are recorded.
        """
        logs = checked_logs(hook, logs)
        epoch = None if epoch is None else _index(hook, epoch)
        self._fire(hook, logs, epoch, None, besides)

    def _fire(
        self,
        hook: str,
        logs: Logs,
        epoch: int | None,
        batch: int | None,
        besides: Mapping[str, Any] | None = None,
    ) -> None:
        if self._calls[hook] and not is_a(logs, MutableMapping):
            logs = dict(logs)
        metrics = self._recorded(hook, logs, besides)
        if batch is None:
            self.update_state(hook, metrics, epoch, None)
        else:
            self.state.update_batch(hook, metrics, batch)
        try:
            if self._calls[hook]:
                view = self._views[_SOURCES[hook]]
                for function in self.dispatch(hook, None, metrics, logs):
                    function(view)
        finally:
            if self.recorder is not None:
                self.recorder.on_hook(hook, metrics, epoch, batch)

    def _fire_batch(self, hook: str, batch: int, logs: Logs | None) -> None:
        """Fire a hook of every batch: `fire`, but cheaper without callbacks."""
        batch = _index(hook, batch)
        if type(logs) is not dict:
            logs = checked_logs(hook, logs)
        if self._calls[hook]:
            self._fire(hook, logs, None, batch)
            return
        metrics = self._recorded(hook, logs)
        self.state.update_batch(hook, metrics, batch)
        if self.recorder is not None:
            self.recorder.on_hook(hook, metrics, None, batch)

    def _recorded(
        self, hook: str, logs: Mapping[str, Any], besides: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return logs by the names under which they are recorded, with the metrics that are not in the logs."""
        metrics = from_keras(hook, logs, self._validated, self.state.training) if logs else {}
        return {**metrics, **besides} if besides else metrics

    # The path of both

    def dispatch(
        self,
        event: str,
        source: Any,
        metrics: dict[str, Any],
        logs: Logs | None = None,
        objects: bool = True,
    ) -> Iterator[Function]:
        """Call the objects that listen to a hook, and yield each function in its turn, for the caller to call.

        Args:
            event: One of the 25 hooks.
            source: The trainer, validator, predictor or exporter; None in a loop that has none.
            metrics: By the names under which they are recorded.
            logs: The same in Keras' words, if the loop has them. The objects get them as Keras converts them, and what
                they change is changed in the metrics and in these logs.
            objects: Whether to call the objects, rather than the functions only.
        """
        shared = SharedLogs(event, metrics, logs)
        try:
            yield from self._each(event, source, shared, objects)
        finally:
            self._take_changes(event, shared)
        self._stop.share(source)

    def _each(self, event: str, source: Any, shared: SharedLogs, objects: bool) -> Iterator[Function]:
        """Walk through the calls of an event. A callback that fires its own event again is not called for that."""
        self._stop.adopt(source)
        for call in self._calls[event]:
            running = (event, id(call.listener), threading.get_ident())
            if running in self._running:
                continue
            self._running.add(running)
            try:
                if call.kind == "function":
                    yield call.call
                elif call.kind == "list":
                    yield from self._relayed(call.call, event, source, shared, objects)
                elif objects:
                    self._call_object(call.call, event, shared)
            finally:
                self._running.discard(running)

    def _call_object(self, call: Callable[..., None], event: str, shared: SharedLogs) -> None:
        """Call an object as Keras does: the logs of a batch are passed by keyword."""
        self._ensure_model()
        axis = _KERAS_ARGS[event][0]
        try:
            if axis == "batch":
                call(self.state.batch, logs=shared.get())
            elif axis == "epoch":
                call(self.state.epoch, shared.get())
            else:
                call(shared.get())
        except AttributeError as error:
            name = error.name or ""
            if error.obj is self.model and needs_keras_model(name):
                raise no_keras_model(self.state.loop, name) from error
            raise

    def _ensure_model(self) -> None:
        if self.model is None:
            self.set_model(None)

    def _relayed(
        self,
        relay: Callable[..., Iterator[Function]],
        event: str,
        source: Any,
        shared: SharedLogs,
        objects: bool,
    ) -> Iterator[Function]:
        """Call what listens in a list inside this one, with the objects and the logs of this one."""
        self._ensure_model()
        self._take_changes(event, shared)
        axis = _KERAS_ARGS[event][:1]
        epoch = self.state.epoch if axis == ("epoch",) else None
        batch = self.state.batch if axis == ("batch",) else None
        yield from relay(event, source, shared, objects, epoch, batch)

    def relay(
        self,
        event: str,
        source: Any,
        shared: SharedLogs,
        objects: bool,
        epoch: int | None,
        batch: int | None,
    ) -> Iterator[Function]:
        """Hear an event of the list that this one is in, and yield each function in its turn."""
        self.update_state(event, shared.metrics, epoch, batch)
        try:
            yield from self._each(event, source, shared, objects)
        finally:
            if self.recorder is not None:
                self._take_changes(event, shared)
                self.recorder.on_hook(event, dict(shared.metrics), epoch, batch)
        self._stop.share(source)

    def _take_changes(self, hook: str, shared: SharedLogs) -> None:
        """Change in the metrics what the objects changed in the logs."""
        removed, written = shared.changes()
        if not removed and not written:
            return
        metrics = shared.metrics
        recorded = {keras: name for name in metrics for keras in to_keras(hook, {name: None})}
        for name in removed:
            metrics.pop(recorded.get(name, name), None)
        new = {name: written.pop(name) for name in list(written) if name not in recorded}
        metrics.update({recorded[name]: value for name, value in written.items()})
        metrics.update(self._recorded(hook, new))

    def update_state(
        self, hook: str, metrics: Mapping[str, Any], epoch: int | None, batch: int | None
    ) -> None:
        """Update the state of the loop, through which the callbacks of the other vocabulary see it."""
        if hook == "on_train_start":
            self._stop.start()
        self.state.update(hook, metrics, epoch, batch)

    # The model

    def set_model(self, model: Any) -> None:
        """Store the model. Keras objects get a `ModelView` instead of a model that Keras could not use."""
        self._stop.model = model
        self.state.set_model(model)
        self.model = model_for_keras(model, self.state)

    def forget_model(self) -> None:
        """Drop the model and everything that belongs to it, so that a list does not keep it alive after a training."""
        self.model = self._stop.model = None
        self.state.forget()

    # Stopping

    @property
    def stop_training(self) -> bool:
        """Whether a callback asked the training to end, by `model.stop_training` or by `trainer.stop`."""
        return self._stop.adopt(None)

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self.state.set_stop(bool(value))
        self._stop.share(None)


def plain_hook(event: Any) -> str:
    """Return the name of a hook as a plain string, and another value as messages show it."""
    return plain_text(event) if is_a(event, str) else shown(event)


def no_hook(event: str) -> UnknownNameError:
    """Return the error for a name that is not one of the 25 hooks, with the name that was probably meant."""
    keras = KERAS_ALIASES.get(event, event)
    if keras in FROM_KERAS:
        return UnknownNameError(
            f"{event!r} is a hook of Keras; functions are registered by the names of Ultralytics:"
            f" {FROM_KERAS[keras]!r}. For Keras' names, append an object that has a method {event!r}."
        )
    return unknown("hook", event, BY_NAME)


def checked_logs(hook: str, logs: Any) -> Any:
    """Return logs or metrics as they are if they can be read, and an empty dict instead of None.

    Raises:
        InvalidValueError: They are not a mapping.
    """
    if logs is None:
        return {}
    if not is_a(logs, Mapping):
        raise InvalidValueError(
            f"{hook}: logs and metrics must be a mapping from names to numbers, got {shown(logs)}."
        )
    if type(logs) is dict or not isinstance(attempt(lambda: dict(logs.items())), Failure):
        return logs
    return _read_logs(logs)


def _read_logs(logs: Mapping[Any, Any]) -> dict[Any, Any]:
    found = items(logs, _MOST_METRICS)
    return {"metrics": found} if isinstance(found, Failure) else dict(found)  # a warning names them later


def _index(hook: str, value: Any) -> int:
    """Return an index as an int: it may be a NumPy integer, or the 0-d tensor of a TensorFlow dataset."""
    if type(value) is int and 0 <= value <= LARGEST:
        return value
    return index(f"{hook}: the index of the epoch or batch", value)


def _with_str_names(metrics: Mapping[Any, Any]) -> dict[str, Any]:
    found = dict(metrics) if type(metrics) is dict else _read_logs(metrics)
    for name in found:
        if type(name) is not str:
            return {key_text(name): value for name, value in found.items()}
    return found


def _read(
    source: Any, hook: str, metrics: Mapping[str, Any] | None, epoch: int | None
) -> tuple[Mapping[str, Any] | None, int | None]:
    """Return the metrics and the epoch, read from a trainer or validator if the caller did not pass them."""
    if metrics is None and hook in _WITH_METRICS:
        found = attempt(getattr, source, "metrics", None)
        metrics = found if isinstance(found, Mapping) else None
    if epoch is None:
        found = attempt(getattr, source, "epoch", None)
        epoch = found if type(found) is int and 0 <= found <= LARGEST else None
    return metrics, epoch
