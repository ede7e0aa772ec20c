"""A folder for what the processes of one user share while they run. No other user can read, prepare or replace it."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path


def user_folder() -> Path | None:
    """Return the folder, after creating it; None if there is no place where only this user may write."""
    return next(filter(_is_private, _made()), None)


def _made() -> Iterator[Path]:
    for path in _candidates():
        try:
            path.mkdir(0o700, exist_ok=True)
        except OSError:  # a file has its name, or the disk is full or read-only
            continue
        yield path


def _candidates() -> Iterator[Path]:
    if not hasattr(os, "getuid"):  # Windows
        return
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and _is_private(Path(runtime)):  # `sudo` may keep the one of another user
        yield Path(runtime, "trackhooks")
    yield Path(tempfile.gettempdir(), f"trackhooks-{os.getuid()}")


def _is_private(path: Path) -> bool:
    """Whether it is a folder, not a link to one, that belongs to this user and that nobody else may use."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
