"""`OneRun`: all trainings, evaluations and predictions of one callback belong to one run (implements `Runs`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .interface import Kind, Mode, RunHooks
from .mode import RunMode
from .run_hooks import RecorderHooks


class OneRun:
    """Records into the run of a user, who sets its status by closing it.

    Args:
        hooks: of the run.
    """

    def __init__(self, hooks: RecorderHooks) -> None:
        self._hooks = hooks

    @property
    def only(self) -> RunHooks | None:
        """The run."""
        return self._hooks

    def training(self, model: Any, *, resumes: bool | Path = False) -> Mode:
        """A training of this run."""
        return RunMode(self._hooks, model, "train", settles=False)

    def use(self, model: Any, kind: Kind) -> Mode:
        """Anything else in this run."""
        return RunMode(self._hooks, model, kind, settles=False)
