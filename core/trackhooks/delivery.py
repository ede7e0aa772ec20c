"""From a run's journal to its trackers: each `Feed` replays one run's hooks to one tracker, exactly once.

A feed reads on from its cursor, calls the tracker, lets it flush, and saves the cursor together with the tracker's own
state. When the tracker raises, or the process dies, the next attempt starts from the saved pair.
The same feeds serve everyone: the delivery process and a thread of the training (`Follower`), and `deliver`, which
runs them to the end of the journal.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import random
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psutil

from . import environment, folder, tracker
from .errors import InvalidValueError, JournalError, TrackhooksError
from .event import FINAL, Event, RunInfo
from .folder import as_file_name, write_atomically
from .journal import Reader, Writer
from .keeping import Keeper
from .locking import FileLock
from .redaction import redact_text
from .throttle import Throttle
from .tracker import State, Tracker
from .vocabulary import BY_NAME, LOG

FOLDER = "delivery"

_BATCH = 5000
"""Events between two flushes, at most."""
_POLL_S, _IDLE_POLL_S = 0.1, 1.0
_SAVE_S = 1.0
"""A cursor is saved this often while events stream in; a crash repeats no more than that, to no effect."""
_SETTLE_S = 1.0
"""A run that has its status is closed in its trackers when nothing more came for so long."""
_BACKOFF_S, _LONGEST_BACKOFF_S = 0.5, 30.0
_TRIES = 3
"""After so many failures at one event, an error that is not of the outside world is the event's own: it is skipped."""
_STALE_S = 3600.0
"""A run of another machine that has written nothing for so long is lost."""

_log = logging.getLogger("trackhooks")


class Spec(msgspec.Struct, omit_defaults=True):
    """One tracker as the user named it."""

    name: str
    """Of an entry point, or `"module:Class"`."""
    options: dict[str, Any] = {}
    every: int | str | None = None
    """How often it takes the metrics of training batches; None for its own default."""

    def make(self) -> Tracker:
        """The tracker."""
        return tracker.load(self.name, **self.options)


class Cursor(msgspec.Struct, omit_defaults=True):
    """How far one tracker is with one run: what is stored, one small file for each tracker and destination."""

    tracker: str
    destination: str = ""
    offset: int = 0
    """Where in the journal the next event starts, in bytes."""
    index: int = -1
    """The last event that was delivered."""
    state: State = {}
    """The tracker's own: what its last `flush` returned."""
    epoch: State = {}
    """The metrics that the tracker has of the present epoch."""
    passed: float | None = None
    """When a batch's metrics last passed the throttle."""
    told: str = ""
    """The status that the journal has given to the run so far; empty while it goes on."""
    reason: str = ""
    status: str = ""
    """The status that the tracker has been closed with; empty while the run is open in it."""
    url: str | None = None
    error: str | None = None
    """Why the last attempt failed; None when it did not."""
    failures: int = 0
    """Attempts that failed since the last that did not."""
    skipped: list[int] = []
    """The events that the tracker could not take."""
    spec: Spec | None = None
    """Without options that may be secret: only what `sync` needs to find the tracker again."""
    updated: float = 0.0


