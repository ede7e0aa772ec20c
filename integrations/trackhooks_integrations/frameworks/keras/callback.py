"""`Bridge`, the callback that is passed to Keras."""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

from trackhooks.errors import MissingPackageError, warn
from trackhooks.frameworks import resume_marker
from trackhooks.frameworks.helpers import Lookups, checked_params, index
from trackhooks.frameworks.interface import KerasEvents, Kind, Logs, Mode

from .interrupted import interrupted
from .loop import KerasLoop, backup_folder
from .ordering import InOrder

Choose = Callable[[Any, Kind, bool | Path], tuple[Mode, KerasLoop]]
"""Picks the run of a mode.

Takes the model, the kind of the mode, and whether a training is resumed: a bool, or the folder of the run to continue.
Returns the mode, already begun, and the loop of its run.
"""


class Bridge:
    """Keras callback that picks the run at the first hook of a mode, and forwards the hooks in batch order.

    Keras may end batches on other threads if every callback allows it (`async_safe`). The accelerator then runs ahead
    of the recording, and recording never waits for it.

    Args:
        choose: picks the run and its loop.
        loop: the loop, if it is already known.
    """

    params: dict[str, Any] | None
    _model: Any
    _loop: KerasLoop

    def __init__(self, choose: Choose, loop: KerasLoop | None = None) -> None:
        super().__init__()  # `keras.callbacks.Callback.__init__`
        self.known = loop
        """The loop, if this callback records into one run only."""
        if loop is not None:
            self._loop = loop
        self._arguments: Mapping[str, Any] = {}
        self._choose = choose
        self._modes: list[str] = []
        self._begun: list[Mode] = []
        """The modes that have begun and not ended. An exception ends all of them."""
        self._missed: list[FrameType] = []
        """The events of `_record_missed`, until the call ends."""
        self._order = InOrder()
        self._number = next(_numbers)
        _bridges[self._number] = self

    def fresh(self) -> Bridge:
        """Return a new bridge with the same settings, for a mode that runs inside this bridge's mode."""
        return type(self)(self._choose, self.known)

    def __deepcopy__(self, memo: object) -> Bridge:
        """Return this bridge itself. A tuner copies its callbacks for each trial, but the run stays the same."""
        return self

    def __reduce__(self) -> Any:
        """Pickle only which bridge it is: a run cannot be continued by a copy."""
        return _unpickled, (os.getpid(), self._number)

    @property
    def feeds(self) -> KerasEvents | None:
        """The Keras events of the run that this bridge calls; None if the run is not known yet."""
        return None if self.known is None else self.known.run.keras

    @property
    def busy(self) -> bool:
        """Whether a mode is in progress."""
        return bool(self._modes)

    @property
    def async_safe(self) -> bool:
        """Whether Keras may end batches on other threads than the training thread. Keras reads this."""
        return self.known is None or not self.known.listens_in_place

    def join(self, model: Any, params: dict[str, Any]) -> None:
        """Set the model and params, when the bridge is added to a `CallbackList` that the user created."""
        self._model, self.params = model, params

    @contextmanager
    def recording(self, arguments: Mapping[str, Any]) -> Iterator[None]:
        """Keep the arguments of a recorded call while it runs. If the call raises, end its modes with the error.

        Args:
            arguments: the arguments of the call, by name.
        """
        self._arguments = arguments
        try:
            yield
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._arguments = {}

    @contextmanager
    def validating(self) -> Iterator[None]:
        """Do the same for the validation in a `fit`, whose modes it leaves to the `fit`."""
        try:
            yield
        except BaseException as error:  # seen here, because Keras removes its frames from the traceback
            self._record_missed(error)
            raise

    def _record_missed(self, error: BaseException) -> None:
        """Record the events that this bridge missed because an earlier callback raised."""
        begun, self._begun = self._begun, []  # so that the last event of a mode does not end it: it failed
        loop = self._loop if begun else self.known
        with nullcontext() if loop is None else loop.run.without_callbacks():
            for event in interrupted(error, imported_keras().callbacks.CallbackList, self):
                if event.frame not in self._missed:
                    self._missed.append(event.frame)
                    getattr(self, event.method)(*event.arguments)
        self._begun = begun + self._begun

    def _fail(self, error: BaseException) -> None:
        self._record_missed(error)
        begun, self._begun = self._begun, []
        self._missed.clear()
        self._modes.clear()
        self._order.clear()
        for mode in reversed(begun):
            self._loop.failed()
            mode.end(error)

    def _start(self, kind: Kind) -> None:
        if not self._modes:
            mode, self._loop = self._choose(self._model, kind, self._resumes())
            self._begun.append(mode)
        self._modes.append(kind)

    def _resumes(self) -> bool | Path:
        lookups = Lookups()  # no run has been picked yet
        restored = lookups.find("the initial epoch", None, getattr, self._model, "_initial_epoch", None)
        if not (self._arguments.get("initial_epoch") or restored):
            return False
        backup = backup_folder(self._arguments, lookups)
        return (resume_marker.find(backup) if backup is not None else None) or True

    def _add(self, call: Callable[..., None], *arguments: Any) -> None:
        self._order.add(functools.partial(call, *arguments))

    def _add_last(self, call: Callable[..., None], logs: Logs | None) -> None:
        """Add the last hook of a mode, then the end of the mode."""
        begun = self._begun[-1:]
        self._add(call, logs)
        for mode in begun:
            self._add(self._end, mode)

    def _end(self, mode: Mode) -> None:
        mode.end()
        self._begun.remove(mode)

    def set_params(self, params: Any) -> None:
        """Store the parameters of the loop.

        Raises:
            InvalidValueError: they are not a mapping.
        """
        self.params = checked_params(params)

    def _takes(self, hook: str) -> bool:
        return self._loop.run.takes(hook)

    # Training

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Pick the run and record the start of the training."""
        self._start("train")
        self._add(self._loop.train_begin, self._model, self.params, self._arguments, logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Record the start of an epoch."""
        self._add(self._loop.epoch_begin, epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Reserve the position of the batch's end in the order of the hooks."""
        batch = _whole(batch)
        if self._takes("on_train_batch_start"):
            self._add(self._loop.keras.on_train_batch_begin, batch, logs)
        self._order.announce(batch)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Forward the end of a batch after all earlier batches. Keras may call this on any thread."""
        batch = _whole(batch)
        self._order.end(batch, functools.partial(self._loop.train_batch_end, batch, logs))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Record the end of an epoch. Keras calls this after all batches of the epoch have ended."""
        self._order.finish()
        self._add(self._loop.epoch_end, epoch, self._loop.rates(), logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Record the end of the training."""
        self._order.finish()
        self._modes.clear()
        self._add_last(self._loop.train_end, logs)

    # Validation and evaluation

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Start the validation of an epoch if a training is in progress, otherwise a separate evaluation."""
        inside = self.busy
        self._start("val")
        if inside:
            self._add(self._loop.validation_begin, self._loop.rates_of(self._model), logs)
        else:
            self._add(self._loop.evaluation_begin, self._model, self.params, logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Forward the start of a batch, only if a callback or the record needs it."""
        batch = _whole(batch)
        if self._takes("on_val_batch_start"):
            self._add(self._loop.keras.on_test_batch_begin, batch, logs)
        if self._takes("on_val_batch_end"):
            self._order.announce(batch)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Forward the end of a batch, only if a callback or the record needs it."""
        batch = _whole(batch)
        if self._takes("on_val_batch_end"):
            self._order.end(batch, functools.partial(self._loop.keras.on_test_batch_end, batch, logs))

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Record the metrics of the validation or evaluation."""
        self._modes.pop()
        if self.busy:
            self._add(self._loop.keras.on_test_end, logs)
        else:
            self._order.finish()
            self._add_last(self._loop.keras.on_test_end, logs)

    # Prediction

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Pick the run and record the start of the prediction."""
        self._start("predict")
        self._add(self._loop.predict_begin, self._model, self.params, logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Reserve the position of the batch's end in the order of the hooks."""
        batch = _whole(batch)
        if self._takes("on_predict_batch_start"):
            self._add(self._loop.keras.on_predict_batch_begin, batch, logs)
        self._order.announce(batch)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Count the predicted samples of the batch."""
        batch = _whole(batch)
        self._order.end(batch, functools.partial(self._loop.predict_batch_end, batch, logs))

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Record the end of the prediction."""
        self._order.finish()
        self._modes.clear()
        self._add_last(self._loop.predict_end, logs)


class Elsewhere:
    """Keras callback that a bridge becomes in another process. It records nothing, and says so."""

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Warn that the training is not recorded."""
        warn(
            "a Keras callback of trackhooks was copied into another process, where it records nothing. Create it in"
            " that process: trackhooks.keras_callback(…), or run.keras of a run that was opened there."
        )

    on_test_begin = on_predict_begin = on_train_begin


_numbers = itertools.count()
_bridges: weakref.WeakValueDictionary[int, Bridge] = weakref.WeakValueDictionary()


def _unpickled(process: int, number: int) -> Any:
    """Return the same bridge in the process that it was created in."""
    found = _bridges.get(number) if process == os.getpid() else None
    return found or _class(Elsewhere, importlib.import_module("keras").callbacks.Callback)()


def _whole(batch: Any) -> int:
    return batch if type(batch) is int else index("the index of a batch", batch)


def make(choose: Choose, loop: KerasLoop | None = None) -> Bridge:
    """Create a bridge that is a subclass of `keras.callbacks.Callback`.

    Raises:
        MissingPackageError: Keras has not been imported.
    """
    made: Bridge = _class(Bridge, imported_keras().callbacks.Callback)(choose, loop)
    return made


@functools.cache
def _class(kind: type, base: type) -> type[Any]:
    return type("TrackhooksCallback", (kind, base), {"__doc__": "Records what Keras does into a run."})


def imported_keras() -> Any:
    """Return the `keras` module. It is not imported here, because the user may not want it.

    Raises:
        MissingPackageError: Keras has not been imported.
    """
    found = sys.modules.get("keras")
    if found is None:
        raise MissingPackageError(
            "a Keras callback is asked for before Keras is imported. Put `import keras` above it;"
            " where it is not installed: pip install keras",
            name="keras",
        )
    return found
