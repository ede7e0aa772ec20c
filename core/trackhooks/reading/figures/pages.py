"""Write HTML pages without replacing files of others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ...errors import InvalidValueError, TrackhooksError
from ...storage.new_file import new_file
from ...values import checks
from .embedding import GENERATOR

_SUFFIXES = (".html", ".htm")
_HEAD = 2000
"""Number of bytes in which `GENERATOR` is found."""


class Target(NamedTuple):
    """Where a page is written."""

    path: Path
    """The absolute path."""
    replaces: bool
    """Whether an existing file may be replaced."""


def target(path: str | os.PathLike[str], overwrite: bool = False) -> Target:
    """Check where a page is written.

    Raises:
        InvalidValueError: if it is not the path of an HTML file, or if `overwrite` is neither True nor False.
        TrackhooksError: if there is a file that trackhooks did not make, or if the folder does not exist.
    """
    found = checks.absolute("path", path)
    if found.suffix.lower() not in _SUFFIXES:
        raise InvalidValueError(f"path must end with .html, got {str(path)!r}.")
    if found.is_dir():
        raise InvalidValueError(f"{found} is a directory. Name a file in it.")
    if not found.parent.is_dir():
        raise InvalidValueError(f"there is no directory {found.parent}. Create it first.")
    replaces = checks.switch("overwrite", overwrite) or (found.exists() and _is_ours(found))
    if found.exists() and not replaces:
        raise _not_ours(found)
    return Target(found, replaces)


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return GENERATOR.encode() in file.read(_HEAD)


def _not_ours(path: Path) -> TrackhooksError:
    return TrackhooksError(
        f"{path} exists, and trackhooks did not make it. Choose another name, or replace it with overwrite=True"
        " (--force)."
    )


def write(page: str, path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Write a page. Returns its absolute path.

    Raises:
        InvalidValueError: if it is not the path of an HTML file, or if `overwrite` is neither True nor False.
        TrackhooksError: if there is a file that trackhooks did not make, or if it cannot be written.
    """
    found, replaces = target(path, overwrite)
    try:
        with new_file(found, overwrite=replaces) as file:
            file.write(page.encode("utf-8", "replace"))
    except FileExistsError:
        raise _not_ours(found) from None
    except OSError as error:
        raise TrackhooksError(f"{found} cannot be written: {error.strerror}.") from error
    return found
