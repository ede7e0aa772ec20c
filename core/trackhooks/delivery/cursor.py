"""`Cursor`: how far one tracker is with one run, and which tracker that is."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import msgspec

from ..errors import DamagedFileError, InvalidValueError, JournalError
from ..event import FINAL, Event, RunInfo
from ..storage.journal import Reader, path_of
from ..storage.run_folder import as_file_name, read_json, set_aside, write_atomically
from ..tracker import EpochMetrics, State, Tracker
from ..values.foreign import Failure, attempt
from ..values.secrets import REDACTED, redact_text
from . import registry
from .throttle import Throttle

FOLDER = "delivery"
"""Where a run's folder holds its cursors and the log of its delivery."""


class Spec(msgspec.Struct, omit_defaults=True):
    """One tracker as the user named it."""

    name: str
    """Of an entry point, or `"module:Class"`."""
    options: dict[str, Any] = {}
    every: int | str | None = None
    """How often it takes the metrics of training batches; None for its own default."""

    def make(self) -> Tracker:
        """The tracker.

        Raises:
            UnknownNameError: there is no such tracker or option.
            InvalidValueError: an option was redacted: without it the run would be delivered to somewhere else.
            MissingPackageError: a package that it needs is not installed.
        """
        for option, value in self.options.items():
            if isinstance(value, str) and REDACTED in value:
                raise InvalidValueError(
                    f"tracker {self.name!r}: the option {option!r} holds a secret, which is not stored with the run."
                    f" Give it again: trackhooks sync … --option {self.name}.{option}=…"
                )
        return registry.load(self.name, **self.options)


class Position(msgspec.Struct, omit_defaults=True):
    """How far one journal of a run is delivered."""

    offset: int = 0
    """Where in the journal the next event starts, in bytes."""
    index: int = -1
    """The last event that was delivered."""
    skipped: list[int] = []
    """The events that the tracker could not take."""


class Cursor(Position, omit_defaults=True, kw_only=True):
    """How far one tracker is with one run: what is stored, one small file for each tracker and destination.

    The place is that in the run's journal.
    """

    tracker: str
    destination: str = ""
    system: Position = msgspec.field(default_factory=Position)
    """The place in the journal of the measurements."""
    state: State = {}
    """The tracker's own: what its last `flush` returned."""
    epoch: State = {}
    """The metrics that the tracker has of the present epoch."""
    passed: float | None = None
    """When a batch's metrics last passed the throttle."""
    waiting: bytes = b""
    """The last batch, where the throttle held it back, as MessagePack: it passes in front of the epoch's end."""
    held_back: int = 0
    """The batches whose metrics did not pass it: they are in the journal only."""
    run_status: str = msgspec.field(default="", name="told")
    """The final status that the journal has given to the run so far; empty while the run is open."""
    reason: str = ""
    status: str = ""
    """The status that the tracker has been closed with; empty while the run is open in it."""
    url: str | None = None
    error: str | None = None
    """Why the last attempt failed; None when it did not."""
    failures: int = 0
    """Attempts that failed since the last that did not."""
    spec: Spec | None = None
    """Without options that may be secret: only what `sync` needs to find the tracker again."""

    @property
    def left_out(self) -> int:
        """How many events of both journals the tracker could not take."""
        return len(self.skipped) + len(self.system.skipped)

    def is_of(self, name: str) -> bool:
        """Whether this is the tracker that the user named so."""
        return self.tracker == name or (self.spec is not None and self.spec.name == name)


def check_spec(name: str, options: dict[str, Any]) -> tuple[Spec, Tracker]:
    """The spec of a tracker with the options that a user gave, and the tracker that it makes: it is light.

    Raises:
        UnknownNameError: there is no such tracker or option.
        MissingPackageError: a package that it needs is not installed.
        InvalidValueError: `every` is neither a number of steps nor a time.
    """
    given = dict(options)
    every = given.pop("every", None)
    if every is not None:
        Throttle(every)
    spec = Spec(name, given, every)
    made = spec.make()
    found = attempt(msgspec.json.encode, spec)
    if isinstance(found, Failure):
        raise InvalidValueError(
            f"tracker {name!r}: an option cannot be handed to the delivery process ({found.why})."
            " Pass the tracker itself, or delivery='inline'."
        ) from found.error
    return spec, made


def cursor_path(run: RunInfo, made: Tracker) -> Path:
    """Where the cursor of this tracker and its destination is stored."""
    name = as_file_name(made.name)
    if made.destination:
        name += "-" + hashlib.sha256(made.destination.encode()).hexdigest()[:8]
    return Path(run.path, FOLDER, f"{name}.json")


def load_cursor(run: RunInfo, made: Tracker, spec: Spec | None = None) -> Cursor:
    """The cursor of this tracker; a new one where it has not delivered this run to this destination."""
    path = cursor_path(run, made)
    path.parent.mkdir(exist_ok=True)
    try:
        found = read_cursor(path)
    except FileNotFoundError:
        found = new_cursor(made)
    except DamagedFileError as error:
        set_aside(path, run.path, error)
        found = new_cursor(made)
    found.spec = spec or found.spec
    return found


def new_cursor(made: Tracker) -> Cursor:
    """The cursor of a tracker that has nothing of a run yet: all of the journal is delivered to it."""
    return Cursor(tracker=made.name, destination=redact_text(made.destination))


def read_cursor(path: Path) -> Cursor:
    """A cursor that was saved.

    Raises:
        DamagedFileError: it is none.
        OSError: there is no such file, or no file can be read now.
    """
    found = read_json(path, Cursor)
    try:
        EpochMetrics().restore(found.epoch)
        if found.waiting:
            msgspec.msgpack.decode(found.waiting, type=Event)
    except (msgspec.DecodeError, ValueError, TypeError, AttributeError) as error:
        raise DamagedFileError(f"{path} is damaged: {error}") from error
    return found


def cursors(run: str | Path, name: str | None = None) -> list[Cursor]:
    """How far every tracker of a run is, or only those of this name: a tracker may have several destinations."""
    found = []
    for path in _json_files(Path(run, FOLDER)):
        with contextlib.suppress(
            OSError, DamagedFileError
        ):  # another file, such as the one about the kept files
            found.append(read_json(path, Cursor))
    return [cursor for cursor in found if name is None or cursor.is_of(name)]


def _json_files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob("*.json"))
    except OSError:  # no folder can be opened now
        return []


def is_delivered(run: str | Path, cursor: Cursor) -> bool:
    """Return whether a tracker has all records of a run and its final status.

    An incomplete record at the end of the journal, left by a full disk, does not count.
    """
    if cursor.status not in FINAL or cursor.error is not None:
        return False
    try:
        size = path_of(run).stat().st_size
    except OSError:
        return True  # the run was removed
    return cursor.offset >= size or not _has_records_after(run, cursor.offset)


def _has_records_after(run: str | Path, offset: int) -> bool:
    try:
        with Reader(run, offset) as events:
            return any(True for _ in events)
    except (JournalError, OSError):
        return True


def save_cursor(run: RunInfo, made: Tracker, cursor: Cursor) -> None:
    """Replaces the cursor of this tracker atomically."""
    write_atomically(cursor_path(run, made), msgspec.json.encode(cursor))
