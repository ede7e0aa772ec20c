"""Deliver the runs of this process, and finish them when the process ends."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import ExitStack

from ..delivery.manager import DeliveryManager
from ..errors import say
from ..recording import open_runs
from ..recording.recorder import Recorder
from ..storage.forks import after_fork_in_child

_EXIT_WAIT_S = 60.0
"""The longest time that the end of the process waits for delivery, in seconds."""

_managers: list[DeliveryManager] = []


def delivery_manager() -> DeliveryManager:
    """Return the delivery of this process, started with the first run; a forked child has its own."""
    if not _managers:
        _managers.append(DeliveryManager())
        atexit.register(_at_exit, os.getpid())
    return _managers[0]


def _forget_in_fork() -> None:
    for manager in _managers:
        manager.abandon()
    _managers.clear()
    open_runs.clear()


after_fork_in_child(_forget_in_fork)


def _at_exit(pid: int) -> None:
    if pid != os.getpid() or not _managers:
        return
    with ExitStack() as ends:  # every run is closed, even if a callback of an earlier one raises
        ends.callback(_wait_for_delivery)
        for recorder in reversed(open_runs.every()):
            ends.callback(_close_at_exit, recorder)


def _close_at_exit(recorder: Recorder) -> None:
    # In an interactive session any earlier line may have raised the last exception.
    error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
    recorder.close(*recorder.status_at_exit(error))


def _wait_for_delivery() -> None:
    manager = _managers[0]
    try:
        done = manager.finish(_EXIT_WAIT_S)
    except KeyboardInterrupt:
        done = False
    if not done:
        _say_what_is_left(manager)


def _say_what_is_left(manager: DeliveryManager) -> None:
    for run, tracker, why, continues in manager.unfinished():
        because = f" ({why})" if why else ""
        if continues:
            say(
                f"run {run.name} is not fully delivered to {tracker} yet{because}. Delivery continues in the"
                f" background. If it is stopped, deliver the run with: trackhooks sync {run.path}"
            )
        else:
            say(
                f"run {run.name} is not fully delivered to {tracker}{because}. Deliver it with:"
                f" trackhooks sync {run.path}"
            )
