"""`Callback`: the base class of callbacks that speak Keras, for programs without Keras."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, TypeVar

from ..errors import BROKEN_STREAM, unknown
from .vocabulary import FROM_KERAS, KERAS_ALIASES

Logs = MutableMapping[str, Any]

KERAS_METHODS = frozenset(FROM_KERAS) | frozenset(KERAS_ALIASES)
FED_FROM_JOURNAL = "_is_fed_from_journal"
"""The attribute that marks an object as a tracker: it is not called by a loop, and so cannot be a callback."""

_BROKEN = (*BROKEN_STREAM, SystemExit)
"""What writing to a broken standard output raises. `rich` exits when the reader of a pipe has gone."""

_Method = TypeVar("_Method", bound=Callable[..., None])


def _default(method: _Method) -> _Method:
    """Mark a method that does nothing, as Keras does, so that Keras may run its batch hooks asynchronously."""
    method._is_default = True  # type: ignore[attr-defined]
    return method


def check_hook_names(owner: str, members: Mapping[str, Any], known: frozenset[str]) -> None:
    """Check that every method `on_…` of a class is a hook, and that no other method is a misspelt hook.

    Raises:
        UnknownNameError: A method is not a hook. The message contains the nearest hook.
    """
    others = [name for name in known if not name.startswith("on_")]
    for name, member in members.items():
        if name in known or name.startswith("_") or not callable(member):
            continue
        if name.startswith("on_") or difflib.get_close_matches(name, others, n=1, cutoff=0.85):
            raise unknown("hook", name, known, f"{owner}.{name}: ")


class Callback:
    """A base class with the interface of `keras.callbacks.Callback`. Keras itself accepts it in `fit`, too.

    `logs` contains the metrics of the batch or epoch by Keras' names. What a callback writes into `logs` is passed to
    the callbacks after it, and is recorded.

    Raises:
        UnknownNameError: A subclass defines a method `on_…` that is not a hook of Keras.
    """

    params: dict[str, Any] | None = None
    """The parameters of the loop, as far as they are known: `verbose`, `epochs`, `steps`."""
    model: Any = None
    """The model. Setting its `stop_training` to True ends the training after this epoch."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_hook_names(cls.__name__, vars(cls), KERAS_METHODS)

    def set_params(self, params: dict[str, Any]) -> None:
        """Store the parameters of the loop."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Store the model."""
        self.model = model

    @_default
    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Alias of `on_train_batch_begin`, which calls it."""

    @_default
    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Alias of `on_train_batch_end`, which calls it."""

    @_default
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Called before the first batch of an epoch; the first `epoch` is 0."""

    @_default
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Called after an epoch and its validation, whose metrics start with `val_`."""

    @_default
    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a training batch; the first `batch` of each epoch is 0."""
        self.on_batch_begin(batch, logs=logs)

    @_default
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a training batch."""
        self.on_batch_end(batch, logs=logs)

    @_default
    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch of an evaluation, or of the validation in a training."""

    @_default
    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch of an evaluation, or of the validation in a training."""

    @_default
    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Called before a batch is predicted."""

    @_default
    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Called after a batch is predicted; the outputs are in `logs["outputs"]`."""

    @_default
    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Called before the first epoch."""

    @_default
    def on_train_end(self, logs: Logs | None = None) -> None:
        """Called after the last epoch, with its logs. Not called after an exception."""

    @_default
    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Called before an evaluation or a validation."""

    @_default
    def on_test_end(self, logs: Logs | None = None) -> None:
        """Called after an evaluation or a validation, with its metrics."""

    @_default
    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Called before a prediction."""

    @_default
    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Called after a prediction."""
