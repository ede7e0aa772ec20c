"""Look up facts about objects of users and frameworks, without letting their errors end a training.

These objects are models, layers, optimizers, schedules, data and trainers. Any attribute may be a property and any
method may be overridden, so looking it up can raise anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..errors import TrackhooksError, warn
from ..errors.foreign import Failure, attempt

Found = TypeVar("Found")
Default = TypeVar("Default")


class Lookups:
    """Looks up facts for one run, and reports each failure once.

    Args:
        strict: Raise failures instead of warning.
    """

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self._reported: set[str] = set()

    def find(
        self, what: str, default: Default, call: Callable[..., Found], *arguments: Any, once: str = ""
    ) -> Found | Default:
        """Return what the call returns, or `default` if it raises.

        Args:
            what: The name of the fact in messages, such as "the weights of the layer Dense".
            default: The result if the fact cannot be read.
            call: The function that reads it.
            *arguments: The arguments of the function.
            once: Failures with the same `once` are reported only once. Defaults to `what`.

        Raises:
            TrackhooksError: The fact cannot be read, and the run is strict.
        """
        return self.guard(f"{what} could not be read", default, call, *arguments, once=once)

    def guard(
        self, problem: str, default: Default, call: Callable[..., Found], *arguments: Any, once: str = ""
    ) -> Found | Default:
        """Call a function that does something else than reading: `problem` says what could not be done."""
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
