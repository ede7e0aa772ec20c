"""What belongs to one process, and so can be neither pickled nor copied."""

from __future__ import annotations

from typing import Any, Protocol

from ..errors import InvalidValueError


class Named(Protocol):
    """What has the name of a run."""

    @property
    def name(self) -> str:
        """The name."""


def refuse_to_copy(run: Named, protocol: Any) -> Any:
    """Refuse to pickle and to copy a run, and everything that holds one: its `__reduce_ex__`.

    Raises:
        InvalidValueError: always; the message has what to do instead.
    """
    raise InvalidValueError(
        f"run {run.name!r} cannot be pickled or copied, because one process writes its journal. Pass its folder"
        " (run.path) to the other process, and open a separate run there, or log here what it returns."
    )
