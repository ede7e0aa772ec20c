"""`Cursor`: how far one tracker is with one run, and `is_delivered`, which says whether it has all of it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec

from ..errors import DamagedFileError, InvalidValueError, JournalError
from ..errors.foreign import Failure, attempt
from ..errors.secrets import REDACTED, redact_text
from ..event import FINAL, Event, RunInfo
from ..storage import journal, run_folder
from ..storage.run_folder import (
    as_file_name,
    json_files,
    read_json,
    set_aside,
    with_checksum,
    write_atomically,
)
from ..tracker import EpochMetrics, State, Tracker
from ..values.digests import sha256
from . import registry
from .throttle import Throttle

FOLDER = run_folder.DELIVERY
"""The folder of a run that contains its cursors and the log of its delivery."""


class Spec(msgspec.Struct, omit_defaults=True):
    """A tracker as the user specified it."""

    name: str
    """The name of an entry point, or `"module:Class"`."""
    options: dict[str, Any] = {}
    every: int | str | None = None
    """How often the tracker gets the metrics of training batches; None for its default."""

    def make(self) -> Tracker:
        """Make the tracker.

        Raises:
            UnknownNameError: the tracker or an option does not exist.
            InvalidValueError: an option was redacted. Without it, the run would go to another destination.
            MissingPackageError: a package that the tracker requires is not installed.
        """
        for option, value in self.options.items():
            if REDACTED in str(attempt(str, value)):
                raise InvalidValueError(
                    f"tracker {self.name!r}: the option {option!r} is a secret, which is not stored with the run."
                    f" Pass it again: trackhooks sync … --option {self.name}.{option}=…"
                )
        return registry.load(self.name, **self.options)


class Position(msgspec.Struct, omit_defaults=True):
    """How far a journal is delivered."""

    offset: int = 0
    """The offset of the next event in the journal, in bytes."""
    index: int = -1
    """The index of the last event that was delivered."""
    skipped: list[int] = []
    """The indexes of the events that the tracker could not process."""


class Cursor(Position, omit_defaults=True, kw_only=True):
    """How far one tracker is with one run. Stored as a small file for each tracker and destination.

    Its own position is the one in the run's journal.
    """

    tracker: str
    destination: str = ""
    system: Position = msgspec.field(default_factory=Position)
    """The position in the journal of the system metrics."""
    state: State = {}
    """The tracker's own state, which its last `flush` returned."""
    epoch: State = {}
    """The metrics of the current epoch that the tracker has so far."""
    passed: float | None = None
    """When a batch's metrics last passed the throttle."""
    waiting: bytes = b""
    """The last batch if the throttle held it back, as MessagePack; it is delivered just before the epoch ends."""
    held_back: int = 0
    """The number of batches whose metrics the throttle held back. They are only in the journal."""
    run_status: str = msgspec.field(default="", name="told")
    """The final status that the journal records for the run; empty while the run is open."""
    reason: str = ""
    status: str = ""
    """The status with which the run was closed in the tracker; empty while it is open there."""
    not_held: dict[str, int] = {}
    """What the tracker's backend cannot hold → how often the run has it."""
    url: str | None = None
    error: str | None = None
    """Why the last attempt failed; None if it did not."""
    failures: int = 0
    """The number of attempts that have failed since the last successful one."""
    spec: Spec | None = None
    """What `sync` needs to find the tracker again, without options, which may be secret."""

    @property
    def left_out(self) -> int:
        """The number of events of both journals that the tracker could not process."""
        return len(self.skipped) + len(self.system.skipped)

    def is_of(self, name: str) -> bool:
        """Whether this is the cursor of the tracker that the user calls `name`."""
        return self.tracker == name or (self.spec is not None and self.spec.name == name)


