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
from ..storage import journal, processes, run_folder
from ..storage.inside import check_links
from ..storage.lost_runs import whole_info
from ..values.gate import clean
from ..values.params import scalar
from . import environment


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


def _opened(path: Path, info: RunInfo) -> journal.Writer:
    writer = journal.Writer(path)
    try:
        run_folder.write_info(path, info)
    except OSError as error:
        writer.close()
        raise TrackhooksError(f"no run can be recorded in {path}: {error.strerror}.") from error
    return writer


def resume(path: Path, info: RunInfo) -> tuple[RunInfo, journal.Writer]:
    """Continue a run in its folder. `info` describes the process that continues it.

    Raises:
        TrackhooksError: the folder does not contain a run.
        JournalError: another process still writes to it, or it has no journal: `run.json` belongs to something else.
    """
    check_links(path)
    old = whole_info(path)
    journal.Reader(path).close()
    kept = {field: getattr(old, field) for field in ("id", "name", "path", "created", "parent", "records")}
    info = msgspec.structs.replace(
        info, **kept, project=info.project or old.project, notes=info.notes or old.notes, group=info.group or old.group,
        tags=list(dict.fromkeys([*old.tags, *info.tags])),
    )  # fmt: skip
    return info, _opened(path, info)
