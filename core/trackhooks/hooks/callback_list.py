"""`CallbackList`: the registry of callbacks. One list with two faces, Keras' and Ultralytics'.

An object with methods (`append`) speaks Keras; a function that is registered by the name of a hook (`add_callback`)
speaks Ultralytics. Both listen to every loop: an event that is fired in one vocabulary reaches the callbacks of the
other. Callbacks are called in the order of their registration, in place, and what they raise is raised. The list is
fixed when an event starts: callbacks that are added or removed by a callback count from the next event on. A callback
that fires its own event again, as by an `evaluate` in `on_test_end`, is not called for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ..errors import InvalidValueError, nearest, warn
from ..errors.foreign import Failure, attempt, is_a, items, key_text, shown
from .builtin import History, ProgressBar
from .callback import FED_FROM_JOURNAL, KERAS_METHODS
from .dispatch import Call, Function, no_hook, plain_hook
from .keras_events import KerasEvents
from .vocabulary import BY_NAME, KERAS_ALIASES

_MOST_PARAMS = 1000
_ALIASES = {event: alias for alias, event in KERAS_ALIASES.items()}


class _Entry(NamedTuple):
    """What was registered: a function for one hook, or an object for every hook that it has a method for."""

    hook: str | None
    listener: Any


class CallbackList(KerasEvents):
    """Calls callbacks written in either vocabulary, from a loop written in either.

    Like the list of Keras it has `append`, `set_params`, `set_model`, the 14 events, and iteration over the objects.
    Like a model of Ultralytics it has `add_callback`, `run_callbacks`, `callbacks`, `clear_callback`,
    `reset_callbacks`.

    Args:
        callbacks: Objects that speak Keras, also in nested lists and dicts. A `CallbackList` among them is kept: all
            its callbacks hear the hooks of this list.
        add_history: Add a `History`, unless there is one. It becomes `model.history`.
        add_progbar: Add a `ProgressBar`, unless there is one.
        model: The model that the callbacks get as their `model`.
        **params: The parameters that the callbacks get as their `params`: `verbose`, `epochs`, `steps`.
    """

    def __init__(
        self,
        callbacks: Iterable[Any] | Any | None = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        super().__init__()
        self.params: dict[str, Any] | None = None
        self._entries: list[_Entry] = []
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

    # Objects, which speak Keras

    def append(self, callback: Any) -> None:
        """Add an object that has methods with Keras' names. It need not derive from a class of Keras.

        Raises:
            InvalidValueError: It is a class, a function or a tracker, or has no method with a name of Keras.
        """
        if _calls_list(callback, self) or getattr(callback, "feeds", None) is self:
            raise InvalidValueError(
                f"{shown(callback)} calls this list, and so cannot be called by it. A loop calls it:"
                " fit(…, callbacks=[run.keras])"
            )
        _check_callback(callback)
        if self.model is not None:
            self._hand_model_to(callback)
        if self.params and hasattr(callback, "set_params"):
            callback.set_params(self.params)
        self._entries.append(_Entry(None, callback))
        self._index_calls()

    def remove(self, callback: Any) -> None:
        """Remove an object that was appended.

        Raises:
            InvalidValueError: It is not in the list.
        """
        if not any(callback is object_ for object_ in self):
            raise InvalidValueError(f"{shown(callback)} is not in this list of callbacks.")
        self._entries = [entry for entry in self._entries if entry.hook or entry.listener is not callback]
        self._index_calls()

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the objects, in order."""
        return iter([entry.listener for entry in self._entries if entry.hook is None])

    def __len__(self) -> int:
        return sum(entry.hook is None for entry in self._entries)

    def __bool__(self) -> bool:
        return True

    def set_params(self, params: Mapping[str, Any] | None) -> None:
        """Store the parameters of the loop and pass them to every object. Empty parameters are not passed on.

        Raises:
            InvalidValueError: They are not a mapping.
        """
        given = checked_params(params)
        self.params = given or self.params or {}
        self.state.set_params(self.params)
        if given:
            for callback in self:
                if hasattr(callback, "set_params"):
                    callback.set_params(self.params)

    def set_model(self, model: Any) -> None:
        """Store the model and pass it to every object. Instead of a torch module they get a `ModelView`."""
        super().set_model(model)
        for callback in self:
            self._hand_model_to(callback)

    def _hand_model_to(self, callback: Any) -> None:
        if isinstance(callback, History):
            self.model.history = callback
        if hasattr(callback, "set_model"):
            callback.set_model(self.model)

    # Functions, which speak Ultralytics

    def add_callback(self, event: str, func: Function) -> None:
        """Call `func(trainer)` (or validator, predictor, exporter) at each `event`, one of the 25 hooks.

        Raises:
            UnknownNameError: The hook does not exist. The message contains the nearest name.
            InvalidValueError: `func` cannot be called with one argument.
        """
        _check_event(event)
        if not _takes_one_argument(func):
            raise InvalidValueError(
                f"add_callback({event!r}, …): the callback must be a function of one argument, the"
                f" {BY_NAME[event].source}, got {shown(func)}. An object with methods of Keras' names is added by"
                " append(callback)."
            )
        self._entries.append(_Entry(event, func))
        self._index_calls()

    def clear_callback(self, event: str) -> None:
        """Remove every function of this hook. Objects stay.

        Raises:
            UnknownNameError: The hook does not exist.
        """
        _check_event(event)
        self._entries = [entry for entry in self._entries if entry.hook != event]
        self._index_calls()

    def reset_callbacks(self) -> None:
        """Remove every function of every hook. Objects stay."""
        self._entries = [entry for entry in self._entries if entry.hook is None]
        self._index_calls()

    @property
    def callbacks(self) -> Mapping[str, tuple[Function, ...]]:
        """The functions of each hook, in order, read-only. To change them: `add_callback`, `clear_callback`."""
        return MappingProxyType(
            {name: tuple(entry.listener for entry in self._entries if entry.hook == name) for name in BY_NAME}
        )

    @property
    def registered(self) -> list[tuple[str | None, Any]]:
        """All callbacks in order: each function with its hook, each object with None."""
        return [(entry.hook, entry.listener) for entry in self._entries]

    def _index_calls(self) -> None:
        self._set_calls({name: tuple(self._calls_of(name)) for name in BY_NAME})
        for changed in list(self.when_changed):
            changed()

    def _calls_of(self, hook: str) -> Iterator[Call]:
        for name, listener in self._entries:
            if name == hook:
                yield Call("function", listener, listener)
            elif name is None and isinstance(listener, CallbackList):
                yield Call("list", listener.relay, listener)
            elif name is None and (method := _method(listener, hook)) is not None:
                yield Call("object", method, listener)


