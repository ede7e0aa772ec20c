"""`Checkpoints`: which checkpoints of a run a backend holds, by the same policy as the run's folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from trackhooks.event import File, RunInfo
from trackhooks.storage.checkpoints import Policy


class Checkpoint(msgspec.Struct, omit_defaults=True):
    """One version of a checkpoint: a loop that overwrites `last.pt` makes many."""

    file: File
    event: int
    """The record that noted it."""
    number: int = 0
    """Counted over the run's checkpoints, from 0."""
    aliases: list[str] = []
    """Those that no newer version has taken."""
    id: str = ""
    """What the backend calls it."""

    def source(self, run: RunInfo) -> Path:
        """Where its bytes are."""
        return Path(run.path, self.file.kept) if self.file.kept else Path(self.file.path)


class Checkpoints:
    """The checkpoints that stay, oldest first.

    Args:
        keep: the policy, as in `RunInfo.keep`.
        state: what `state` returned.
    """

    def __init__(self, keep: str, state: Any = None) -> None:
        self.policy = Policy(keep)
        saved = state or {"count": 0, "held": []}
        self._count: int = saved["count"]
        self.held = msgspec.convert(saved["held"], list[Checkpoint])

    def add(self, file: File, event: int) -> tuple[Checkpoint, list[Checkpoint], list[Checkpoint]]:
        """Takes a new version, to which its aliases move; the newest stays in any case.

        Returns:
            It, the older ones that have lost an alias and stay, and those that stay no longer.
        """
        poorer = [older for older in self.held if set(file.aliases) & set(older.aliases)]
        for older in poorer:
            older.aliases = [alias for alias in older.aliases if alias not in file.aliases]
        gone = [older for older in self.held if not self.policy.stays(frozenset(older.aliases), older.number)]
        finite = {name: value for name, value in file.metrics.items() if math.isfinite(value)}
        new = Checkpoint(replace(file, metrics=finite), event, self._count, list(file.aliases))
        self._count += 1
        self.held = [*(older for older in self.held if older not in gone), new]
        return new, [older for older in poorer if older not in gone], gone

    def of(self, path: str | None) -> Checkpoint | None:
        """The newest that the loop wrote to this path, where one of them is held."""
        return next((held for held in reversed(self.held) if held.file.path == path), None)

    def state(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"count": self._count, "held": msgspec.to_builtins(self.held)}
