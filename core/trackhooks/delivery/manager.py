"""`DeliveryManager`: has the runs of this process delivered, and waits for them when the process ends."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from ..errors import TrackerError, warn
from ..event import FINAL, RunInfo
from ..storage.run_folder import damaged_files
from ..tracker import Tracker
from .cursor import FOLDER, Cursor, Spec, cursors, has_more, has_reached, is_delivered_to, journal_size
from .follower import Follower
from .joining import join_an_ancestor
from .orders import Delivery
from .process import DeliveryProcess, why_impossible
from .registry import find
from .waiting import Standing, Unfinished, wait_to_end

_POLL_S = 0.05
_STARTS = 5
"""How often a delivery process is started if the earlier ones died."""
_TOO_OFTEN = f"the delivery process ended {_STARTS} times and is not started again"


class DeliveryManager:
    """Has the runs of one process delivered.

    The delivery process delivers to trackers that are given by name, and threads of this process to tracker objects.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._process: Delivery | None = None
        self._starts = 0
        self._why_not = ""
        """Why no delivery process could be started; empty if one could."""
        self._gave_up = False
        self._threads: Follower | None = None
        self._followed: dict[str, tuple[RunInfo, list[Spec]]] = {}
        """The runs that the delivery process delivers, by folder."""
        self._file_trackers: set[str] = set()
        """The trackers that write files of this machine. At the end of the process it is too late to look them up."""
        self._here: dict[str, tuple[RunInfo, list[str]]] = {}
        """The runs that threads of this process deliver, and the names of their trackers, by folder."""
        self._ended: set[str] = set()
        self._reported: set[tuple[str, str]] = set()
        """The folder of a run, and the tracker or file about which the user has been warned."""

    def follow(self, run: RunInfo, specs: Sequence[Spec], objects: Sequence[Tracker], mode: str) -> None:
        """Start delivering a run.

        Args:
            run: the run.
            specs: the trackers that are given by name.
            objects: the trackers that are given as objects.
            mode: `"process"`, `"inline"` or `"off"`.
        """
        measured_only = not specs and not objects  # a rank that feeds no tracker
        if mode == "off" or (measured_only and run.system is None):
            return
        here: list[Any] = [(lambda tracker=tracker: tracker, None, None) for tracker in objects]
        names = [tracker.name for tracker in objects]
        if mode == "inline":
            here += [(spec.make, spec, spec.every) for spec in specs]
            names += [spec.name for spec in specs]
            specs = []
        if here or (measured_only and mode == "inline"):
            self._threads = self._threads or Follower()
            self._here[run.path] = (run, names)
            self._threads.follow(run, here, measures=not specs)  # otherwise the process measures
        if specs or (measured_only and mode == "process"):
            self._follow_in_process(run, list(specs))

    def _follow_in_process(self, run: RunInfo, specs: list[Spec]) -> None:
        self._followed[run.path] = (run, specs)
        self._file_trackers |= {spec.name for spec in specs if find(spec.name).writes_files}
        # Files that an earlier process set aside were reported then.
        self._reported |= {(run.path, str(path)) for path in damaged_files(run.path)}
        self._ended.discard(run.path)
        process = self._running_process
        if process is not None:
            process.follow(run, specs)
        elif not self._start():
            self._gave_up = True
            warn(
                f"run {run.name!r} is only recorded: {self._why_not}. Deliver it later: trackhooks sync {run.path}"
            )
            if why_impossible():
                del self._followed[run.path]  # a later attempt to start a process would fail, too

    # The delivery process

    @property
    def _running_process(self) -> Delivery | None:
        return self._process if self._process is not None and self._process.running else None

    def _start(self) -> bool:
        """Start a delivery process for all runs that are not delivered yet. Returns whether one was started."""
        if self._process is not None:
            self._process.close()
        waiting = [(run, specs) for run, specs in self._followed.values() if self._needs_more(run, specs)]
        self._why_not = why_impossible() or (_TOO_OFTEN if self._starts >= _STARTS else "")
        if self._why_not or not waiting:
            return False
        try:
            process = self._process = join_an_ancestor() or DeliveryProcess(_log(waiting[0][0]))
        except (OSError, psutil.Error) as error:
            self._why_not = f"no delivery process can be started: {error}"
            return False
        self._starts += 1
        for run, specs in waiting:
            process.follow(run, specs)
            if run.path in self._ended:
                process.end(run)
        return True

    def _needs_more(self, run: RunInfo, specs: list[Spec]) -> bool:
        """Whether a run has, or may soon have, records that are not delivered."""
        if not journal_size(run.path):
            return False
        # A resumed run may be delivered up to now and still get more records.
        return run.path not in self._ended or not all(is_delivered_to(run.path, spec.name) for spec in specs)

    def _revive(self) -> None:
        """Start the delivery process again if it has died and there is something to deliver."""
        if self._followed and self._running_process is None and not self._start() and self._why_not:
            self._give_up()

    def _give_up(self) -> None:
        if not self._gave_up:
            self._gave_up = True
            warn(f"{self._why_not}; recording continues. Deliver later: trackhooks sync RUN_DIR")

    def abandon(self) -> None:
        """Leave the delivery process to the parent; for a forked child."""
        if self._process is not None:
            self._process.abandon()

    # While a run is recorded

    def end(self, run: RunInfo) -> None:
        """Note that nothing more will be written to the journal of a run."""
        if self._threads is not None:
            self._threads.end(run.path)
        if run.path not in self._followed:
            return
        self._report_damage(run)
        self._ended.add(run.path)
        process = self._running_process
        if process is not None:
            process.end(run)
        else:
            self._revive()

    def check(self, run: RunInfo, strict: bool) -> None:
        """Warn about trackers that fail, once each, and restart the delivery process if it has died.

        Raises:
            TrackerError: a tracker fails, and the run is strict.
        """
        self._revive()
        self._report_damage(run)
        for cursor in cursors(run.path):
            self._report_not_held(run, cursor)
            if cursor.error is None or not self._is_news(run, cursor.tracker):
                continue
            message = f"{cursor.tracker}: {cursor.error.rstrip('.')}"
            if strict:
                raise TrackerError(f"{message} (run {run.name!r})")
            warn(
                f"{message}. Delivery of run {run.name!r} will be tried again, and no data is lost."
                f" Details: {_log(run)}"
            )

    def _report_not_held(self, run: RunInfo, cursor: Cursor) -> None:
        for what in cursor.not_held:
            if self._is_news(run, f"{cursor.tracker} {what}"):
                warn(f"{cursor.tracker} cannot hold {what}. The journal of run {run.name!r} has them.")

    def _report_damage(self, run: RunInfo) -> None:
        """Warn about files that the delivery process has set aside; threads of this process warn themselves."""
        if run.path not in self._followed:
            return
        for path in damaged_files(run.path):
            if self._is_news(run, str(path)):
                warn(
                    f"a file of the run {run.name!r} was damaged. It is kept as {path}, and rebuilt from the journal."
                )

    def _is_news(self, run: RunInfo, subject: str) -> bool:
        is_new = (run.path, subject) not in self._reported
        self._reported.add((run.path, subject))
        return is_new

    def wait(self, run: RunInfo, names: Sequence[str], timeout: float | None) -> bool:
        """Wait until everything written so far is delivered, including the run's final status if it has one.

        Returns False on timeout, and if delivery to one of the trackers has stopped.
        """
        until = None if timeout is None else time.monotonic() + timeout
        size = journal_size(run.path)
        while True:
            self._revive()
            # In this order, events that are delivered just before delivery stops are seen.
            stopped = {name for name in names if not self._delivers(run, name)}
            missing = {name for name in names if not _has_all(run, name, size)}
            if not missing:
                return True
            if missing & stopped or (until is not None and time.monotonic() > until):
                return False
            time.sleep(_POLL_S)

    def url(self, run: RunInfo, name: str, timeout: float) -> str | None:
        """Return the address of a run in a tracker, after waiting until the tracker reports it, fails, or stops."""
        until = time.monotonic() + timeout
        while True:
            # In this order, an address that is reported just before delivery stops is seen.
            may_come = self._delivers(run, name) and time.monotonic() < until
            found = cursors(run.path, name)
            url = next((cursor.url for cursor in found if cursor.url), None)
            # A tracker that has received a record and reported no address does not have one.
            answered = any(cursor.error or cursor.index >= 0 for cursor in found)
            if url or answered or not may_come or not has_more(run.path, 0):
                return url
            time.sleep(_POLL_S)

    def _delivers(self, run: RunInfo, name: str) -> bool:
        """Whether the run is being delivered to this tracker."""
        _, specs = self._followed.get(run.path, (run, []))
        if any(spec.name == name for spec in specs):
            return self._running_process is not None
        return self._threads is not None and self._threads.feeds(run.path, name)

    # The end of this process

    def finish(self, timeout: float, only_for_files: bool = False) -> bool:
        """Wait until the ended runs are delivered. Returns whether all of them are.

        Args:
            timeout: the longest time to wait, in seconds.
            only_for_files: whether to wait only for trackers that write files here.
        """
        if self._process is not None:
            self._process.close()
        has_ended = wait_to_end(timeout, only_for_files, lambda: list(self._standings()), self._join)
        return has_ended and not self.unfinished()

    @property
    def has_threads(self) -> bool:
        """Whether threads of this process deliver, which end with it."""
        return bool(self._here)

    def _join(self, timeout: float) -> bool:
        """Wait until nothing is delivered any more. Returns False on timeout."""
        until = time.monotonic() + timeout
        threads_ended = self._join_threads(timeout)
        while self._process is None or self._process.wait(max(until - time.monotonic(), 0)):
            if not self._restart_at_end():
                return threads_ended
        return False

    def _join_threads(self, timeout: float) -> bool:
        return self._threads is None or self._threads.join(timeout)

    def _restart_at_end(self) -> bool:
        """Start a delivery process that was killed or failed again. Returns whether one was started."""
        if not self._followed or (self._process is not None and self._process.gave_up) or not self._start():
            return False
        if self._process is not None:
            self._process.close()
        return True

    def unfinished(self) -> list[Unfinished]:
        """List what is not delivered."""
        return [
            Unfinished(standing.run, standing.tracker, self._reason(standing), self._continues(standing.run))
            for standing in self._standings()
            if not standing.is_delivered
        ]

    def _continues(self, run: RunInfo) -> bool:
        return run.path in self._followed and self._running_process is not None

    def _reason(self, standing: Standing) -> str:
        """Why a tracker does not have all of a run; empty if it is not known."""
        if standing.error or standing.run.path not in self._followed or self._running_process is not None:
            return standing.error
        return self._why_not or (self._process.how_it_ended if self._process is not None else "")

    def _standings(self) -> Iterator[Standing]:
        """How far each tracker is with each run; runs whose folder was removed are left out."""
        for run, specs in self._followed.values():
            yield from self._standings_of(
                run, {spec.name: spec.name in self._file_trackers for spec in specs}
            )
        for run, names in self._here.values():
            yield from self._standings_of(run, dict.fromkeys(names, False), not self._join_threads(0))

    def _standings_of(
        self, run: RunInfo, trackers: Mapping[str, bool], in_thread: bool = False
    ) -> Iterator[Standing]:
        size = journal_size(run.path)
        if size:
            for name, writes_files in trackers.items():
                yield Standing(run, name, size, cursors(run.path, name), writes_files, in_thread)


def _log(run: RunInfo) -> Path:
    return Path(run.path, FOLDER, "log")


def _has_all(run: RunInfo, name: str, size: int) -> bool:
    """Whether a tracker has this many bytes of the journal, and the final status if the run has one."""
    if run.status in FINAL:
        return is_delivered_to(run.path, name)
    return any(has_reached(cursor, size) for cursor in cursors(run.path, name))
