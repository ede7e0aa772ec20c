"""`DeliveryManager`: who delivers the runs of this process, and the wait at its end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

import psutil

from ..errors import JournalError, Notices, TrackerError, warn
from ..event import FINAL, RunInfo
from ..storage import journal
from ..storage.run_folder import damaged_files
from ..tracker import Tracker
from .cursor import FOLDER, Cursor, Spec, cursors
from .follower import Follower
from .process import DeliveryProcess, possible

if TYPE_CHECKING:
    from rich.progress import Progress

_POLL_S = 0.05
_QUIET_S = 1.0
"""A wait that is shorter than this is not talked about."""
_STARTS = 5
"""How often a delivery process is started, as long as the ones before it died."""
_OFTEN = f"the delivery process ended {_STARTS} times and is not started again"


class Unfinished(NamedTuple):
    """A run that is not all delivered to a tracker."""

    run: RunInfo
    tracker: str
    why: str
    """As far as it is known."""
    continues: bool
    """Whether the delivery process still delivers it."""


class DeliveryManager:
    """Has the runs of one process delivered: trackers by name in the delivery process, objects in threads here."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._process: DeliveryProcess | None = None
        self._starts = 0
        self._why_not = ""
        """Why no delivery process could be started; empty if one could."""
        self._gave_up = False
        self._threads: Follower | None = None
        self._followed: dict[str, tuple[RunInfo, list[Spec]]] = {}
        """The runs that the delivery process delivers, by folder."""
        self._here: dict[str, tuple[RunInfo, list[str]]] = {}
        """The runs that threads of this process deliver, with the names of their trackers."""
        self._ended: set[str] = set()
        self._reported: set[tuple[str, str]] = set()

    def follow(self, run: RunInfo, specs: Sequence[Spec], objects: Sequence[Tracker], mode: str) -> None:
        """Starts delivering a run.

        Args:
            run: which.
            specs: the trackers by name.
            objects: trackers that are objects of this process already.
            mode: `"process"`, `"inline"` or `"off"`.
        """
        if mode == "off":
            return
        here: list[Any] = [(lambda made=made: made, None, None) for made in objects]
        names = [made.name for made in objects]
        if mode == "inline":
            here += [(spec.make, spec, spec.every) for spec in specs]
            names += [spec.name for spec in specs]
            specs = []
        if here:
            self._threads = self._threads or Follower()
            self._here[run.path] = (run, names)
            self._threads.follow(run, here, measures=not specs)  # else the process does
        if specs:
            self._have_followed(run, list(specs))

    def _have_followed(self, run: RunInfo, specs: list[Spec]) -> None:
        self._followed[run.path] = (run, specs)
        self._reported |= {
            (run.path, str(path)) for path in damaged_files(run.path)
        }  # said when it was set aside
        self._ended.discard(run.path)
        if self._running:
            assert self._process is not None
            self._process.follow(run, specs)
        elif not self._start():
            self._gave_up = True
            warn(
                f"run {run.name!r} is only recorded: {self._why_not}. Deliver it later: trackhooks sync {run.path}"
            )
            if possible():
                del self._followed[run.path]  # nor can one be started later

    @property
    def _running(self) -> bool:
        return self._process is not None and self._process.running

    def _start(self) -> bool:
        """Start a delivery process for all runs that are not delivered yet. Returns whether one was started."""
        if self._process is not None:
            self._process.close()
        behind = [(run, specs) for run, specs in self._followed.values() if self._needs_more(run, specs)]
        self._why_not = possible() or (_OFTEN if self._starts >= _STARTS else "")
        if self._why_not or not behind:
            return False
        try:
            self._process = DeliveryProcess(Path(behind[0][0].path, FOLDER, "log"))
        except (OSError, psutil.Error) as error:
            self._why_not = f"no delivery process can be started: {error}"
            return False
        self._starts += 1
        for run, specs in behind:
            self._process.follow(run, specs)
            if run.path in self._ended:
                self._process.end(run)
        return True

    def _needs_more(self, run: RunInfo, specs: list[Spec]) -> bool:
        """Whether there is anything to deliver, or may be soon: a run that is resumed was delivered before."""
        return _size(run) > 0 and (run.path not in self._ended or not _delivered(run, specs))

    def end(self, run: RunInfo) -> None:
        """Says that nothing more will be written to this run's journal."""
        if self._threads is not None:
            self._threads.end(run.path)
        if run.path in self._followed:
            self._tell_of_damage(run)
            self._ended.add(run.path)
            if self._running:
                assert self._process is not None
                self._process.end(run)
            else:
                self._revive()

    # How it stands

    def check(self, run: RunInfo, strict: bool) -> None:
        """Says once which tracker fails; starts the process again where it has died.

        Raises:
            TrackerError: a tracker fails, and the run is strict.
        """
        self._revive()
        self._tell_of_damage(run)
        for cursor in cursors(run.path):
            if cursor.error is None or (run.path, cursor.tracker) in self._reported:
                continue
            self._reported.add((run.path, cursor.tracker))
            message = f"{cursor.tracker}, run {run.name!r}: {cursor.error}"
            if strict:
                raise TrackerError(message)
            warn(
                f"{message}. It is tried again, and nothing is lost. More in {Path(run.path, FOLDER, 'log')}"
            )

    def _tell_of_damage(self, run: RunInfo) -> None:
        """Say once which files the delivery process has set aside; threads of this process have said so themselves."""
        if run.path not in self._followed:
            return
        for path in damaged_files(run.path):
            if (run.path, str(path)) not in self._reported:
                self._reported.add((run.path, str(path)))
                warn(
                    f"a file of the run {run.name!r} was damaged. It is kept as {path}, and rebuilt from the journal."
                )

    def _revive(self) -> None:
        """Start the delivery process again if it has died and is needed."""
        if self._followed and not self._running and not self._start() and self._why_not:
            self._give_up()

    def _give_up(self) -> None:
        if not self._gave_up:
            self._gave_up = True
            warn(f"{self._why_not}; recording goes on. Deliver later: trackhooks sync RUN_DIR")

    def wait(self, run: RunInfo, names: Sequence[str], timeout: float | None) -> bool:
        """Wait until all that is written so far is delivered, a status included.

        Returns False on timeout, and if a tracker is delivered to by nobody any more.
        """
        until = None if timeout is None else time.monotonic() + timeout
        size = _size(run)
        while True:
            self._revive()
            # Asked first: what was delivered just before the delivery ended is then seen.
            tried = {name: self._delivers(run, name) for name in names}
            missing = [name for name in names if not _has_all(run, name, size)]
            if not missing:
                return True
            if not all(tried[name] for name in missing) or (until is not None and time.monotonic() > until):
                return False
            time.sleep(_POLL_S)

    def _delivers(self, run: RunInfo, name: str) -> bool:
        """Whether anyone delivers the run to this tracker."""
        _, specs = self._followed.get(run.path, (run, []))
        if any(spec.name == name for spec in specs):
            return self._running
        return self._threads is not None and self._threads.feeds(run.path, name)

    # The end of this process

    def finish(self, timeout: float) -> bool:
        """Wait until what has ended is delivered, with a bar if it takes long. Returns False if some of it is not."""
        if self._process is not None:
            self._process.close()
        until = time.monotonic() + timeout
        ended = self._join(min(_QUIET_S, timeout)) or self._join_with_bar(until)
        return ended and not self.unfinished()

    def _join(self, timeout: float) -> bool:
        """Wait until nobody delivers any more. Returns False on timeout."""
        until = time.monotonic() + timeout
        threads = self._threads is None or self._threads.join(timeout)
        while self._process is None or self._process.wait(max(until - time.monotonic(), 0)):
            if not self._starts_again():
                return threads
        return False

    def _starts_again(self) -> bool:
        """At the end: start a delivery process again that was killed or failed. Returns whether one was started."""
        if not self._followed or (self._process is not None and self._process.gave_up) or not self._start():
            return False
        assert self._process is not None
        self._process.close()
        return True

    def _join_with_bar(self, until: float) -> bool:
        try:
            bar = _new_bar()
        except (ImportError, OSError):  # no file can be opened any more
            return self._join(max(until - time.monotonic(), 0))
        with bar:
            task = bar.add_task("", total=1)
            while time.monotonic() < until:
                done, size, names, in_vain = self._standing()
                bar.update(
                    task, total=max(size, 1), completed=done, description=", ".join(names), refresh=True
                )
                if self._join(_POLL_S * 2):
                    return True
                if in_vain and (self._threads is None or self._threads.join(0)):
                    return False
        return False

    def _standing(self) -> tuple[int, int, list[str], bool]:
        """Bytes delivered, bytes in all, the trackers that are not done, and whether waiting for them is in vain.

        So it is where all of them only fail, and where there is none: what a run that was removed lacks, nobody gets.
        """
        done = size = 0
        waiting: dict[str, bool] = {}
        for run, name, whole, found in self._deliveries():
            done += max((cursor.offset for cursor in found), default=0)
            size += whole
            if not any(_is_done(run, cursor, whole) for cursor in found):
                failing = bool(found) and all(cursor.failures > 2 for cursor in found)
                waiting[name] = waiting.get(name, True) and failing
        return done, size, sorted(waiting), all(waiting.values())

    def unfinished(self) -> list[Unfinished]:
        """What is not delivered."""
        return [
            Unfinished(run, name, self._reason(run, found), self._running and run.path in self._followed)
            for run, name, size, found in self._deliveries()
            if not any(_is_done(run, cursor, size) for cursor in found)
        ]

    def _reason(self, run: RunInfo, found: list[Cursor]) -> str:
        """Why a tracker does not have all of a run, as far as it is known."""
        error = next((cursor.error for cursor in found if cursor.error), "")
        if error or run.path not in self._followed or self._running:
            return error
        return self._why_not or (self._process.how_it_ended if self._process is not None else "")

    def _deliveries(self) -> Iterator[tuple[RunInfo, str, int, list[Cursor]]]:
        """Run, tracker, the size of the journal, and how far the tracker is; a run that was removed needs nothing."""
        apart = ((run, [spec.name for spec in specs]) for run, specs in self._followed.values())
        for run, names in (*apart, *self._here.values()):
            size = _size(run)
            if size:
                yield from ((run, name, size, cursors(run.path, name)) for name in names)

    @property
    def process_id(self) -> int | None:
        """The pid of the delivery process, where there is one."""
        return self._process.pid if self._process is not None else None

    def abandon(self) -> None:
        """In a forked child: nothing here is the child's."""
        if self._process is not None:
            self._process.abandon()


