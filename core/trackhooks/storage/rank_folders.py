"""The folders of the ranks of a run, if every rank of its job records.

Rank 0 writes the journal of the run itself. Each other rank has a folder `ranks/<rank>` in that of the run, which is
like the folder of a run: `run.json`, `journal`, and `system`, the measurements of its process.
"""

from __future__ import annotations

from pathlib import Path

from .run_folder import INFO

FOLDER = "ranks"


def path_of(run: Path, rank: int) -> Path:
    """Return the folder with the journal of a rank."""
    return run / FOLDER / str(rank) if rank else run


def run_of(folder: Path) -> Path:
    """Return the folder of the run, given the one with the journal of a rank."""
    run = folder.parent.parent
    is_rank = folder.parent.name == FOLDER and folder.name.isdecimal() and (run / INFO).exists()
    return run if is_rank else folder


def ranks_of(run: Path) -> dict[int, Path]:
    """Return the folders of all ranks that have recorded, by rank."""
    try:
        names = [path.name for path in (run / FOLDER).iterdir() if path.name.isdecimal()]
    except (FileNotFoundError, NotADirectoryError):
        names = []
    folders = {rank: path_of(run, rank) for rank in sorted({0, *map(int, names)})}
    return {rank: path for rank, path in folders.items() if (path / INFO).exists()}
