"""Read what foreign objects say about themselves, without letting their errors end a training.

The objects are those of the user and of the frameworks: models, layers, optimizers, schedules, data, trainers. Any
attribute of theirs may be a property, and any method may be overridden, so that reading it can raise anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import TrackhooksError, warn
from .foreign import Failure, attempt

Found = TypeVar("Found")
Default = TypeVar("Default")


class Lookups:
    """What is looked up for one run; each failure is reported once.

    Args:
        strict: raise a failure instead of warning of it.
    """

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self._reported: set[str] = set()

    def find(
        self, what: str, default: Default, call: Callable[..., Found], *arguments: Any, once: str = ""
    ) -> Found | Default:
        """Return what the call returns, or `default` if it raises.

        Args:
            what: names in a message what is looked up, such as "the weights of the layer Dense".
            default: the result if it cannot be read.
            call: reads it.
            *arguments: of the call.
            once: failures with the same `once` are reported only once; `what` by default.

        Raises:
            TrackhooksError: it cannot be read, and the run is strict.
        """
        return self.guard(f"{what} could not be read", default, call, *arguments, once=once)

    def guard(
        self, problem: str, default: Default, call: Callable[..., Found], *arguments: Any, once: str = ""
    ) -> Found | Default:
        """As `find`, for anything else than reading: `problem` says what could not be done."""
        found = attempt(call, *arguments)
        if not isinstance(found, Failure):
            return found
        self._report(f"{problem}: {found.why}.", found.error, once or problem)
        return default

    def _report(self, message: str, error: Exception, once: str) -> None:
        if self.strict:
            raise TrackhooksError(message) from error
        if once not in self._reported:
            self._reported.add(once)
            warn(f"{message} It is left out, and the rest is recorded.")
