"""`RunCallback`: a run in a Trainer's list of callbacks, or as its logger."""

from __future__ import annotations

import itertools
import os
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from trackhooks.errors import warn
from trackhooks.frameworks.helpers import flat_params
from trackhooks.frameworks.interface import RunHooks


class RunCallback:
    """A callback of Lightning that attaches its run to each Trainer that has it. It hears no hook itself.

    It is a logger as well, for callbacks that log by themselves, such as `LearningRateMonitor`, and for a module that
    calls `self.logger`. What a module logs by `self.log` is recorded with its batch or epoch instead.

    Args:
        run: the run.
    """

    def __init__(self, run: RunHooks) -> None:
        super().__init__()
        self.run = run
        self._hears_metrics = True
        self._number = next(_numbers)
        _made[self._number] = self

    @property
    def name(self) -> str:
        """The name of the folder for checkpoints."""
        return "trackhooks"

    @property
    def version(self) -> str:
        """The name of the folder of the run, which is the folder for checkpoints in that of `name`."""
        return self.run.path.name

    def log_hyperparams(self, params: Any, *_: Any, **__: Any) -> None:
        """Record hyper-parameters."""
        self.run.log_params(flat_params(params))

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Record metrics at the current step of the run; Lightning's step counts those of the optimizers."""
        if self._hears_metrics:
            self.run.log(metrics)

    @contextmanager
    def without_metrics(self) -> Iterator[None]:
        """Within it, `log_metrics` does nothing."""
        self._hears_metrics = False
        try:
            yield
        finally:
            self._hears_metrics = True

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


@contextmanager
def without_metrics(loggers: Sequence[Any]) -> Iterator[None]:
    """Within it, Lightning passes on what a module has logged, which is recorded already."""
    with ExitStack() as stack:
        for logger in loggers:
            if isinstance(logger, RunCallback):
                stack.enter_context(logger.without_metrics())
        yield


def _unpickled(process: int, number: int) -> RunCallback | None:
    """Return the same callback in the process that it was created in; None in another."""
    found = _made.get(number) if process == os.getpid() else None
    if found is None:
        warn("a run among the callbacks of a Trainer was pickled: in this process it records nothing.")
    return found
