"""The callbacks in the list of a Trainer: one that forwards its events while it is recorded, and one for the user."""

from __future__ import annotations

import functools
import itertools
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from trackhooks.frameworks.helpers import WeakIdentityDict
from trackhooks.frameworks.interface import Runs

EVENTS = (
    "on_init_end", "on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end", "on_step_begin",
    "on_pre_optimizer_step", "on_optimizer_step", "on_substep_end", "on_step_end", "on_evaluate", "on_predict",
    "on_save", "on_log", "on_prediction_step", "on_push_begin",
)  # fmt: skip


class Part:
    """What a Trainer is doing: a training, an evaluation, a prediction. Has methods with the names of the events.

    Each one gets the state and the control of the Trainer, and the named arguments of the event.
    """

    @property
    def includes_evaluate(self) -> bool:
        """Whether a call of `evaluate` now is a step of this part, rather than another part."""
        return False


class Listener:
    """Forwards the events of one Trainer to the innermost part that is in progress. A copy forwards nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Any] = []

    def __reduce__(self) -> Any:
        return _new_listener, ()

    def hear(self, event: str, state: Any, control: Any, given: dict[str, Any]) -> None:
        """Forward an event."""
        method = getattr(self.parts[-1], event, None) if self.parts else None
        if method is not None:
            method(state, control, given)


class UserCallback:
    """The callback that a user passes to a Trainer. It says only where the Trainer is to be recorded.

    A copy is the same callback: a run cannot be continued by a copy.
    """

    runs: Runs | None = None
    """Where the Trainer is recorded; None for wherever `enable` records it."""
    _number = -1

    def bind(self, runs: Runs) -> None:
        """Record into these runs."""
        self.runs = runs
        self._number = next(_numbers)
        _callbacks[self._number] = self

    def __deepcopy__(self, memo: object) -> UserCallback:
        return self

    def __reduce__(self) -> Any:
        return _unpickled, (os.getpid(), self._number)


_numbers = itertools.count()
_callbacks: weakref.WeakValueDictionary[int, UserCallback] = weakref.WeakValueDictionary()
_listeners: WeakIdentityDict[Any] = WeakIdentityDict()


def _unpickled(process: int, number: int) -> UserCallback:
    """Return the callback that was pickled; in another process, one that records where `enable` does."""
    found = _callbacks.get(number) if process == os.getpid() else None
    made: UserCallback = user_callback()() if found is None else found
    return made


@functools.cache
def user_callback() -> Any:
    """Return the class of the user's callback, a subclass of the one of transformers."""
    return type("TrackhooksCallback", (UserCallback, _base()), {"__module__": __name__})


@functools.cache
def _listener() -> Any:
    methods = {event: _forward(event) for event in EVENTS}
    return type("TrackhooksListener", (Listener, _base()), {"__module__": __name__, **methods})


def _new_listener() -> Any:
    return _listener()()


def _base() -> Any:
    return sys.modules["transformers.trainer_callback"].TrainerCallback


def _forward(event: str) -> Callable[..., None]:
    def call(self: Listener, args: Any, state: Any, control: Any, **given: Any) -> None:
        self.hear(event, state, control, given)

    return call


def current(trainer: Any) -> Any:
    """Return the innermost part of a Trainer that is in progress; None if it is not recorded now."""
    listener = _listeners.get(trainer)
    return listener.parts[-1] if listener is not None and listener.parts else None


@contextmanager
def listening(trainer: Any, part: Part) -> Iterator[None]:
    """Forward the events of a Trainer to this part. Ours comes first in the list, since other callbacks may raise."""
    listener = _listeners.get(trainer)
    if listener is None:
        listener = _listeners[trainer] = _new_listener()
    callbacks = trainer.callback_handler.callbacks
    if not listener.parts:
        callbacks.insert(0, listener)
    listener.parts.append(part)
    try:
        yield
    finally:
        listener.parts.remove(part)
        if not listener.parts:
            trainer.callback_handler.callbacks[:] = [
                callback for callback in trainer.callback_handler.callbacks if callback is not listener
            ]
