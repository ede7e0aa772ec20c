"""Find runs by their folder, by their name in the directory of the runs, or by a run object."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from ..errors import InvalidValueError, TrackhooksError, UnknownNameError, nearest
from ..errors.foreign import shown
from ..storage import run_folder
from ..values import checks
from .summary import RunSummary

RunLike = str | os.PathLike[str] | RunSummary
"""The folder of a run, the name of one in the directory of the runs, a directory of runs, a summary, or a `Run`."""


def find(runs: Iterable[RunLike], *, newest_first: bool = False) -> list[Path]:
    """Return the folders of runs, without duplicates.

    Args:
        runs: the runs, also by their names in `TRACKHOOKS_DIR` (or `runs`, if that is not set); a directory of runs
            means all runs in it.
        newest_first: whether the runs of a directory are in the order of `runs`; by default they are sorted by name.

    Raises:
        UnknownNameError: if a run does not exist; the message suggests the nearest name.
        InvalidValueError: if a value cannot name a run.
    """
    home = run_folder.home()
    found = [path for run in runs for path in _ordered(_paths(run, home), newest_first)]
    return list({path.resolve(): path for path in found}.values())


def one(run: RunLike) -> Path:
    """Return the folder of one run.

    Raises:
        UnknownNameError: if the run does not exist; the message suggests the nearest name.
        InvalidValueError: if the value names several runs, or cannot name a run.
    """
    found = find([run])
    if len(found) != 1:
        raise InvalidValueError(f"one run is needed, and there are {len(found)} in {shown(run)}.")
    return found[0]


def _paths(run: RunLike, home: Path) -> list[Path]:
    if isinstance(run, RunSummary):
        return [run.path]
    if not isinstance(run, (str, os.PathLike)):
        raise InvalidValueError(
            f"a run must be given by its folder, its name or a run object, got {shown(run)}."
        )
    path = checks.path("a run", run)
    for candidate in (path, home / path):
        if is_run(candidate):
            return [candidate]
    found = _all_in(path)
    if not found and path.is_dir():
        raise TrackhooksError(
            f"there are no runs in {path}: a run is a folder with a {run_folder.INFO}. To list the runs of another"
            " directory: trackhooks runs DIRECTORY"
        )
    if not found:
        _raise_unknown(path, home)
    return found


def _ordered(paths: list[Path], newest_first: bool) -> list[Path]:
    """Return the runs of a directory in the order of `runs`, if that is wanted."""
    return sorted(paths, key=_created, reverse=True) if newest_first and len(paths) > 1 else paths


def _created(path: Path) -> float:
    """Return when a run was created; runs that cannot be read come last."""
    try:
        return run_folder.read_info(path).created
    except TrackhooksError:
        return 0.0


def is_run(path: Path) -> bool:
    """Return whether a folder is the folder of a run."""
    return (path / run_folder.INFO).is_file()


def is_one_run(run: RunLike) -> bool:
    """Return whether a value that `find` accepts names one run, and not a directory of runs."""
    return isinstance(run, RunSummary) or any(map(is_run, (Path(run), run_folder.home() / run)))


def runs_in(directory: str | os.PathLike[str] | None = None) -> list[Path]:
    """Return the folders of the runs in a directory. If it is itself the folder of a run, return that one.

    Raises:
        TrackhooksError: if the directory does not exist, unless it is the default one.
    """
    home = run_folder.home(directory)
    if is_run(home):
        return [home]
    if directory is not None and not home.is_dir():
        raise TrackhooksError(f"no such directory: {home}")
    return _all_in(home)


def _all_in(directory: Path) -> list[Path]:
    return sorted(run_folder.paths(directory), key=lambda path: path.name)


def _raise_unknown(path: Path, home: Path) -> NoReturn:
    """Suggest the nearest run, from the parent folder of the path if it contains runs, else from `home`."""
    siblings = {} if path.parent == Path() else _by_name(path.parent)
    parent = path.parent if siblings else home
    known = siblings or _by_name(home)
    raise UnknownNameError(f"unknown run {str(path)!r}. {_hint(path.name, known, parent, bool(siblings))}")


def _by_name(directory: Path) -> dict[str, Path]:
    return {found.name: found for found in run_folder.paths(directory)}


def _hint(name: str, known: dict[str, Path], parent: Path, full: bool) -> str:
    if not known:
        return f"No runs found in {parent}."
    close = nearest(name, known)
    if close is None:
        return f"List the runs in {parent}: trackhooks runs {parent}"
    return f"Did you mean {(str(known[close]) if full else close)!r}?"
