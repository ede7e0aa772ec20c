"""Errors, warnings and notices. Every message names the wrong value and the remedy.

All of them redact secrets. Notices never raise, even if standard error is closed, full, or a pipe whose reader has
gone. `foreign` reads objects that may raise anything, and shows them in messages; `secrets` redacts what messages and
records must not contain.
"""

from __future__ import annotations

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

from .foreign import is_a, shown
from .nearest import nearest as nearest
from .secrets import redact_text


class TrackhooksError(Exception):
    """The base class of all errors of trackhooks. Secrets in the message are redacted."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*(redact_text(arg) if is_a(arg, str) else arg for arg in args), **more)


class UnknownNameError(TrackhooksError, ValueError):
    """A hook, tracker or option does not exist. The message contains the nearest name."""


class InvalidValueError(TrackhooksError, ValueError):
    """A public function or method does not accept a value."""


class MissingPackageError(TrackhooksError, ImportError):
    """A package that a tracker or a call needs is not installed. The message contains the command that installs it."""


class JournalError(TrackhooksError):
    """A journal cannot be opened: it does not exist, has an unknown version, or is being written already."""


class DamagedFileError(TrackhooksError):
    """A file in the folder of a run exists, but has unexpected content."""


class TrackerError(TrackhooksError):
    """A tracker failed in a run that is `strict`."""


class StateLostError(TrackhooksError):
    """Raised by `Tracker.start` if the backend has lost data that the state says it has: the run is delivered again."""


class TrackhooksWarning(UserWarning):
    """Something was left out or could not be done. The training continues, and nothing else is lost."""


_EXHAUSTED = frozenset({
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ENOBUFS, errno.EAGAIN, errno.ETIMEDOUT, errno.ESTALE,
})  # fmt: skip


def is_exhausted(error: BaseException) -> bool:
    """Return whether an error means that the machine lacks resources, such as file descriptors."""
    return isinstance(error, OSError) and error.errno in _EXHAUSTED


def unknown(kind: str, name: Any, known: Iterable[str], where: str = "") -> UnknownNameError:
    """Return the error for a name that is not one of the known names of its kind.

    Args:
        kind: What the name is for, such as `"hook"`.
        name: The unknown name.
        known: The names that exist.
        where: A prefix of the message: the class or call that used the name.
    """
    names = sorted(known)
    text: str = str.__str__(name) if is_a(name, str) else shown(name)
    close = nearest(text, names)
    hint = f"Did you mean {close!r}?" if close is not None else f"Known: {', '.join(names) or 'none'}."
    return UnknownNameError(f"{where}unknown {kind} {text!r}. {hint}")


BROKEN_STREAM = (OSError, ValueError, AttributeError, TypeError, RuntimeError)
"""What writing raises if a stream is full, closed, None, or not a stream. A warning made an error is not part of it."""


class Notices:
    """Wraps a stream such as `sys.stderr`. What cannot be written to it is dropped."""

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
            OSError: The stream has none.
        """
        try:
            return int(self._stream.fileno())
        except BROKEN_STREAM as error:
            raise OSError("the stream has no file descriptor") from error


class _Log(_Adapter):
    """The logger of trackhooks. A handler that cannot write does not raise into the caller."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        if self.isEnabledFor(level):
            with suppress(*BROKEN_STREAM):
                super().log(level, "%s", redact_text(str(msg) % args if args else str(msg)), **kwargs)


log = _Log(logging.getLogger("trackhooks"), {})
"""Logs what happens in delivery. `extra={"run": path}` writes a message to the log of that run."""


_OURS = frozenset({"trackhooks", "trackhooks_integrations"})
"""The packages whose frames are not the caller's own."""


def say(message: str) -> None:
    """Print one line on standard error."""
    Notices(sys.stderr).write(f"trackhooks: {redact_text(message)}\n")


def warn(message: str) -> None:
    """Warn, with the line of the caller's code outside of trackhooks.

    Raises:
        TrackhooksWarning: The warning filters of the user turn the warning into an error.
    """
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").split(".")[0] in _OURS:
        level, frame = level + 1, frame.f_back
    with suppress(*BROKEN_STREAM):
        warnings.warn(redact_text(message), TrackhooksWarning, stacklevel=level)
