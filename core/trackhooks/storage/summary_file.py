"""The file `summary` of a run: the totals of its journal, so that no reader starts from the beginning again.

Format
    A header with the name of the format, its version (`totals.FORMAT`) and the CRC-32 of the payload; then the
    payload, a `_Stored` in MessagePack.

Promises
    The journal and `run.json` remain the truth: the file may be removed at any time. It is ignored if it is damaged,
    or if the journal is not the one that it describes, with nothing but records added. Reading a run never fails
    because of it, for example in a read-only folder. A file that another program or a later version wrote is neither
    used nor replaced.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from pathlib import Path
from typing import Final

import msgspec

from ..errors import JournalError
from .decoding import UNDECODABLE
from .journal import FILE_NAME as JOURNAL
from .journal import Reader
from .run_folder import content
from .totals import FORMAT, Progress, Totals

FILE_NAME: Final = "summary"

_TEMPORARY = ".summary.new"
"""All writers use the same name, so that one that is killed leaves at most one file, which the next one uses."""
_MAGIC = b"trackhooks-summary\0"
_HEADER = struct.Struct(f"<{len(_MAGIC)}sBI")
_TAIL = 4096
"""The number of bytes in front of the offset that must be the same as before."""
_WORTH = 1 << 15
"""Storing the totals of a run that has not ended is worth it if this many bytes of its journal were read."""


class _File(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What identifies the content of a journal without reading it."""

    size: int
    modified_ns: int
    inode: int


class _Stored(msgspec.Struct, array_like=True, gc=False):
    journal: _File
    """The journal, before it was read."""
    tail: int
    """The CRC-32 of the journal's last bytes in front of the offset."""
    totals: Totals


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Stored).decode


def read_totals(
    run: str | os.PathLike[str],
    ended: bool = False,
    progress: Progress | None = None,
    from_start: bool = False,
) -> Totals:
    """Read the totals of a run, from its `summary` as far as that goes, and store them if that is worth it.

    A journal that cannot be read does not raise an error: see `Totals.journal`.

    Args:
        run: the folder of the run.
        ended: whether the run has ended, so that storing its totals is worth it even if the journal is small.
        progress: see `totals.Progress`.
        from_start: read the whole journal, to find damage that occurred after the totals were stored.
    """
    folder = os.fspath(run)
    known = None if from_start else _load(folder)
    if known is not None and known.journal == _journal_of(folder):
        if progress is not None:
            progress(known.totals.journal.end)
        return known.totals
    try:
        return _read(folder, known, ended, progress)
    except (JournalError, OSError) as error:
        totals = Totals()
        totals.journal.error = str(error)
        return totals


def _read(folder: str, known: _Stored | None, ended: bool, progress: Progress | None) -> Totals:
    with Reader(f"{folder}/{JOURNAL}") as reader:
        found = _identify(reader.stat())
        if known is None or not _has_grown(known, found, reader):
            known = None
        totals = Totals() if known is None else known.totals
        before = totals.journal.end
        if known is not None:
            totals.resume(reader)
        totals.read(reader, progress)
        # Parts that cannot be read now may be readable later, with a new version or when the files have been copied.
        complete = not totals.journal.left_out and not totals.without_file
        if complete and (ended or totals.journal.end - before >= _WORTH):
            _store(folder, _Stored(found, _tail_crc(reader, totals.journal.end), totals))
    return totals


def _has_grown(known: _Stored, found: _File, reader: Reader) -> bool:
    """Return whether the journal is the known one, or a copy of it, to which at most records were added."""
    end = known.totals.journal.end
    same_size = found.size == known.journal.size
    if found.size < end or (same_size and found.modified_ns != known.journal.modified_ns):
        return False
    return _tail_crc(reader, end) == known.tail


def _tail_crc(reader: Reader, end: int) -> int:
    start = max(end - _TAIL, 0)
    return zlib.crc32(reader.bytes_at(start, end - start))


def _journal_of(folder: str) -> _File | None:
    try:
        return _identify(os.stat(f"{folder}/{JOURNAL}"))  # noqa: PTH116 — there may be thousands of runs
    except OSError:
        return None


def _identify(found: os.stat_result) -> _File:
    return _File(found.st_size, found.st_mtime_ns, found.st_ino)


def _load(folder: str) -> _Stored | None:
    """Read the stored totals; None if there are none that can be used."""
    try:
        data = content(f"{folder}/{FILE_NAME}")
    except OSError:
        return None
    if len(data) < _HEADER.size:
        return None
    magic, version, crc = _HEADER.unpack_from(data)
    payload = data[_HEADER.size :]
    if magic != _MAGIC or version != FORMAT or zlib.crc32(payload) != crc:
        return None
    try:
        return _decode(payload)
    except UNDECODABLE:
        return None


def _store(folder: str, stored: _Stored) -> None:
    """Replace the file atomically, if it may be replaced and the folder can be written."""
    payload = _encode(stored)
    data = _HEADER.pack(_MAGIC, FORMAT, zlib.crc32(payload)) + payload
    with contextlib.suppress(OSError):
        if not _may_be_replaced(folder):
            return
        temporary = Path(folder, _TEMPORARY)
        try:
            temporary.unlink(missing_ok=True)
            # Two writers that meet may leave a file with a wrong checksum, which the next reader replaces.
            with temporary.open("xb") as file:
                file.write(data)
            temporary.replace(Path(folder, FILE_NAME))
        except OSError:
            temporary.unlink(missing_ok=True)


def _may_be_replaced(folder: str) -> bool:
    """Return whether there is no file, or one that this or an earlier version wrote, at least the beginning of one."""
    try:
        data = content(f"{folder}/{FILE_NAME}")
    except FileNotFoundError:
        return True
    if len(data) < _HEADER.size:
        return _MAGIC.startswith(data[: len(_MAGIC)])
    magic, version, _ = _HEADER.unpack_from(data)
    return bool(magic == _MAGIC and version <= FORMAT)
