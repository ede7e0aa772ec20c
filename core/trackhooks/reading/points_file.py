"""The points of a finished run as columns, in the file `points.npz` of its folder, so that they are read once.

The journal remains the truth. The file is not needed, and it is made again if it does not fit the journal: if the run
was continued, or if the file is damaged or was written by another version. `numpy.load` reads it.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ..errors import TrackhooksError
from ..event import FINAL
from ..storage import run_folder
from ..storage.journal import FILE_NAME as JOURNAL
from ..storage.new_file import new_file
from . import packages
from .blocks import Block, Wanted

if TYPE_CHECKING:
    from .packages import Array

FILE_NAME: Final = "points.npz"
_VERSION = 1
_SMALLEST, _LARGEST = 200_000, 4_000_000_000
"""The sizes of journals, in bytes, for which the file is made: others are read quickly, or need too much memory."""
_TAIL = 1 << 16
"""How many bytes at the end of the journal are compared."""
_ARRAYS = ("order", "step", "epoch", "time")
_DAMAGED = (
    OSError, ValueError, KeyError, EOFError, RuntimeError, OverflowError, zipfile.BadZipFile, zlib.error, struct.error,
    msgspec.DecodeError,
)  # fmt: skip
"""What reading a damaged archive may raise. The content of its members is checked by their CRC first."""


class _Index(msgspec.Struct):
    """What the file contains, and of which journal."""

    version: int
    size: int
    """The size of the journal in bytes."""
    crc32: int
    """The CRC-32 of its end."""
    blocks: list[list[str]]
    """The names of the metrics of each block."""


def is_useful(run: Path) -> bool:
    """Return whether the file can and should be made: for a finished run that is not small."""
    try:
        size = (run / JOURNAL).stat().st_size
        finished = run_folder.read_info(run).status in FINAL
    except (OSError, TrackhooksError):
        return False
    return finished and _SMALLEST <= size <= _LARGEST and os.access(run, os.W_OK)


def load(run: Path, wanted: Wanted) -> list[Block] | None:
    """Return the wanted metrics from the file; None if there is none that fits the journal."""
    if not (run / FILE_NAME).is_file():  # opening a pipe would wait for a writer
        return None
    try:
        with zipfile.ZipFile(run / FILE_NAME) as archive:
            index = msgspec.json.decode(_array(archive, "index").tobytes(), type=_Index)
            if (index.version, index.size, index.crc32) != (_VERSION, *_fingerprint(run / JOURNAL)):
                return None
            chosen = [[name for name in names if wanted(name)] for names in index.blocks]
            return [_block(archive, number, names, index) for number, names in enumerate(chosen) if names]
    except _DAMAGED:
        return None


def _block(archive: zipfile.ZipFile, number: int, chosen: list[str], index: _Index) -> Block:
    np = packages.numpy()
    order, step, epoch = (_array(archive, f"{number}/{name}").astype(np.int64) for name in _ARRAYS[:3])
    time = _array(archive, f"{number}/time").astype(np.float64, copy=False)
    positions = {name: position for position, name in enumerate(index.blocks[number])}
    values = [_array(archive, f"{number}/{positions[name]}") for name in chosen]
    values = [array.astype(np.float64, copy=False) for array in values]
    if any(len(column) != len(order) for column in (step, epoch, time, *values)):
        raise ValueError("the columns of a block have different lengths")
    return Block(tuple(chosen), order, step, epoch, time, values)


def _array(archive: zipfile.ZipFile, name: str) -> Array:
    """Return a column of numbers. Its size is at most that of the file: a run may come from anybody."""
    np = packages.numpy()
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError("a compressed array may be of any size")
    content = io.BytesIO(archive.read(member))  # this checks the CRC
    if np.lib.format.read_magic(content) != (1, 0):
        raise ValueError("the header of an array has another version")
    shape, _, dtype = np.lib.format.read_array_header_1_0(content)
    if len(shape) != 1 or dtype.kind not in "iuf":
        raise ValueError("an array is not a column of numbers")
    found: Array = np.frombuffer(content.getbuffer()[content.tell() :], dtype)
    if found.shape != shape:
        raise ValueError("the length of an array is not that of its header")
    return found


def save(run: Path, blocks: list[Block], size: int) -> None:
    """Make the file, if that is possible.

    Args:
        run: the folder of the run.
        blocks: all metrics of the run.
        size: the size of the journal before it was read. If it has grown since, nothing is written.
    """
    np = packages.numpy()
    with suppress(OSError):
        found, crc32 = _fingerprint(run / JOURNAL)
        if found != size:
            return
        index = _Index(_VERSION, size, crc32, [list(block.names) for block in blocks])
        arrays = {"index": np.frombuffer(msgspec.json.encode(index), np.uint8)}
        for number, block in enumerate(blocks):
            columns: dict[str, Any] = {name: getattr(block, name) for name in _ARRAYS}
            columns |= {str(position): values for position, values in enumerate(block.values)}
            arrays |= {f"{number}/{name}": _compact(array) for name, array in columns.items()}
        with new_file(run / FILE_NAME, overwrite=True) as file:
            np.savez(file, **arrays)


def _compact(array: Array) -> Array:
    """Return the array with the smallest type that holds its values exactly: many values of a training have 32 bits."""
    np = packages.numpy()
    if array.dtype == np.int64:
        small = (np.int8, np.int16, np.int32)
        fitting = (
            kind for kind in small if array.min() >= np.iinfo(kind).min and array.max() <= np.iinfo(kind).max
        )
        return array.astype(next(fitting, np.int64), copy=False)
    with np.errstate(over="ignore"):
        narrow = array.astype(np.float32)
    return narrow if np.array_equal(narrow, array, equal_nan=True) else array


def _fingerprint(journal: Path) -> tuple[int, int]:
    """Return the size of a journal and the CRC-32 of its end."""
    with journal.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _TAIL, 0))
        return size, zlib.crc32(file.read(_TAIL))
