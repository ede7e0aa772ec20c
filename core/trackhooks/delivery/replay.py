"""`Replay`: one tracker that is open, and how far it is with the journals of one run.

A run has two journals: its own, and the one with the measurements of its process (see `system_sampler`). A replay
continues in both from the cursor, calls the tracker for each event, lets it flush, and saves the cursor together with
the tracker's own state. After any failure the replay is abandoned, and the next one starts from the saved cursor: that
pair is what makes delivery exactly once.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ..event import FINAL, Event, RunInfo
from ..hooks.vocabulary import BY_NAME
from ..storage.checkpoints import DeliveredFiles
from ..storage.journal import FILE_NAME, SYSTEM, Reader
from ..tracker import Tracker
from .cursor import Cursor, Position, save_cursor
from .first_starts import first_starts
from .throttle import Throttle

_SAVE_S = 1.0
"""How often a cursor is saved while events arrive. After a crash, only events since then are delivered again."""
_SETTLE_S = 1.0
"""A run with a final status is closed in its tracker when no event has arrived for this long."""


class Replay:
    """Delivers the events of one run to one open tracker, starting at its cursor. Not thread-safe.

    Args:
        run: the run.
        tracker: a tracker that has not been started.
        cursor: how far the tracker is.
        every: how often batch metrics pass; None for the tracker's default.
        files: the copies of the run's files.
        batch: the maximum number of events between two flushes.
    """

    def __init__(
        self,
        run: RunInfo,
        tracker: Tracker,
        cursor: Cursor,
        every: int | str | None,
        files: DeliveredFiles,
        batch: int,
    ) -> None:
        self.tracker = tracker
        self.cursor = cursor
        self.current: tuple[str, int] | None = None
        """The journal and index of the event that the tracker was given last, to blame if it keeps failing."""
        self._run = run
        self._files = files
        self._batch = batch
        self._throttle = _restored_throttle(cursor, tracker.every if every is None else every)
        self._sources = [_Source(run, FILE_NAME, cursor)]
        if tracker.system:  # first: these events are few, and a long journal must not delay them
            self._sources.insert(0, _Source(run, SYSTEM, cursor.system))
        self._started = False
        self._quiet_since = 0.0
        self._saved_at = 0.0
        tracker.run = run
        tracker.epoch_metrics.restore(cursor.epoch)
        tracker.not_held = dict(cursor.not_held)

    def step(self, is_careful: Callable[[str, int], bool], ending: bool) -> bool:
        """Deliver one batch of the events that are not delivered yet.

        Args:
            is_careful: given a journal and the last index delivered from it, whether to deliver one event only.
            ending: nothing more will be written to the journal.

        Returns:
            False if there was nothing to deliver.

        Raises:
            Exception: whatever the tracker raised.
        """
        for source in self._sources:
            if self._deliver_from(source, is_careful(source.name, source.position.index)):
                return True
        self._rest(ending)
        return False

    def _deliver_from(self, source: _Source, careful: bool) -> bool:
        count = 0
        for event in itertools.islice(source, 1 if careful else self._batch):
            self._deliver(event, source)
            source.read = event.index
            count += 1
        if count:
            self._quiet_since = time.monotonic()
            self._flush(save=careful or self._quiet_since - self._saved_at > _SAVE_S)
        return count > 0

    def _deliver(self, event: Event, source: _Source) -> None:
        hook = BY_NAME.get(event.hook)
        if hook is None or hook.journaled or event.hook in self.tracker.extra_hooks:
            due = self._throttle.due(event)
            self.cursor.held_back += 1 - len(due)
            for event_due in due:
                self._hand_over(event_due, source)
        if event.status:
            self.cursor.run_status = event.status if event.status in FINAL else ""
            self.cursor.reason = event.reason

    def _hand_over(self, event: Event, source: _Source) -> None:
        if event.index in source.position.skipped:
            return
        self._start()
        self.current = (source.name, event.index)
        if event.files:
            self._files.resolve(event)
        event.run = self._run
        self.tracker.handle(event)

    def _start(self) -> None:
        if self._started:
            return
        self.current = None
        with first_starts.turn(self.tracker, starts=True):
            self.tracker.start(self._run, self.cursor.state)
        self._started = True
        self.cursor.url = self.tracker.url

    def _flush(self, save: bool) -> None:
        state = self.tracker.flush() if self._started else self.cursor.state
        if not save:
            return
        for source in self._sources:
            source.advance()
        waiting = self._throttle.waiting
        self.cursor.state, self.cursor.epoch = state, self.tracker.epoch_metrics.state()
        self.cursor.passed = self._throttle.last
        self.cursor.waiting = b"" if waiting is None else msgspec.msgpack.encode(waiting)
        if self._started:
            self.cursor.url, self.cursor.status = self.tracker.url, ""
        self._save()

    def _rest(self, ending: bool) -> None:
        """When nothing is left to deliver, save the cursor, and close a run that has a final status."""
        if any(source.has_moved for source in self._sources):
            self._flush(save=True)
        is_quiet = time.monotonic() - self._quiet_since > _SETTLE_S
        if self.cursor.run_status not in ("", self.cursor.status) and (ending or is_quiet):
            self._finish()

    def _finish(self) -> None:
        self._start()
        self.tracker.finish(self.cursor.run_status, self.cursor.reason)
        self.cursor.status, self._started = self.cursor.run_status, False
        self._save()

    def _save(self) -> None:
        self.cursor.error, self.cursor.failures = None, 0
        self.cursor.not_held = dict(self.tracker.not_held)
        self._saved_at = time.monotonic()
        save_cursor(self._run, self.tracker, self.cursor)

    def abort(self) -> None:
        """Close the journals, and let the tracker close its files and connections after a failure."""
        self._close_sources()
        self.tracker.abort()

    def close(self) -> None:
        """Close the journals, and abort a tracker that was not finished because the run continues."""
        self._close_sources()
        if self._started:
            self.tracker.abort()

    def _close_sources(self) -> None:
        for source in self._sources:
            source.close()


def _restored_throttle(cursor: Cursor, every: int | str) -> Throttle:
    throttle = Throttle(every)
    if cursor.passed is not None:
        throttle.last = cursor.passed
    if cursor.waiting:
        throttle.waiting = msgspec.msgpack.decode(cursor.waiting, type=Event)
    return throttle


class _Source:
    """One journal of a run, read from a position. The journal does not have to exist yet."""

    def __init__(self, run: RunInfo, name: str, position: Position) -> None:
        self.name = name
        self.position = position
        """How far the journal is delivered."""
        self.read = -1
        """The index of the last event that was read."""
        self._path = Path(run.path, name)
        self._reader: Reader | None = None

    def __iter__(self) -> Iterator[Event]:
        if self._reader is None and (self.name == FILE_NAME or self._path.is_file()):
            self._reader = Reader(self._path, self.position.offset)
        return iter(()) if self._reader is None else iter(self._reader)

    @property
    def has_moved(self) -> bool:
        """Whether more events have been read than the position says."""
        return self._reader is not None and self._reader.offset != self.position.offset

    def advance(self) -> None:
        """Note that everything that was read is delivered."""
        if self._reader is not None:
            self.position.offset = self._reader.offset
        self.position.index = max(self.read, self.position.index)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
