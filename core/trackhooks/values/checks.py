"""Check the values of public calls where they enter: each is converted to what a record holds, or refused by name."""

from __future__ import annotations

import operator
import os
from pathlib import Path
from typing import Any

from ..errors import InvalidValueError
from ..event import FINAL
from . import numbers
from .foreign import Failure, attempt, is_a, plain_text, shown

LARGEST = 2**53
"""The largest index. JSON and the pages of trackers count exactly up to here, and sums of it stay within 64 bits."""
_STATUSES = FINAL | {"running"}


def index(what: str, value: Any, least: int = 0) -> int:
    """A step, an epoch, a batch or a count: an integer of any library.

    Raises:
        InvalidValueError: it is not an integer, or out of range.
    """
    found = attempt(lambda: int(operator.index(value)))
    if isinstance(found, Failure) or not least <= found <= LARGEST:
        raise InvalidValueError(
            f"{what} must be a whole number from {least} to {LARGEST}, got {shown(value)}."
        )
    return found


def text(what: str, value: Any) -> str:
    """A string.

    Raises:
        InvalidValueError: it is not one.
    """
    if not is_a(value, str):
        raise InvalidValueError(f"{what} must be a string, got {shown(value)}.")
    return plain_text(value)


def name(what: str, value: Any) -> str:
    """A string that is not empty.

    Raises:
        InvalidValueError: it is not one.
    """
    if not is_a(value, str) or not plain_text(value):
        raise InvalidValueError(f"{what} must be a non-empty string, got {shown(value)}.")
    return plain_text(value)


def path(what: str, value: Any) -> Path:
    """A path.

    Raises:
        InvalidValueError: it is not one.
    """
    found = attempt(os.fspath, value)
    if not isinstance(found, str) or "\0" in found or isinstance(attempt(os.fsencode, found), Failure):
        raise InvalidValueError(f"{what} must be a path, got {shown(value)}.")
    return Path(str.__str__(found))


def switch(what: str, value: Any) -> bool:
    """True or False.

    Raises:
        InvalidValueError: it is neither.
    """
    if attempt(lambda: value in (True, False)) is not True:
        raise InvalidValueError(f"{what} must be True or False, got {shown(value)}.")
    return bool(value)


def optional_name(what: str, value: Any) -> dict[str, str]:
    """`{"name": …}`, or nothing for None.

    Raises:
        InvalidValueError: it is neither None nor a string that is not empty.
    """
    return {} if value is None else {"name": name(what, value)}


def number(what: str, value: Any) -> float:
    """A finite number from 0: a scalar of any library; one on an accelerator is waited for.

    Raises:
        InvalidValueError: it is not one.
    """
    found = attempt(numbers.number, value)
    if isinstance(found, numbers.Snapshot):
        found = numbers.to_host([found])[0]
    if isinstance(found, Failure) or not 0 <= found < float("inf"):
        raise InvalidValueError(f"{what} must be a finite number from 0, got {shown(value)}.")
    return found


def status(what: str, value: Any, accepted: frozenset[str] = FINAL) -> str:
    """The status of a run.

    Raises:
        InvalidValueError: it is not one of those that are accepted.
    """
    if not is_a(value, str) or plain_text(value) not in accepted:
        raise InvalidValueError(f"{what} must be one of {', '.join(sorted(accepted))}, got {shown(value)}.")
    return plain_text(value)


def listed(what: str, given: Any) -> list[Any]:
    """Strings, not looked at; one alone is a list of it.

    Raises:
        InvalidValueError: it is not an iterable.
    """
    found: list[Any] | Failure = [given] if is_a(given, str) else attempt(list, given)
    if isinstance(found, Failure):
        raise InvalidValueError(f"{what} must be strings, as in {what}=['a', 'b'], got {shown(given)}.")
    return found
