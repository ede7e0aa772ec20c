"""`Bridge`: what Keras calls."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trackhooks.errors import MissingPackageError
from trackhooks.frameworks import resume_marker
from trackhooks.frameworks.helpers import Lookups
from trackhooks.frameworks.interface import KerasEvents, Kind, Logs, Mode

from .loop import KerasLoop, backup_folder
from .ordering import InOrder

Choose = Callable[[Any, Kind, bool | Path], tuple[Mode, KerasLoop]]
"""(model, what it does, whether it resumes a training or the run of that one) → the mode, begun, and its loop."""


class Bridge:
    """Picks the run at the first hook of a mode, and hands its hooks on, in the order of the batches.

    Keras may end batches on other threads, and does so as long as every callback allows it (`async_safe`). The
    accelerator then runs ahead of what is recorded, and is never waited for.

    Args:
        choose: picks the run's loop.
        loop: where it is known before.
    """

    params: dict[str, Any] | None
    _model: Any
    _loop: KerasLoop

    def __init__(self, choose: Choose, loop: KerasLoop | None = None) -> None:
        super().__init__()  # of `keras.callbacks.Callback`
        self.known = loop
        """The loop, where it hears for one run only."""
        if loop is not None:
            self._loop = loop
        self._arguments: Mapping[str, Any] = {}
        self._choose = choose
        self._modes: list[str] = []
        self._begun: list[Mode] = []
        """The modes that have not ended: an exception ends them."""
        self._order = InOrder()

    def fresh(self) -> Bridge:
        """Another one, for a mode inside of this one's."""
        return type(self)(self._choose, self.known)

    def __deepcopy__(self, memo: object) -> Bridge:
        """A tuner copies its callbacks for each trial; the run is the same."""
        return self

    @property
    def feeds(self) -> KerasEvents | None:
        """The list that it calls."""
        return None if self.known is None else self.known.run.keras

    @property
    def busy(self) -> bool:
        """Whether it is inside of a mode."""
        return bool(self._modes)

    @property
    def async_safe(self) -> bool:
        """Asked by Keras: whether batches may end on other threads than the one that trains."""
        return self.known is None or not self.known.listens_in_place

    def join(self, model: Any, params: dict[str, Any]) -> None:
        """Is added to a list that the user has made."""
        self._model, self.params = model, params

    @contextmanager
    def hearing(self, arguments: Mapping[str, Any]) -> Iterator[None]:
        """Around the call whose hooks it hears, with the arguments of that call."""
        self._arguments = arguments
        try:
            yield
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            self._arguments = {}

    def _fail(self, error: BaseException) -> None:
        self._modes.clear()
        self._order.clear()
        begun, self._begun = self._begun, []
        for mode in reversed(begun):
            self._loop.failed()
            mode.end(error)

    def _start(self, kind: Kind) -> None:
        if not self._modes:
            mode, self._loop = self._choose(self._model, kind, self._resumes())
            self._begun.append(mode)
        self._modes.append(kind)

    def _resumes(self) -> bool | Path:
        lookups = Lookups()  # of no run yet
        restored = lookups.find("the initial epoch", None, getattr, self._model, "_initial_epoch", None)
        if not (self._arguments.get("initial_epoch") or restored):
            return False
        backup = backup_folder(self._arguments, lookups)
        return (resume_marker.find(backup) if backup is not None else None) or True

    def _add(self, call: Callable[..., None], *arguments: Any) -> None:
        self._order.add(functools.partial(call, *arguments))

    def _add_last(self, call: Callable[..., None], logs: Logs | None) -> None:
        """Adds the last hook of a mode, and its end."""
        begun = self._begun[-1:]
        self._add(call, logs)
        for mode in begun:
            self._add(self._end, mode)

    def _end(self, mode: Mode) -> None:
        mode.end()
        self._begun.remove(mode)

    def _takes(self, hook: str) -> bool:
        return self._loop.run.takes(hook)

    # Training

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Chooses the run."""
        self._start("train")
        self._add(self._loop.train_begin, self._model, self.params, self._arguments, logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Is handed on."""
        self._add(self._loop.epoch_begin, epoch, logs)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Keeps the place of the batch's end."""
        if self._takes("on_train_batch_start"):
            self._add(self._loop.keras.on_train_batch_begin, batch, logs)
        self._order.announce(batch)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Is handed on when all batches before it have been; Keras may call this on any thread."""
        self._order.end(batch, functools.partial(self._loop.train_batch_end, batch, logs))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Keras has waited for the batches before it calls this."""
        self._order.finish()
        self._add(self._loop.epoch_end, epoch, self._loop.rates(), logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """The last hook of the mode."""
        self._order.finish()
        self._modes.clear()
        self._add_last(self._loop.train_end, logs)

    # Validation and evaluation

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """A validation where a training goes on, else an evaluation on its own."""
        inside = self.busy
        self._start("val")
        if inside:
            self._add(self._loop.validation_begin, self._loop.rates_of(self._model), logs)
        else:
            self._add(self._loop.evaluation_begin, self._model, self.params, logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Costs nothing where nobody listens."""
        if self._takes("on_val_batch_start"):
            self._add(self._loop.keras.on_test_batch_begin, batch, logs)
        if self._takes("on_val_batch_end"):
            self._order.announce(batch)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Likewise."""
        if self._takes("on_val_batch_end"):
            self._order.end(batch, functools.partial(self._loop.keras.on_test_batch_end, batch, logs))

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Its metrics."""
        self._modes.pop()
        if self.busy:
            self._add(self._loop.keras.on_test_end, logs)
        else:
            self._order.finish()
            self._add_last(self._loop.keras.on_test_end, logs)

    # Prediction

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Chooses the run."""
        self._start("predict")
        self._add(self._loop.predict_begin, self._model, self.params, logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Keeps the place of the batch's end."""
        if self._takes("on_predict_batch_start"):
            self._add(self._loop.keras.on_predict_batch_begin, batch, logs)
        self._order.announce(batch)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """What came out is counted."""
        self._order.end(batch, functools.partial(self._loop.predict_batch_end, batch, logs))

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """The last hook of the mode."""
        self._order.finish()
        self._modes.clear()
        self._add_last(self._loop.predict_end, logs)


def make(choose: Choose, loop: KerasLoop | None = None) -> Bridge:
    """A bridge that is a true callback of Keras.

    Raises:
        MissingPackageError: Keras has not been imported.
    """
    return _class(imported_keras().callbacks.Callback)(choose, loop)


@functools.cache
def _class(base: type) -> type[Bridge]:
    return type("TrackhooksCallback", (Bridge, base), {"__doc__": "Records what Keras does into a run."})


def imported_keras() -> Any:
    """The module.

    Raises:
        MissingPackageError: Keras has not been imported; it is not done here, since it may not be wanted.
    """
    found = sys.modules.get("keras")
    if found is None:
        raise MissingPackageError(
            "a Keras callback is asked for before Keras is imported. Put `import keras` above it;"
            " where it is not installed: pip install keras",
            name="keras",
        )
    return found