class Feed:
    """Delivers one run to one tracker. Not safe with threads: one thread calls it.

    Args:
        run: the run's folder.
        make: makes the tracker; called again after a failure.
        every: how often batch metrics pass; None for the tracker's default.
        keeper: where the run's files are kept.
        spec: what the cursor remembers of how to find the tracker.
    """

    def __init__(
        self,
        run: RunInfo,
        make: Callable[[], Tracker],
        keeper: Keeper,
        every: int | str | None = None,
        spec: Spec | None = None,
    ) -> None:
        self.run = run
        self.ending = False
        """Set when nothing more will be written to the journal."""
        self.cursor: Cursor
        self._make = make
        self._keeper = keeper
        self._every = every
        self._spec = Spec(spec.name, every=spec.every) if spec is not None else None
        self._tracker: Tracker | None = None
        self._reader: Reader | None = None
        self._throttle: Throttle
        self._lock: FileLock | None = None
        self._started = False
        self._quiet_since = 0.0
        self._saved_at = 0.0
        self._read = -1
        self._current = -1
        """The event that the tracker was given last: the one to blame when it keeps failing."""
        self._careful_until = -1
        self._failed_at: dict[int, int] = {}

    @property
    def _to_finish(self) -> bool:
        return self.cursor.told != "" and self.cursor.told != self.cursor.status

    # One step

    def step(self) -> bool:
        """Delivers what is there, one batch of it; True where there was anything.

        Raises:
            Exception: whatever the tracker raised; the feed has gone back to its saved cursor.
        """
        try:
            return self._step()
        except BaseException as error:
            self._fail(error)
            raise

    def _step(self) -> bool:
        if self._tracker is None:
            self._open()
        assert self._reader is not None
        count = 0
        careful = self.cursor.index < self._careful_until
        for event in itertools.islice(self._reader, 1 if careful else _BATCH):
            self._deliver(event)
            self._read = event.index
            count += 1
        if count:
            self._quiet_since = time.monotonic()
            self._flush(save=careful or self._quiet_since - self._saved_at > _SAVE_S)
        else:
            self._rest()
        return count > 0

    def _rest(self) -> None:
        """Nothing is there: the cursor catches up, and a run that has its status is closed in its tracker."""
        assert self._reader is not None
        if self.cursor.offset != self._reader.offset:
            self._flush(save=True)
        quiet = time.monotonic() - self._quiet_since
        if self._to_finish and (self.ending or quiet > _SETTLE_S):
            self._finish()

    def _open(self) -> None:
        made = self._make()
        made.run = self.run
        self._take(made)
        self.cursor = load_cursor(self.run, made, self._spec)
        self._throttle = Throttle(self._every if self._every is not None else made.every)
        if self.cursor.passed is not None:
            self._throttle.last = self.cursor.passed
        made.epoch_metrics.restore(self.cursor.epoch)
        self._started = False
        self._reader = Reader(self.run.path, self.cursor.offset)
        self._tracker = made

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

    def _deliver(self, event: Event) -> None:
        assert self._tracker is not None
        hook = BY_NAME.get(event.hook)
        wanted = hook is None or hook.journaled or event.hook in self._tracker.wants
        if wanted and event.index not in self.cursor.skipped and self._throttle.passes(event):
            if not self._started:
                self._start()
            self._current = event.index
            if event.files:
                self._keeper.resolve(event)
            event.run = self.run
            self._tracker.handle(event)
        if event.status:
            self.cursor.told = event.status if event.status in FINAL else ""
            self.cursor.reason = event.reason

    def _start(self) -> None:
        assert self._tracker is not None
        self._current = -1
        self._tracker.start(self.run, self.cursor.state)
        self._started = True
        self.cursor.url = self._tracker.url

    def _flush(self, save: bool) -> None:
        assert self._tracker is not None
        assert self._reader is not None
        state = self._tracker.flush() if self._started else self.cursor.state
        if not save:
            return
        cursor = self.cursor
        cursor.offset, cursor.index, cursor.state = (
            self._reader.offset,
            max(self._current, cursor.index),
            state,
        )
        cursor.epoch, cursor.passed = self._tracker.epoch_metrics.state(), self._throttle.last
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
        write_atomically(cursor_path(self.run, self._tracker), msgspec.json.encode(self.cursor))

    # Failing

    def _fail(self, error: BaseException) -> None:
        """Back to the saved cursor; the error is noted there, for whoever asks how delivery stands."""
        made, self._tracker, self._started = self._tracker, None, False
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if made is None or not hasattr(self, "cursor"):
            return
        self.cursor = load_cursor(self.run, made, self._spec)
        self.cursor.failures += 1
        self.cursor.error = redact_text(f"{type(error).__name__}: {error}")
        if isinstance(error, _OWN_ERRORS) and self._current >= 0:
            self._blame_event()
        self.cursor.updated = time.time()
        with contextlib.suppress(OSError):  # a full disk, perhaps; the next attempt says so again
            write_atomically(cursor_path(self.run, made), msgspec.json.encode(self.cursor))

    def _blame_event(self) -> None:
        """A batch that fails again is delivered one by one; the event that still fails is skipped."""
        failed = self._failed_at[self._current] = self._failed_at.get(self._current, 0) + 1
        if failed >= _TRIES and self.cursor.index < self._careful_until:
            self.cursor.skipped = [*self.cursor.skipped, self._current]
            self.cursor.error = f"event {self._current} was skipped: {self.cursor.error}"
        elif failed >= _TRIES - 1:
            self._careful_until = max(self._careful_until, self._current)

    def close(self) -> None:
        """Lets go of the journal and of the lock."""
        if self._reader is not None:
            self._reader.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None


