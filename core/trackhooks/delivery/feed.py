"""From a run's journal to its trackers: each `Feed` replays one run's hooks to one tracker, exactly once.

A run has two journals: its own, and that of the measurements of its process (see `sampling`). A feed reads on in both
from its cursor, calls the tracker, lets it flush, and saves the cursor together with the tracker's own state. When the
tracker raises, or the process dies, the next attempt starts from the saved pair.
The same feeds serve everyone: the delivery process and a thread of the training (`Follower`), and `deliver`, which
runs them to the end of the journal.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ..errors import StateLostError, TrackhooksError
from ..event import FINAL, Event, RunInfo
from ..hooks.vocabulary import BY_NAME
from ..storage.checkpoints import DeliveredFiles
from ..storage.journal import FILE_NAME, SYSTEM, Reader
from ..storage.locks import FileLock
from ..tracker import Tracker
from ..values.secrets import redact_text
from .cursor import Cursor, Position, Spec, cursor_path, load_cursor, save_cursor
from .throttle import Throttle

_SAVE_S = 1.0
"""A cursor is saved this often while events stream in; a crash repeats no more than that, to no effect."""
_SETTLE_S = 1.0
"""A run that has its status is closed in its trackers when nothing more came for so long."""
_TRIES = 3
"""After so many failures at one event, an error that is not of the outside world is the event's own: it is skipped."""


