"""The folder of a run: its name, its `run.json` and other small files, and the runs of a directory."""

from __future__ import annotations

import errno
import itertools
import os
import random
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from ..errors import DamagedFileError, TrackhooksError, log
from ..errors.foreign import shown
from ..errors.secrets import redact_text
from ..event import RunInfo
from ..values import checks
from .decoding import UNDECODABLE
from .new_file import new_file

INFO = "run.json"
READ_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
"""Opening a pipe must not wait for a writer: a run may come from anybody."""
_MOST_BYTES = 1 << 28
"""The largest small file that is read."""
DELIVERY = "delivery"
"""The folder of a run that contains the cursors of its trackers and the log of its delivery."""

_SPARE = 4096
"""How much longer than its content `run.json` is: room for the reason of a status, if the disk is full at the end."""

_ADJECTIVES = (
    "amber", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cosy", "crisp", "deft", "eager", "early",
    "fair", "fleet", "fresh", "gentle", "glad", "golden", "grand", "green", "happy", "honest", "keen", "kind", "light",
    "lively", "lucid", "mellow", "merry", "mild", "neat", "noble", "patient", "proud", "quick", "quiet", "rapid",
    "ready", "silver", "smooth", "snug", "solid", "steady", "sunny", "swift", "tidy", "vivid", "warm", "wise",
)  # fmt: skip
_NOUNS = (
    "acorn", "alder", "badger", "beacon", "birch", "breeze", "brook", "cedar", "cloud", "comet", "coral", "crane",
    "delta", "dove", "dune", "ember", "falcon", "fern", "finch", "fjord", "forest", "gull", "harbor", "hazel", "heron",
    "island", "ivy", "juniper", "lake", "lark", "linden", "lynx", "maple", "meadow", "mesa", "moss", "oak", "otter",
    "owl", "pebble", "pine", "plover", "prairie", "reef", "river", "robin", "sparrow", "spruce", "tide", "willow",
)  # fmt: skip


def home(directory: str | os.PathLike[str] | None = None) -> Path:
    """Return the directory of the runs: the given one, or `TRACKHOOKS_DIR`, or `runs`.

    Raises:
        InvalidValueError: it is not a path.
    """
    return checks.path(
        "directory", directory if directory is not None else os.environ.get("TRACKHOOKS_DIR") or "runs"
    )


def make(parent: Path, name: str | None) -> Path:
    """Create the folder of a new run. An exclusive mkdir ensures that two runs never share one.

    A number is appended to a name that is already used. Without a name, a readable one is invented.

    Raises:
        TrackhooksError: the directory cannot be written.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for candidate in _candidates(parent, name):
            try:
                (parent / candidate).mkdir()
            except FileExistsError:
                continue
            return parent / candidate
    except OSError as error:
        raise TrackhooksError(
            f"no run can be recorded in {parent}: {error.strerror}. Choose another with dir=… or TRACKHOOKS_DIR."
        ) from error
    raise AssertionError  # the candidates never end


def _candidates(parent: Path, name: str | None) -> Iterator[str]:
    if name is not None:
        base = as_file_name(name)
        yield base
        number = 2
        while True:
            yield f"{base}-{number}"
            number += 1
    number = sum(not entry.startswith(".") for entry in os.listdir(parent)) + 1  # noqa: PTH208 — only how many matters
    words = random.Random()  # seeded by the system: the user's random state must neither be used nor changed
    while True:
        yield f"{words.choice(_ADJECTIVES)}-{words.choice(_NOUNS)}-{number}"
        number += 1


def as_file_name(name: str) -> str:
    """Replace characters that file systems do not allow, and secrets. `lr=0.1` stays as it is."""
    # Without lone surrogates, which a path that is not UTF-8 contains.
    text = redact_text(name.encode(errors="ignore").decode())
    clean = re.sub(r"[\x00-\x1f/\\:*?\"<>|]+", "-", text).strip(" .-")
    return clean.encode()[:120].decode(errors="ignore") or "run"


def write_info(folder: Path, info: RunInfo) -> None:
    """Replace `run.json` atomically: a reader sees the old or the new file.

    The file contains spaces. If the disk is full, it is overwritten, and the final status takes their place.

    Raises:
        OSError: It could not be written. The old file is unchanged.
    """
    path, data = folder / INFO, _as_json(info)
    try:
        write_atomically(path, _of_size(data, len(data) + _SPARE))
    except OSError:
        without_reason = _as_json(msgspec.structs.replace(info, reason=None))
        if not (_overwrite(path, data) or _overwrite(path, without_reason)):
            raise


def _as_json(info: RunInfo) -> bytes:
    return msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(info, path="")), indent=2)


def _of_size(data: bytes, size: int) -> bytes:
    """Fill a JSON object with spaces in front of its last brace, so that a file that was cut off is not valid."""
    return data[:-1].ljust(size - 1) + data[-1:]


def _overwrite(path: Path, data: bytes) -> bool:
    """Write into an existing file, which takes no new room on the disk. Returns False if that is not possible."""
    try:
        size = path.stat().st_size
        with path.open("r+b", buffering=0) as file:
            return len(data) <= size and file.write(_of_size(data, size)) == size
    except OSError:
        return False


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file at once. A folder in its place is set aside."""
    with new_file(path, overwrite=True) as file:
        file.write(data)
        file.flush()
        if path.is_dir() and not path.is_symlink():
            set_aside(path, path.parent, DamagedFileError(f"{path} is a folder"))