_OWN_ERRORS = (
    TypeError, ValueError, LookupError, AttributeError, AssertionError, ArithmeticError, NotImplementedError, NameError,
)  # fmt: skip
"""Errors of a tracker's own code, which come again however often it is called; an outage raises others."""


# Cursors


def cursor_path(run: RunInfo, made: Tracker) -> Path:
    """Where the cursor of this tracker and its destination is stored."""
    name = as_file_name(made.name)
    if made.destination:
        name += "-" + hashlib.sha256(made.destination.encode()).hexdigest()[:8]
    return Path(run.path, FOLDER, f"{name}.json")


def load_cursor(run: RunInfo, made: Tracker, spec: Spec | None = None) -> Cursor:
    """The cursor of this tracker; a new one where it has not delivered this run to this destination."""
    path = cursor_path(run, made)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Cursor)
    except (FileNotFoundError, msgspec.DecodeError):
        found = Cursor(made.name, redact_text(made.destination))
    found.spec = spec or found.spec
    return found


def cursors(run: str | Path) -> list[Cursor]:
    """How far every tracker of a run is."""
    found = []
    for path in sorted(Path(run, FOLDER).glob("*.json")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Cursor))
        except (OSError, msgspec.DecodeError):
            continue  # another file, such as the one about the kept files
    return found


# Following


class Follower:
    """Feeds the trackers of many runs, each in a thread of its own: one's failure never delays another.

    Args:
        patience: how long failing trackers are tried again once the run has ended, in seconds.
    """

    def __init__(self, patience: float = 300.0) -> None:
        self._patience = patience
        self._feeds: dict[str, list[Feed]] = {}
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()

    @property
    def runs(self) -> list[str]:
        """The folders of the runs that are followed."""
        return list(self._feeds)

    def follow(
        self, run: RunInfo, sources: Sequence[tuple[Callable[[], Tracker], Spec | None, int | str | None]]
    ) -> None:
        """Starts delivering a run; each source is how to make a tracker, its spec, and how often it is fed."""
        keeper = Keeper(run)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        for make, spec, every in sources:
            feed = Feed(run, make, keeper, every, spec)
            self._feeds.setdefault(run.path, []).append(feed)
            name = f"trackhooks-{spec.name if spec else 'tracker'}-{run.name}"
            thread = threading.Thread(target=self._run, args=(feed,), name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, feed: Feed) -> None:
        gives_up_at = float("inf")
        failures = 0
        wait = 0.0
        while not self._stop.wait(wait):
            if feed.ending and gives_up_at == float("inf"):
                gives_up_at = time.monotonic() + self._patience
            ending = (
                feed.ending
            )  # asked before the step: what was written before it was set is then read by the step
            try:
                busy = feed.step()
            except Exception as error:  # noqa: BLE001 — the one place that keeps a tracker from breaking anything else
                failures += 1
                self._report(feed, error, failures)
                if time.monotonic() > gives_up_at:
                    break
                wait = _backoff(failures)
                continue
            failures = 0
            if ending and not busy:
                break
            wait = 0.0 if busy else _IDLE_POLL_S if feed.cursor.status else _POLL_S
        feed.close()

    def _report(self, feed: Feed, error: BaseException, failures: int) -> None:
        if failures == 1:
            name = feed.cursor.tracker if hasattr(feed, "cursor") else "a tracker"
            _log.warning(
                "%s, run %r: %s. Tries again; nothing is lost.", name, feed.run.name, redact_text(str(error))
            )
            _log.info("%s", redact_text("".join(traceback.format_exception(error))))

    def end(self, run: str) -> None:
        """Says that nothing more will be written to the journal of this run."""
        for feed in self._feeds.get(run, []):
            feed.ending = True

    def join(self, timeout: float | None = None) -> bool:
        """Waits until all runs that have ended are delivered; False where the time was too short."""
        until = None if timeout is None else time.monotonic() + timeout
        for thread in list(self._threads):
            thread.join(None if until is None else max(until - time.monotonic(), 0))
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Ends the threads after their present step, delivered or not."""
        self._stop.set()


def _backoff(failures: int) -> float:
    longest: float = min(_BACKOFF_S * 2 ** (failures - 1), _LONGEST_BACKOFF_S)
    return longest * random.uniform(0.5, 1.0)


# Ends that nobody told


def alive(pid: int, created: float) -> bool:
    """Whether this very process still runs: by its pid and when it was made."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def end_if_dead(path: str | Path) -> RunInfo:
    """Gives a run that ended without saying so its status: `killed`, or `lost` where nobody can know.

    Raises:
        TrackhooksError: there is no run in this folder.
    """
    run = folder.read_info(path)
    if run.status in FINAL:
        return run
    status = _status_of_silent(run)
    if status:
        _settle(run, status)
    return run


