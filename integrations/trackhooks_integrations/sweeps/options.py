"""What the functions that record the runs of a search have in common: their trackers and options."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import trackhooks
from trackhooks.errors import InvalidValueError
from trackhooks.errors.foreign import shown


def check(
    function: str, trackers: Sequence[Any], options: Mapping[str, Any], tags: Any, name: Any = None
) -> None:
    """Check what is the same in every search. `trackhooks.run` checks the rest when the first run is opened.

    Args:
        function: the name of the user's call, for messages.
        trackers: as in `trackhooks.run`.
        options: those of `trackhooks.run`.
        tags: the tags of each run.
        name: what the names of the runs begin with, if it is set.

    Raises:
        InvalidValueError: one of them is not accepted.
    """
    for tracker in trackers:
        if callable(tracker) and not isinstance(tracker, (type, trackhooks.Tracker)):
            raise InvalidValueError(
                f"{function} takes trackers, got {shown(tracker)}. Use it as @{function}() or"
                f" @{function}('csv', 'mlflow')."
            )
    if "resume" in options:
        raise InvalidValueError(f"{function} does not take resume, because each trial is a new run.")
    if name is not None and not (isinstance(name, str) and name):
        raise InvalidValueError(f"name must be a non-empty string, got {shown(name)}.")
    if isinstance(tags, str) or not isinstance(tags, Iterable):
        raise InvalidValueError(f"tags must be a list of strings, got {shown(tags)}.")


def copies(trackers: Sequence[Any]) -> list[Any]:
    """Return trackers for one run: a tracker that is an object holds one run at a time."""
    lists = [copies(one) if isinstance(one, (list, tuple)) else one for one in trackers]
    return [copy.copy(one) if isinstance(one, trackhooks.Tracker) else one for one in lists]
