"""Helpers of the trackers that write files: append and replace as a whole, and options that name a folder."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

from trackhooks.errors import InvalidValueError, StateLostError
from trackhooks.tracker_tools import shown

from .short_names import checksum


def append(path: Path, end: int, data: bytes) -> int:
    """Append to a file that is `end` bytes long, all or nothing; return its new length.

    Raises:
        OSError: the data could not be written completely (a full disk), or the file was deleted or changed by another
            program.
    """
    with path.open("r+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END) != end:
            raise OSError(f"{path} was changed by another program; it is cut back and continued.")
        try:
            unwritten = memoryview(data)
            while unwritten:
                unwritten = unwritten[file.write(unwritten) :]
        except OSError:
            file.truncate(end)
            raise
    return end + len(data)


def replace(path: Path, data: bytes) -> None:
    """Replace the content of a file at once: a reader sees the old content or the new."""
    beside(path).write_bytes(data)
    beside(path).replace(path)


def beside(path: Path) -> Path:
    """Return the path, in the same folder, of the file that is prepared to replace `path`.

    Its name contains nothing of the original name: TensorBoard reads every file with `tfevents` in its name.
    """
    return path.with_name(f".{checksum(path.name)}.new")


def own_name(name: object, start: str = "") -> str:
    """Return the name of a file or folder from a state, which belongs to a run that may come from somebody else.

    Raises:
        StateLostError: it is not a plain name that starts so, and could be the path of any file.
    """
    if not (isinstance(name, str) and name == Path(name).name and name.startswith(start)) or "\0" in name:
        raise StateLostError(f"the state names {shown(name)}, which is not a file of the run.")
    return name


def own_folder(parent: Path, name: str, is_ours: Callable[[Path], bool]) -> Path:
    """Return the run's own folder in `parent`, created if needed. A name that is taken gets a number.

    Args:
        parent: created if needed.
        name: the name of the folder.
        is_ours: whether a folder of that name is this run's, from an earlier delivery.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            if not is_ours(folder):
                continue
        return folder
    raise AssertionError  # the numbers never end


def folder_option(tracker: str, option: str, value: object) -> Path | None:
    """Return the absolute path of the folder that an option names, or None if the option is not set.

    Raises:
        InvalidValueError: the value is not a path, or is the path of a file.
    """
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise InvalidValueError(
            f"tracker {tracker!r}: {option} must be the path of a folder, got {shown(value)}."
        )
    folder = Path(value).absolute()
    if folder.exists() and not folder.is_dir():
        raise InvalidValueError(
            f"tracker {tracker!r}: {option} must be a folder, but {str(value)!r} is a file."
        )
    return folder


def text_options(tracker: str, **options: object) -> None:
    """Check options that are strings.

    Raises:
        InvalidValueError: a value is set, but is not a non-empty string.
    """
    for name, value in options.items():
        if value is not None and not (isinstance(value, str) and value):
            raise InvalidValueError(
                f"tracker {tracker!r}: {name} must be a non-empty string, got {shown(value)}."
            )
