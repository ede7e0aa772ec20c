"""`Collector`: takes what `run.log` is given inside a custom loop."""

from __future__ import annotations

import math
import threading
import weakref
from collections.abc import Mapping
from typing import Any

from ..recording.event_writer import all_floats
from ..recording.recorder import Recorder
from ..storage.forks import after_fork_in_child
from ..values import checks
from .means import Scope


class Collector:
    """Collects metrics for the part of the loop that is running: training, validation, prediction, or an epoch.

    Args:
        recorder: the run of the loop.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.scope: Scope | None = None
        self._thread = 0
        self._recorder = recorder
        _collectors.add(self)

    def collect_in(self, scope: Scope | None) -> None:
        """Collect in this scope from now on, from the current thread; None to stop collecting."""
        self.scope, self._thread = scope, threading.get_ident()

    @property
    def collects_here(self) -> bool:
        """Whether metrics that are logged on this thread are collected."""
        return self.scope is not None and self._thread == threading.get_ident()

    def collect(self, metrics: Mapping[str, Any], weight: Any) -> None:
        """Add metrics to the scope.

        Raises:
            InvalidValueError: `weight` is not a finite number from 0.
        """
        assert self.scope is not None
        if type(weight) is not float or not 0 <= weight < math.inf:
            weight = checks.number("run.log(…): weight", weight)
        numbers = metrics if all_floats(metrics) else self._recorder.numbers(metrics)
        self.scope.collect(numbers, weight)


_collectors: weakref.WeakSet[Collector] = weakref.WeakSet()


def _stop_collecting() -> None:
    """In a forked child, what is logged is not part of the loop, which continues in the parent."""
    for collector in list(_collectors):
        collector._thread = 0


after_fork_in_child(_stop_collecting)
