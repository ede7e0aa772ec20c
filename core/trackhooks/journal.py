"""The journal: a run's append-only record.

The file starts with a header of 16 bytes: `trackhooks`, a zero byte, the version of the format, four zero bytes.
Each record follows as marker (4 bytes), length (u32), crc32 over length and payload (u32), payload (an `Event`
in MessagePack), all little-endian, written with one `os.write`. What `append` returned from survives the death of
the process; `sync` makes it survive the death of the machine.

A reader may follow a file that is being written. An incomplete end is waited for; anything else that is no record is
skipped up to the next marker that starts a whole one, and reported.
"""

from __future__ import annotations

import os
import struct
import threading
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from .errors import JournalError
from .event import Event

try:
    import fcntl
except ImportError:  # Windows: one writer at a time is then the user's own care
    fcntl = None  # type: ignore[assignment]

FILE_NAME: Final = "journal"
VERSION: Final = 1
MAX_RECORD: Final = 16 * 1024 * 1024
"""Bytes of a payload; a larger record is stored as a file of its own under `files/records/`."""

_MAGIC = b"trackhooks\0"
_HEADER = struct.Struct("<11sB4x")
_FRAME = struct.Struct("<4sII")
_LENGTH = struct.Struct("<I")
_MARKER = b"\xf7TH\x1a"
_CHUNK = 1 << 20

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Event).decode


def path_of(run: str | os.PathLike[str]) -> Path:
    """The journal of a run's folder; the path of a journal itself serves too."""
    path = Path(run)
    return path / FILE_NAME if path.is_dir() else path


def _frame(payload: bytes) -> bytes:
    size = len(payload)
    return _FRAME.pack(_MARKER, size, zlib.crc32(payload, zlib.crc32(_LENGTH.pack(size)))) + payload


class Writer:
    """Appends to one journal. One writer at a time, safe with threads, deaf in a forked child.

    Raises:
        JournalError: another process writes this journal now, or it is of a version that is not known here.
    """

    def __init__(self, run: str | os.PathLike[str]) -> None:
        self._folder = Path(run)
        self._path = self._folder / FILE_NAME
        self.last: Event | None = None
        """The last record of a journal that existed already."""
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._lock_file()
            self._end = self._recover()
        except BaseException:
            os.close(self._fd)
            raise
        self._torn = False
        self._mutex = threading.Lock()
        _open_writers.add(self)

    def _lock_file(self) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(
                f"{self._path} is being written by another process or run. Close that one first, or open a new run."
            ) from None
        except OSError:
            pass  # a file system without locks

    def _recover(self) -> int:
        """The end of the last whole record; what a killed writer left behind it is cut off."""
        if os.fstat(self._fd).st_size < _HEADER.size:
            os.ftruncate(self._fd, 0)
            os.write(self._fd, _HEADER.pack(_MAGIC, VERSION))
            return _HEADER.size
        reader = Reader(self._path)
        for self.last in reader:
            pass
        os.ftruncate(self._fd, reader.offset)
        return reader.offset

    @property
    def open(self) -> bool:
        """Whether this process may write."""
        return self._fd >= 0

    def append(self, event: Event) -> None:
        """Writes one record; when this returns, the record survives a kill of the process.

        Raises:
            OSError: the record could not be written whole (a full disk); the journal is as it was before.
        """
        payload = _encode(event)
        if len(payload) > MAX_RECORD:
            payload = _encode(self._overflow(event, payload))
        record = _frame(payload)
        with self._mutex:
            if self._fd < 0:
                return
            if self._torn:
                self._cut()
            written = os.write(self._fd, record)
            if written != len(record):
                self._mend(record[written:])
            self._end += len(record)

    def _overflow(self, event: Event, payload: bytes) -> Event:
        name = f"files/records/{event.index}.msgpack"
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload)
        return Event(
            event.hook,
            event.index,
            event.time,
            event.step,
            event.epoch,
            event.batch,
            status=event.status,
            overflow=name,
        )

    def _mend(self, rest: bytes) -> None:
        """A short write says that the disk is full, or that a signal came: the rest is tried, else all is cut off."""
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            self._torn = True
            self._cut()
            raise

    def _cut(self) -> None:
        os.ftruncate(self._fd, self._end)
        self._torn = False

    def sync(self) -> None:
        """Makes all that was appended survive a crash of the machine."""
        if self._fd >= 0:
            os.fsync(self._fd)

    def close(self) -> None:
        """Syncs and closes; later appends do nothing. Closing again does nothing."""
        with self._mutex:
            fd, self._fd = self._fd, -1
        _open_writers.discard(self)
        if fd >= 0:
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _abandon(self) -> None:
        """In a forked child: the lock and the file belong to the parent, and so does whoever held the mutex."""
        self._mutex = threading.Lock()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


