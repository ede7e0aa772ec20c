"""`points`: all points of the metrics of a run, as columns of NumPy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from ..errors import JournalError, warn
from ..storage.journal import FILE_NAME, SYSTEM, Reader
from . import packages, points_file
from .blocks import Block, Blocks, Wanted
from .formats import counted

if TYPE_CHECKING:
    from .packages import Array


class Points(NamedTuple):
    """The points of one metric, in the order in which they were recorded."""

    step: Array
    """The steps, as 64-bit integers; −1 before the first step."""
    epoch: Array
    """The epochs, as 64-bit integers; −1 outside of epochs."""
    time: Array
    """The times in seconds since 1970."""
    value: Array
    """The values, as they were recorded: also NaN and infinities."""


def everything(_: str) -> bool:
    """Want every metric."""
    return True


def points(
    run: str | os.PathLike[str], wanted: Wanted = everything, *, system: bool = False
) -> dict[str, Points]:
    """Return the points of the metrics of a run, in the order in which the metrics were first recorded.

    Metrics that were recorded together share the arrays of their steps, epochs and times.

    Args:
        run: the folder of the run.
        wanted: decides by its name whether a metric is read, as `{"val/loss"}.__contains__` does.
        system: whether to include the measurements of the machine, `system/…`. Their steps are their own: the numbers
            of the samples.

    Raises:
        JournalError: if the journal does not exist or cannot be read.
        MissingPackageError: if NumPy is not installed.
    """
    packages.numpy()
    folder = Path(run)
    found = _by_name(_of_run(folder, wanted))
    return found | system_points(folder, wanted) if system else found


def system_points(run: Path, wanted: Wanted = everything) -> dict[str, Points]:
    """Return the measurements of the machine, `system/…`, over their own steps.

    Raises:
        JournalError: if they cannot be read.
        MissingPackageError: if NumPy is not installed.
    """
    journal = run / SYSTEM
    return _by_name(_read(journal, wanted)[0]) if journal.exists() else {}


def _of_run(folder: Path, wanted: Wanted) -> list[Block]:
    """Read the metrics of a run, those of a finished one from columns, which are stored the first time."""
    stored = points_file.load(folder, wanted)
    if stored is not None:
        return stored
    journal = folder / FILE_NAME
    if not points_file.is_useful(folder):
        return _read(journal, wanted)[0]
    size = journal.stat().st_size
    found, whole = _read(journal, everything)
    if whole:
        points_file.save(folder, found, size)
    return [some for block in found if (some := block.only(wanted)) is not None]


def _read(journal: Path, wanted: Wanted) -> tuple[list[Block], bool]:
    """Return the blocks of a journal, and whether it was read completely."""
    collected = Blocks(wanted)
    try:
        with Reader(journal) as reader:
            found = collected.read(reader)
    except OSError as error:
        raise JournalError(f"{journal} cannot be read: {error.strerror}.") from error
    if reader.skipped:
        lost = counted(reader.skipped, "byte")
        warn(f"{journal} is damaged: {lost} cannot be read, and the points in them are missing.")
    return found, collected.whole and not reader.skipped and not reader.left_out


def _by_name(found: Sequence[Block]) -> dict[str, Points]:
    """Return the points of each metric. Those that are in the same blocks share the arrays of their positions."""
    places: dict[str, list[int]] = {}
    for number, block in enumerate(found):
        for name in block.names:
            places.setdefault(name, []).append(number)
    joined: dict[tuple[int, ...], _Joined] = {}
    points = {}
    for name, numbers in places.items():
        key = tuple(numbers)
        if key not in joined:
            joined[key] = _Joined([found[number] for number in numbers])
        points[name] = joined[key].points(name)
    return points


class _Joined:
    """Blocks that are joined, in the order of the journal."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = blocks
        if len(blocks) > 1:
            np = packages.numpy()
            self._order = np.argsort(np.concatenate([block.order for block in blocks]))
        self._step, self._epoch, self._time = (
            self._column([getattr(block, name) for block in blocks]) for name in ("step", "epoch", "time")
        )

    def points(self, name: str) -> Points:
        """Return the points of a metric that is in all of the blocks."""
        values = [block.values[block.names.index(name)] for block in self._blocks]
        return Points(self._step, self._epoch, self._time, self._column(values))

    def _column(self, parts: Sequence[Array]) -> Array:
        if len(parts) == 1:
            return parts[0]
        return cast("Array", packages.numpy().concatenate(parts)[self._order])
