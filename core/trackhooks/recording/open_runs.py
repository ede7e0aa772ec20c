"""The runs that are open in this process, and which of them a loop belongs to."""

from __future__ import annotations

import threading
from typing import Any

from .recorder import Recording

_open: dict[str, Recording] = {}


def add(recording: Recording) -> None:
    """Notes that a run has been opened."""
    _open[recording.id] = recording


def remove(recording: Recording) -> None:
    """Notes that it has been closed."""
    _open.pop(recording.id, None)


def clear() -> None:
    """In a forked child: the runs belong to the parent."""
    _open.clear()


def every() -> list[Recording]:
    """All of them, in the order in which they were opened."""
    return list(_open.values())


def training_here() -> Recording | None:
    """The run that trains on this thread, the innermost where one training runs inside of another."""
    training = [recording for recording in every() if recording.trains_here]
    return max(training, key=lambda recording: recording.trains_since, default=None)


def of(model: Any, *, anywhere: bool = False) -> Recording | None:
    """The newest run that this model has been used in, on this thread or (a save, an export) on any."""
    here = threading.get_ident()
    for recording in reversed(every()):
        thread = recording.models.get(model)
        if thread is not None and (anywhere or thread == here):
            return recording
    return None
