"""Ends that nobody told: the status of a run whose process went away without closing it."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from ..delivery.cursor import FOLDER, cursors
from ..errors import DamagedFileError, JournalError, TrackhooksError, log
from ..event import FINAL, Event, RunInfo
from ..hooks.vocabulary import LOG
from . import processes, run_folder
from .journal import Reader, Writer, path_of
from .locks import locked
from .processes import alive

_STALE_S = 3600.0
"""A run of another machine that has written nothing for so long is lost."""
_END = 1 << 16
"""Bytes of a journal's end that are looked at first."""


def whole_info(path: str | Path) -> RunInfo:
    """Who the run in this folder is; a damaged `run.json` is set aside and rebuilt from the journal.

    Only whoever may write the run's folder calls this; others read with `folder.read_info`.

    Raises:
        TrackhooksError: there is no run in this folder, or its `run.json` can be neither read nor rebuilt.
    """
    try:
        return run_folder.read_info(path)
    except DamagedFileError as error:
        here = Path(path).absolute()
        try:
            Reader(here).close()  # without a journal it is a file of another program, and stays as it is
            with locked(here / FOLDER / ".run.lock"):  # the next thread or process finds it rebuilt
                return _rebuild(here)
        except (OSError, JournalError) as failed:
            raise TrackhooksError(f"{error} ({failed})") from error


def _rebuild(path: Path) -> RunInfo:
    try:
        return run_folder.read_info(path)
    except DamagedFileError as error:
        info = info_of_journal(path)
        cause = (
            error.__cause__ if isinstance(error.__cause__, DamagedFileError) else error
        )  # without the remedy
        aside = run_folder.set_aside(path / run_folder.INFO, path, cause)
        try:
            run_folder.write_info(path, info)
        except OSError:
            aside.rename(path / run_folder.INFO)  # without it the folder would be no run
            raise
        return info


def info_of_journal(path: Path) -> RunInfo:
    """Who a run is, as its journal says: each process that opens it journals its identity with its first record.

    Raises:
        JournalError: there is no journal.
    """
    info, told, created = None, None, 0.0
    with Reader(path) as events:
        for event in events:
            created = created or event.time
            info = event.run or info
            told = event if event.status else told
    info = info or _unsigned(path, created)
    if told is not None:
        info.status, info.reason = told.status, told.reason or None
        info.ended = told.time if told.status in FINAL else None
    info.path = str(path)
    return info


def _unsigned(path: Path, created: float) -> RunInfo:
    """A run whose journal has no identity: the id is the same each time it is rebuilt."""
    known = cursors(path)
    names = [cursor.spec.name if cursor.spec is not None else cursor.tracker for cursor in known]
    identity = hashlib.sha256(f"{path.name} {created}".encode(errors="replace")).hexdigest()[:12]
    return RunInfo(identity, path.name, created=created, trackers=list(dict.fromkeys(names)))


def has_ended(path: str | Path) -> bool:
    """Whether the run has its status; one whose folder was removed has ended, too."""
    try:
        return whole_info(path).status in FINAL
    except TrackhooksError:
        return True


def end_if_dead(path: str | Path) -> RunInfo:
    """Gives a run that ended without saying so its status: `killed`, or `lost` where nobody can know.

    A status that only `run.json` holds, since the disk was full, is told to the journal, too. What cannot be written
    now is left to the next call.

    Raises:
        TrackhooksError: there is no run in this folder.
    """
    run = whole_info(path)
    try:
        if run.status not in FINAL:
            status = status_of_silent(run, lambda: _last_written(run))
            if status:
                _settle(run, status)
        elif _told(run) != run.status:
            _settle(run, run.status)
    except (JournalError, OSError) as error:
        log.info("%s", error, extra={"run": run.path})
    return run


def status_of_silent(run: RunInfo, last_written: Callable[[], float]) -> str:
    """The status of a run that has not told one: `killed` or `lost`, and empty as long as it may still go on.

    Args:
        run: what its `run.json` says.
        last_written: gives the time of the last record; called where the process cannot be looked for from here.
    """
    here = run.host == processes.host()
    if here and run.boot == processes.boot_id():
        return "" if alive(run.pid, run.pid_created) else "killed"
    if here:
        return "killed"  # the machine has been started anew since
    silent = time.time() - max(run.created, last_written())
    return "lost" if silent > _STALE_S else ""


def _last_written(run: RunInfo) -> float:
    last = _last(run, lambda event: True)
    return 0.0 if last is None else last.time


def _told(run: RunInfo) -> str:
    """The last status that the journal tells."""
    last = _last(run, lambda event: event.status != "")
    return "" if last is None else last.status


def _last(run: RunInfo, wanted: Callable[[Event], bool]) -> Event | None:
    """The last event of a kind, looked for in ever larger ends of the journal, since it may be long."""
    size, end = path_of(run.path).stat().st_size, _END
    while True:
        with Reader(run.path, max(size - end, 0)) as reader:
            found = deque(filter(wanted, reader), maxlen=1)
        if found or end >= size:
            return found.pop() if found else None
        end *= 16


def _settle(run: RunInfo, status: str) -> None:
    """Writes the status where it is missing; someone who has resumed the run comes first.

    Raises:
        JournalError: someone writes the journal.
        OSError: the disk is full.
    """
    with closing(Writer(run.path)) as writer:
        last = writer.last
        if run.status not in FINAL:
            _take_status(run, status, last)
        if _told(run) != run.status:
            index, step, epoch = (last.index + 1, last.step, last.epoch) if last else (0, -1, -1)
            reason = run.reason or ""
            writer.append(
                Event(LOG, index, run.ended or time.time(), step, epoch, status=run.status, reason=reason)
            )
        run_folder.write_info(Path(run.path), run)


def _take_status(run: RunInfo, status: str, last: Event | None) -> None:
    """Of a run whose `run.json` has none: what the journal tells, or else this one."""
    told = _last(run, lambda event: event.status != "")
    if told is not None and told.status in FINAL:
        run.status, run.reason, run.ended = told.status, told.reason or None, told.time
        return
    run.status, run.reason = status, REASONS[status]
    run.ended = last.time if last is not None else time.time()


REASONS = {
    "killed": "the process ended without closing the run",
    "lost": "nothing was heard of the run any more",
}
"""The status of a run that nobody closed → its reason."""
