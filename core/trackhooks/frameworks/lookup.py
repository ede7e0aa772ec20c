"""Find the open run that a save, a load, an export or an evaluation belongs to. Never opens one."""

from __future__ import annotations

from typing import Any

from ..recording import open_runs
from .interface import RunHooks
from .run_hooks import hooks_of


def run_of(model: Any, *, here: bool = False) -> RunHooks | None:
    """Return the newest open run in which this model was used; with `here`, only on this thread."""
    found = open_runs.of(model, anywhere=not here)
    return None if found is None else hooks_of(found)


def run_around() -> RunHooks | None:
    """Return the run of the innermost training on this thread."""
    found = open_runs.training_here()
    return None if found is None else hooks_of(found)
