"""`Bridge`, the callback that users pass to `train`."""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Callable
from typing import Any

from trackhooks.errors import warn
from trackhooks.frameworks.interface import Runs

_numbers = itertools.count()
_bridges: weakref.WeakValueDictionary[int, Bridge] = weakref.WeakValueDictionary()


class Bridge:
    """Says into which run a training is recorded. The call of `train` is what records it, and calls no `Bridge`.

    Args:
        runs: picks the run; None in another process, which records nothing.
    """

    def __init__(self, runs: Runs | None) -> None:
        super().__init__()
        self.runs = runs
        self._number = next(_numbers)
        _bridges[self._number] = self

    def __deepcopy__(self, memo: object) -> Any:
        """Return this very callback: a search copies the callbacks of its estimator, but the run stays the same."""
        return self

    def __reduce__(self) -> Any:
        """Pickle only which callback it is: a run cannot be continued by a copy."""
        return _unpickled, (self.maker(), os.getpid(), self._number)

    def maker(self) -> Callable[[Runs | None], Bridge]:
        """Return what makes such a callback; it can be pickled."""
        return type(self)

    def records_nothing(self) -> None:
        """Warn: the framework has called this callback, so the call is not recorded."""
        warn(
            "a callback of trackhooks records nothing here, for one of three reasons. Its run is closed. Or it was"
            " copied into another process: create it in that process. Or `train` was imported by its name before the"
            " callback was created: call it by its module, as in lightgbm.train(…)."
        )


def _unpickled(make: Callable[[Runs | None], Bridge], process: int, number: int) -> Bridge:
    found = _bridges.get(number) if process == os.getpid() else None
    return found if found is not None else make(None)
