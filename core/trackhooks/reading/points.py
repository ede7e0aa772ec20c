"""`points`: all points of the metrics of a run, as columns of NumPy."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
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


def _by_name(found: Iterable[Block]) -> dict[str, Points]:
    columns: dict[str, list[tuple[Block, Array]]] = {}
    for block in found:
        for name, values in zip(block.names, block.values, strict=True):
            columns.setdefault(name, []).append((block, values))
    return {name: _joined(parts) for name, parts in columns.items()}


def _joined(parts: list[tuple[Block, Array]]) -> Points:
    """Join the points of a metric that is in several blocks, in the order of the journal."""
    if len(parts) == 1:
        block, values = parts[0]
        return Points(block.step, block.epoch, block.time, values)
    np = packages.numpy()
    order = np.argsort(np.concatenate([block.order for block, _ in parts]))

    def column(arrays: Iterator[Array]) -> Array:
        return cast("Array", np.concatenate(list(arrays))[order])

    return Points(
        column(block.step for block, _ in parts),
        column(block.epoch for block, _ in parts),
        column(block.time for block, _ in parts),
        column(values for _, values in parts),
    )
