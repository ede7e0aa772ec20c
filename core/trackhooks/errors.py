"""Errors and warnings: each message names the value that was wrong and the fix."""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable


class TrackhooksError(Exception):
    """The base of every error that trackhooks raises itself."""


class UnknownNameError(TrackhooksError, ValueError):
    """A hook, tracker or option that does not exist, with the nearest name that does."""


class InvalidValueError(TrackhooksError, ValueError):
    """A value that a public call does not accept."""


class MissingPackageError(TrackhooksError, ImportError):
    """A package that a tracker or a call needs is not installed; the message holds the install line."""


class JournalError(TrackhooksError):
    """A journal that cannot be opened: no journal, of an unknown version, or already being written."""


class TrackerError(TrackhooksError):
    """A tracker failed, and the run is `strict`."""


class StateLostError(TrackhooksError):
    """What a tracker raises from `start` where its backend has not got all that the state says: the run comes again."""


class TrackhooksWarning(UserWarning):
    """Something was left out or could not be done; training goes on and nothing else is lost."""


def unknown(kind: str, name: object, known: Iterable[str], where: str = "") -> UnknownNameError:
    """The error for a `name` that is none of the `known` names of its `kind`; `where` says who used it."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(names) or 'none'}."
    return UnknownNameError(f"{where}unknown {kind} {name!r}. {hint}")


def warn(message: str) -> None:
    """Warns, naming the line of the user's own code that led here."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == __package__:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, TrackhooksWarning, stacklevel=level)
