"""`SameNames`: count objects that have the same name at the same step, of which a backend would keep only the last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class SameNames:
    """Counts the objects of a run.

    Args:
        state: the return value of `state`, to continue from it.
    """

    def __init__(self, state: Mapping[str, Sequence[Any]]) -> None:
        self._last: dict[str, tuple[int | str, int]] = {
            name: (last[0], last[1]) for name, last in state.items()
        }

    def number(self, name: str, place: int | str) -> int:
        """Return 1 for the first object of this name at this place, 2 for the next, and so on."""
        before, count = self._last.get(name, ("", 0))
        self._last[name] = place, (count + 1 if before == place else 1)
        return self._last[name][1]

    def forget(self) -> None:
        """Count from 1 again: a training repeats its steps."""
        self._last.clear()

    def state(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        return {name: list(last) for name, last in self._last.items()}
