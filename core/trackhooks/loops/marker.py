"""A file beside a checkpoint that says which run it is of: a training that resumes it goes on in that run.

It is found in another process, too, which is where trainings are resumed that were killed.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ..folder import INFO
from ..recording import Recording

NAME = ".trackhooks"


def leave(folder: Path, recording: Recording) -> None:
    """Notes the run in this folder; where that cannot be, a training that resumes opens a run of its own."""
    if recording.records:
        with suppress(OSError):
            (folder / NAME).write_text(f"{recording.path.absolute()}\n", encoding="utf-8")


def find(folder: Path) -> Path | None:
    """The folder of the run that is noted here, as long as it is there."""
    try:
        run = Path((folder / NAME).read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError):
        return None
    return run if (run / INFO).is_file() else None
