"""`Feed`: delivers one run to one tracker, retries after failures, and skips events that always fail.

`Follower` runs feeds in threads, of the delivery process or of the training; `deliver` runs them to the end of the
journal.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from ..errors import StateLostError, TrackhooksError
from ..errors.foreign import attempt, described_error, first_line
from ..event import RunInfo
from ..storage.checkpoints import DeliveredFiles
from ..storage.journal import SYSTEM
from ..storage.locks import FileLock
from ..tracker import Tracker
from .cursor import Cursor, Spec, cursor_path, load_cursor, save_cursor, save_unopened, unopened_path
from .first_starts import first_starts
from .replay import Replay

TRIES = 3
"""An event is skipped after this many errors of the tracker's own code."""
STUCK = 3
"""A client is stuck after this many failures in a row to start, for other reasons than an outage."""
OWN_ERRORS = (
    TypeError, ValueError, LookupError, AttributeError, AssertionError, ArithmeticError, NotImplementedError, NameError,
)  # fmt: skip
"""Errors of a tracker's own code, which occur again at every attempt. An outage raises other errors."""


class Feed:
    """Delivers one run to one tracker. Not thread-safe: one thread calls it.

    Args:
        run: the run.
        make: makes the tracker; called again after a failure.
        files: the copies of the run's files.
        every: how often batch metrics pass; None for the tracker's default.
        spec: what the cursor stores so that the tracker can be found again.
        batch: the maximum number of events between two flushes.
        from_start: deliver the whole run again if the tracker got batch metrics less often than `every` says.
    """

    def __init__(
        self,
        run: RunInfo,
        make: Callable[[], Tracker],
        files: DeliveredFiles,
        every: int | str | None = None,
        spec: Spec | None = None,
        batch: int = 5000,
        from_start: bool = False,
    ) -> None:
        self.run = run
        self.ending = False
        """Set when nothing more will be written to the journal."""
        self.cursor: Cursor | None = None
        """How far the tracker is; None before the first step."""
        self.reason = ""
        """Why the last step failed, in one line for users."""
        self._make = make
        self._files = files
        self._every = every
        self._batch = batch
        self._from_start = from_start
        self._spec = None if spec is None else Spec(spec.name, every=spec.every)
        self._tracker: Tracker | None = None
        self._replay: Replay | None = None
        self._lock: FileLock | None = None
        self._blame = _Blame()
        self._failed_starts = 0

    @property
    def name(self) -> str:
        """The name of the tracker as the user wrote it."""
        if self._spec is not None:
            return self._spec.name
        return "a tracker" if self._tracker is None else self._tracker.name

    def is_of(self, name: str) -> bool:
        """Whether this may be the feed of the tracker of this name. Before the first step, that is not known."""
        return self.cursor is None or self.cursor.is_of(name)

    @property
    def is_stuck(self) -> bool:
        """Whether the tracker's client is broken in this process: it fails to start, and not because of an outage."""
        return self._failed_starts >= STUCK

    @property
    def is_finished(self) -> bool:
        """Whether the run is closed in the tracker. It may still be resumed."""
        return self.cursor is not None and self.cursor.status != ""

    def step(self) -> bool:
        """Deliver one batch of the events that are not delivered yet.

        Returns:
            False if there was nothing to deliver.

        Raises:
            Exception: whatever the tracker raised; the feed has gone back to its saved cursor.
        """
        try:
            if self._replay is None:
                self._open()
            assert self._replay is not None
            is_busy = self._replay.step(self._blame.is_careful, self.ending)
        except StateLostError as error:
            if self._replay is None or not self._replay.cursor.state:
                self._fail(error)
                raise
            self._start_over(self._replay)
            return True
        except BaseException as error:
            self._fail(error)
            raise
        self._failed_starts = 0
        return is_busy

    def _open(self) -> None:
        tracker = self._tracker = self._make()
        tracker.run = self.run
        with first_starts.turn(tracker, starts=False):  # some import their backend to know their destination
            self._acquire_lock(tracker)
        self.cursor = self._load_cursor(tracker)
        unopened_path(self.run, self.name).unlink(missing_ok=True)
        self._replay = Replay(self.run, tracker, self.cursor, self._every, self._files, self._batch)

    def _acquire_lock(self, tracker: Tracker) -> None:
        """One feed for a tracker and destination at a time, across processes."""
        if self._lock is not None:
            return
        path = cursor_path(self.run, tracker)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        if not lock.acquire():
            raise _BusyError(
                f"run {self.run.name!r} is being delivered to {tracker.name!r} by another process."
            )
        self._lock = lock

    def _load_cursor(self, tracker: Tracker) -> Cursor:
        found = load_cursor(self.run, tracker)
        every = None if found.spec is None else found.spec.every
        if not (self._from_start and found.held_back and every != self._every):
            found.spec = self._spec or found.spec
            return found
        if not tracker.takes_earlier:
            raise TrackhooksError(
                f"{tracker.name} cannot take metrics of earlier batches once it has later ones, and"
                f" {found.held_back} batches were held back."
                f" Deliver the run to another destination: --option {tracker.name}.…"
            )
        return self._new_cursor(tracker, found)

    def _new_cursor(self, tracker: Tracker, old: Cursor) -> Cursor:
        """A cursor at the start; it is saved before the tracker forgets what it has."""
        fresh = Cursor(tracker=tracker.name, destination=old.destination, spec=self._spec or old.spec)
        save_cursor(self.run, tracker, fresh)
        return fresh

    def _start_over(self, replay: Replay) -> None:
        """Deliver the whole run again because the tracker's backend has lost some of it."""
        self._replay = None
        self.cursor = self._new_cursor(replay.tracker, replay.cursor)
        replay.abort()

    def _fail(self, error: BaseException) -> None:
        """Go back to the saved cursor, and store the error there for `sync`, `doctor` and the training to show."""
        self.reason = self._explained(error)
        self._failed_starts = self._failed_starts + 1 if self._is_broken_start(error) else 0
        replay, self._replay = self._replay, None
        with contextlib.suppress(OSError):  # a full disk, perhaps; the next attempt stores it again
            if replay is not None:
                self._store_failure(replay, error)
            elif self._lock is None and not isinstance(error, _BusyError):
                save_unopened(self.run, self.name, self.reason, self._spec)
        if replay is not None:
            replay.abort()

    def _is_broken_start(self, error: BaseException) -> bool:
        is_start = self._replay is None or self._replay.current is None
        is_own = isinstance(error, (*OWN_ERRORS, ImportError, RuntimeError))
        return is_start and is_own and not isinstance(error, TrackhooksError)

    def _explained(self, error: BaseException) -> str:
        if isinstance(error, TrackhooksError):
            return first_line(str(error))
        explain = described_error if self._tracker is None else self._tracker.explain
        found = attempt(lambda: first_line(explain(error)))
        return found if isinstance(found, str) and found else described_error(error)

    def _store_failure(self, replay: Replay, error: BaseException) -> None:
        cursor = self.cursor = load_cursor(self.run, replay.tracker, self._spec)
        cursor.failures += 1
        cursor.error = self.reason
        if isinstance(error, OWN_ERRORS) and replay.current is not None:
            self._blame.add(*replay.current, cursor)
        save_cursor(self.run, replay.tracker, cursor)

    def close(self) -> None:
        """Close the journals and the tracker, and release the lock."""
        if self._replay is not None:
            self._replay.close()
            self._replay = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None


class _BusyError(TrackhooksError):
    """Another process delivers the run to this tracker."""


class _Blame:
    """Finds the event at which a tracker's own code fails: batches that fail twice are delivered event by event."""

    def __init__(self) -> None:
        self._failed_at: dict[tuple[str, int], int] = {}
        self._careful_until: dict[str, int] = {}

    def is_careful(self, journal: str, delivered: int) -> bool:
        """Whether the events after `delivered` in this journal are to be delivered one at a time."""
        return delivered < self._careful_until.get(journal, -1)

    def add(self, journal: str, index: int, cursor: Cursor) -> None:
        """Count a failure at an event; one that still fails alone is skipped from now on."""
        position = cursor.system if journal == SYSTEM else cursor
        was_held_back = index <= position.index  # such an event is delivered after later ones
        was_alone = was_held_back or self.is_careful(journal, position.index)
        failed = self._failed_at[journal, index] = self._failed_at.get((journal, index), 0) + 1
        if failed >= TRIES and was_alone:
            position.skipped = [*position.skipped, index]
            cursor.error = f"event {index} was skipped: {cursor.error}"
        elif failed >= TRIES - 1:
            self._careful_until[journal] = max(self._careful_until.get(journal, -1), index)
