"""`Keeper`: copies of a run's files in its folder, and which of them stay.

The training only notes a file's path, size, time and inode. Delivery copies and hashes it, and looks again: a file
that was overwritten before or while it was copied is `superseded`, never half kept. Aliases move to the newest
checkpoint that bears them; a checkpoint without one is dropped, unless the run keeps more.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from .errors import InvalidValueError
from .event import Event, File, RunInfo
from .folder import as_file_name, write_atomically
from .locking import locked

_CHUNK = 1 << 20


class _Kept(msgspec.Struct, omit_defaults=True):
    """What became of one file of one event."""

    kind: str
    aliases: tuple[str, ...] = ()
    sha256: str = ""
    kept: str = ""
    superseded: bool = False


class Policy:
    """Which checkpoints stay: `"best,last"` or any aliases, `"all"`, `"none"`, `"every:N"`.

    Raises:
        InvalidValueError: it is none of these.
    """

    def __init__(self, keep: str) -> None:
        words = [word.strip() for word in keep.split(",")] if isinstance(keep, str) else []
        every = re.fullmatch(r"every:([1-9]\d*)", keep) if words else None
        if not words or not all(words) or (":" in keep and not every):
            raise InvalidValueError(
                f"keep={keep!r}: 'best,last' (or other aliases), 'all', 'none' or 'every:5' is needed."
            )
        self.everything, self.nothing = words == ["all"], words == ["none"]
        self._every = int(every[1]) if every else 0
        self._aliases = frozenset(words)

    def stays(self, aliases: frozenset[str], number: int) -> bool:
        """Whether the checkpoint with this number, counted from 0, stays while it bears these aliases."""
        if self._every:
            return number % self._every == 0
        return self.everything or bool(aliases & self._aliases)


class Keeper:
    """Keeps the files of one run; safe with threads, and with another process that delivers the same run."""

    def __init__(self, run: RunInfo) -> None:
        self._folder = Path(run.path)
        self._policy = Policy(run.keep)
        self._mutex = threading.Lock()
        self._record = self._folder / "delivery" / "files.json"

    def resolve(self, event: Event) -> None:
        """Fills in what became of the event's files: `sha256`, `kept`, `superseded`."""
        with self._mutex, locked(self._folder / "delivery" / ".files.lock"), self._records() as records:
            for position, file in enumerate(event.files):
                key = f"{event.index}:{position}"
                if key not in records:
                    records[key] = self._keep(file, key)
                    self._drop(records)
                found = records[key]
                file.sha256, file.kept, file.superseded = found.sha256, found.kept, found.superseded

    @contextmanager
    def _records(self) -> Iterator[dict[str, _Kept]]:
        try:
            records = msgspec.json.decode(self._record.read_bytes(), type=dict[str, _Kept])
        except (FileNotFoundError, msgspec.DecodeError):
            records = {}
        before = len(records)
        yield records
        if len(records) != before:
            write_atomically(self._record, msgspec.json.encode(records))

    def _keep(self, file: File, key: str) -> _Kept:
        if file.kept:  # the training wrote it into the folder itself
            return _Kept(file.kind, sha256=_hash(self._folder / file.kept), kept=file.kept)
        source = Path(file.path)
        if not _unchanged(file, source):
            return _Kept(file.kind, file.aliases, superseded=True)
        if self._policy.nothing:
            digest = _hash(source)
            return _Kept(file.kind, file.aliases, digest, superseded=not _unchanged(file, source))
        name = f"files/{key.replace(':', '-')}-{as_file_name(source.name)}"
        digest = self._copy(source, self._folder / name)
        if digest and _unchanged(file, source):
            return _Kept(file.kind, file.aliases, digest, name)
        _remove(self._folder / name)
        return _Kept(file.kind, file.aliases, superseded=True)

    def _copy(self, source: Path, target: Path) -> str:
        """Copies a file or folder and returns its hash, empty where it vanished meanwhile."""
        _remove(target)
        try:
            for part in _parts(source):
                copy = target / part.relative_to(source) if part != source else target
                copy.parent.mkdir(parents=True, exist_ok=True)
                with part.open("rb") as original, copy.open("wb") as written:
                    shutil.copyfileobj(original, written, _CHUNK)
        except FileNotFoundError:
            return ""
        return _hash(target)

    def _drop(self, records: dict[str, _Kept]) -> None:
        """Removes the copies of checkpoints that do not stay."""
        models = [record for record in records.values() if record.kind == "model"]
        taken: set[str] = set()
        for number, record in reversed(list(enumerate(models))):
            borne = frozenset(record.aliases) - taken
            taken |= borne
            newest = number == len(models) - 1
            if record.kept and not newest and not self._policy.stays(borne, number):
                _remove(self._folder / record.kept)
                record.kept, record.superseded = "", True


def _unchanged(file: File, path: Path) -> bool:
    try:
        stat = path.stat()
        if path.is_dir():
            parts = [part.stat() for part in path.rglob("*")]
            return (
                sum(part.st_size for part in parts) == file.size
                and max((part.st_mtime for part in parts), default=stat.st_mtime) == file.mtime
            )
    except OSError:
        return False
    return (stat.st_size, stat.st_mtime, stat.st_ino) == (file.size, file.mtime, file.inode)


def _parts(path: Path) -> list[Path]:
    return sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else [path]


def _hash(path: Path) -> str:
    """The sha256 of a file; of a folder, that of its files' names and hashes."""
    digest = hashlib.sha256()
    for part in _parts(path):
        if part != path:
            digest.update(os.fsencode(part.relative_to(path)) + b"\0" + bytes.fromhex(_hash(part)))
            continue
        with part.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