def check_spec(name: str, options: dict[str, Any]) -> tuple[Spec, Tracker]:
    """Check the options that a user gave for a tracker. Returns its spec and the tracker, which is cheap to make.

    Raises:
        UnknownNameError: the tracker or an option does not exist.
        MissingPackageError: a package that the tracker requires is not installed.
        InvalidValueError: an option is invalid or cannot be passed to the delivery process.
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
            f"tracker {name!r}: an option cannot be passed to the delivery process ({found.why})."
            " Pass the tracker itself, or delivery='inline'."
        ) from found.cause
    return spec, made


def cursor_path(run: RunInfo, tracker: Tracker) -> Path:
    """Return the path of the cursor of this tracker and its destination."""
    name = as_file_name(tracker.name)
    if tracker.destination:
        name += "-" + sha256(tracker.destination.encode()).hexdigest()[:8]
    return Path(run.path, FOLDER, f"{name}.json")


def unopened_path(run: RunInfo, name: str) -> Path:
    """Return the path of the cursor of a tracker whose destination is not known, because it could not be opened."""
    return Path(run.path, FOLDER, f"{as_file_name(name)}.unopened.json")


def save_unopened(run: RunInfo, name: str, error: str, spec: Spec | None) -> None:
    """Note that a tracker could not be opened. The note counts the attempts, and is removed by a successful one."""
    path = unopened_path(run, name)
    path.parent.mkdir(exist_ok=True)
    try:
        found = read_json(path, Cursor)
    except (OSError, DamagedFileError):
        found = Cursor(tracker=name)
    found.error, found.failures, found.spec = error, found.failures + 1, spec
    write_atomically(path, msgspec.json.encode(found))


def load_cursor(run: RunInfo, tracker: Tracker, spec: Spec | None = None) -> Cursor:
    """Load the cursor of a tracker, or make a new one if it has not delivered this run to its destination.

    A damaged cursor is set aside and replaced by a new one.
    """
    path = cursor_path(run, tracker)
    path.parent.mkdir(exist_ok=True)
    try:
        found = read_cursor(path)
    except FileNotFoundError:
        found = new_cursor(tracker)
    except DamagedFileError as error:
        set_aside(path, run.path, error)
        found = new_cursor(tracker)
    found.spec = spec or found.spec
    return found


def new_cursor(tracker: Tracker) -> Cursor:
    """Make the cursor of a tracker that has nothing of the run yet."""
    return Cursor(tracker=tracker.name, destination=redact_text(tracker.destination))


def read_cursor(path: Path) -> Cursor:
    """Read a saved cursor.

    Raises:
        DamagedFileError: the file does not contain a valid cursor.
        OSError: the file does not exist, or no file can be read now.
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
    """Read the cursors of all trackers of a run, or of one tracker, which may have several destinations."""
    found = []
    for path in json_files(Path(run, FOLDER)):
        with contextlib.suppress(OSError, DamagedFileError):  # another file, such as `files.json`
            found.append(read_json(path, Cursor))
    return [cursor for cursor in found if name is None or cursor.is_of(name)]


def is_delivered(run: str | Path, cursor: Cursor) -> bool:
    """Whether a tracker has every record of a run and its final status."""
    if cursor.status not in FINAL or cursor.error is not None:
        return False
    return cursor.offset >= journal_size(run) or not has_more(run, cursor.offset)


def is_delivered_to(run: str | Path, name: str) -> bool:
    """Whether the run is delivered to the tracker of this name, at one of its destinations at least."""
    return any(is_delivered(run, cursor) for cursor in cursors(run, name))


def has_reached(cursor: Cursor, size: int) -> bool:
    """Whether a tracker has this many bytes of the journal, and did not fail since."""
    return cursor.offset >= size and cursor.error is None


def journal_size(run: str | Path) -> int:
    """Return the size of a run's journal in bytes; 0 if the run's folder was removed."""
    try:
        return journal.path_of(run).stat().st_size
    except OSError:
        return 0


def has_more(run: str | Path, offset: int) -> bool:
    """Whether the journal has whole records from this offset on. A full disk can leave an incomplete one at the end."""
    try:
        with journal.Reader(run, offset) as events:
            return any(True for _ in events)
    except (JournalError, OSError):
        return True


def save_cursor(run: RunInfo, tracker: Tracker, cursor: Cursor) -> None:
    """Replace the cursor of this tracker atomically."""
    write_atomically(cursor_path(run, tracker), with_checksum(msgspec.json.encode(cursor)))
