"""`Repeats`: notice that a training repeats steps that the run already has."""

from __future__ import annotations

from collections.abc import Sequence

from trackhooks.event import Event


class Repeats:
    """Follows a training. One that was resumed from an earlier checkpoint starts an epoch or a step again.

    Args:
        place: the return value of `state`, to continue from it.
    """

    def __init__(self, place: Sequence[int] = (-1, -1)) -> None:
        self._epoch, self._step = place

    def starts_again(self, event: Event) -> bool:
        """Follow the start of an epoch. Return whether the run has some of its steps already."""
        again = event.epoch <= self._epoch or event.step < self._step
        self._epoch, self._step = event.epoch, event.step
        return again

    def trained(self, step: int) -> None:
        """Follow the end of a batch."""
        self._step = max(self._step, step)

    def state(self) -> list[int]:
        """Return the state as plain JSON values."""
        return [self._epoch, self._step]
