"""Deliver the runs of this process, and finish them when the process ends.

Processes of `multiprocessing`, such as the workers of a pool, do not call exit handlers; they have their own.
"""

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
from .exit_code import ExitCode

_EXIT_WAIT_S = 60.0
"""The longest time that the end of the process waits for delivery, in seconds."""

_LAST = -100
"""The exit priority in a process of `multiprocessing`: after its queues have been written."""

_managers: list[DeliveryManager] = []
_exit_codes: list[ExitCode] = []


def delivery_manager() -> DeliveryManager:
    """Return the delivery of this process, started with the first run; a forked child has its own."""
    if not _managers:
        _managers.append(DeliveryManager())
        _call_at_exit()
    return _managers[0]


def _call_at_exit() -> None:
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        from multiprocessing.util import Finalize

        # Called while an exception that ends the process is handled.
        Finalize(None, lambda: _end(sys.exc_info()[1]), exitpriority=_LAST)
    else:
        atexit.register(_at_exit, os.getpid())
        if not _exit_codes:
            _exit_codes.append(ExitCode())


def _forget_in_fork() -> None:
    for manager in _managers:
        manager.abandon()
    _managers.clear()
    open_runs.clear()


after_fork_in_child(_forget_in_fork)


def _at_exit(pid: int) -> None:
    if pid == os.getpid() and _managers:
        _end(_cause())


def _end(cause: BaseException | None) -> None:
    """Close the runs of this process, and wait for their delivery. `cause` is the exception that ends the process."""
    with ExitStack() as ends:  # every run is closed, even if a callback of an earlier one raises
        ends.callback(_wait_for_delivery)
        for recorder in reversed(open_runs.every()):
            ends.callback(_close, recorder, cause)


def _close(recorder: Recorder, cause: BaseException | None) -> None:
    recorder.close(*recorder.status_at_exit(cause))


def _cause() -> BaseException | None:
    """The exception that ends this program, if it is known."""
    if hasattr(sys, "ps1"):  # in an interactive session, any earlier line may have raised the last exception
        return None
    return getattr(sys, "last_value", None) or (_exit_codes[0].error if _exit_codes else None)


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
