"""Copies of a run's checkpoints and other files in its folder, and which of them are kept.

The training only notes the path, size, time and inode of a file. The delivery copies and hashes it (`DeliveredFiles`),
and then checks again that it is the same file. A file that was overwritten before or during the copy is `superseded`;
a partial copy is never kept. Aliases move to the newest checkpoint that has them. A checkpoint without an alias is
deleted, unless the run keeps more. With `keep="all"` and `keep="every:N"`, the result must not depend on which of them
is faster, so the training makes these copies itself (`TrainingCopies`) before it continues.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from ..errors import DamagedFileError, InvalidValueError, warn
from ..errors.foreign import is_a, shown
from ..errors.secrets import redact_text
from ..event import Event, File, RunInfo
from .inside import inside
from .journal import Reader
from .locks import locked
from .run_folder import DELIVERY, as_file_name, read_json, set_aside, write_atomically

_CHUNK = 1 << 20
_TICK_S = 0.05
"""Longer than a tick of the file system's clock. Two writes within one tick have the same modification time."""


class _Kept(msgspec.Struct, omit_defaults=True):
    """The copy of one file of an event."""

    kind: str
    aliases: tuple[str, ...] = ()
    sha256: str = ""
    kept: str = ""
    superseded: bool = False


_ALIAS = re.compile(r"(?!(?:all|none|every\W?\d*|[\d.]+)$)[^\s:]+")
"""An alias in `keep`. A number is not one: `every:5` was meant."""


class Policy:
    """Decides which checkpoints are kept.

    Args:
        keep: `"best,last"` or other aliases, `"all"`, `"none"`, or `"every:N"`.

    Raises:
        InvalidValueError: `keep` has another form.
    """

    def __init__(self, keep: str) -> None:
        words = [word.strip() for word in keep.split(",")] if is_a(keep, str) else []
        every = re.fullmatch(r"every:([1-9]\d*)", keep) if words else None
        if not (every or words in (["all"], ["none"]) or (words and all(map(_ALIAS.fullmatch, words)))):
            raise InvalidValueError(
                f"keep must be 'best,last' (or other aliases), 'all', 'none' or 'every:5', got {shown(keep)}."
            )
        self.everything, self.nothing = words == ["all"], words == ["none"]
        self._every = int(every[1]) if every else 0
        self._aliases = frozenset(words)

    def stays(self, aliases: frozenset[str], number: int) -> bool:
        """Whether the checkpoint with this number, counted from 0, is kept while it has these aliases."""
        if self._every:
            return number % self._every == 0
        return self.everything or bool(aliases & self._aliases)


class TrainingCopies:
    """Copies the checkpoints of a run that are kept forever: all with `keep="all"`, every Nth with `"every:N"`.

    Args:
        run: the run.
        count: the number of checkpoints that it already has.
    """

    def __init__(self, run: RunInfo, count: int = 0) -> None:
        self._folder = Path(run.path)
        self._policy = Policy(run.keep)
        self._count = count
        self._mutex = threading.Lock()

    def take(self, files: Iterable[File]) -> None:
        """Copy those of the files that are such checkpoints, and set `kept` to the path of the copy."""
        for file in files:
            if file.kind == "model":
                with self._mutex:
                    number, self._count = self._count, self._count + 1
                if self._policy.stays(frozenset(), number):
                    self._take(file, number)

    def take_hidden(self, files: Iterable[File], next_number: Callable[[], int]) -> None:
        """Copy files whose path contains a secret, because the path is not recorded, and nobody could find them."""
        for file in files:
            if not file.kept and is_a(file.path, str) and redact_text(file.path) != file.path:
                self._take(file, next_number())

    def _take(self, file: File, number: int) -> None:
        source = Path(file.path)
        kept = f"files/{file.kind}s/{number:06d}-{as_file_name(source.name)}"
        try:
            copy(source, self._folder / kept)
        except OSError as error:
            warn(
                f"{source} could not be copied to {self._folder / kept}: {error.strerror}. Training continues."
            )
            with contextlib.suppress(OSError):
                remove(self._folder / kept)
        else:
            file.kept = kept


