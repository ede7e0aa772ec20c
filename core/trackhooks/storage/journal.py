"""The journal: a run's append-only record.

The file starts with a header of 16 bytes: `trackhooks`, a zero byte, the version of the format, four zero bytes.
Each record follows as marker (4 bytes), length (u32), crc32 over length and payload (u32), payload (an `Event`
in MessagePack), all little-endian, written with one `os.write`. What `append` returned from survives the death of
the process; `sync` makes it survive the death of the machine.

A reader may follow a file that is being written. An incomplete end is waited for; anything else that is no record is
skipped up to the next marker that starts a whole one, and reported.
"""

from __future__ import annotations

import errno
import functools
import os
import struct
import threading
import weakref
import zlib
from collections.abc import Iterator
from contextlib import suppress
from numbers import Real
from pathlib import Path
from typing import Any, Final

import msgspec

from ..errors import InvalidValueError, JournalError
from ..event import Event
from ..values.foreign import Failure, attempt

try:
    import fcntl
except ImportError:  # Windows: one writer at a time is then the user's own care
    fcntl = None  # type: ignore[assignment]

FILE_NAME: Final = "journal"
SYSTEM: Final = "system"
"""A run's other journal: the measurements of its process, which whoever delivers the run writes."""
VERSION: Final = 1
MAX_RECORD: Final = 16 * 1024 * 1024
"""Bytes of a payload; a larger record is stored as a file of its own under `files/records/`."""

_MAGIC = b"trackhooks\0"
_HEADER = struct.Struct("<11sB4x")
_OUR_HEADER = _HEADER.pack(_MAGIC, VERSION)
_FRAME = struct.Struct("<4sII")
_MARKER = b"\xf7TH\x1a"  # no UTF-8 text contains it
_CHUNK = 1 << 20
_STDERR = 2
_OPEN_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)

_pack, _pack_length, _crc32 = _FRAME.pack, struct.Struct("<I").pack, zlib.crc32
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Event).decode


def path_of(run: str | os.PathLike[str]) -> Path:
    """The journal of a run's folder; the path of a journal itself serves too."""
    path = Path(run)
    return path / FILE_NAME if path.is_dir() else path


def _frame(payload: bytes) -> bytes:
    size = len(payload)
    return _pack(_MARKER, size, _crc32(payload, _crc32_of_length(size))) + payload


@functools.lru_cache(maxsize=4096)
def _crc32_of_length(size: int) -> int:
    return _crc32(_pack_length(size))


def _encode_anything(event: Event) -> bytes:
    """For what the encoder refuses: better a record with a text in place of a value than none.

    Raises:
        InvalidValueError: no reader could read the record.
    """
    found = attempt(lambda: _encode(_encodable(msgspec.to_builtins(event, enc_hook=_builtin, str_keys=True))))
    why = found.why if isinstance(found, Failure) else _undecodable(found)
    if isinstance(found, Failure) or why:
        raise InvalidValueError(f"the record of {event.hook!s} cannot be stored: {why}.")
    return found


def _undecodable(payload: bytes) -> str:
    try:
        _decode(payload)
    except msgspec.DecodeError as error:
        return str(error)
    return ""


def unreadable(event: Event) -> str:
    """Why no reader could read this record; empty if every reader can."""
    payload = attempt(_encode, event)
    try:
        return _undecodable(_encode_anything(event) if isinstance(payload, Failure) else payload)
    except InvalidValueError as error:
        return str(error)


def _write_all(fd: int, rest: bytes) -> None:
    while rest:
        written = os.write(fd, rest)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rest = rest[written:]


def _above_the_streams(fd: int) -> int:
    """Move a file away from the descriptors 0 to 2: where stderr is closed, C libraries would write into it."""
    if fd > _STDERR or fcntl is None:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _STDERR + 1)
    finally:
        os.close(fd)


