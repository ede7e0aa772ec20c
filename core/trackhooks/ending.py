"""Ends that nobody told: the status of a run whose process went away without closing it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from . import environment, folder
from .errors import JournalError
from .event import FINAL, Event, RunInfo
from .journal import Reader, Writer
from .vocabulary import LOG

_log = logging.getLogger("trackhooks")

_STALE_S = 3600.0
"""A run of another machine that has written nothing for so long is lost."""


def alive(pid: int, created: float) -> bool:
    """Whether this very process still runs: by its pid and when it was made."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def end_if_dead(path: str | Path) -> RunInfo:
    """Gives a run that ended without saying so its status: `killed`, or `lost` where nobody can know.

    Raises:
        TrackhooksError: there is no run in this folder.
    """
    run = folder.read_info(path)
    if run.status in FINAL:
        return run
    status = status_of_silent(run, lambda: _last_written(run))
    if status:
        _settle(run, status)
    return run


def status_of_silent(run: RunInfo, last_written: Callable[[], float]) -> str:
    """The status of a run that has not told one: `killed` or `lost`, and empty as long as it may still go on.

    Args:
        run: what its `run.json` says.
        last_written: gives the time of the last record; called where the process cannot be looked for from here.
    """
    here = run.host == environment.host()
    if here and run.boot == environment.boot_id():
        return "" if alive(run.pid, run.pid_created) else "killed"
    if here:
        return "killed"  # the machine has been started anew since
    silent = time.time() - max(run.created, last_written())
    return "lost" if silent > _STALE_S else ""


def _last_written(run: RunInfo) -> float:
    last = 0.0
    with Reader(run.path) as reader:
        for event in reader:
            last = event.time
    return last


def _settle(run: RunInfo, status: str) -> None:
    """Writes the status where the dead process did not; someone who has resumed the run comes first."""
    try:
        writer = Writer(run.path)
    except JournalError as error:
        _log.info("%s", error)
        return
    try:
        last = writer.last
        told = last is not None and last.status in FINAL
        run.status = last.status if last is not None and told else status
        run.ended = last.time if last is not None else time.time()
        if not told:
            index, step, epoch = (last.index + 1, last.step, last.epoch) if last else (0, -1, -1)
            writer.append(Event(LOG, index, time.time(), step, epoch, status=status, reason=REASONS[status]))
            run.reason = REASONS[status]
        folder.write_info(Path(run.path), run)
    finally:
        writer.close()


REASONS = {
    "killed": "the process ended without closing the run",
    "lost": "nothing was heard of the run any more",
}
"""The status of a run that nobody closed → its reason."""