_open_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


def _abandon_all() -> None:
    for writer in list(_open_writers):
        writer._abandon()
    _open_writers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)


class Reader:
    """Reads a journal from `offset` on; iterating again continues where the last iteration ended.

    Args:
        run: the folder of a run, or its journal.
        offset: where to start, in bytes: 0, or the `offset` of an earlier reader.

    Raises:
        JournalError: there is no journal, or it is of a version that is not known here.
    """

    def __init__(self, run: str | os.PathLike[str], offset: int = 0) -> None:
        self.path = path_of(run)
        self.offset = max(offset, _HEADER.size)
        """Where the next record starts, in bytes."""
        self.skipped = 0
        """Bytes passed over so far because they were no records."""
        try:
            self._file = self.path.open("rb", buffering=0)
        except FileNotFoundError:
            raise JournalError(
                f"{self.path}: no journal. A run is a folder with a run.json and a journal."
            ) from None
        _check_header(self.path, self._file.read(_HEADER.size))

    @property
    def behind(self) -> int:
        """Bytes of the journal that have not been read yet."""
        return max(os.fstat(self._file.fileno()).st_size - self.offset, 0)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        """The records from `offset` to the present end."""
        buffer, position = b"", 0
        self._file.seek(self.offset)
        while True:
            event, size = _parse(buffer, position)
            if not size:
                chunk = self._file.read(_CHUNK)
                buffer, position = buffer[position:] + chunk, 0
                if chunk:
                    continue
                size = _garbage_before_a_record(buffer)
                if not size:
                    return
            position += size
            self.offset += size
            if event is None:
                self.skipped += size
            else:
                yield self._whole(event)

    def _whole(self, event: Event) -> Event:
        if not event.overflow:
            return event
        try:
            return _decode((self.path.parent / event.overflow).read_bytes())
        except (OSError, msgspec.DecodeError):
            return event


def _parse(buffer: bytes, position: int) -> tuple[Event | None, int]:
    """What starts at `position`: a record and its size, or None and the size of what is none.

    The size is 0 where the buffer ends before that can be said.
    """
    available = len(buffer) - position
    if available < _FRAME.size:
        return None, 0
    marker, size, crc = _FRAME.unpack_from(buffer, position)
    if marker == _MARKER and size <= MAX_RECORD:
        if available < _FRAME.size + size:
            return None, 0
        payload = buffer[position + _FRAME.size : position + _FRAME.size + size]
        if zlib.crc32(payload, zlib.crc32(_LENGTH.pack(size))) == crc:
            try:
                return _decode(payload), _FRAME.size + size
            except msgspec.DecodeError:
                pass  # a whole record of something else
    following = buffer.find(_MARKER, position + 1)
    return None, (following if following >= 0 else len(buffer) - len(_MARKER) + 1) - position


def _garbage_before_a_record(buffer: bytes) -> int:
    """At the end of the file, a whole record behind an incomplete one shows that the incomplete one never ends."""
    start = 0
    while (start := buffer.find(_MARKER, start + 1)) >= 0:
        if _parse(buffer, start)[0] is not None:
            return start
    return 0


def _check_header(path: Path, header: bytes) -> None:
    if len(header) < _HEADER.size:
        raise JournalError(f"{path}: no journal: it ends within its header.")
    magic, version = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise JournalError(f"{path}: no journal of trackhooks: it does not start with {_MAGIC!r}.")
    if version > VERSION:
        raise JournalError(
            f"{path}: a journal of version {version}; this trackhooks reads versions up to {VERSION}."
            " Run: pip install -U trackhooks"
        )


def read(run: str | os.PathLike[str]) -> list[Event]:
    """Every event of a run, in order.

    Args:
        run: the folder of a run, or its journal.

    Raises:
        JournalError: there is no journal, or it is of a version that is not known here.
    """
    with Reader(run) as reader:
        return list(reader)
