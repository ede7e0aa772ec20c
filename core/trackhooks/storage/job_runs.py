"""The runs of a job: how its processes find the folder of a run without asking each other.

A directory of runs has the folder `.jobs/<job>/<number>/` for each run that the processes of a job share. It contains
the name of the run's folder, and a file for each rank that has joined. The process that opens the run first creates
the folder, whichever rank it has, with one rename: others see all of it or nothing. No process waits for another.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from ..errors import DamagedFileError, TrackhooksError
from ..values.digests import sha256
from . import processes, run_folder
from .locks import locked
from .new_file import new_file

FOLDER = ".jobs"
_ENTRY = "run"
_VISIBLE_S = 60.0
"""How long a network file system may take to show what another machine has written."""
_POLL_S = 0.2


class Job(msgspec.Struct, frozen=True):
    """What the processes of one job have in common."""

    id: str
    """The same in all processes, and after every restart of the job."""
    restarts: int
    """How often the scheduler has restarted the job."""
    launch: str
    """One start of a launcher. What the launcher restarts belongs to the same launch."""
    attempt: str
    """One start of the processes."""

    def continues(self, earlier: Job) -> bool:
        """Whether these processes continue what earlier ones of the same job did, and do not work next to them."""
        return earlier.restarts < self.restarts or earlier.launch == self.launch


class _Entry(msgspec.Struct):
    """A run of a job."""

    run: str
    """The name of its folder."""
    name: str | None
    """The name that the user gave it. Runs with different names are counted separately."""
    job: Job


class _Place(msgspec.Struct):
    """Which process of a job has joined a run as one of its ranks."""

    process: str
    job: Job


def join(
    directory: Path, job: Job, rank: int, name: str | None, *, resumes: bool, make: Callable[[], Path]
) -> Path:
    """Return the folder of the run that a process joins: the first one of its job in which its place is free.

    Args:
        directory: the directory of the runs, which all processes of the job must see.
        job: the job of this process.
        rank: the rank of this process.
        name: the name that the user gave the run.
        resumes: whether the runs of earlier attempts are continued.
        make: creates the run, if it is the first process to open it. Returns its folder.

    Raises:
        TrackhooksError: the directory cannot be written, or does not show what another process has written.
    """
    home = directory / FOLDER / _file_name(job.id)
    try:
        for number in itertools.count():
            folder = home / str(number)
            entry = _read(folder) or _publish(folder, name, job, make)
            if entry.name == name and _takes_place(directory, folder, entry, job, rank, resumes):
                return directory / entry.run
    except OSError as error:
        raise TrackhooksError(f"no run can be recorded in {directory}: {error}.") from error
    raise AssertionError  # the numbers never end


def note(directory: Path, job: Job, rank: int, run: Path) -> None:
    """Note that a process continues a run that it found otherwise, so that it does not join the same one again."""
    home = directory / FOLDER / _file_name(job.id)
    if run.absolute().parent == directory:
        for number in itertools.count():
            entry = _read(home / str(number))
            if entry is None:
                return
            if entry.run == run.name:
                _take(home / str(number) / _place_of(rank), job)


def _file_name(job: str) -> str:
    """Return a readable file name, which no other job has."""
    return f"{run_folder.as_file_name(job)[:60]}-{sha256(job.encode()).hexdigest()[:8]}"


def _read(folder: Path) -> _Entry | None:
    """Return the run with this number; None if no process has opened it, or if its entry cannot be read."""
    try:
        found = run_folder.read_json(folder / _ENTRY, _Entry)
    except FileNotFoundError:
        return None
    if found.run != run_folder.as_file_name(found.run):
        raise DamagedFileError(
            f"{folder / _ENTRY} is damaged: {found.run!r} is not the name of a run's folder."
        )
    return found


def _publish(folder: Path, name: str | None, job: Job, make: Callable[[], Path]) -> _Entry:
    """Create a run and make it known, unless another process was faster. Returns what is known then."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.parent / ".lock"):  # without locks, the rename decides, and the name may get a number
        return _read(folder) or _create(folder, name, job, make)


def _create(folder: Path, name: str | None, job: Job, make: Callable[[], Path]) -> _Entry:
    made = make()
    entry = _Entry(made.name, name, job)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix="."))
    try:
        temporary.chmod(0o755)
        (temporary / _ENTRY).write_bytes(msgspec.json.encode(entry))
        temporary.rename(folder)  # fails if the folder exists, because it is not empty
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(made)
        if not os.path.lexists(folder):
            raise
        return _visible(folder)
    return entry


def _visible(folder: Path) -> _Entry:
    """Read what another process has just made known, which a network file system may show later.

    Raises:
        TrackhooksError: it stays invisible.
    """
    until = time.monotonic() + _VISIBLE_S
    while (found := _read(folder)) is None:
        if time.monotonic() > until:
            raise TrackhooksError(
                f"{folder / _ENTRY}, which another process of this job has written, cannot be read here after"
                f" {_VISIBLE_S:g} s. Choose a directory that all nodes share, with dir=… or TRACKHOOKS_DIR."
            )
        time.sleep(_POLL_S)
    return found


def _takes_place(directory: Path, folder: Path, entry: _Entry, job: Job, rank: int, resumes: bool) -> bool:
    """Join a run as this rank, if its place is free. Returns whether it was."""
    if not (directory / entry.run / run_folder.INFO).exists():  # the user has removed the run
        return False
    place = folder / _place_of(rank)
    if not resumes:
        return entry.job.attempt == job.attempt and _take_first(place, job)
    holder = _holder(place)
    last = _latest(folder, entry) if holder is None else holder.job
    if not job.continues(last) or (holder is not None and holder.process == _this_process()):
        return False
    _take(place, job)
    return True


def _place_of(rank: int) -> str:
    return f"rank-{rank}.json"


def _take(place: Path, job: Job) -> None:
    run_folder.write_atomically(place, msgspec.json.encode(_Place(_this_process(), job)))


def _take_first(place: Path, job: Job) -> bool:
    """Take a place, unless another process has. Returns whether it was taken."""
    try:
        with new_file(place, overwrite=False) as file:
            file.write(msgspec.json.encode(_Place(_this_process(), job)))
    except FileExistsError:
        return False
    return True


def _latest(folder: Path, entry: _Entry) -> Job:
    """Return the job of the processes that joined a run last, for a rank that has never joined it."""
    joined = filter(None, map(_holder, folder.glob("rank-*.json")))
    return max([entry.job, *(place.job for place in joined)], key=lambda known: known.restarts)


def _holder(place: Path) -> _Place | None:
    with suppress(FileNotFoundError, DamagedFileError):
        return run_folder.read_json(place, _Place)
    return None


def _this_process() -> str:
    pid = os.getpid()
    return f"{processes.machine()} {pid} {processes.created(pid)}"