def _builtin(value: Any) -> Any:
    """What a type that MessagePack does not know is stored as: a number of NumPy's as a float, the rest as a text."""
    return float(value) if isinstance(value, Real) else str(value)


def _encodable(value: Any) -> Any:
    """Integers beyond 64 bits become floats, and half a surrogate pair its escape."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value) if value.bit_length() < 1024 else str(value.bit_length()) + " bits"
    return value


class Writer:
    """Appends to one journal. One writer at a time, safe with threads and signals, deaf in a forked child.

    Args:
        run: the folder of a run; a journal that is there already goes on behind its last whole record.
        name: the journal's file there.

    Raises:
        JournalError: another process or run writes this journal now, it cannot be written, it is no journal, or it
            is of a version that is not known here.
    """

    def __init__(self, run: str | os.PathLike[str], name: str = FILE_NAME) -> None:
        self._fd = -1
        # Reentrant: a signal handler or a finalizer may append while its thread does so.
        self._mutex = threading.RLock()
        self._syncing = threading.RLock()
        self._folder = Path(run)
        self._path = self._folder / name
        self.last: Event | None = None
        """The last record of a journal that existed already."""
        _open_writers.add(self)  # before there is a file that a forked child could hold on to
        try:
            self._fd = _above_the_streams(os.open(self._path, _OPEN_FLAGS, 0o644))
            self._lock_file()
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

    def _recover(self) -> None:
        """What a killed writer left behind the last whole record is cut off."""
        with Reader(self._path) as reader:
            for self.last in reader:
                pass
            whole = os.fstat(self._fd).st_size >= _HEADER.size
            os.ftruncate(self._fd, reader.offset if whole else 0)
        if not whole:
            _write_all(self._fd, _OUR_HEADER)

    @property
    def open(self) -> bool:
        """Whether this process may write."""
        return self._fd >= 0

    def append(self, event: Event) -> None:
        """Writes one record; when this returns, the record survives a kill of the process.

        Once the journal is closed, and in a forked child, this does nothing.

        Raises:
            OSError: the record could not be written whole (a full disk); the journal is as it was before.
            InvalidValueError: a field is of a type that no reader could read; nothing is written.
        """
        with self._mutex:
            self.write(event)

    def write(self, event: Event) -> None:
        """As `append`, for who sees to it by a mutex of its own that nobody else writes or closes at the same time."""
        try:
            payload = _encode(event)
        except (TypeError, ValueError, OverflowError):
            payload = _encode_anything(event)
        if self._fd < 0:
            return
        if len(payload) > MAX_RECORD:
            payload = _encode(self._overflow(event, payload))
        record = _frame(payload)
        written = os.write(self._fd, record)
        if written != len(record):
            self._mend(record, written)

    def _mend(self, record: bytes, written: int) -> None:
        """A short write, mostly of a full disk: the rest is tried, and if that fails, the whole is cut off."""
        start = os.lseek(self._fd, 0, os.SEEK_END) - written
        try:
            _write_all(self._fd, record[written:])
        except OSError:
            with suppress(OSError):  # a reader passes over it
                self._cut(start, record)
            raise

    def _cut(self, start: int, record: bytes) -> None:
        """Cuts off what stands behind `start`, unless a signal handler has appended to it."""
        os.lseek(self._fd, start, os.SEEK_SET)
        torn = os.read(self._fd, len(record) + 1)
        if record.startswith(torn):
            os.ftruncate(self._fd, start)

    def _overflow(self, event: Event, payload: bytes) -> Event:
        """Stores the whole record in a file; what is left of it for the journal is where it stands, and the file."""
        name = f"files/records/{event.index}.msgpack"
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("wb") as file:
                file.write(payload)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise
        place = ("hook", "index", "time", "step", "epoch", "batch", "status")
        return Event(**{field: getattr(event, field) for field in place}, overflow=name)

    def sync(self) -> None:
        """Makes all that was appended survive a crash of the machine; appending goes on meanwhile.

        Raises:
            OSError: the disk fails.
        """
        with self._syncing:
            if self._fd >= 0:
                os.fsync(self._fd)

    def close(self) -> None:
        """Syncs and closes; later appends do nothing. Closing again does nothing.

        Raises:
            OSError: the disk fails; the journal is closed all the same.
        """
        with self._syncing:  # what is being synced stays open until it is
            try:
                self.sync()
            finally:
                self._release()

    def __del__(self) -> None:
        """A journal that is dropped without being closed can be opened again."""
        self._release()

    def _release(self) -> None:
        with self._mutex:
            fd, self._fd = self._fd, -1
        _open_writers.discard(self)
        if fd >= 0:
            os.close(fd)

    def _abandon(self) -> None:
        """In a forked child: the lock and the file belong to the parent, and so does whoever held a mutex."""
        self._mutex, self._syncing = threading.RLock(), threading.RLock()
        self._release()


_open_writers: weakref.WeakSet[Writer] = weakref.WeakSet()


def _abandon_all() -> None:
    for writer in list(_open_writers):
        writer._abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)


class Reader:
    """Reads a journal from `offset` on; iterating again continues where the last iteration ended.

    Args:
        run: the folder of a run, or its journal.
        offset: where to start, in bytes: 0, or the `offset` of an earlier reader.

    Raises:
        JournalError: there is no journal, it cannot be read, or it is of a version that is not known here.
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
        except OSError as error:
            raise JournalError(f"{self.path} cannot be read: {error.strerror}.") from error
        try:
            _check_header(self.path, self._file.read(_HEADER.size))
        except JournalError:
            self._file.close()
            raise

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
        self._stay_within()
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

    def _stay_within(self) -> None:
        """A file that has become shorter (an older copy, the death of a machine) goes on behind its last record."""
        if os.fstat(self._file.fileno()).st_size < self.offset > _HEADER.size:
            skipped, self.offset = self.skipped, _HEADER.size
            for _ in self:
                pass
            self.skipped = skipped

    def _is_there(self, garbage: bytes) -> bool:
        """Whether it is still so: a writer may have cut an incomplete record off while it was being read."""
        position = self._file.tell()
        self._file.seek(self.offset)
        found = self._file.read(len(garbage))
        self._file.seek(position)
        return found == garbage

    def _whole(self, event: Event) -> Event:
        if not event.overflow:
            return event
        try:
            return _decoded((self.path.parent / event.overflow).read_bytes()) or event
        except OSError:
            return event


