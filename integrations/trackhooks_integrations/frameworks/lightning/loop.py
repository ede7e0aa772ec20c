"""What the callbacks of all of Lightning's loops share."""

from __future__ import annotations

import math
from typing import Any

from trackhooks.frameworks.interface import RunHooks


class Loop:
    """A callback of Lightning that records one call of a Trainer.

    Args:
        run: records into this run.
        trainer: the Trainer.
    """

    def __init__(self, run: RunHooks, trainer: Any) -> None:
        super().__init__()
        self.run = run
        self._trainer = trainer
        self._lookups = run.lookups

    def _introduce_to_callbacks(
        self, module: Any, epochs: int | None, batches: Any, first_epoch: int = 0
    ) -> None:
        """Give the callbacks of the run their `model` and `params`."""
        self.run.describe("a Trainer of Lightning")
        steps = batches if isinstance(batches, int) or math.isfinite(batches) else None
        params = {"verbose": 0, "epochs": epochs, "steps": steps, "initial_epoch": first_epoch}
        self.run.set_model(module, params)

    def end_epoch(self) -> None:
        """Lightning knows the metrics of an epoch now."""

    def failed(self) -> None:
        """The call has raised."""

    def __deepcopy__(self, memo: object) -> Any:
        """Return a callback that does nothing: a copy of a Trainer is not recorded by this one."""
        return _lightnings(type(self))()

    def __reduce__(self) -> Any:
        """Pickle as a callback that does nothing."""
        return _lightnings(type(self)), ()


def _lightnings(cls: type) -> type:
    """Return Lightning's own class `Callback`, from which a class of callbacks is made."""
    return cls.__mro__[-2]
