"""`CallbackList`: who listens. One registry with two faces, Keras' and Ultralytics'.

An object with methods (`append`) speaks Keras; a function registered by a hook's name (`add_callback`) speaks
Ultralytics. Each hears every loop: an event fired in one vocabulary reaches the callbacks written in the other.
They are called in the order in which they were registered, in place, and what they raise is raised.
The list is fixed when an event starts: callbacks that callbacks add or remove count from the next event on.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

from ..errors import InvalidValueError, UnknownNameError, unknown, warn
from ..recording import record_checks
from ..tracker import Tracker
from ..values import checks
from ..values.checks import LARGEST
from ..values.foreign import Failure, attempt, is_a, items, key_text, plain_text, shown
from .builtin import History, ProgressBar
from .callback import KERAS_METHODS, Logs
from .loop_state import LoopState
from .metric_names import Prefixed, from_keras_epoch, to_keras
from .views import VIEWS, has, model_for_keras
from .vocabulary import BY_NAME, FROM_KERAS, HOOKS, KERAS_ALIASES

Function = Callable[[Any], None]


class Recorder(Protocol):
    """What hears an event last: whoever records it."""

    def heard(
        self, hook: str, metrics: Mapping[str, Any], epoch: int | None, batch: int | None, **more: Any
    ) -> None:
        """An event, after every callback; metrics by the names that are recorded."""


class _Entry(NamedTuple):
    """What was registered: a function for one hook, or an object for all that it has methods for."""

    hook: str | None
    listener: Any


class _Call(NamedTuple):
    is_function: bool
    call: Callable[..., None]


_KERAS_ARGS = {hook.name: hook.keras_args for hook in HOOKS}
_SOURCES = {hook.name: hook.source for hook in HOOKS}
_ALIASES = {event: alias for alias, event in KERAS_ALIASES.items()}
_MOST_METRICS = 100_000
_EPOCH_LOGS = frozenset({"on_fit_epoch_end", "on_train_end"})
_BATCH, _TEST = Prefixed("batch/"), Prefixed("test/")
_PREFIXES = {
    "on_train_batch_end": _BATCH,
    "on_val_batch_end": Prefixed("val_batch/"),
    "on_val_end": Prefixed("val/"),
    "on_predict_end": Prefixed("predict/"),
}


class CallbackList:
    """Calls callbacks written in either vocabulary, from a loop written in either.

    As Keras' list: `append`, `set_params`, `set_model`, the 14 events, iteration over the objects.
    As an Ultralytics model: `add_callback`, `run_callbacks`, `callbacks`, `clear_callback`, `reset_callbacks`.

    Args:
        callbacks: objects that speak Keras; lists in lists are flattened. A `CallbackList` among them is an object as
            the others are: all that listens to it hears what Keras has a name for.
        add_history: add a `History`, unless there is one; it becomes `model.history`.
        add_progbar: add a `ProgressBar`, unless there is one.
        model: what the callbacks get as their `model`.
        **params: what the callbacks get as their `params`: `verbose`, `epochs`, `steps`.
    """

    def __init__(
        self,
        callbacks: Iterable[Any] | Any | None = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        self.state = LoopState()
        """What the loop is doing, as the callbacks of the other vocabulary see it."""
        self.recorder: Recorder | None = None
        self.params: dict[str, Any] | None = None
        self.model: Any = None
        self._given_model: Any = None
        self._entries: list[_Entry] = []
        self._calls: dict[str, tuple[_Call, ...]] = dict.fromkeys(BY_NAME, ())
        self._views = {kind: view(self.state) for kind, view in VIEWS.items()}
        self._validated: set[str] = set()
        for callback in _flatten(callbacks):
            self.append(callback)
        self._add_missing(History, add_history)
        self._add_missing(ProgressBar, add_progbar)
        if model is not None:
            self.set_model(model)
        self.set_params(params)

    def _add_missing(self, cls: type[History] | type[ProgressBar], wanted: bool) -> None:
        if wanted and not any(isinstance(callback, cls) for callback in self):
            self.append(cls())

    # Who listens: objects, in Keras' words

    def append(self, callback: Any) -> None:
        """Adds an object with methods of Keras' names, which are looked up now; it need not be a Keras callback.

        Raises:
            InvalidValueError: it is a class, a function or a tracker, or has no method of Keras' names.
        """
        if callback is self or getattr(callback, "feeds", None) is self:
            raise InvalidValueError(
                f"{callback!r} calls this list, and so cannot be called by it. A loop calls it:"
                " fit(…, callbacks=[run.keras])"
            )
        _check_callback(callback)
        if self.model is not None:
            self._hand_model_to(callback)
        if self.params and hasattr(callback, "set_params"):
            callback.set_params(self.params)
        self._entries.append(_Entry(None, callback))
        self._index()

    def remove(self, callback: Any) -> None:
        """Removes an object that was appended.

        Raises:
            InvalidValueError: it is not in the list.
        """
        if not any(callback is object_ for object_ in self):
            raise InvalidValueError(f"{shown(callback)} is not in this list of callbacks.")
        self._entries = [entry for entry in self._entries if entry.hook or entry.listener is not callback]
        self._index()

    def __iter__(self) -> Iterator[Any]:
        """The objects, in order."""
        return iter([entry.listener for entry in self._entries if entry.hook is None])

    def __len__(self) -> int:
        return sum(entry.hook is None for entry in self._entries)

    def __bool__(self) -> bool:
        return True

    def set_params(self, params: Mapping[str, Any] | None) -> None:
        """Stores the loop's parameters and hands them to every object; empty ones are not handed on."""
        self.params = dict(params) if params else self.params or {}
        self.state.params = self.params
        if params:
            for callback in self:
                if hasattr(callback, "set_params"):
                    callback.set_params(self.params)

    def set_model(self, model: Any) -> None:
        """Stores the model and hands it to every object; a torch module is handed on as a `ModelView`."""
        self._given_model = model
        self.state.model = model
        self.model = model_for_keras(model, self.state)
        for callback in self:
            self._hand_model_to(callback)

    def _hand_model_to(self, callback: Any) -> None:
        if isinstance(callback, History):
            self.model.history = callback
        if hasattr(callback, "set_model"):
            callback.set_model(self.model)

    def forget_model(self) -> None:
        """Lets go of the model and of what belongs to it: a list that outlives a training must not keep them alive."""
        self.model = self._given_model = None
        state = self.state
        state.model = state.optimizer = state.data = state.inputs = state.results = None

    # Who listens: functions, by the names of Ultralytics

    def add_callback(self, event: str, func: Function) -> None:
        """Calls `func(trainer)` (or validator, predictor, exporter) at each `event`, one of the 25 hooks.

        Raises:
            UnknownNameError: there is no such hook; the message holds the nearest.
            InvalidValueError: `func` cannot be called with one argument.
        """
        _check_event(event)
        if not _takes_one_argument(func):
            raise InvalidValueError(
                f"add_callback({event!r}, {shown(func)}): a function of one argument is needed, the"
                f" {_SOURCES[event]}. What has methods of Keras' names is appended: append(callback)"
            )
        self._entries.append(_Entry(event, func))
        self._index()

    def clear_callback(self, event: str) -> None:
        """Removes every function of this hook; objects stay.

        Raises:
            UnknownNameError: there is no such hook.
        """
        _check_event(event)
        self._entries = [entry for entry in self._entries if entry.hook != event]
        self._index()

    def reset_callbacks(self) -> None:
        """Removes every function of every hook; objects stay."""
        self._entries = [entry for entry in self._entries if entry.hook is None]
        self._index()

    @property
    def callbacks(self) -> Mapping[str, tuple[Function, ...]]:
        """The functions of each hook, in order. To change them: `add_callback`, `clear_callback`."""
        return MappingProxyType(
            {name: tuple(entry.listener for entry in self._entries if entry.hook == name) for name in BY_NAME}
        )

    @property
    def registered(self) -> list[tuple[str | None, Any]]:
        """Who listens, in order: a function with its hook, or an object with None."""
        return [(entry.hook, entry.listener) for entry in self._entries]

    def hears(self, hook: str) -> bool:
        """Whether anyone listens to this hook; a method that a base class only defines to do nothing does not."""
        return bool(self._calls[hook])

    def _index(self) -> None:
        self._calls = {name: tuple(self._calls_of(name)) for name in BY_NAME}

    def _calls_of(self, hook: str) -> Iterator[_Call]:
        for name, listener in self._entries:
            method = listener if name == hook else _method(listener, hook) if name is None else None
            if method is not None:
                yield _Call(name is not None, method)

    # Firing, in Ultralytics' words

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
        """Fires a hook.

        Args:
            event: one of the 25 hooks.
            source: what the functions get: the trainer, validator, predictor or exporter. Without one they get a
                `View` of this loop.
            metrics: what the loop measured, by the names that are recorded (`train/loss`); by default the `metrics`
                of the source, where that is a mapping. Keras objects get them in Keras' words, and what they change
                is recorded.
            epoch: from 0; by default the `epoch` of the source.
            batch: the index within the epoch, from 0.
            **more: what else is recorded: `params`, `files`, `media`.

        Raises:
            UnknownNameError: there is no such hook; the message holds the nearest.
            InvalidValueError: `metrics` is no mapping, or an index no whole number.
        """
        if type(event) is not str:
            event = _plain_hook(event)
        calls = self._calls.get(event)
        if calls is None:
            raise _no_hook(event)
        if source is not None:
            metrics, epoch = _read(source, event, metrics, epoch)
            self._adopt_stop(source)
        epoch = epoch if epoch is None else _index(event, epoch)
        batch = batch if batch is None else _index(event, batch)
        if more:
            more = record_checks.record(event, more)
        found = _named_by_texts(_checked_logs(event, metrics)) if metrics is not None else {}
        self.note(event, found, epoch, batch)
        try:
            if calls:
                given = self._views[_SOURCES[event]] if source is None else source
                # Called from here, not deeper: functions look at the frame of whoever fires the hook.
                for function in self.walk(event, source, found):
                    function(given)
        finally:  # what was measured is recorded even if a callback raises, as one that prunes a trial does
            if self.recorder is not None:
                self.recorder.heard(event, found, epoch, batch, **more)

    def fire_batch(self, hook: str, metrics: Mapping[str, Any], batch: int) -> None:
        """As `run_callbacks`, for the hooks of every batch in a loop without a source: cheaper where nobody listens."""
        if self._calls[hook]:
            self.run_callbacks(hook, None, metrics, batch=batch)
            return
        self.state.note_batch(hook, metrics, batch)
        if self.recorder is not None:
            self.recorder.heard(hook, metrics, None, batch)

    def walk(
        self, event: str, source: Any, metrics: dict[str, Any], objects: bool = True
    ) -> Iterator[Function]:
        """Calls the objects, and yields each function when it is its turn, for whoever fires the hook to call it.

        Args:
            event: one of the 25 hooks.
            source: the trainer, validator, predictor or exporter; None in a loop that has none.
            metrics: by the names that are recorded; what the objects change is changed in it.
            objects: False where only the functions are to hear.
        """
        self._adopt_stop(source)
        logs = None
        try:
            for is_function, call in self._calls[event]:
                if is_function:
                    yield call
                elif objects:
                    if logs is None:
                        logs = to_keras(event, metrics)
                        before = dict(logs)
                    self._call_keras(event, call, logs)
        finally:
            if logs is not None:
                self._take_back(event, metrics, before, logs)
        self._cross_stop(source)

    def _call_keras(self, event: str, call: Callable[..., None], logs: Logs) -> None:
        if self.model is None:
            self.set_model(None)
        index = _KERAS_ARGS[event][0]
        if index == "epoch":
            call(self.state.epoch, logs)
        elif index == "batch":
            call(self.state.batch, logs)
        else:
            call(logs)

    def _take_back(self, hook: str, metrics: dict[str, Any], before: Logs, logs: Logs) -> None:
        """What Keras objects changed in the logs is changed in the metrics, by the names that are recorded."""
        changed = {
            name: value for name, value in logs.items() if name not in before or before[name] is not value
        }
        if not changed and len(before) == len(logs):
            return
        recorded = {keras: name for name in metrics for keras in to_keras(hook, {name: None})}
        for name in before.keys() - logs.keys():
            del metrics[recorded[name]]
        new = {name: changed.pop(name) for name in list(changed) if name not in recorded}
        metrics.update({recorded[name]: value for name, value in changed.items()})
        metrics.update(self._recorded(hook, new))

    def note(self, hook: str, metrics: Mapping[str, Any], epoch: int | None, batch: int | None) -> None:
        """Keeps the state up to date: the callbacks of the other vocabulary see the loop through it."""
        if hook == "on_train_start" and flag(self._given_model, "stop_training"):
            self._setflag(self._given_model, "stop_training", False)  # left by an earlier training
        self.state.note(hook, metrics, epoch, batch)

    # Firing, in Keras' words

    def fire(
        self,
        hook: str,
        logs: Logs | None = None,
        epoch: int | None = None,
        besides: Mapping[str, Any] | None = None,
    ) -> None:
        """Fires a hook of the 14 that Keras names, other than those of batches.

        Args:
            hook: its canonical name.
            logs: in Keras' words; the objects get this very dict.
            epoch: from 0, where the hook tells it.
            besides: metrics that the objects do not get, by the names that are recorded.
        """
        logs = _checked_logs(hook, logs)
        epoch = None if epoch is None else _index(hook, epoch)
        metrics = self._recorded(hook, logs) | dict(besides or {})
        self.note(hook, metrics, epoch, None)
        if self._calls[hook]:
            self._hear(hook, () if epoch is None else (epoch,), logs, epoch, None, besides)
        elif self.recorder is not None:
            self.recorder.heard(hook, metrics, epoch, None)

    def _fire_batch(self, hook: str, batch: int, logs: Logs | None) -> None:
        """As `fire`, for the hooks of every batch."""
        batch = _index(hook, batch)
        if type(logs) is not dict:
            logs = _checked_logs(hook, logs)
        metrics = self._recorded(hook, logs)
        self.state.note_batch(hook, metrics, batch)
        if self._calls[hook]:
            self._hear(hook, (batch,), logs, None, batch)
        elif self.recorder is not None:
            self.recorder.heard(hook, metrics, None, batch)

    def _hear(
        self,
        hook: str,
        arguments: tuple[int, ...],
        logs: Logs,
        epoch: int | None,
        batch: int | None,
        besides: Mapping[str, Any] | None = None,
    ) -> None:
        """Calls everyone, then records what they made of the logs, even if one of them raises."""
        try:
            self._call(hook, arguments, logs)
        finally:
            if self.recorder is not None:
                metrics = self._recorded(hook, logs)
                self.recorder.heard(hook, metrics | dict(besides) if besides else metrics, epoch, batch)

    def _call(self, hook: str, arguments: tuple[int, ...], logs: Logs) -> None:
        """Calls everyone with one dict of logs, so that what one writes reaches those behind it."""
        if self.model is None:
            self.set_model(None)
        self._adopt_stop(None)
        view = self._views[_SOURCES[hook]]
        for is_function, call in self._calls[hook]:
            if is_function:
                call(view)
            else:
                call(*arguments, logs)
        self._cross_stop(None)

    def _recorded(self, hook: str, logs: Mapping[str, Any]) -> dict[str, Any]:
        """Logs in Keras' words, by the names that are recorded."""
        if not logs:
            return {}
        names = _PREFIXES.get(hook)
        if names is None:
            return from_keras_epoch(logs, self._validated) if hook in _EPOCH_LOGS else {}
        if hook == "on_val_end" and not self.state.training:
            names = _TEST
        return {names[name]: value for name, value in logs.items()}

    # Stopping

    @property
    def stop_training(self) -> bool:
        """Whether a callback asked the training to end: by `model.stop_training` or by `trainer.stop`."""
        self._adopt_stop(None)
        return bool(self.state.stop)

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self.state.stop = bool(value)
        self._cross_stop(None)

    def _adopt_stop(self, source: Any) -> None:
        if flag(self._given_model, "stop_training") or flag(source, "stop"):
            self.state.stop = True

    def _cross_stop(self, source: Any) -> None:
        self._adopt_stop(source)
        if not self.state.stop:
            return
        for owner, name in ((self._given_model, "stop_training"), (source, "stop")):
            if flag(owner, name) is False:
                self._setflag(owner, name, True)

    def _setflag(self, owner: Any, name: str, value: bool) -> None:
        problem = f"{type(owner).__name__}.{name} could not be set to {value}"
        self.state.lookups.guard(problem, None, setattr, owner, name, value)

    # The events of Keras

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """An alias of `on_train_batch_begin`."""
        self._fire_batch("on_train_batch_start", batch, logs)

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """An alias of `on_train_batch_end`."""
        self.on_train_batch_end(batch, logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before the first batch of an epoch."""
        self._validated = set()
        self.fire("on_train_epoch_start", logs, epoch)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After an epoch and its validation."""
        self.fire("on_fit_epoch_end", logs, epoch)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a training batch."""
        self._fire_batch("on_train_batch_start", batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a training batch."""
        if (
            type(batch) is not int
            or type(logs) is not dict
            or self._calls["on_train_batch_end"]
            or not 0 <= batch <= LARGEST
        ):
            self._fire_batch("on_train_batch_end", batch, logs)
            return
        metrics = {}  # the hot path: nothing to check, and nobody to call
        for name, value in logs.items():  # faster than a comprehension, before Python 3.12
            metrics[_BATCH[name]] = value
        self.state.end_batch(metrics, batch)
        if self.recorder is not None:
            self.recorder.heard("on_train_batch_end", metrics, None, batch)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a validation batch."""
        self._fire_batch("on_val_batch_start", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a validation batch."""
        self._fire_batch("on_val_batch_end", batch, logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch is predicted."""
        self._fire_batch("on_predict_batch_start", batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch is predicted."""
        self.state.results = _checked_logs("on_predict_batch_end", logs).get("outputs")
        self._fire_batch("on_predict_batch_end", batch, logs)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before the first epoch."""
        self.fire("on_train_start", logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch."""
        self.fire("on_train_end", logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Before a validation or an evaluation."""
        self.fire("on_val_start", logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """After a validation or an evaluation."""
        self.fire("on_val_end", logs)
        if self.state.training:  # an evaluation on its own says nothing about the names of an epoch
            self._validated = set(map(key_text, logs or ()))

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Before a prediction."""
        self.fire("on_predict_start", logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """After a prediction."""
        self.fire("on_predict_end", logs)


def _flatten(callbacks: Any) -> Iterator[Any]:
    if callbacks is None:
        return
    if isinstance(callbacks, Iterable) and not isinstance(callbacks, str) and not _speaks_keras(callbacks):
        for callback in callbacks:
            yield from _flatten(callback)
    else:
        yield callbacks


def _speaks_keras(callback: Any) -> bool:
    return not KERAS_METHODS.isdisjoint(dir(callback))


def _check_event(event: str) -> None:
    if not is_a(event, str) or event not in BY_NAME:
        raise _no_hook(_plain_hook(event))


def _plain_hook(event: Any) -> str:
    return plain_text(event) if is_a(event, str) else shown(event)


def _no_hook(event: str) -> UnknownNameError:
    keras = KERAS_ALIASES.get(event, event)
    if keras in FROM_KERAS:
        return UnknownNameError(
            f"{event!r} is a hook of Keras; functions are registered by the names of Ultralytics:"
            f" {FROM_KERAS[keras]!r}. For Keras' names, append an object that has a method {event!r}."
        )
    mixed = str(event).replace("_begin", "_start").replace("_test_", "_val_")
    return unknown("hook", event, [mixed] if mixed in BY_NAME else BY_NAME)


def _method(callback: Any, hook: str) -> Callable[..., None] | None:
    """The method of an object that hears this hook; one that only does nothing need not be called at every batch.

    The bases of Keras and ours call the alias from the event; an object that has nothing but the alias hears by it.
    """
    keras = BY_NAME[hook].keras
    for name in (keras, _ALIASES.get(keras)) if keras else ():
        method: Callable[..., None] | None = getattr(callback, name, None) if name else None
        if method is not None and getattr(method, "_is_default", False) is not True:
            return method
    return None


def _takes_one_argument(function: Any) -> bool:
    found = attempt(lambda: inspect.signature(function).bind(None))
    if isinstance(found, Failure):  # a ValueError: written in C, without a signature
        return isinstance(found.error, ValueError) and callable(function)
    return True


def flag(owner: Any, name: str) -> bool | None:
    """The switch of this name that an object has; None if it has none, or something else of that name."""
    value = None if owner is None else attempt(getattr, owner, name, None)
    if value is None or isinstance(value, bool):
        return value
    found = attempt(bool, value) if isinstance(value, int) or has(value, "dtype") else None
    return found if isinstance(found, bool) else None


def _index(hook: str, value: Any) -> int:
    """A NumPy integer, or the 0-d tensor that a TensorFlow dataset counts with, as an int."""
    if type(value) is int and 0 <= value <= LARGEST:
        return value
    return checks.index(f"{hook}: the index of the epoch or batch", value)


def _named_by_texts(metrics: Mapping[Any, Any]) -> dict[str, Any]:
    found = dict(metrics) if type(metrics) is dict else _read_logs(metrics)
    for name in found:
        if type(name) is not str:
            return {key_text(name): value for name, value in found.items()}
    return found


def _read_logs(logs: Mapping[Any, Any]) -> dict[Any, Any]:
    found = items(logs, _MOST_METRICS)
    return {"metrics": found} if isinstance(found, Failure) else dict(found)  # a warning will name them


def _checked_logs(hook: str, logs: Any) -> Any:
    if logs is None:
        return {}
    if not is_a(logs, Mapping):
        raise InvalidValueError(
            f"{hook}: the logs or metrics are {shown(logs)}; a mapping from names to numbers is needed."
        )
    if type(logs) is dict or not isinstance(attempt(lambda: dict(logs.items())), Failure):
        return logs
    return _read_logs(logs)


def _check_callback(callback: Any) -> None:
    if isinstance(callback, type):
        raise InvalidValueError(
            f"{callback.__name__} is a class. Append an object of it: {callback.__name__}(…)"
        )
    if isinstance(callback, Tracker):
        raise InvalidValueError(
            f"{type(callback).__name__} is a tracker, which is fed from the journal. Pass it where the run is opened:"
            f" trackhooks.run({type(callback).__name__}())"
        )
    if not _speaks_keras(callback):
        raise InvalidValueError(
            f"{callback!r} has no method of Keras' names (on_epoch_end, …). A function is registered by its hook:"
            " add_callback('on_fit_epoch_end', function)"
        )
    _warn_of_misspelt(callback)


def _warn_of_misspelt(callback: Any) -> None:
    """Only a warning: an object may serve other libraries as well."""
    names = [name for name in dir(callback) if name.startswith("on_")]
    for name in names:
        close = difflib.get_close_matches(name, KERAS_METHODS, n=1, cutoff=0.9)
        if name not in KERAS_METHODS and close and close[0] not in names:
            warn(
                f"{type(callback).__name__}.{name} is never called: no hook has this name. Did you mean {close[0]!r}?"
            )


def _read(
    source: Any, hook: str, metrics: Mapping[str, Any] | None, epoch: int | None
) -> tuple[Mapping[str, Any] | None, int | None]:
    """What the caller did not say, as a trainer or validator says it."""
    if metrics is None and hook in ("on_fit_epoch_end", "on_val_end", "on_train_end"):
        found = attempt(getattr, source, "metrics", None)
        metrics = found if isinstance(found, Mapping) else None
    if epoch is None:
        found = attempt(getattr, source, "epoch", None)
        epoch = found if type(found) is int and 0 <= found <= LARGEST else None
    return metrics, epoch
