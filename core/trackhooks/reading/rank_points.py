"""The points of the ranks of a run: those of one rank, or their minimum, mean or maximum over all ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

from ..errors import InvalidValueError
from ..errors.foreign import shown
from ..storage.rank_folders import path_of, ranks_of
from ..values import checks
from . import packages
from .blocks import Wanted
from .formats import unique
from .points import Points, everything, points

How = Literal["min", "mean", "max"]
Rank = int | Literal["all"] | How
EVERY: Final = "all"
RANK: Final = "rank"
"""The column with the rank."""
_ACCEPTED = (EVERY, *get_args(How))


def checked(rank: Any, over: Any) -> Rank:
    """Return the option `rank` of a history.

    Raises:
        InvalidValueError: if it is not accepted, or if values would be combined that have no position in common.
    """
    if not isinstance(rank, str):
        return checks.index("rank", rank)
    if rank not in _ACCEPTED:
        raise InvalidValueError(f"rank must be a number or one of {', '.join(_ACCEPTED)}, got {shown(rank)}.")
    if rank != EVERY and over == "time":
        raise InvalidValueError(
            f"rank={rank!r} combines the ranks at each step or epoch, and over='time' has neither. Use over='step'."
        )
    return cast(Rank, rank)


def chosen(run: Path, rank: Rank | None) -> list[Rank | None]:
    """Return what is read of a run, each in rows of its own.

    Raises:
        InvalidValueError: if the run has no such rank.
    """
    if rank == EVERY:
        return [*ranks_of(run)]
    if isinstance(rank, int) and rank not in ranks_of(run):
        there = ", ".join(map(str, ranks_of(run)))
        raise InvalidValueError(
            f"run {run.name!r} has no records of rank {rank}. Ranks that recorded: {there}. To record all of them:"
            " trackhooks.run(ranks='all')"
        )
    return [rank]


def points_of(
    run: Path, rank: Rank | None, axis: str, wanted: Wanted = everything, *, system: bool = False
) -> dict[str, Points]:
    """Return the points of the metrics of a rank, or what is computed over all of them.

    Args:
        run: the folder of the run.
        rank: a rank, or what is computed; None for rank 0.
        axis: where values of different ranks are combined: at each `"step"` or `"epoch"`.
        wanted: as in `points.points`.
        system: as in `points.points`.

    Raises:
        JournalError: if a journal cannot be read.
    """
    if not isinstance(rank, str):
        return points(path_of(run, rank or 0), wanted, system=system)
    every = [points(path, wanted, system=system) for path in ranks_of(run).values()]
    names = unique(name for found in every for name in found)
    return {
        name: combined([found[name] for found in every if name in found], cast(How, rank), axis)
        for name in names
    }


def combined(ranks: Sequence[Points], how: How, axis: str) -> Points:
    """Return the minimum, mean or maximum of one metric at each step or epoch, over the ranks that have it there.

    A value that is NaN on one rank makes the result NaN.
    """
    np = packages.numpy()
    parts = [_last_of_each(part, axis) for part in ranks]
    every = Points(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    _, places, counts = np.unique(getattr(every, axis), return_inverse=True, return_counts=True)
    order = np.argsort(places, kind="stable")
    ends = np.cumsum(counts)
    values = _COMBINE[how](np).reduceat(every.value[order], ends - counts)
    last = order[ends - 1]
    if how == "mean":
        values = values / counts
    return Points(every.step[last], every.epoch[last], every.time[last], values)


_COMBINE: dict[How, Callable[[Any], Any]] = {
    "min": lambda np: np.minimum,
    "mean": lambda np: np.add,
    "max": lambda np: np.maximum,
}


def _last_of_each(part: Points, axis: str) -> Points:
    """Return the last point of each step or epoch, in their order. A step has several if it was trained again."""
    np = packages.numpy()
    _, places = np.unique(getattr(part, axis)[::-1], return_index=True)
    last = len(part.value) - 1 - places
    return Points(part.step[last], part.epoch[last], part.time[last], part.value[last])
