"""`StopFlags`: the switches that stop a training, kept the same in the model, the trainer and the state of the loop."""

from __future__ import annotations

from typing import Any

from ..errors.foreign import attempt
from .loop_state import LoopState
from .views import has


class StopFlags:
    """Keras stops by `model.stop_training`, Ultralytics by `trainer.stop`, and a custom loop by the state.

    Args:
        state: of the loop.
    """

    def __init__(self, state: LoopState) -> None:
        self._state = state
        self.model: Any = None
        """The model as the user passed it."""

    def adopt(self, source: Any) -> bool:
        """Take over that the model or the trainer is to stop. Returns whether the training is to stop."""
        if flag(self.model, "stop_training") or flag(source, "stop"):
            self._state.set_stop(True)
        return bool(self._state.stop)

    def share(self, source: Any) -> None:
        """Set the switches of the model and the trainer if the training is to stop."""
        if not self.adopt(source):
            return
        for owner, name in ((self.model, "stop_training"), (source, "stop")):
            if flag(owner, name) is False:
                self._set(owner, name, True)

    def start(self) -> None:
        """Reset the switch that an earlier training of the model has set."""
        if flag(self.model, "stop_training"):
            self._set(self.model, "stop_training", False)

    def _set(self, owner: Any, name: str, value: bool) -> None:
        problem = f"{type(owner).__name__}.{name} could not be set to {value}"
        self._state.lookups.guard(problem, None, setattr, owner, name, value)


def flag(owner: Any, name: str) -> bool | None:
    """Return the switch of this name that an object has; None if it has none, or something else of that name."""
    value = None if owner is None else attempt(getattr, owner, name, None)
    if value is None or isinstance(value, bool):
        return value
    found = attempt(bool, value) if isinstance(value, int) or has(value, "dtype") else None
    return found if isinstance(found, bool) else None
