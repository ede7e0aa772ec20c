"""Errors, warnings and notices: each message names the value that was wrong and the fix.

A notice never raises: standard error may be closed, full, or a pipe whose reader has gone.
"""

from __future__ import annotations

import difflib
import errno
import logging
import sys
import warnings
from collections.abc import Iterable, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter  # it takes no parameter before Python 3.11

from .values.foreign import is_a, shown


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


class DamagedFileError(TrackhooksError):
    """A file of a run's folder that is there and does not hold what it should."""


class TrackerError(TrackhooksError):
    """A tracker failed, and the run is `strict`."""


class StateLostError(TrackhooksError):
    """What a tracker raises from `start` where its backend has not got all that the state says: the run comes again."""


class TrackhooksWarning(UserWarning):
    """Something was left out or could not be done; training goes on and nothing else is lost."""


_EXHAUSTED = frozenset({
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ENOBUFS, errno.EAGAIN, errno.ETIMEDOUT, errno.ESTALE,
})  # fmt: skip


def is_exhausted(error: BaseException) -> bool:
    """Whether the machine could not do it now, such as for want of file descriptors: the user's value is not wrong."""
    return isinstance(error, OSError) and error.errno in _EXHAUSTED


def unknown(kind: str, name: Any, known: Iterable[str], where: str = "") -> UnknownNameError:
    """The error for a `name` that is none of the `known` names of its `kind`; `where` says who used it."""
    names = sorted(known)
    text: str = str.__str__(name) if is_a(name, str) else shown(name)
    close = difflib.get_close_matches(text, names, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(names) or 'none'}."
    return UnknownNameError(f"{where}unknown {kind} {text!r}. {hint}")


BROKEN_STREAM = (OSError, ValueError, AttributeError, TypeError, RuntimeError)
"""What writing to a stream raises that is full, closed, None, or not a stream; a warning made an error is none."""


class Notices:
    """Wrap a stream for people, such as `sys.stderr`: what cannot be written there is dropped."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:
        """The encoding of the stream."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        """Write the text if that is possible."""
        with suppress(*BROKEN_STREAM):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush the stream if that is possible."""
        with suppress(*BROKEN_STREAM):
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        with suppress(*BROKEN_STREAM):
            return bool(self._stream.isatty())
        return False

    def fileno(self) -> int:
        """The file descriptor of the stream.

        Raises:
            OSError: it has none.
        """
        try:
            return int(self._stream.fileno())
        except BROKEN_STREAM as error:
            raise OSError("the stream has no file descriptor") from error


class _Log(_Adapter):
    """The logger of trackhooks; a handler that cannot write does not raise into the caller."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        with suppress(*BROKEN_STREAM):
            super().log(level, msg, *args, **kwargs)


log = _Log(logging.getLogger("trackhooks"), {})
"""For what happens in the delivery; `extra={"run": path}` puts it into the log of that run."""


def say(message: str) -> None:
    """Print one line for the person at the terminal."""
    Notices(sys.stderr).write(f"trackhooks: {message}\n")


def warn(message: str) -> None:
    """Warn, naming the line of the user's own code that led here.

    Raises:
        TrackhooksWarning: the user's warning filters make it an error.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] == __package__:
        level, frame = level + 1, frame.f_back
    with suppress(*BROKEN_STREAM):
        warnings.warn(message, TrackhooksWarning, stacklevel=level)