def _parse(buffer: bytes, position: int) -> tuple[Event | None, int]:
    """What starts at `position`: a record and its size, or None and the size of what can be passed over.

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
        if _crc32(payload, _crc32(_pack_length(size))) == crc:
            return _decoded(payload), _FRAME.size + size
    following = buffer.find(_MARKER, position + 1)
    return None, (following if following >= 0 else len(buffer) - len(_MARKER) + 1) - position


def _decoded(payload: bytes) -> Event | None:
    try:
        return _decode(payload)
    except msgspec.DecodeError:  # of a later version
        return None


def _garbage_before_a_record(buffer: bytes) -> int:
    """At the end of the file, a whole record behind an incomplete one shows that the incomplete one never ends."""
    start = 0
    while (start := buffer.find(_MARKER, start + 1)) >= 0:
        if _parse(buffer, start)[0] is not None:
            return start
    return 0


def _check_header(path: Path, header: bytes) -> None:
    if len(header) < _HEADER.size and _OUR_HEADER.startswith(header):
        return  # its writer was killed while it began
    if not header.startswith(_MAGIC) or len(header) < _HEADER.size:
        raise JournalError(f"{path}: no journal of trackhooks: it does not start with {_MAGIC!r}.")
    version = _HEADER.unpack(header)[1]
    if not 1 <= version <= VERSION:
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
