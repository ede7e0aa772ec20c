"""The journal: the append-only record of a run.

Format
    A header of 16 bytes: `trackhooks`, a zero byte, the version of the format (one byte), four reserved bytes, which
    are written as zeros and ignored by readers. Then the records, each with a marker (4 bytes), the length of the
    payload (u32), the CRC-32 of length and payload (u32), and the payload, an `Event` in MessagePack. All numbers are
    little-endian. A payload larger than 16 MB is stored as a file of the run, and its record has the place of the
    event, and the name and the CRC-32 of the file (`overflow`, `overflow_crc32`).

Promises
    A record is written with one `os.write`: when `append` returns, the record survives the death of the process, and
    after `sync`, the death of the machine. A reader may follow a journal while it is written. It waits for the rest
    of an incomplete record at the end of the file. Any other bytes that are not a record are skipped, up to the next
    complete record, and counted (`Reader.skipped`).

Versions
    The version is raised only if readers of the earlier version would misread a record: if the framing changes, or
    if a field is removed, changes its type, or changes its meaning. A reader refuses a journal of a later version and
    reads all earlier ones.

    Additions do not raise the version: new fields, which must have a default; new types of media, hooks, statuses and
    kinds of files. A reader that does not know one of them keeps the rest of the record: it ignores unknown fields,
    leaves out each medium of an unknown type, and counts and reports what it left out (`Reader.left_out`). A writer
    of an earlier version may continue such a journal, because it never rewrites a record.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import threading
import time
import weakref
import zlib
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, overload

import msgspec

from ..errors import JournalError, log
from ..event import Event
from ..values import checks
from . import large_records
from .decoding import UNDECODABLE
from .descriptors import above_the_streams
from .forks import after_fork_in_child
from .records import LeaveOut, decode_later, encode_anything
from .records import unreadable as unreadable

try:
    import fcntl
except ImportError:  # Windows, which does not prevent a second writer
    fcntl = None  # type: ignore[assignment]

FILE_NAME: Final = "journal"
SYSTEM: Final = "system"
"""The other journal of a run, with the measurements of its process. It is written by the delivery process."""
VERSION: Final = 1
MAX_RECORD: Final = 16 * 1024 * 1024
"""The largest payload in bytes. A larger one is stored as a file under `files/records/`."""

_MAGIC = b"trackhooks\0"
_HEADER = struct.Struct("<11sB4x")
_OUR_HEADER = _HEADER.pack(_MAGIC, VERSION)
EMPTY: Final = _HEADER.size
"""The size of a journal without records, in bytes."""
_FRAME = struct.Struct("<4sII")
_MARKER = b"\xf7TH\x1a"  # no UTF-8 text contains it
_CHUNK = 1 << 17
"""How many bytes are read at once, or twice the beginning of a record that is longer."""
_MOST_LENGTHS = 4096
_TAIL = 1 << 16
"""How many bytes at the end are searched first."""
RELEASE_S: Final = 10.0
"""How long the journal of a process that was killed may be held: by its last thread, or by a child that it forked."""
_LOOK_S = 0.05
_OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Event).decode
_FRAME_SIZE, _unpack = _FRAME.size, _FRAME.unpack_from
_pack, _pack_length, _crc32 = _FRAME.pack, struct.Struct("<I").pack, zlib.crc32


def path_of(run: str | os.PathLike[str]) -> Path:
    """Return the journal of a run's folder. The path of a journal is returned as it is.

    Raises:
        InvalidValueError: It is not a path.
    """
    path = checks.path("a run", run)
    return path / FILE_NAME if path.is_dir() else path


def _frame(payload: bytes) -> bytes:
    size = len(payload)
    return _pack(_MARKER, size, _crc32(payload, _crc32_of_length[size])) + payload


class _LengthChecksums(dict[int, int]):
    """The CRC-32 of each length of a payload. Most records of a journal have one of a few lengths."""

    def __missing__(self, size: int) -> int:
        if len(self) >= _MOST_LENGTHS:
            self.clear()
        found = self[size] = _crc32(_pack_length(size))
        return found


_crc32_of_length = _LengthChecksums()


def _write_all(fd: int, rest: bytes) -> None:
    while rest:
        written = os.write(fd, rest)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest = rest[written:]


class Writer:
    """Appends to one journal.

    A journal has one writer at a time. A writer may be used by several threads and in signal handlers; in a forked
    child it does nothing.

    Args:
        run: The folder of a run. An existing journal is continued after its last complete record.
        name: The name of the journal's file.
        patience: How long to wait for another process to release the journal, in seconds.

    Raises:
        JournalError: Another process or run is writing the journal, it cannot be written, the file is not a journal,
            or its version is not known.
    """

    def __init__(self, run: str | os.PathLike[str], name: str = FILE_NAME, *, patience: float = 0.0) -> None:
        self._fd = -1
        # Reentrant, because a signal handler or a finalizer may append while its thread is appending.
        self._mutex = threading.RLock()
        self._syncing = threading.RLock()
        self._folder = Path(run)
        self._path = self._folder / name
        self.last: Event | None = None
        """The last record of the journal, if it existed already."""
        _open_writers.add(self)  # before a file is opened, which a forked child would keep open
        try:
            self._fd = above_the_streams(os.open(self._path, _OPEN_FLAGS, 0o644))
            self._lock_file(patience)
            self._recover()
        except OSError as error:
            self._release()
            remedy = (
                "Close files, or raise the limit with ulimit -n."
                if error.errno in (errno.EMFILE, errno.ENFILE)
                else "Choose another directory with dir=… or TRACKHOOKS_DIR."
            )
            raise JournalError(f"{self._path} cannot be written: {error.strerror}. {remedy}") from error
        except BaseException:
            self._release()
            raise

    def _lock_file(self, patience: float) -> None:
        if fcntl is None:
            return
        until = time.monotonic() + patience
        while not self._try_to_lock():
            if time.monotonic() >= until:
                raise JournalError(
                    f"{self._path} is being written by another process or run. Close it first, or open a new run."
                )
            time.sleep(_LOOK_S)

    def _try_to_lock(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # a file system without locks
        return True

    def _recover(self) -> None:
        """Find the last complete record, and cut off what a killed writer left after it."""
        self.last, end = find_last(self._path)
        whole = os.fstat(self._fd).st_size >= _HEADER.size
        os.ftruncate(self._fd, end if whole else 0)
        if not whole:
            _write_all(self._fd, _OUR_HEADER)

    @property
    def open(self) -> bool:
        """Whether this writer can append: it is not closed, and not in a forked child."""
        return self._fd >= 0

    def append(self, event: Event) -> None:
        """Write one record. When this returns, the record survives the death of the process.

        Does nothing if the writer is closed, or in a forked child.

        Raises:
            OSError: The record could not be written completely, for example because the disk is full. The journal is
                unchanged.
            InvalidValueError: No reader could read the record. Nothing is written.
        """
        with self._mutex:
            self.write(event)

    def write(self, event: Event) -> bool:
        """Write one record without taking the lock, for callers that serialize writing and closing themselves.

        Returns:
            False if the writer is closed, or in a forked child.
        """
        try:
            payload = _encode(event)
        except (TypeError, ValueError, OverflowError):
            payload = encode_anything(event)
        fd, size = self._fd, len(payload)
        if fd < 0:
            return False
        if size > MAX_RECORD:
            record = _frame(_encode(large_records.store(self._folder, event, payload)))
        else:  # `_frame`, inlined by hand: every batch comes here
            record = _pack(_MARKER, size, _crc32(payload, _crc32_of_length[size])) + payload
        written = os.write(fd, record)
        if written != len(record):
            self._mend(record, written)
        return True

    def _mend(self, record: bytes, written: int) -> None:
        """Complete a short write, which mostly means a full disk. If that fails, cut the record off and raise."""
        start = os.lseek(self._fd, 0, os.SEEK_END) - written
        try:
            _write_all(self._fd, record[written:])
        except OSError:
            with suppress(OSError):  # a reader skips it
                self._cut(start, record)
            raise

    def _cut(self, start: int, record: bytes) -> None:
        """Cut the journal off at `start`, unless a signal handler has appended after the torn record."""
        os.lseek(self._fd, start, os.SEEK_SET)
        torn = os.read(self._fd, len(record) + 1)
        if record.startswith(torn):
            os.ftruncate(self._fd, start)

    def sync(self) -> None:
        """Make every appended record survive a crash of the machine. Other threads may append meanwhile.

        Raises:
            OSError: The disk failed.
        """
        with self._syncing:
            if self._fd >= 0:
                os.fsync(self._fd)

    def close(self) -> None:
        """Sync and close. Later appends do nothing, and neither does closing again.

        Raises:
            OSError: The disk failed. The journal is closed nevertheless.
        """
        with self._syncing:  # a sync that is running needs the open file
            try:
                self.sync()
            finally:
                self._release()

    def __del__(self) -> None:
        """Release the lock of a writer that was dropped without being closed."""
        self._release()

    def _release(self) -> None:
        with self._mutex:
            fd, self._fd = self._fd, -1
        _open_writers.discard(self)
        if fd >= 0:
            os.close(fd)

    def _abandon(self) -> None:
        """In a forked child, leave the file to the parent. The threads that held the mutexes do not exist here."""
        self._mutex, self._syncing = threading.RLock(), threading.RLock()
        self._release()


_open_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


def _abandon_all() -> None:
    for writer in list(_open_writers):
        writer._abandon()


after_fork_in_child(_abandon_all)


def _open_file(path: str, flags: int) -> int:
    """Open a file, and nothing else: opening a pipe would wait for a writer.

    Raises:
        OSError: it cannot be opened, or is not a file.
    """
    fd = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is not a file")
    return fd


class Reader:
    """Reads a journal. Iterating again continues after the last record that was read.

    Args:
        run: The folder of a run, or its journal.
        offset: Where to start, in bytes: 0, or the `offset` of an earlier reader.

    Raises:
        JournalError: The journal does not exist, cannot be read, or has a version that is not known.
    """

    def __init__(self, run: str | os.PathLike[str], offset: int = 0) -> None:
        self.path = path_of(run)
        self.offset = max(offset, _HEADER.size)
        """Where the next record starts, in bytes."""
        self.skipped = 0
        """How many bytes were skipped so far because they were not records."""
        self.left_out: Counter[str] = Counter()
        """What was left out of records of a later version, such as `media of type 'audio'`, and how often."""
        try:
            self._file = open(self.path, "rb", buffering=0, opener=_open_file)  # noqa: SIM115 — closed by `close`
        except FileNotFoundError:
            raise JournalError(
                f"There is no journal at {self.path}. A run is a folder with a run.json and a journal."
            ) from None
        except OSError as error:
            raise JournalError(f"{self.path} cannot be read: {error.strerror}.") from error
        try:
            _check_header(self.path, self._file.read(_HEADER.size))
        except JournalError:
            self._file.close()
            raise

    @property
    def behind(self) -> int:
        """How many bytes of the journal have not been read yet."""
        return max(self.stat().st_size - self.offset, 0)

    def stat(self) -> os.stat_result:
        """Return the size and the times of the file that is read, even if another one has replaced it."""
        return os.fstat(self._file.fileno())

    def bytes_at(self, offset: int, size: int) -> bytes:
        """Return bytes of the file, without moving the reader."""
        position = self._file.tell()
        self._file.seek(offset)
        found = self._file.read(size)
        self._file.seek(position)
        return found

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Event]:
        """Iterate over the records from `offset` to the current end."""
        self._stay_within()
        buffer, position, leave_out = b"", 0, self._leave_out
        self._file.seek(self.offset)
        while True:
            position = yield from self._ordinary(buffer, position)
            event, size = _parse(buffer, position, leave_out)
            if not size:
                chunk = self._file.read(max(_CHUNK, len(buffer)))
                buffer, position = buffer[position:] + chunk, 0
                if chunk:
                    continue
                size = _garbage_before_a_record(buffer)
                if not size:
                    return
            if event is None and not self._is_there(buffer[position : position + size]):
                buffer, position = b"", 0
                self._file.seek(self.offset)
                continue
            position += size
            self.offset += size
            if event is None:
                self.skipped += size
            else:
                yield self._whole(event)

    def _ordinary(self, buffer: bytes, position: int) -> Generator[Event, None, int]:
        """Yield the intact records from `position` to the first that needs care. Returns the position of that one."""
        # Inlined by hand, because this is done for every record: there may be millions.
        last = len(buffer) - _FRAME_SIZE
        while position <= last:
            marker, size, crc = _unpack(buffer, position)
            start = position + _FRAME_SIZE
            payload = buffer[start : start + size]
            if marker != _MARKER or len(payload) != size or size > MAX_RECORD:
                break
            if _crc32(payload, _crc32_of_length[size]) != crc:
                break
            try:
                event = _decode(payload)
            except UNDECODABLE:
                break
            if event.overflow:
                break
            position = start + size
            self.offset += _FRAME_SIZE + size
            yield event
        return position

    def _stay_within(self) -> None:
        """Continue after the last record if the file became shorter: an older copy, or the death of a machine."""
        if self.stat().st_size < self.offset > _HEADER.size:
            skipped, left_out = self.skipped, self.left_out.copy()
            self.offset = _HEADER.size
            for _ in self:
                pass
            self.skipped, self.left_out = skipped, left_out

    def _is_there(self, garbage: bytes) -> bool:
        """Return whether bytes are still in the file: a writer may have cut off an incomplete record meanwhile."""
        return self.bytes_at(self.offset, len(garbage)) == garbage

    def _leave_out(self, part: str) -> None:
        """Count a part of a record that is not known here, and report it the first time."""
        if not self.left_out[part]:
            log.warning(
                "%s: %s comes from a later version of trackhooks and is left out. Run: pip install -U trackhooks",
                self.path, part, extra={"run": str(self.path.parent)},
            )  # fmt: skip
        self.left_out[part] += 1

    def _whole(self, event: Event) -> Event:
        """Return the event that a record refers to, or the record itself if the file of the event is damaged."""
        if not event.overflow:
            return event
        found = _decoded(large_records.load(self.path.parent, event), self._leave_out)
        if found is None:
            log.warning(
                "%s is missing or damaged: only the hook, time and position of record %d are known.",
                self.path.parent / event.overflow, event.index, extra={"run": str(self.path.parent)},
            )  # fmt: skip
        return found or event


def _parse(buffer: bytes, position: int, leave_out: LeaveOut) -> tuple[Event | None, int]:
    """Return the event at `position` and the size of its record, or None and the number of bytes to skip.

    The size is 0 if the buffer ends too early to tell.
    """
    available = len(buffer) - position
    if available < _FRAME.size:
        return None, 0
    marker, size, crc = _FRAME.unpack_from(buffer, position)
    if marker == _MARKER and size <= MAX_RECORD:
        if available < _FRAME.size + size:
            return None, 0
        payload = buffer[position + _FRAME.size : position + _FRAME.size + size]
        if _crc32(payload, _crc32(_pack_length(size))) == crc:
            return _decoded(payload, leave_out), _FRAME.size + size
    following = buffer.find(_MARKER, position + 1)
    return None, (following if following >= 0 else len(buffer) - len(_MARKER) + 1) - position


def _decoded(payload: bytes, leave_out: LeaveOut) -> Event | None:
    try:
        return _decode(payload)
    except UNDECODABLE:
        return decode_later(payload, leave_out)


def _garbage_before_a_record(buffer: bytes) -> int:
    """Return the size of an incomplete record that is followed by a complete one, and so will never be completed."""
    start = 0
    while (start := buffer.find(_MARKER, start + 1)) >= 0:
        if _parse(buffer, start, _ignore)[0] is not None:
            return start
    return 0


def _ignore(_: str) -> None:
    """Count nothing: the record is decoded again when it is read."""


def _check_header(path: Path, header: bytes) -> None:
    if len(header) < _HEADER.size and _OUR_HEADER.startswith(header):
        return  # the writer was killed before it had written the header
    if not header.startswith(_MAGIC) or len(header) < _HEADER.size:
        raise JournalError(f"{path} is not a journal of trackhooks: it does not start with {_MAGIC!r}.")
    version = _HEADER.unpack(header)[1]
    if not 1 <= version <= VERSION:
        raise JournalError(
            f"{path} is a journal of version {version}; this trackhooks reads versions up to {VERSION}."
            " Run: pip install -U trackhooks"
        )


def find_last(
    run: str | os.PathLike[str], wanted: Callable[[Event], bool] = lambda _: True
) -> tuple[Event | None, int]:
    """Find the last such event, first near the end, because a journal may be long.

    Returns the event, None if there is none, and the offset after the last complete record.

    Raises:
        JournalError: as `Reader`.
    """
    path = path_of(run)
    size = path.stat().st_size if path.exists() else 0
    for start in (max(size - _TAIL, 0), 0):
        with Reader(path, start) as reader:
            found = deque(filter(wanted, reader), maxlen=1)
            if found or not start:
                return (found[0] if found else None), reader.offset
    raise AssertionError  # the second search is of the whole journal


class Events:
    """The events of a run, in order. They are read from the journal when they are used, and not kept in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        Reader(path).close()  # reports a journal that cannot be read

    def __iter__(self) -> Iterator[Event]:
        with Reader(self._path) as reader:
            yield from reader

    def __reversed__(self) -> Iterator[Event]:
        return reversed(list(self))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @overload
    def __getitem__(self, position: int) -> Event: ...

    @overload
    def __getitem__(self, position: slice) -> list[Event]: ...

    def __getitem__(self, position: int | slice) -> Event | list[Event]:
        if isinstance(position, int) and position >= 0:
            return list(islice(self, position + 1))[position]
        return list(self)[position]

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, (Events, list, tuple)) else NotImplemented

    def __repr__(self) -> str:
        return f"<events in {str(self._path)!r}>"


def read(run: str | os.PathLike[str]) -> Events:
    """Return every event of a run, in order. Iterating reads one record after the other, so that long runs fit.

    Args:
        run: The folder of a run, or its journal.

    Raises:
        InvalidValueError: `run` is not a path.
        JournalError: The journal does not exist, cannot be read, or has a version that is not known.
    """
    return Events(path_of(run))
