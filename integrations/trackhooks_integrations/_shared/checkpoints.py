"""`Checkpoints`: which checkpoints of a run a backend holds, by the same policy as the run's folder."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from trackhooks.event import File, RunInfo
from trackhooks.tracker_tools import CheckpointPolicy, bytes_of


class Checkpoint(msgspec.Struct, omit_defaults=True):
    """One version of a checkpoint. A loop that overwrites `last.pt` creates many."""

    file: File
    event: int
    """The index of the record that holds it."""
    number: int = 0
    """Counts the run's checkpoints, from 0."""
    aliases: list[str] = []
    """The aliases that have not moved to a newer version."""
    id: str = ""
    """The backend's name for it."""

    def source(self, run: RunInfo) -> Path | None:
        """Return the path of its bytes; None if they are gone."""
        return bytes_of(run.path, self.file)


class Added(NamedTuple):
    """The effect of a new version on the older ones."""

    new: Checkpoint
    lost_alias: list[Checkpoint]
    """Older versions that lost an alias and are kept."""
    dropped: list[Checkpoint]
    """Older versions that are not kept any more."""


class Checkpoints:
    """The checkpoints that are kept, oldest first.

    Args:
        keep: the policy, as in `RunInfo.keep`.
        state: the return value of `state`, to continue from it.
    """

    def __init__(self, keep: str, state: Any = None) -> None:
        self.policy = CheckpointPolicy(keep)
        saved = state or {"count": 0, "held": []}
        self._count: int = saved["count"]
        self.held = msgspec.convert(saved["held"], list[Checkpoint])

    def add(self, file: File, event: int) -> Added:
        """Add a new version and move its aliases to it. The newest version is always kept."""
        changed = self._move_aliases(file.aliases)
        dropped = [older for older in self.held if not self._is_kept(older)]
        new = Checkpoint(_with_finite_metrics(file), event, self._count, list(file.aliases))
        self._count += 1
        self.held = [*(older for older in self.held if older not in dropped), new]
        return Added(new, [older for older in changed if older not in dropped], dropped)

    def _move_aliases(self, aliases: tuple[str, ...]) -> list[Checkpoint]:
        """Remove these aliases from the versions that have them; return these versions."""
        changed = [older for older in self.held if set(aliases) & set(older.aliases)]
        for older in changed:
            older.aliases = [alias for alias in older.aliases if alias not in aliases]
        return changed

    def _is_kept(self, checkpoint: Checkpoint) -> bool:
        return self.policy.stays(frozenset(checkpoint.aliases), checkpoint.number)

    def of(self, path: str | None) -> Checkpoint | None:
        """Return the newest version that the loop wrote to this path, or None."""
        return next((held for held in reversed(self.held) if held.file.path == path), None)

    def state(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        return {"count": self._count, "held": msgspec.to_builtins(self.held)}


def _with_finite_metrics(file: File) -> File:
    """Copy the file's description without NaN and infinities, which JSON cannot hold."""
    return replace(
        file, metrics={name: value for name, value in file.metrics.items() if math.isfinite(value)}
    )
