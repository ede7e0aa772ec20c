"""Deliver the runs of this process, and finish them when the process ends.

Processes of `multiprocessing`, such as the workers of a pool, do not call exit handlers; they have their own.
"""

from __future__ import annotations

import atexit
import os
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

from ..delivery.manager import DeliveryManager
from ..delivery.waiting import Unfinished, listed
from ..errors import say
from ..recording import environment, open_runs
from ..recording.recorder import Recorder
from ..storage.forks import after_fork_in_child
from .exit_code import ExitCode
from .exit_wait import EVERYWHERE_S, ExitWait, exit_wait

_LAST = -100
"""The exit priority in a process of `multiprocessing`: after its queues have been written."""

_managers: list[DeliveryManager] = []
_exit_codes: list[ExitCode] = []
_waits: list[float] = []


def delivery_manager() -> DeliveryManager:
    """Return the delivery of this process, started with the first run; a forked child has its own."""
    if not _managers:
        _managers.append(DeliveryManager())
        _call_at_exit()
    return _managers[0]


def wait_at_end(seconds: float | None) -> None:
    """Set how long the end of the process waits for delivery; the longest of several counts."""
    if seconds is not None:
        _waits.append(seconds)


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
        ends.callback(_wait_for_delivery, exit_wait(max(_waits, default=None), cause))
        for recorder in reversed(open_runs.every()):
            ends.callback(_close, recorder, cause)


def _close(recorder: Recorder, cause: BaseException | None) -> None:
    recorder.close(*recorder.status_at_exit(cause))


def _cause() -> BaseException | None:
    """The exception that ends this program, if it is known."""
    if hasattr(sys, "ps1"):  # in an interactive session, any earlier line may have raised the last exception
        return None
    return getattr(sys, "last_value", None) or (_exit_codes[0].error if _exit_codes else None)


def _wait_for_delivery(limit: ExitWait) -> None:
    manager = _managers[0]
    if limit.only_for_files and manager.has_threads:
        limit = ExitWait(EVERYWHERE_S)
    try:
        done = manager.finish(limit.seconds, limit.only_for_files)
    except KeyboardInterrupt:
        done = False
    if not done:
        _say_what_is_left(manager.unfinished(), limit.only_for_files)


def _say_what_is_left(left: list[Unfinished], outlives: bool) -> None:
    """Say in one line what is not delivered, and in one command how it will be."""
    if not left:
        return
    runs = list(dict.fromkeys(one.run.path for one in left))
    names = listed([one.run.name for one in left], most=3)
    trackers = listed([one.tracker for one in left])
    reasons = listed([f"{one.tracker}: {one.why}" for one in left if one.why])
    because = f" ({reasons})" if reasons else ""
    command = f"trackhooks sync {shlex.join(map(_short, runs))}"
    if outlives and all(one.continues for one in left):
        say(
            f"{names} {'is' if len(runs) == 1 else 'are'} recorded; {trackers} will get the rest in the"
            f" background{because}. If that is stopped: {command}"
        )
    else:
        say(f"not everything of {names} is in {trackers} yet{because}. To deliver the rest: {command}")


def _short(path: str) -> str:
    """Return a path relative to the working directory, if that is still the one of the shell."""
    here = environment.directory()
    is_that_of_shell = here is not None and str(here) == os.environ.get("PWD")
    return os.path.relpath(path) if is_that_of_shell and Path(path).is_relative_to(str(here)) else path
