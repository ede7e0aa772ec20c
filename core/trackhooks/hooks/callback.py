"""Callbacks in Keras' words, for those without Keras: the base class, and the two that a list can add itself."""

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
"""What showing a bar raises where standard output is broken; rich exits when its reader has gone."""

_Method = TypeVar("_Method", bound=Callable[..., None])


def _default(method: _Method) -> _Method:
    """Marks a method that does nothing, as Keras marks its own: its batch hooks may then run asynchronously."""
    method._is_default = True  # type: ignore[attr-defined]
    return method


def check_hook_names(owner: str, members: Mapping[str, Any], known: frozenset[str]) -> None:
    """Raises where a class defines a method `on_…` that is no hook, or one that is nearly called as another hook is.

    Raises:
        UnknownNameError: with the nearest name that is one.
    """
    others = [name for name in known if not name.startswith("on_")]
    for name, member in members.items():
        if name in known or name.startswith("_") or not callable(member):
            continue
        if name.startswith("on_") or difflib.get_close_matches(name, others, n=1, cutoff=0.85):
            raise unknown("hook", name, known, f"{owner}.{name}: ")


class Callback:
    """The base class of `keras.callbacks.Callback`, by its document; Keras itself accepts it in `fit`, too.

    `logs` holds the metrics of the batch or epoch by Keras' names; what a callback writes into it is heard by the
    callbacks behind it and is recorded.

    Raises:
        UnknownNameError: when the class is made, where a method `on_…` is no hook of Keras.
    """

    params: dict[str, Any] | None = None
    """`verbose`, `epochs`, `steps`: as far as the loop knows them."""
    model: Any = None
    """The model; setting its `stop_training` ends the training after this epoch."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        check_hook_names(cls.__name__, vars(cls), KERAS_METHODS)

    def set_params(self, params: dict[str, Any]) -> None:
        """Stores the parameters of the loop."""
        self.params = params

    def set_model(self, model: Any) -> None:
        """Stores the model."""
        self.model = model

    @_default
    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """An alias of `on_train_batch_begin`, called by it."""

    @_default
    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """An alias of `on_train_batch_end`, called by it."""

    @_default
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before the first batch of an epoch; `epoch` is from 0."""

    @_default
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After an epoch and its validation, whose names start with `val_`."""

    @_default
    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a training batch; `batch` is from 0 in each epoch."""
        self.on_batch_begin(batch, logs=logs)

    @_default
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a training batch."""
        self.on_batch_end(batch, logs=logs)

    @_default
    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch of an evaluation, or of the validation within a training."""

    @_default
    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After such a batch."""

    @_default
    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch is predicted."""

    @_default
    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch is predicted; `logs["outputs"]` holds what came out."""

    @_default
    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before the first epoch."""

    @_default
    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch, with its logs; not after an exception."""

    @_default
    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Before an evaluation or a validation."""

    @_default
    def on_test_end(self, logs: Logs | None = None) -> None:
        """After an evaluation or a validation, with its metrics."""

    @_default
    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Before a prediction."""

    @_default
    def on_predict_end(self, logs: Logs | None = None) -> None:
        """After a prediction."""
