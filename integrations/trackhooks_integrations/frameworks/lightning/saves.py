"""Checkpoints that a Trainer has saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trackhooks import journal
from trackhooks.frameworks import resume_marker
from trackhooks.frameworks.helpers import Lookups
from trackhooks.frameworks.interface import RunHooks

_TEMPORARY = (".lr_find_", ".scale_batch_size_")
"""How the names of files begin in which Lightning keeps a model while it looks for a learning rate or batch size."""


def record_save(run: RunHooks, trainer: Any, path: Path) -> None:
    """Record a checkpoint. Leave a note beside it if a `ModelCheckpoint` chose its folder."""
    if path.name.startswith(_TEMPORARY):
        return
    savers = run.lookups.find("the checkpoint callbacks", (), _savers, trainer)
    if any(saver.dirpath and Path(saver.dirpath) == path.parent for saver in savers):
        resume_marker.leave(path.parent, run)
    if path.exists():
        run.saved(path, ["best" if any(_is_best(saver, path) for saver in savers) else "last"])
    else:  # in a storage that only Lightning can read, or still being written
        run.fire("on_model_save")


def run_of_checkpoint(path: Path) -> Path | None:
    """Return the folder of the run that has saved this checkpoint, if there is a note of it beside the checkpoint.

    A later training may have saved into the same folder: the note is then of its run.
    """
    noted = resume_marker.find(path.parent)
    is_its = noted is not None and Lookups().find(
        f"the run {noted}", False, _has_saved, noted, path.resolve()
    )
    return noted if is_its else None


def _has_saved(run: Path, path: Path) -> bool:
    saved = (event.files for event in journal.read(run) if event.hook == "on_model_save")
    return any(Path(file.path).resolve() == path for files in saved for file in files)


def _savers(trainer: Any) -> list[Any]:
    return [saver for saver in trainer.checkpoint_callbacks if hasattr(saver, "best_model_path")]


def _is_best(saver: Any, path: Path) -> bool:
    return saver.monitor is not None and bool(saver.best_model_path) and Path(saver.best_model_path) == path