class Feed:
    """Delivers one run to one tracker. Not safe with threads: one thread calls it.

    Args:
        run: the run's folder.
        make: makes the tracker; called again after a failure.
        every: how often batch metrics pass; None for the tracker's default.
        keeper: where the run's files are kept.
        spec: what the cursor remembers of how to find the tracker.
        batch: events between two flushes, at most.
        from_start: delivers from the beginning where the tracker was fed less often than `spec` says.
    """

    def __init__(
        self,
        run: RunInfo,
        make: Callable[[], Tracker],
        keeper: DeliveredFiles,
        every: int | str | None = None,
        spec: Spec | None = None,
        batch: int = 5000,
        from_start: bool = False,
    ) -> None:
        self.run = run
        self.ending = False
        """Set when nothing more will be written to the journal."""
        self.cursor: Cursor
        self._make = make
        self._keeper = keeper
        self._every = every
        self._batch = batch
        self._from_start = from_start
        self._spec = Spec(spec.name, every=spec.every) if spec is not None else None
        self._tracker: Tracker | None = None
        self._sources: list[_Source] = []
        self._throttle: Throttle
        self._lock: FileLock | None = None
        self._started = False
        self._quiet_since = 0.0
        self._saved_at = 0.0
        self._current: tuple[str, int] | None = None
        """The journal and the index of the event that the tracker was given last: to blame when it keeps failing."""
        self._careful_until: dict[str, int] = {}
        self._failed_at: dict[tuple[str, int], int] = {}

    @property
    def _to_finish(self) -> bool:
        return self.cursor.told != "" and self.cursor.told != self.cursor.status

    def is_of(self, name: str) -> bool:
        """Whether it may feed the tracker of this name; before its first step, it is not known which it feeds."""
        return not hasattr(self, "cursor") or self.cursor.is_of(name)

    # One step

    def step(self) -> bool:
        """Delivers what is there, one batch of it; True where there was anything.

        Raises:
            Exception: whatever the tracker raised; the feed has gone back to its saved cursor.
        """
        try:
            return self._step()
        except BaseException as error:
            if isinstance(error, StateLostError) and self.cursor.state:
                self._begin_again()
                return True
            self._fail(error)
            raise

    def _step(self) -> bool:
        if self._tracker is None:
            self._open()
        if any(map(self._deliver_from, self._sources)):
            return True
        self._rest()
        return False

    def _deliver_from(self, source: _Source) -> bool:
        """Delivers a batch of one journal; while an event makes trouble, one event at a time."""
        careful = source.place.index < self._careful_until.get(source.name, -1)
        count = 0
        for event in itertools.islice(source, 1 if careful else self._batch):
            self._deliver(event, source)
            source.read = event.index
            count += 1
        if count:
            self._quiet_since = time.monotonic()
            self._flush(save=careful or self._quiet_since - self._saved_at > _SAVE_S)
        return count > 0

    def _rest(self) -> None:
        """Nothing is there: the cursor catches up, and a run that has its status is closed in its tracker."""
        if any(source.place.offset != source.offset for source in self._sources):
            self._flush(save=True)
        quiet = time.monotonic() - self._quiet_since
        if self._to_finish and (self.ending or quiet > _SETTLE_S):
            self._finish()

    def _open(self) -> None:
        made = self._make()
        made.run = self.run
        self._take(made)
        self.cursor = self._load_cursor(made)
        self._throttle = Throttle(self._every if self._every is not None else made.every)
        if self.cursor.passed is not None:
            self._throttle.last = self.cursor.passed
        if self.cursor.waiting:
            self._throttle.waiting = msgspec.msgpack.decode(self.cursor.waiting, type=Event)
        made.epoch_metrics.restore(self.cursor.epoch)
        self._started = False
        self._sources = [_Source(self.run, FILE_NAME, self.cursor)]
        if made.system:  # first, since they are few: a journal that is far ahead must not hold them up
            self._sources.insert(0, _Source(self.run, SYSTEM, self.cursor.system))
        self._tracker = made

    def _load_cursor(self, made: Tracker) -> Cursor:
        found = load_cursor(self.run, made)
        every = found.spec.every if found.spec is not None else None
        if not (self._from_start and found.held_back and every != self._every):
            found.spec = self._spec or found.spec
            return found
        if not made.takes_earlier:
            raise TrackhooksError(
                f"{made.name} cannot take metrics of earlier batches once it has later ones, and"
                f" {found.held_back} batches were held back. Deliver the run to another place: --option {made.name}.…"
            )
        return self._from_the_start(made, found)

    def _take(self, made: Tracker) -> None:
        """One feed for a tracker and destination at a time, across processes."""
        if self._lock is not None:
            return
        path = cursor_path(self.run, made)
        lock = FileLock(path.with_name(f".{path.name}.lock"))
        if not lock.acquire():
            raise TrackhooksError(
                f"run {self.run.name!r} is being delivered to {made.name!r} by another process now."
            )
        self._lock = lock

    def _deliver(self, event: Event, source: _Source) -> None:
        assert self._tracker is not None
        hook = BY_NAME.get(event.hook)
        if hook is None or hook.journaled or event.hook in self._tracker.extra_hooks:
            due = self._throttle.due(event)
            self.cursor.held_back += 1 - len(due)
            for event_due in due:
                self._hand_over(event_due, source)
        if event.status:
            self.cursor.told = event.status if event.status in FINAL else ""
            self.cursor.reason = event.reason

    def _hand_over(self, event: Event, source: _Source) -> None:
        assert self._tracker is not None
        if event.index in source.place.skipped:
            return
        if not self._started:
            self._start()
        self._current = (source.name, event.index)
        if event.files:
            self._keeper.resolve(event)
        event.run = self.run
        self._tracker.handle(event)

    def _start(self) -> None:
        assert self._tracker is not None
        self._current = None
        self._tracker.start(self.run, self.cursor.state)
        self._started = True
        self.cursor.url = self._tracker.url

    def _flush(self, save: bool) -> None:
        assert self._tracker is not None
        state = self._tracker.flush() if self._started else self.cursor.state
        if not save:
            return
        for source in self._sources:
            source.place.offset, source.place.index = source.offset, max(source.read, source.place.index)
        cursor = self.cursor
        cursor.state, cursor.epoch = state, self._tracker.epoch_metrics.state()
        cursor.passed = self._throttle.last
        waiting = self._throttle.waiting
        cursor.waiting = b"" if waiting is None else msgspec.msgpack.encode(waiting)
        cursor.url = self._tracker.url if self._started else cursor.url
        cursor.error, cursor.failures = None, 0
        if self._started:
            cursor.status = ""
        self._save()

    def _finish(self) -> None:
        assert self._tracker is not None
        if not self._started:
            self._start()
        self._tracker.finish(self.cursor.told, self.cursor.reason)
        self.cursor.status, self._started = self.cursor.told, False
        self.cursor.error, self.cursor.failures = None, 0
        self._save()

    def _save(self) -> None:
        self.cursor.updated = time.time()
        self._saved_at = time.monotonic()
        assert self._tracker is not None
        save_cursor(self.run, self._tracker, self.cursor)

    # Failing

    def _fail(self, error: BaseException) -> None:
        """Back to the saved cursor; the error is noted there, for whoever asks how delivery stands."""
        made, self._tracker, self._started = self._tracker, None, False
        self._close_sources()
        if made is None or not hasattr(self, "cursor"):
            return
        with contextlib.suppress(OSError):  # a full disk, perhaps; the next attempt says so again
            self.cursor = load_cursor(self.run, made, self._spec)
            self.cursor.failures += 1
            self.cursor.error = redact_text(f"{type(error).__name__}: {error}")
            if isinstance(error, _OWN_ERRORS) and self._current is not None:
                self._blame_event(*self._current)
            self.cursor.updated = time.time()
            save_cursor(self.run, made, self.cursor)
        made.abort()

    def _begin_again(self) -> None:
        """All of the run comes again, to a tracker that has lost some of it."""
        made, self._tracker, self._started = self._tracker, None, False
        assert made is not None
        self._close_sources()
        self.cursor = self._from_the_start(made, self.cursor)
        made.abort()

    def _from_the_start(self, made: Tracker, old: Cursor) -> Cursor:
        """A new cursor, which is saved before the tracker forgets what it has."""
        fresh = Cursor(tracker=made.name, destination=old.destination, spec=self._spec or old.spec)
        save_cursor(self.run, made, fresh)
        return fresh

    def _blame_event(self, journal: str, index: int) -> None:
        """A batch that fails again is delivered one by one; the event that still fails is skipped."""
        place = self.cursor.system if journal == SYSTEM else self.cursor
        careful_until = self._careful_until.get(journal, -1)
        failed = self._failed_at[journal, index] = self._failed_at.get((journal, index), 0) + 1
        # What had been waiting is behind the cursor already, and was handed over alone.
        if failed >= _TRIES and (place.index < careful_until or index <= place.index):
            place.skipped = [*place.skipped, index]
            self.cursor.error = f"event {index} was skipped: {self.cursor.error}"
        elif failed >= _TRIES - 1:
            self._careful_until[journal] = max(careful_until, index)

    def _close_sources(self) -> None:
        for source in self._sources:
            source.close()
        self._sources = []

    def close(self) -> None:
        """Lets go of the journal, of the lock, and of a tracker that was not finished, since the run goes on."""
        if self._tracker is not None and self._started:
            self._tracker.abort()
            self._started = False
        self._close_sources()
        if self._lock is not None:
            self._lock.release()
            self._lock = None


class _Source:
    """One journal of a run, from a place on; it need not be there yet."""

    def __init__(self, run: RunInfo, name: str, place: Position) -> None:
        self.name = name
        self.place = place
        """How far it is delivered."""
        self.read = -1
        """The last event that was read."""
        self._path = Path(run.path, name)
        self._reader: Reader | None = None

    @property
    def offset(self) -> int:
        """How far it is read."""
        return self.place.offset if self._reader is None else self._reader.offset

    def __iter__(self) -> Iterator[Event]:
        if self._reader is None and (self.name == FILE_NAME or self._path.is_file()):
            self._reader = Reader(self._path, self.place.offset)
        return iter(()) if self._reader is None else iter(self._reader)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


_OWN_ERRORS = (
    TypeError, ValueError, LookupError, AttributeError, AssertionError, ArithmeticError, NotImplementedError, NameError,
)  # fmt: skip
"""Errors of a tracker's own code, which come again however often it is called; an outage raises others."""
