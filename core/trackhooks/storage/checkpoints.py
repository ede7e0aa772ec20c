"""TrainingCopies of a run's files in its folder, and which stay: `DeliveredFiles` in the delivery,
`TrainingCopies` in the training.

The training only notes a file's path, size, time and inode. Delivery copies and hashes it, and looks again: a file
that was overwritten before or while it was copied is `superseded`, never half kept. Aliases move to the newest
checkpoint that bears them; a checkpoint without one is dropped, unless the run keeps more. A checkpoint that is to stay
whatever comes must not depend on who is faster: the training copies it itself, before it goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import msgspec

from ..errors import DamagedFileError, InvalidValueError, warn
from ..event import Event, File, RunInfo
from ..values.foreign import is_a, shown
from .journal import Reader
from .locks import locked
from .run_folder import as_file_name, read_json, set_aside, write_atomically

_CHUNK = 1 << 20
_TICK_S = 0.05
"""What is written within one tick of the file system's clock has one time; ticks are shorter than this."""


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
        words = [word.strip() for word in keep.split(",")] if is_a(keep, str) else []
        every = re.fullmatch(r"every:([1-9]\d*)", keep) if words else None
        if not words or not all(words) or (":" in keep and not every):
            raise InvalidValueError(
                f"keep={shown(keep)}: 'best,last' (or other aliases), 'all', 'none' or 'every:5' is needed."
            )
        self.everything, self.nothing = words == ["all"], words == ["none"]
        self._every = int(every[1]) if every else 0
        self._aliases = frozenset(words)

    def stays(self, aliases: frozenset[str], number: int) -> bool:
        """Whether the checkpoint with this number, counted from 0, stays while it bears these aliases."""
        if self._every:
            return number % self._every == 0
        return self.everything or bool(aliases & self._aliases)


class TrainingCopies:
    """Copies the checkpoints of a run that stay whatever comes: with `keep="all"` each, with `"every:N"` each Nth.

    Args:
        run: the run.
        count: the checkpoints that it has already.
    """

    def __init__(self, run: RunInfo, count: int = 0) -> None:
        self._folder = Path(run.path)
        self._policy = Policy(run.keep)
        self._count = count
        self._mutex = threading.Lock()

    def take(self, files: Iterable[File]) -> None:
        """TrainingCopies those of the files that are such checkpoints, and notes where."""
        for file in files:
            if file.kind == "model":
                with self._mutex:
                    number, self._count = self._count, self._count + 1
                if self._policy.stays(frozenset(), number):
                    self._take(file, number)

    def _take(self, file: File, number: int) -> None:
        source = Path(file.path)
        kept = f"files/models/{number:06d}-{as_file_name(source.name)}"
        try:
            copy(source, self._folder / kept)
        except OSError as error:
            warn(
                f"{source} could not be copied to {self._folder / kept}: {error.strerror}. Training goes on."
            )
            with contextlib.suppress(OSError):
                remove(self._folder / kept)
        else:
            file.kept = kept


class DeliveredFiles:
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

    @contextlib.contextmanager
    def _records(self) -> Iterator[dict[str, _Kept]]:
        try:
            records = read_json(self._record, dict[str, _Kept])
        except FileNotFoundError:
            records = {}
        except DamagedFileError as error:
            set_aside(self._record, self._folder, error)
            records = self._rebuilt()
        before = len(records)
        yield records
        if len(records) != before:
            write_atomically(self._record, msgspec.json.encode(records))

    def _rebuilt(self) -> dict[str, _Kept]:
        """What became of the files of which the folder has a whole copy; the others are looked for again."""
        found = {}
        with Reader(self._folder) as events:
            for event in events:
                for position, file in enumerate(event.files):
                    key = f"{event.index}:{position}"
                    kept = file.kept or _place(file, key)
                    if _size(self._folder / kept) == file.size:
                        found[key] = _Kept(file.kind, file.aliases, _hash(self._folder / kept), kept)
        return found

    def _keep(self, file: File, key: str) -> _Kept:
        superseded = _Kept(file.kind, file.aliases, superseded=True)
        if file.kept:  # the training wrote it into the folder itself
            if not _is_within_run(file.kept):
                return superseded
            with contextlib.suppress(FileNotFoundError):  # somebody has tidied up
                return _Kept(file.kind, file.aliases, _hash(self._folder / file.kept), file.kept)
            return superseded
        source = Path(file.path)
        if not _unchanged(file, source):
            return superseded
        if self._policy.nothing:
            digest = _hash(source)
            return _Kept(file.kind, file.aliases, digest, superseded=not _unchanged(file, source))
        name = _place(file, key)
        # What is written from now on must show a later time.
        time.sleep(min(max(file.mtime + _TICK_S - time.time(), 0.0), _TICK_S))
        with contextlib.suppress(FileNotFoundError):  # it vanished meanwhile
            copy(source, self._folder / name)
            digest = _hash(self._folder / name)
            if _unchanged(file, source):
                return _Kept(file.kind, file.aliases, digest, name)
        remove(self._folder / name)
        return superseded

    def _drop(self, records: dict[str, _Kept]) -> None:
        """Removes the copies of checkpoints that do not stay."""
        models = [record for record in records.values() if record.kind == "model"]
        taken: set[str] = set()
        for number, record in reversed(list(enumerate(models))):
            borne = frozenset(record.aliases) - taken
            taken |= borne
            newest = number == len(models) - 1
            if _is_within_run(record.kept) and not newest and not self._policy.stays(borne, number):
                remove(self._folder / record.kept)
                record.kept, record.superseded = "", True


def _place(file: File, key: str) -> str:
    """Where the folder of the run keeps the copy that the delivery makes."""
    return f"files/{key.replace(':', '-')}-{as_file_name(Path(file.path).name)}"


def _size(path: Path) -> int:
    """Bytes of a file or folder; −1 if it is not there."""
    return sum(part.stat().st_size for part in _parts(path)) if path.exists() else -1


def copy(source: Path, target: Path) -> None:
    """TrainingCopies a file or folder to where nothing shall be left of an earlier one, without holding it in memory.

    Raises:
        OSError: it cannot be read or written, or vanished meanwhile.
    """
    remove(target)
    for part in _parts(source):
        place = target / part.relative_to(source) if part != source else target
        place.parent.mkdir(parents=True, exist_ok=True)
        with part.open("rb") as original, place.open("xb") as written:
            shutil.copyfileobj(original, written, _CHUNK)


def _is_within_run(kept: str) -> bool:
    """Whether this names something below `files/`. A run that was copied from elsewhere may name any path."""
    parts = PurePosixPath(kept).parts
    return parts[:1] == ("files",) and ".." not in parts


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


def remove(path: Path) -> None:
    """Remove a file or folder, which need not exist; of a link, only the link."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
