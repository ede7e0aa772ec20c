"""Write HTML pages without replacing files of others."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import InvalidValueError, TrackhooksError
from ...storage import run_folder
from ...values import checks
from .embedding import GENERATOR

_SUFFIXES = (".html", ".htm")
_HEAD = 2000
"""Number of bytes in which `GENERATOR` is found."""


def checked(path: str | os.PathLike[str], force: bool = False) -> Path:
    """Return the absolute path of a page that may be written.

    Raises:
        InvalidValueError: it is not the path of an HTML file.
        TrackhooksError: there is a file that trackhooks did not make, or the folder does not exist.
    """
    found = checks.absolute("path", path)
    if found.suffix.lower() not in _SUFFIXES:
        raise InvalidValueError(f"path must end with .html, got {str(path)!r}.")
    if not found.parent.is_dir():
        raise TrackhooksError(f"no such directory: {found.parent}")
    if found.is_dir():
        raise TrackhooksError(f"{found} is a directory.")
    if found.exists() and not force and not _is_ours(found):
        raise TrackhooksError(
            f"{found} exists, and trackhooks did not make it. Choose another name, or replace it with --force"
            " (force=True)."
        )
    return found


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return GENERATOR.encode() in file.read(_HEAD)


def write(path: str | os.PathLike[str], page: str, force: bool = False) -> Path:
    """Write a page. Returns its absolute path.

    Raises:
        InvalidValueError: it is not the path of an HTML file.
        TrackhooksError: there is a file that trackhooks did not make, or it cannot be written.
    """
    found = checked(path, force)
    try:
        run_folder.write_atomically(found, page.encode("utf-8", "replace"))
    except OSError as error:
        raise TrackhooksError(f"{found} cannot be written: {error.strerror}.") from error
    return found
