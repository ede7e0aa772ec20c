"""`RunCallback`: a run in a Trainer's list of callbacks."""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Sequence
from typing import Any

from trackhooks.errors import warn
from trackhooks.frameworks.interface import RunHooks


class RunCallback:
    """A callback of Lightning that attaches its run to each Trainer that has it. It hears no hook itself.

    Args:
        run: the run.
    """

    def __init__(self, run: RunHooks) -> None:
        super().__init__()
        self.run = run
        self._number = next(_numbers)
        _made[self._number] = self

    def __deepcopy__(self, memo: object) -> RunCallback:
        """Return this callback itself: a copy of a Trainer is recorded into the same run."""
        return self

    def __reduce__(self) -> Any:
        """Pickle only which callback it is."""
        return _unpickled, (os.getpid(), self._number)


_numbers = itertools.count()
_made: weakref.WeakValueDictionary[int, RunCallback] = weakref.WeakValueDictionary()


def make(run: RunHooks, bases: Sequence[type]) -> RunCallback:
    """Create a callback that is an instance of these classes: those of Lightning's packages that are imported."""
    made: RunCallback = type("TrackhooksRun", (RunCallback, *bases), {})(run)
    return made


def run_among(callbacks: Sequence[Any]) -> RunHooks | None:
    """Return the run of the first `RunCallback` of a Trainer."""
    return next((callback.run for callback in callbacks if isinstance(callback, RunCallback)), None)


def _unpickled(process: int, number: int) -> RunCallback | None:
    """Return the same callback in the process that it was created in; None in another."""
    found = _made.get(number) if process == os.getpid() else None
    if found is None:
        warn("a run among the callbacks of a Trainer was pickled: in this process it records nothing.")
    return found
