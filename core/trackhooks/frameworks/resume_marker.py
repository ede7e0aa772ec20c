"""A file next to checkpoints that names their run, so that a training that resumes from them continues that run.

It also works from another process, in which a killed training is resumed.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ..errors import warn
from ..storage import rank_folders
from ..storage.run_folder import INFO
from .interface import RunHooks

NAME = ".trackhooks"
_LONGEST = 1 << 14
"""The maximum number of characters that are read; longer than any path."""


def leave(folder: Path, run: RunHooks) -> None:
    """Note the run in this folder. If that is not possible, a training that resumes opens a new run.

    A file of this name that is not a note of trackhooks stays as it is. Of several ranks, only rank 0 leaves the note.
    """
    if run.records and rank_folders.run_of(run.path) == run.path:
        with suppress(OSError):
            _write(folder / NAME, f"{run.path.absolute()}\n")


def _write(path: Path, note: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as new:
            new.write(note)
    except FileExistsError:
        if not _update(path, note):
            warn(
                f"{path} is not a note of trackhooks, and stays as it is. A training that resumes from"
                f" {path.parent} will be recorded as a new run."
            )


def _update(path: Path, note: str) -> bool:
    """Replace the note in a file that holds one, and only in that very file. Returns whether it did."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("r+", encoding="utf-8") as file:
        try:
            is_note = _is_note(file.read(_LONGEST))
        except UnicodeDecodeError:
            return False
        if is_note:
            file.seek(0)
            file.truncate()
            file.write(note)
    return is_note


def _is_note(text: str) -> bool:
    """Whether this is the path of a run, which may have been removed since."""
    run = Path(text.rstrip("\n"))
    if text.count("\n") != 1 or not run.is_absolute():
        return False
    try:
        return not run.exists() or (run / INFO).is_file()
    except OSError:  # no path of a file: it is too long
        return False


def find(folder: Path) -> Path | None:
    """Return the folder of the run that is noted here; None if there is no note, or the run was removed."""
    try:
        run = Path((folder / NAME).read_text(encoding="utf-8").strip())
        return run if (run / INFO).is_file() else None
    except (OSError, UnicodeDecodeError):
        return None