def _calls_list(callback: Any, wanted: CallbackList) -> bool:
    return callback is wanted or (
        isinstance(callback, CallbackList) and any(_calls_list(inner, wanted) for inner in callback)
    )


def checked_params(params: Any) -> dict[str, Any]:
    """Return the parameters of a loop as a plain dict, which is empty instead of None.

    Raises:
        InvalidValueError: They are not a mapping, or cannot be read.
    """
    if params is None or type(params) is dict:
        return dict(params or {})
    found = items(params, _MOST_PARAMS) if is_a(params, Mapping) else None
    if found is None or isinstance(found, Failure):
        raise InvalidValueError(
            f"params must be a mapping, such as {{'epochs': 10, 'steps': 100}}, got {shown(params)}."
        )
    return {key_text(name): value for name, value in found if not isinstance(value, Failure)}


def _flatten(callbacks: Any) -> Iterator[Any]:
    if callbacks is None:
        return
    if isinstance(callbacks, Mapping):
        callbacks = [callbacks[name] for name in sorted(callbacks, key=str)]
    if isinstance(callbacks, Iterable) and not isinstance(callbacks, str) and not _speaks_keras(callbacks):
        for callback in callbacks:
            yield from _flatten(callback)
    else:
        yield callbacks


def _speaks_keras(callback: Any) -> bool:
    return not KERAS_METHODS.isdisjoint(dir(callback))


def _check_event(event: str) -> None:
    if not is_a(event, str) or event not in BY_NAME:
        raise no_hook(plain_hook(event))


def _method(callback: Any, hook: str) -> Callable[..., None] | None:
    """Return the method of an object that a hook calls, or None if it has none, or only one that does nothing.

    The base classes of Keras and of trackhooks call the alias of an event from the event. If an object has only the
    alias, that is called.
    """
    keras = BY_NAME[hook].keras
    for name in (keras, _ALIASES.get(keras)) if keras else ():
        method: Callable[..., None] | None = getattr(callback, name, None) if name else None
        if method is not None and getattr(method, "_is_default", False) is not True:
            return method
    return None


def _takes_one_argument(function: Any) -> bool:
    found = attempt(lambda: inspect.signature(function).bind(None))
    if isinstance(found, Failure):  # a ValueError means a function that is written in C, without a signature
        return isinstance(found.error, ValueError) and callable(function)
    return True


def _check_callback(callback: Any) -> None:
    if isinstance(callback, type):
        raise InvalidValueError(
            f"{callback.__name__} is a class. Append an object of it: {callback.__name__}(…)"
        )
    if getattr(callback, FED_FROM_JOURNAL, False) is True:
        raise InvalidValueError(
            f"{type(callback).__name__} is a tracker, which is fed from the journal. Pass it to the run:"
            f" trackhooks.run({type(callback).__name__}())"
        )
    if not _speaks_keras(callback):
        what = "a string" if is_a(callback, str) else shown(callback)
        raise InvalidValueError(
            f"{what} has no method of Keras' names (on_epoch_end, …). A function is registered by its hook:"
            " add_callback('on_fit_epoch_end', function)"
        )
    _warn_of_misspelt(callback)


def _warn_of_misspelt(callback: Any) -> None:
    """Warn of methods with nearly the name of a hook. Not an error, because other libraries may call them."""
    names = [name for name in dir(callback) if name.startswith("on_")]
    for name in names:
        close = None if name in KERAS_METHODS | BY_NAME.keys() else nearest(name, KERAS_METHODS, cutoff=1.05)
        if close is not None and close not in names:
            warn(
                f"{type(callback).__name__}.{name} is never called: no hook has this name. Did you mean {close!r}?"
            )
