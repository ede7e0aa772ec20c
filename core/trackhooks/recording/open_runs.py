"""The runs that are open in this process, and the ones that a thread or a model belongs to."""

from __future__ import annotations

import threading
from typing import Any

from .recorder import Recorder

_open: dict[str, Recorder] = {}


def add(recorder: Recorder) -> None:
    """Add a run that has been opened."""
    _open[recorder.id] = recorder


def remove(recorder: Recorder) -> None:
    """Remove a run that has been closed."""
    _open.pop(recorder.id, None)


def clear() -> None:
    """Forget all runs, in a forked child: they belong to the parent."""
    _open.clear()


def every() -> list[Recorder]:
    """Return all open runs, in the order in which they were opened."""
    return list(_open.values())


def training_here() -> Recorder | None:
    """Return the run that trains on this thread; of a training inside another, the inner one."""
    training = [recorder for recorder in every() if recorder.trains_here]
    return max(training, key=lambda recorder: recorder.trains_since, default=None)


def of(model: Any, *, anywhere: bool = False) -> Recorder | None:
    """Return the newest run that used this model.

    Args:
        model: the model.
        anywhere: whether runs that used it on other threads count, as for a save or an export.
    """
    here = threading.get_ident()
    for recorder in reversed(every()):
        thread = recorder.models.get(model)
        if thread is not None and (anywhere or thread == here):
            return recorder
    return None