def _new_bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("trackhooks delivers {task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(file=cast("IO[str]", Notices(sys.stderr)))
    # No refreshing thread: none can be started any more while the interpreter ends.
    return Progress(*columns, console=console, transient=True, auto_refresh=False)


def _delivered(run: RunInfo, specs: Sequence[Spec]) -> bool:
    """Whether every one of the trackers has all of a run that has ended."""
    size = _size(run)
    return all(any(_is_done(run, cursor, size) for cursor in cursors(run.path, spec.name)) for spec in specs)


def _has_all(run: RunInfo, name: str, size: int) -> bool:
    """Whether a tracker has all that was written so far, and the status of a run that has one."""
    found = cursors(run.path, name)
    if run.status in FINAL:
        return any(_is_done(run, cursor, size) for cursor in found)
    return any(_reached(cursor, size) for cursor in found)


def _size(run: RunInfo) -> int:
    """Bytes of the journal; 0 where the run's folder was removed."""
    try:
        return journal.path_of(run.path).stat().st_size
    except OSError:
        return 0


def _reached(cursor: Cursor, size: int) -> bool:
    return cursor.offset >= size and cursor.error is None


def _is_done(run: RunInfo, cursor: Cursor, size: int) -> bool:
    if cursor.status not in FINAL or cursor.error is not None:
        return False
    return cursor.offset >= size or not _has_more(run, cursor.offset)


def _has_more(run: RunInfo, offset: int) -> bool:
    """Whether records follow: an incomplete one at the end, of a full disk, is none."""
    try:
        with journal.Reader(run.path, offset) as events:
            return any(True for _ in events)
    except (JournalError, OSError):
        return True
