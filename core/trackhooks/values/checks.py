"""Check and convert the arguments of public calls. Every error names the argument."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import InvalidValueError
from ..errors.foreign import Failure, attempt, described, is_a, plain_text, shown
from ..event import FINAL
from ..hooks.indices import LARGEST as LARGEST
from ..hooks.indices import index as index
from . import numbers

_CONTAINERS = frozenset({list, tuple, set, frozenset, dict})
_MOST_STRINGS = 1000
"""How many tags or aliases are taken from an iterable at most."""
_STATUSES = FINAL | {"running"}


def text(what: str, value: Any) -> str:
    """Return a plain string.

    Raises:
        InvalidValueError: It is not a string.
    """
    if not is_a(value, str):
        remedy = " Pass str(error)." if is_a(value, BaseException) else ""
        raise InvalidValueError(f"{what} must be a string, got {shown(value)}.{remedy}")
    return plain_text(value)


def name(what: str, value: Any) -> str:
    """Return a plain string that is not empty.

    Raises:
        InvalidValueError: It is not a string, or empty.
    """
    if not is_a(value, str) or not plain_text(value):
        raise InvalidValueError(f"{what} must be a non-empty string, got {shown(value)}.")
    return plain_text(value)


def iterator(what: str, value: Any) -> Iterator[Any]:
    """Begin to iterate over an object.

    Raises:
        InvalidValueError: It cannot be iterated over.
    """
    try:
        return iter(value)
    except TypeError as error:
        raise InvalidValueError(f"{what} must be iterable, got {shown(value)}.") from error


def path(what: str, value: Any) -> Path:
    """Return a path.

    Raises:
        InvalidValueError: It is not a path, or no file can have this path.
    """
    found = attempt(os.fspath, value)
    if not isinstance(found, str):
        raise InvalidValueError(f"{what} must be a path, got {shown(value)}.")
    plain = str.__str__(found)
    for problem, there in (
        ("a NUL character", "\0" in plain),
        ("characters that the file system cannot encode", isinstance(attempt(os.fsencode, plain), Failure)),
    ):
        if there:
            raise InvalidValueError(f"{what} must be a path, got {shown(plain)}, which contains {problem}.")
    return Path(plain)


def absolute(what: str, value: Any) -> Path:
    """Return an absolute path.

    Raises:
        InvalidValueError: It is not a path, or relative to a working directory that has been deleted.
    """
    found = path(what, value)
    try:
        return found.absolute()
    except FileNotFoundError:
        raise InvalidValueError(
            f"{what}: {str(found)!r} is relative, and the working directory has been deleted. Pass an absolute path,"
            " or change to an existing directory with os.chdir(…)."
        ) from None


def switch(what: str, value: Any) -> bool:
    """Return a bool.

    Raises:
        InvalidValueError: It is neither True nor False.
    """
    if attempt(lambda: value in (True, False)) is not True:
        raise InvalidValueError(f"{what} must be True or False, got {shown(value)}.")
    return bool(value)


def optional_name(what: str, value: Any) -> dict[str, str]:
    """Return `{"name": …}`, or `{}` for None.

    Raises:
        InvalidValueError: It is neither None nor a non-empty string.
    """
    return {} if value is None else {"name": name(what, value)}


def number(what: str, value: Any) -> float:
    """Return a finite number from 0, which may be a scalar of any library, also on an accelerator.

    Raises:
        InvalidValueError: It is not a finite number from 0.
    """
    found = attempt(numbers.number, value)
    if isinstance(found, numbers.Snapshot):
        found = numbers.to_host([found])[0]
    if isinstance(found, Failure) or not 0 <= found < float("inf"):
        raise InvalidValueError(f"{what} must be a finite number from 0, got {shown(value)}.")
    return found


def status(what: str, value: Any, accepted: frozenset[str] = FINAL) -> str:
    """Return the status of a run.

    Raises:
        InvalidValueError: It is not one of the accepted statuses.
    """
    if not is_a(value, str) or plain_text(value) not in accepted:
        raise InvalidValueError(f"{what} must be one of {', '.join(sorted(accepted))}, got {shown(value)}.")
    return plain_text(value)


def listed(what: str, given: Any) -> list[Any]:
    """Return a list of strings, which are not checked. A single string becomes a list.

    Raises:
        InvalidValueError: It is not iterable, a mapping, or does not end.
    """
    found: list[Any] | Failure = [given] if is_a(given, str) else attempt(bounded, what, given, _MOST_STRINGS)
    if isinstance(found, Failure) and isinstance(found.error, InvalidValueError):
        raise found.error
    if isinstance(found, Failure) or is_a(given, (Mapping, bytes, bytearray)):
        remedy = " Pass names with values as params={…}." if is_a(given, Mapping) else ""
        raise InvalidValueError(
            f"{what} must be strings, as in {what}=['a', 'b'], got {shown(given)}.{remedy}"
        )
    return found


def bounded(what: str, given: Iterable[Any], most: int) -> list[Any]:
    """Return the items of an iterable. One that is not a container may never end.

    Raises:
        InvalidValueError: It is not a container, and has more items than `most`.
    """
    if type(given) in _CONTAINERS:
        return list(given)
    found = list(islice(iter(given), most + 1))
    if len(found) > most:
        raise InvalidValueError(
            f"{what} must have at most {most} items, got {described(given)} that has more or never ends."
            " Pass a part of it, such as list(itertools.islice(…, 100))."
        )
    return found