def content(path: str | os.PathLike[str]) -> bytes:
    """Read a small file. `Path.read_bytes` takes half as long again, and there may be thousands of runs.

    Raises:
        OSError: it cannot be read.
    """
    file = os.open(path, READ_FLAGS)
    try:
        size = os.fstat(file).st_size
        if size > _MOST_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), os.fspath(path))
        return os.read(file, size)
    finally:
        os.close(file)


_Stored = TypeVar("_Stored")
_CHECKSUM = b',"crc32":'
"""The start of the last field of a small file that only trackhooks writes."""


def with_checksum(data: bytes) -> bytes:
    """Add the CRC-32 of a JSON object to it, as its last field: damage may leave a valid object."""
    return b"%s%s%d}" % (data[:-1], _CHECKSUM, zlib.crc32(data[:-1]))


def _checked(data: bytes) -> bytes:
    """Return JSON unchanged, unless it has a checksum that is not its own. Earlier versions wrote none.

    Raises:
        ValidationError: it is damaged.
    """
    before, field, checksum = data.rpartition(_CHECKSUM)
    if field and checksum != b"%d}" % zlib.crc32(before):
        raise msgspec.ValidationError("the checksum is wrong")
    return data


def read_json(path: Path, kind: type[_Stored]) -> _Stored:
    """Read a small file of a run's folder.

    Raises:
        DamagedFileError: its content is invalid, or this user may not read it.
        OSError: the file does not exist, or no file can be read now.
    """
    try:
        return msgspec.json.decode(_checked(content(path)), type=kind)
    except _DAMAGED as error:
        raise DamagedFileError(f"{path} is damaged: {error}") from error


_DAMAGED = (*UNDECODABLE, IsADirectoryError, PermissionError)


def set_aside(path: Path, run: str | os.PathLike[str], error: DamagedFileError) -> Path:
    """Rename a damaged file, so that it can be rebuilt and examined. Logs a warning, and returns the new path.

    Raises:
        OSError: the folder cannot be written.
    """
    numbered = (f"{path.name}.damaged-{number}" for number in itertools.count(2))
    free = (path.with_name(name) for name in itertools.chain([f"{path.name}.damaged"], numbered))
    target = next(name for name in free if not os.path.lexists(name))
    path.rename(target)
    log.warning(
        "%s. It is kept as %s, and rebuilt from the journal.",
        error,
        target.name,
        extra={"run": os.fspath(run)},
    )
    return target


def json_files(folder: Path) -> list[Path]:
    """List the JSON files of a folder."""
    try:
        return sorted(folder.glob("*.json"))
    except OSError:  # no file can be opened now
        return []


def damaged_files(run: str | os.PathLike[str]) -> list[Path]:
    """List the files of a run's folder that were set aside."""
    here = Path(run)
    try:
        return sorted([*here.glob("*.damaged*"), *here.glob("delivery/*.damaged*")])
    except OSError:  # no file can be opened now
        return []


_ID = re.compile(r"[\w-]+")


def is_id(text: str) -> bool:
    """Whether this can be the id of a run. Ids become parts of file names and of queries."""
    return _ID.fullmatch(text) is not None


def _read_info(path: Path) -> RunInfo:
    info = read_json(path, RunInfo)
    if not is_id(info.id):
        raise DamagedFileError(f"{path} is damaged: its id is {shown(info.id)}")
    return info


def read_info(folder: str | os.PathLike[str]) -> RunInfo:
    """Read the `run.json` of the run in this folder.

    Raises:
        DamagedFileError: its `run.json` is damaged; `lost_runs.whole_info` rebuilds it.
        TrackhooksError: the folder does not contain a run, or its `run.json` cannot be read.
    """
    path = Path(folder).absolute()
    try:
        info = _read_info(path / INFO)
    except DamagedFileError as error:
        raise DamagedFileError(f"{error}. To rebuild it from the journal: trackhooks sync {path}") from error
    except FileNotFoundError:
        raise TrackhooksError(
            f"{path} is not a run: it does not contain {INFO}. To list your runs: trackhooks runs"
        ) from None
    except OSError as error:
        raise TrackhooksError(f"{path / INFO}: {error}") from error
    info.path = str(path)
    return info


def paths(parent: str | os.PathLike[str]) -> Iterator[Path]:
    """Find the folders of runs in a directory, in any order. Other folders are skipped."""
    try:
        with os.scandir(parent) as entries:
            folders = [entry.path for entry in entries if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return
    # Strings, because there may be thousands of folders, and paths take several times as long.
    yield from (Path(folder) for folder in folders if os.path.exists(f"{folder}/{INFO}"))  # noqa: PTH110
