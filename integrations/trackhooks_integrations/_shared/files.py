"""What the trackers that write files share: appending and replacing without a half-written moment, and their option."""

from __future__ import annotations

import itertools
import os
import zlib
from collections.abc import Callable
from pathlib import Path

from trackhooks.errors import InvalidValueError


def append(path: Path, end: int, data: bytes) -> int:
    """Writes at the end of a file that is `end` bytes long, all or nothing; returns its new length.

    Raises:
        OSError: it could not be written whole (a full disk), it was deleted, or someone else wrote to it.
    """
    with path.open("r+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END) != end:
            raise OSError(f"{path} was changed by someone else; it is cut back and continued.")
        try:
            unwritten = memoryview(data)
            while unwritten:
                unwritten = unwritten[file.write(unwritten) :]
        except OSError:
            file.truncate(end)
            raise
    return end + len(data)


def replace(path: Path, data: bytes) -> None:
    """Gives the file this content in one moment: readers see the old one or the new one."""
    beside(path).write_bytes(data)
    beside(path).replace(path)


def beside(path: Path) -> Path:
    """Where a file is prepared before it takes the place of `path`.

    The name holds nothing of the other one: TensorBoard reads whatever has `tfevents` in its name.
    """
    return path.with_name(f".{zlib.crc32(path.name.encode()):08x}.new")


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
    """The folder that an option names, absolute, or None where it is not given.

    Raises:
        InvalidValueError: the value is no path, or the path of a file.
    """
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise InvalidValueError(f"tracker {tracker!r}: {option}={value!r} is no path of a folder.")
    folder = Path(value).absolute()
    if folder.exists() and not folder.is_dir():
        raise InvalidValueError(f"tracker {tracker!r}: {option}={str(value)!r} is a file. Name a folder.")
    return folder