class DeliveredFiles:
    """Makes and deletes the copies of the files of one run. Safe with threads, and with other processes."""

    def __init__(self, run: RunInfo) -> None:
        self._folder = Path(run.path)
        self._policy = Policy(run.keep)
        self._mutex = threading.Lock()
        self._record = self._folder / DELIVERY / "files.json"

    def resolve(self, event: Event) -> None:
        """Copy the event's files if necessary, and set their `sha256`, `kept` and `superseded`."""
        with self._mutex, locked(self._folder / DELIVERY / ".files.lock"), self._records() as records:
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
        """Find the files of which the folder has a complete copy. The others will be copied again."""
        found = {}
        with Reader(self._folder) as events:
            for event in events:
                for position, file in enumerate(event.files):
                    key = f"{event.index}:{position}"
                    name = file.kept or _place(file, key)
                    kept = inside(self._folder, name)
                    if kept is not None and _size(kept) == file.size:
                        found[key] = _Kept(file.kind, file.aliases, _hash(kept), name)
        return found

    def _keep(self, file: File, key: str) -> _Kept:
        superseded = _Kept(file.kind, file.aliases, superseded=True)
        if file.kept:  # the training wrote it into the folder itself
            kept = inside(self._folder, file.kept)
            if kept is not None:
                with contextlib.suppress(FileNotFoundError):  # it was deleted
                    return _Kept(file.kind, file.aliases, _hash(kept), file.kept)
            return superseded
        source = Path(file.path)
        if not _unchanged(file, source):
            return superseded
        if self._policy.nothing:
            digest = _hash(source)
            return _Kept(file.kind, file.aliases, digest, superseded=not _unchanged(file, source))
        name = _place(file, key)
        # Whatever is written from now on must have a later modification time.
        time.sleep(min(max(file.mtime + _TICK_S - time.time(), 0.0), _TICK_S))
        with contextlib.suppress(FileNotFoundError):  # it was deleted in the meantime
            copy(source, self._folder / name)
            digest = _hash(self._folder / name)
            if _unchanged(file, source):
                return _Kept(file.kind, file.aliases, digest, name)
        remove(self._folder / name)
        return superseded

    def _drop(self, records: dict[str, _Kept]) -> None:
        """Delete the copies of checkpoints that are not kept."""
        models = [record for record in records.values() if record.kind == "model"]
        taken: set[str] = set()
        for number, record in reversed(list(enumerate(models))):
            aliases = frozenset(record.aliases) - taken
            taken |= aliases
            newest = number == len(models) - 1
            kept = inside(self._folder, record.kept)
            if kept is not None and not newest and not self._policy.stays(aliases, number):
                remove(kept)
                record.kept, record.superseded = "", True


def _place(file: File, key: str) -> str:
    """Return the path of the copy that the delivery makes, relative to the run's folder."""
    return f"files/{key.replace(':', '-')}-{as_file_name(Path(file.path).name)}"


def _size(path: Path) -> int:
    """Return the size of a file or folder in bytes; −1 if it does not exist."""
    return sum(part.stat().st_size for part in _parts(path)) if path.exists() else -1


def copy(source: Path, target: Path) -> None:
    """Copy a file or folder in chunks, replacing an earlier copy.

    Raises:
        OSError: it cannot be read or written, or was deleted in the meantime.
    """
    remove(target)
    for part in _parts(source):
        place = target / part.relative_to(source) if part != source else target
        place.parent.mkdir(parents=True, exist_ok=True)
        with part.open("rb") as original, place.open("xb") as written:
            shutil.copyfileobj(original, written, _CHUNK)


def bytes_of(run: str | os.PathLike[str], file: File) -> Path | None:
    """Return where the bytes of a file are: its copy in the run's folder, or else the original.

    None if there is neither, or if the original is not the version that was recorded: a run may come from somebody
    else, and its paths may name any file of this machine.
    """
    if file.kept:
        kept = inside(Path(run), file.kept)
        if kept is not None and kept.exists():
            return kept
    source = Path(file.path)
    return source if _unchanged(file, source) else None


def _unchanged(file: File, path: Path) -> bool:
    try:
        stat = path.stat()
        if path.is_dir():
            parts = [part.stat() for part in path.rglob("*")]
            return (
                sum(part.st_size for part in parts) == file.size
                and max((part.st_mtime for part in parts), default=stat.st_mtime) == file.mtime
            )
    except (OSError, ValueError):  # a path from somebody else may contain a NUL character
        return False
    return (stat.st_size, stat.st_mtime, stat.st_ino) == (file.size, file.mtime, file.inode)


def _parts(path: Path) -> list[Path]:
    return sorted(part for part in path.rglob("*") if part.is_file()) if path.is_dir() else [path]


def _hash(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and hashes of the files in a folder."""
    import hashlib  # see values/digests.py

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
    """Delete a file or folder if it exists. Of a link, only the link is deleted."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
