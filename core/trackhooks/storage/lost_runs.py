"""Set the final status of runs whose process died without closing them, and rebuild a damaged `run.json`."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from ..errors import DamagedFileError, JournalError, TrackhooksError, log
from ..event import FINAL, Event, RunInfo
from ..hooks.vocabulary import LOG
from ..values.digests import sha256
from . import processes, run_folder
from .journal import FILE_NAME, RELEASE_S, SYSTEM, Reader, Writer, find_last, path_of
from .locks import is_held, locked
from .processes import is_alive

_STALE_S = 3600.0
"""A run on another machine or in another container is lost after writing nothing for this long."""


def whole_info(path: str | Path) -> RunInfo:
    """Read the `run.json` of the run in this folder. A damaged one is set aside and rebuilt from the journal.

    For callers that may write to the run's folder; others use `run_folder.read_info`.

    Raises:
        TrackhooksError: the folder does not contain a run, or its `run.json` can be neither read nor rebuilt.
    """
    try:
        return run_folder.read_info(path)
    except DamagedFileError as error:
        here = Path(path).absolute()
        try:
            # Without a journal, the file belongs to another program, and must not change.
            Reader(here).close()
            with locked(here / run_folder.DELIVERY / ".run.lock"):  # others find the rebuilt file
                return _rebuild(here)
        except (OSError, JournalError) as failed:
            raise TrackhooksError(f"{error} ({failed})") from error


def _rebuild(path: Path) -> RunInfo:
    try:
        return run_folder.read_info(path)
    except DamagedFileError as error:
        info = info_of_journal(path)
        # The cause has a message without the advice to run `sync`.
        cause = error.__cause__ if isinstance(error.__cause__, DamagedFileError) else error
        aside = run_folder.set_aside(path / run_folder.INFO, path, cause)
        try:
            run_folder.write_info(path, info)
        except OSError:
            aside.rename(path / run_folder.INFO)  # without the file, the folder would not be a run
            raise
        return info


def info_of_journal(path: Path) -> RunInfo:
    """Build the content of `run.json` from the journal. The first record of each process contains it.

    Raises:
        JournalError: the journal does not exist.
    """
    info, ended, created = None, None, 0.0
    with Reader(path) as events:
        for event in events:
            created = created or event.time
            info = event.run or info
            ended = event if event.status else ended
    if info is None or not run_folder.is_id(info.id):
        info = _guessed_info(path, created)
    if ended is not None:
        info.status, info.reason, info.records = ended.status, ended.reason or None, ended.index + 1
        info.ended = ended.time if ended.status in FINAL else None
    info.path = str(path)
    return info


class _Tracker(msgspec.Struct):
    """The tracker of a cursor (see `delivery.cursor`)."""

    tracker: str
    spec: _Name | None = None


class _Name(msgspec.Struct):
    name: str


def _guessed_info(path: Path, created: float) -> RunInfo:
    """Describe a run whose journal does not identify it. The id is the same each time."""
    names = []
    for file in run_folder.json_files(path / run_folder.DELIVERY):
        with suppress(OSError, DamagedFileError):  # another file, such as `files.json`
            found = run_folder.read_json(file, _Tracker)
            names.append(found.tracker if found.spec is None else found.spec.name)
    identity = sha256(f"{path.name} {created}".encode(errors="replace")).hexdigest()[:12]
    return RunInfo(identity, path.name, created=created, trackers=list(dict.fromkeys(names)))


def has_ended(path: str | Path) -> bool:
    """Whether the run has its final status, or its folder was removed."""
    try:
        return whole_info(path).status in FINAL
    except TrackhooksError:
        return True


def end_if_dead(path: str | Path) -> RunInfo:
    """Set the status of a run whose process died without closing it: `killed`, or `lost` if the cause is unknown.

    A status that is only in `run.json` because the disk was full is added to the journal. What cannot be written now
    is left to the next call.

    Raises:
        TrackhooksError: the folder does not contain a run.
    """
    run = whole_info(path)
    try:
        if run.status not in FINAL:
            status = status_of_silent(run, lambda: last_written(run))
            if status:
                _settle(run, status)
        elif not _has_status(run, _last_status(run)):
            _settle(run, run.status)
    except (JournalError, OSError) as error:
        log.info("%s", error, extra={"run": run.path})
    return run


def status_of_silent(run: RunInfo, heard: Callable[[], float]) -> str:
    """Return the status of a run without a final status: `killed`, `lost`, or empty if it may still be running.

    Args:
        run: the content of its `run.json`.
        heard: returns when the run last wrote; called if its process cannot be found from this machine.
    """
    if run.host == processes.host() and run.machine in ("", processes.machine()):
        same_boot = run.boot == processes.boot_id()
        return "" if same_boot and is_alive(run.pid, run.pid_created) else "killed"
    # The clocks of two machines differ, and one of them may have been set: the time can be in the future, too.
    silent = abs(time.time() - max(run.created, heard()))
    return "lost" if silent > _STALE_S and not is_held(path_of(run.path)) else ""


def last_written(run: RunInfo) -> float:
    """Return the time of the last record of a run, or of the last measurement of its process; 0 if there is none."""
    times = [0.0]
    for name in (FILE_NAME, SYSTEM):
        with suppress(JournalError):
            last, _ = find_last(Path(run.path, name))
            times += [] if last is None else [last.time]
    return max(times)


def _last_status(run: RunInfo) -> Event | None:
    """Find the last event with a status in the journal."""
    return find_last(run.path, lambda event: event.status != "")[0]


def _has_status(run: RunInfo, known: Event | None) -> bool:
    return known is not None and known.status == run.status


def _settle(run: RunInfo, status: str) -> None:
    """Write the status to `run.json` and the journal if it is missing there.

    Raises:
        JournalError: another process has resumed the run and writes its journal.
        OSError: the disk is full.
    """
    with closing(Writer(run.path, patience=RELEASE_S)) as writer:
        now = whole_info(run.path)
        if (now.pid, now.pid_created) != (run.pid, run.pid_created):
            return  # another process has resumed the run meanwhile
        last, known = writer.last, _last_status(run)
        if run.status not in FINAL:
            _take_status(run, status, known, last)
        if not _has_status(run, known):
            index, step, epoch = (last.index + 1, last.step, last.epoch) if last else (0, -1, -1)
            index = max(index, run.records - 1)  # a gap shows how many records were lost before the status
            reason = run.reason or ""
            writer.append(
                Event(LOG, index, run.ended or time.time(), step, epoch, status=run.status, reason=reason)
            )
        run_folder.write_info(Path(run.path), run)


def _take_status(run: RunInfo, status: str, known: Event | None, last: Event | None) -> None:
    """Take the status that the journal has, or else the given one."""
    if known is not None and known.status in FINAL:
        run.status, run.reason, run.ended = known.status, known.reason or None, known.time
        return
    run.status, run.reason = status, REASONS[status]
    run.ended = last.time if last is not None else time.time()


REASONS = {
    "killed": "the process ended without closing the run",
    "lost": "the run wrote nothing for an hour, and its process cannot be found",
}
"""The reasons of the statuses of runs that were not closed."""