def _status_of_silent(run: RunInfo) -> str:
    here = run.host == environment.host()
    if here and run.boot == environment.boot_id():
        return "" if alive(run.pid, run.pid_created) else "killed"
    if here:
        return "killed"  # the machine has been started anew since
    silent = time.time() - max(run.created, _last_written(run))
    return "lost" if silent > _STALE_S else ""


def _last_written(run: RunInfo) -> float:
    last = 0.0
    with Reader(run.path) as reader:
        for event in reader:
            last = event.time
    return last


def _settle(run: RunInfo, status: str) -> None:
    """Writes the status where the dead process did not; someone who has resumed the run comes first."""
    try:
        writer = Writer(run.path)
    except JournalError:
        return
    try:
        last = writer.last
        told = last is not None and last.status in FINAL
        run.status = last.status if last is not None and told else status
        run.ended = last.time if last is not None else time.time()
        if not told:
            index, step, epoch = (last.index + 1, last.step, last.epoch) if last else (0, -1, -1)
            writer.append(Event(LOG, index, time.time(), step, epoch, status=status, reason=_REASONS[status]))
            run.reason = _REASONS[status]
        folder.write_info(Path(run.path), run)
    finally:
        writer.close()


_REASONS = {
    "killed": "the process ended without closing the run",
    "lost": "nothing was heard of the run any more",
}


# At once


def deliver(
    path: str | Path,
    specs: Sequence[Spec | Tracker] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, str]:
    """Delivers all of a run that is not delivered yet, in this process.

    Args:
        path: the run's folder.
        specs: the trackers; by default those that the run was made with.
        progress: called with the tracker's name, the bytes of the journal that are delivered, and all of them.

    Returns:
        The name of each tracker that failed → why.

    Raises:
        TrackhooksError: there is no run in this folder.
    """
    run = end_if_dead(path)
    found = list(specs) if specs is not None else [Spec(name) for name in run.trackers]
    keeper = Keeper(run)
    failed = {}
    for spec in found:
        made = (lambda given=spec: given) if isinstance(spec, Tracker) else spec.make
        feed = Feed(
            run,
            made,
            keeper,
            None if isinstance(spec, Tracker) else spec.every,
            None if isinstance(spec, Tracker) else spec,
        )
        feed.ending = run.status in FINAL
        try:
            _deliver_all(feed, progress)
        except Exception as error:  # noqa: BLE001 — one tracker's failure must not keep the others from theirs
            failed[spec.name] = redact_text(f"{type(error).__name__}: {error}")
        finally:
            feed.close()
    return failed


def _deliver_all(feed: Feed, progress: Callable[[str, int, int], None] | None) -> None:
    size = Path(feed.run.path, "journal").stat().st_size
    while feed.step():
        if progress is not None:
            progress(feed.cursor.tracker, feed.cursor.offset, size)


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
    try:
        msgspec.json.encode(spec)
    except (TypeError, msgspec.ValidationError) as error:
        raise InvalidValueError(
            f"tracker {name!r}: an option cannot be handed to the delivery process ({error})."
            " Pass the tracker itself, or delivery='inline'."
        ) from error
    return spec, made
