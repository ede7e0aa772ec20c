"""Check what a hook records besides its metrics: parameters, files, media, status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InvalidValueError
from ..errors.foreign import Failure, attempt, shown
from ..event import Event, File, Graph, Histogram, Table, Text
from ..storage import journal
from ..values.checks import _STATUSES, bounded, status, text
from ..values.params import checked_fields, flat_params

_MOST = 10_000
"""How many files or media one hook may record."""
_MEDIA = (Text, Table, Histogram, Graph)


def record(hook: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a hook records besides its metrics, in the form in which it is recorded.

    Args:
        hook: Its name, for messages.
        more: `params`, `defaults`, `facts`, `files`, `media`, `status` and `reason`.

    Raises:
        InvalidValueError: A value cannot be recorded.
    """
    found = {field: _CHECKS[field](f"{hook}: {field}", value) for field, value in more.items()}
    why = journal.unreadable(Event(hook, 0, 0.0, **found))
    if why:
        raise InvalidValueError(f"{hook}: this cannot be recorded: {why}.")
    return found


def _params(what: str, given: Any) -> dict[str, Any]:
    checked_fields(what, given)
    return flat_params(given)


def _names(what: str, given: Any) -> list[str]:
    found: list[str] | Failure = attempt(list, given)
    if isinstance(found, Failure) or not all(type(name) is str for name in found):
        raise InvalidValueError(f"{what} must be a list of names of parameters, got {shown(given)}.")
    return found


def _structs(kinds: tuple[type, ...]) -> Any:
    names = ", ".join(kind.__name__ for kind in kinds)

    def check(what: str, given: Any) -> list[Any]:
        found: list[Any] | Failure = attempt(bounded, what, given, _MOST)
        if isinstance(found, Failure) and isinstance(found.error, InvalidValueError):
            raise found.error
        if isinstance(found, Failure) or not all(type(item) in kinds for item in found):
            raise InvalidValueError(
                f"{what} must be a list of {names} of trackhooks.event, got {shown(given)}."
            )
        return found

    return check


_CHECKS: dict[str, Any] = {
    "params": _params,
    "defaults": _names,
    "facts": _params,
    "files": _structs((File,)),
    "media": _structs(_MEDIA),
    "status": lambda what, given: status(what, given, _STATUSES),
    "reason": text,
}
