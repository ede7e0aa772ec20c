"""The uncommitted changes of a run's code, and the files in which those of several runs differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from ..storage import patches
from ..storage.patches import Change
from .formats import unique
from .summary import RunSummary


def changes_of(run: RunSummary) -> dict[str, Change]:
    """Return the uncommitted changes of a run by file; nothing if there are none, or if they were not kept."""
    kept = [file.kept for file in run.files if file.name == patches.NAME and file.kept]
    if not kept or not run.info.environment.get("git/dirty"):
        return {}
    return patches.read(run.path / "files" / PurePosixPath(kept[-1]).name)  # a run may come from anybody


def differing_changes(runs: Sequence[RunSummary | None]) -> dict[str, list[Change | None]]:
    """Return the files whose uncommitted changes are not the same in all runs, each with its change in each run.

    Args:
        runs: the runs; None for a group of runs, which does not have its own changes.
    """
    found = [{} if run is None else changes_of(run) for run in runs]
    names = unique(name for changes in found for name in changes)
    rows = {name: [changes.get(name) for changes in found] for name in names}
    return {name: row for name, row in rows.items() if any(change != row[0] for change in row)}
