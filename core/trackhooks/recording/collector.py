"""`Collector`: takes what `run.log` is given inside a custom loop."""

from __future__ import annotations

import threading
import weakref
from typing import Any, Protocol

from ..storage.forks import after_fork_in_child


class Scope(Protocol):
    """A part of a custom loop in which metrics are collected."""

    def collect(self, metrics: dict[str, Any], weight: float) -> None:
        """Take metrics, which the caller does not use any more, with their weight in the means."""


class Collector:
    """Takes metrics for the part of the loop that is running: training, validation, prediction, or an epoch."""

    __slots__ = ("__weakref__", "collect", "scope", "thread")

    def __init__(self) -> None:
        self.scope: Scope | None = None
        self.thread = 0
        """The thread whose metrics are collected; 0 if there is none."""
        self.collect = _nowhere
        """The `collect` of the scope."""
        _collectors.add(self)

    def collect_in(self, scope: Scope | None) -> None:
        """Collect in this scope from now on, from the current thread; None to stop collecting."""
        self.scope = scope
        self.collect = _nowhere if scope is None else scope.collect
        self.thread = 0 if scope is None else threading.get_ident()


def _nowhere(metrics: dict[str, Any], weight: float) -> None:
    """Is never called: without a scope there is no thread."""


_collectors: weakref.WeakSet[Collector] = weakref.WeakSet()


def _stop_collecting() -> None:
    """In a forked child, what is logged is not part of the loop, which continues in the parent."""
    for collector in list(_collectors):
        collector.thread = 0


after_fork_in_child(_stop_collecting)
