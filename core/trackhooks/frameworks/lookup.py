"""Find the open run that a save, a load, an export or an evaluation belongs to. Never opens one."""

from __future__ import annotations

from typing import Any

from ..recording import open_runs
from .interface import RunHooks
from .run_hooks import hooks_of


def run_of(model: Any, *, here: bool = False) -> RunHooks | None:
    """The newest open run that this model has been used in; `here`: on this thread."""
    found = open_runs.of(model, anywhere=not here)
    return None if found is None else hooks_of(found)


def run_around() -> RunHooks | None:
    """The run that trains on this thread now, the innermost one."""
    found = open_runs.training_here()
    return None if found is None else hooks_of(found)
