"""Create the folder of a run, or resume a run in its folder."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec

from ..errors import TrackhooksError
from ..event import RunInfo
from ..storage import journal, processes, rank_folders, run_folder
from ..storage.inside import check_links
from ..storage.lost_runs import whole_info
from ..values.gate import clean
from ..values.params import scalar
from . import environment

_KEPT = ("id", "name", "path", "created", "parent", "records", "status", "reason", "ended")
"""What a run keeps if another process continues it."""


def new_info(**more: Any) -> RunInfo:
    """Return the identity of a new run of this process, without its name and folder.

    Raises:
        TrackhooksError: this process cannot be described, because no file can be opened.
    """
    try:
        pid_created = processes.created(os.getpid())
        captured = environment.capture()
    except OSError as error:
        raise TrackhooksError(f"no run can be recorded: {error}.") from error
    info = RunInfo(
        id=uuid.uuid4().hex[:12],
        created=time.time(),
        pid=os.getpid(),
        pid_created=pid_created,
        host=str(captured["host"]),
        boot=processes.boot_id(),
        machine=processes.machine(),
        environment=captured,
        version=environment.own_version(),
        **{field: _storable(value) for field, value in more.items()},
    )
    found: RunInfo = clean(info)
    return found


def _storable(value: Any) -> Any:
    """Escape what JSON cannot hold in strings: the half surrogate pairs of a path that is not valid UTF-8."""
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return scalar(value) if isinstance(value, str) else value


def create(directory: Path, name: str | None, info: RunInfo) -> tuple[RunInfo, journal.Writer]:
    """Create a run in a new folder.

    Raises:
        TrackhooksError: the directory cannot be written.
    """
    path = run_folder.make(directory, name)
    info.name, info.path = path.name, str(path.absolute())
    return info, _opened(path, info)


def create_empty(directory: Path, name: str | None, info: RunInfo) -> Path:
    """Create a run without records, for rank 0 of the job to continue. Returns its folder.

    Raises:
        TrackhooksError: the directory cannot be written.
    """
    created, writer = create(directory, name, info)
    writer.close()
    return Path(created.path)


def open_rank(run: Path, info: RunInfo) -> tuple[RunInfo, journal.Writer]:
    """Open the journal of a rank other than 0 in the folder of a run, or continue it. `info.rank` is the rank.

    Raises:
        TrackhooksError: the folder does not contain a run, or cannot be written.
        JournalError: another process writes the journal of this rank.
    """
    check_links(run)
    whole = whole_info(run)
    path = rank_folders.path_of(run.absolute(), info.rank)
    if (path / run_folder.INFO).exists():
        return resume(path, info)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrackhooksError(f"no run can be recorded in {path}: {error.strerror}.") from error
    info = msgspec.structs.replace(
        info, id=f"{whole.id}-{info.rank}", name=f"{whole.name}-rank{info.rank}", path=str(path), parent=whole.id,
    )  # fmt: skip
    return info, _opened(path, info)


def _opened(path: Path, info: RunInfo, patience: float = 0.0) -> journal.Writer:
    writer = journal.Writer(path, patience=patience)
    try:
        run_folder.write_info(path, info)
    except OSError as error:
        writer.close()
        raise TrackhooksError(f"no run can be recorded in {path}: {error.strerror}.") from error
    return writer


def resume(path: Path, info: RunInfo) -> tuple[RunInfo, journal.Writer]:
    """Continue a run in its folder. `info` describes the process that continues it.

    The status remains the earlier one.

    Raises:
        TrackhooksError: the folder does not contain a run.
        JournalError: another process still writes to it, or it has no journal: `run.json` belongs to something else.
    """
    check_links(path)
    old = whole_info(path)
    journal.Reader(path).close()
    kept = {field: getattr(old, field) for field in _KEPT}
    info = msgspec.structs.replace(
        info, **kept, project=info.project or old.project, notes=info.notes or old.notes, group=info.group or old.group,
        tags=list(dict.fromkeys([*old.tags, *info.tags])),
    )  # fmt: skip
    was_killed = not processes.is_alive(old.pid, old.pid_created)
    return info, _opened(path, info, journal.RELEASE_S if was_killed else 0.0)
