"""Finding runs by what people call them: a folder, a name in the directory of the runs, or the run itself."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import InvalidValueError, TrackhooksError, UnknownNameError
from ..recording.recorder import Recording
from ..storage import run_folder
from .summary import RunSummary

RunLike = str | os.PathLike[str] | RunSummary | Recording
"""A run's folder, its name in the directory of the runs, a directory of runs, a summary, or the run itself."""


def find(runs: Iterable[RunLike], directory: str | os.PathLike[str] | None = None) -> list[Path]:
    """The folders of runs, each once.

    Args:
        runs: a directory of runs stands for all of them.
        directory: where names are looked for; by default that of `TRACKHOOKS_DIR`, and `runs` where it is not set.

    Raises:
        UnknownNameError: there is no such run; the message holds the nearest name.
        InvalidValueError: something that cannot name a run.
    """
    home = run_folder.home(directory)
    found = [path for run in runs for path in _paths(run, home)]
    return list({path.resolve(): path for path in found}.values())


def _paths(run: RunLike, home: Path) -> list[Path]:
    if isinstance(run, (RunSummary, Recording)):
        return [run.path]
    if not isinstance(run, (str, os.PathLike)):
        raise InvalidValueError(f"{run!r} is no run: a run's folder, its name or the run itself is needed.")
    path = Path(run)
    for candidate in (path, home / path):
        if is_run(candidate):
            return [candidate]
    return _all_in(path) or _raise_unknown(path, home)


def is_run(path: Path) -> bool:
    """Whether the folder is that of a run."""
    return (path / run_folder.INFO).is_file()


def runs_in(directory: str | os.PathLike[str] | None = None) -> list[Path]:
    """The folders of the runs in a directory; the folder of a run stands for that run.

    Raises:
        TrackhooksError: there is no such directory, unless it is the default one, where no run was made yet.
    """
    home = run_folder.home(directory)
    if is_run(home):
        return [home]
    if directory is not None and not home.is_dir():
        raise TrackhooksError(f"{home}: there is no such directory.")
    return _all_in(home)


def _all_in(directory: Path) -> list[Path]:
    return sorted(run_folder.paths(directory))


def _raise_unknown(path: Path, home: Path) -> list[Path]:
    """Names the nearest run, beside the path that was given or in the directory of the runs."""
    beside = (
        {str(found): found.name for found in run_folder.paths(path.parent)} if path.parent != Path() else {}
    )
    known = beside or {found.name: found.name for found in run_folder.paths(home)}
    close = difflib.get_close_matches(path.name, known.values(), n=1, cutoff=0.5)
    shown = next((text for text, name in known.items() if close and name == close[0]), None)
    where = path.parent if beside else home
    hint = (
        f"Did you mean {shown!r}?" if shown else f"See the {len(known)} in {where}: trackhooks runs {where}"
    )
    raise UnknownNameError(f"unknown run {str(path)!r}. {hint if known else f'There is none in {where}.'}")
