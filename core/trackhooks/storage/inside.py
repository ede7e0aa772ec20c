"""Which files belong to a run: a run may come from anybody, with names and links that lead elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from ..errors import TrackhooksError
from ..errors.foreign import shown

FILES: Final = "files"
"""The folder of a run with copies of checkpoints, exports and pictures, and with large records."""
_WRITTEN: Final = ("delivery", FILES, "tables", "ranks")
"""The folders of a run in which trackhooks writes."""


def inside(folder: Path, name: str) -> Path | None:
    """Return the path of a file in `files/`, as records name it; None if a name or link leads out."""
    parts = PurePosixPath(name).parts
    if parts[:1] != (FILES,) or len(parts) < 2 or ".." in parts or "\0" in name:
        return None
    path = folder / name
    return path if path.resolve().is_relative_to(folder.resolve()) else None


def check_links(folder: Path) -> None:
    """Check a run before it is written to: no link in it may lead out of its folder.

    Raises:
        TrackhooksError: one does.
    """
    home = folder.resolve()
    for link in _links(folder):
        if not link.resolve().is_relative_to(home):
            raise TrackhooksError(
                f"{shown(str(link))} is a link that leads out of the run's folder, and would be written to."
                " Replace it by what it refers to, or remove it."
            )


def _links(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():  # the caller says that it is not a run
        return
    yield from (path for path in folder.iterdir() if path.is_symlink())
    for part in _WRITTEN:
        for place, folders, files in os.walk(folder / part):
            yield from (path for name in (*folders, *files) if (path := Path(place, name)).is_symlink())
