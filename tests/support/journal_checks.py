"""What must be true of any file in the place of a journal, whatever its bytes are."""

from __future__ import annotations

import struct
import zlib
from contextlib import closing
from pathlib import Path

import msgspec

from trackhooks.errors import JournalError
from trackhooks.event import Event
from trackhooks.storage.journal import Reader, Writer, find_last
from trackhooks.storage.lost_runs import info_of_journal
from trackhooks.storage.totals import Totals

FRAME = struct.Struct("<4sII")
MARKER = b"\xf7TH\x1a"
NEW = Event("log", 1_000_000, 2.0, metrics={"new": 1.0})


def framed(payload: bytes) -> bytes:
    """Return a record with this content, and the right checksum."""
    crc = zlib.crc32(payload, zlib.crc32(struct.pack("<I", len(payload))))
    return FRAME.pack(MARKER, len(payload), crc) + payload


def check(folder: Path, data: bytes) -> int:
    """Read these bytes as a journal in every way, continue it, and read it again.

    Returns:
        The number of its records; −1 if it is refused.

    Raises:
        AssertionError: a promise of the journal is broken.
    """
    path = folder / "journal"
    path.write_bytes(data)
    try:
        events = _read(folder, len(data))
    except JournalError:
        _check_refused(folder, data)
        return -1
    _check_pieces(folder, events)
    _check_summaries(folder, events)
    assert path.read_bytes() == data, "reading changed the file"
    _check_continued(folder, events)
    return len(events)


def _read(folder: Path, size: int) -> list[Event]:
    with Reader(folder) as reader:
        events = list(reader)
        assert list(reader) == [], "a second pass found more"
        assert reader.skipped <= reader.offset <= max(size, 16)
        assert reader.behind == max(size - reader.offset, 0)
    for event in events:
        again = msgspec.msgpack.decode(msgspec.msgpack.encode(event), type=Event)
        assert repr(again) == repr(event)  # NaN is not equal to itself
    return events


def _check_refused(folder: Path, data: bytes) -> None:
    """A file that is not a journal is neither continued nor changed."""
    try:
        Writer(folder).close()
    except JournalError:
        assert (folder / "journal").read_bytes() == data, "a file that is not a journal was changed"
    else:
        raise AssertionError("a file that cannot be read was continued")


def _check_pieces(folder: Path, events: list[Event]) -> None:
    """A reader that starts where another stopped finds the rest, and the last record is found from the end."""
    found, offset = [], 0
    while True:
        with Reader(folder, offset) as reader:
            event = next(iter(reader), None)
            if event is None:
                break
            found.append(event)
            offset = reader.offset
    assert list(map(repr, found)) == list(map(repr, events))
    last, _ = find_last(folder)
    assert repr(last) == repr(events[-1] if events else None)


def _check_summaries(folder: Path, events: list[Event]) -> None:
    totals = Totals()
    with Reader(folder) as reader:
        totals.read(reader)
    assert totals.journal.records == len(events)
    info_of_journal(folder)


def _check_continued(folder: Path, events: list[Event]) -> None:
    with closing(Writer(folder)) as writer:
        assert repr(writer.last) == repr(events[-1] if events else None)
        writer.append(NEW)
    with Reader(folder) as reader:
        assert list(map(repr, reader)) == [*map(repr, events), repr(NEW)]
