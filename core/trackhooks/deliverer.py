"""`Deliverer`: who delivers the runs of this process, and the wait at its end."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from . import journal
from .cursor import FOLDER, Cursor, Spec, cursors
from .errors import Notices, TrackerError, warn
from .event import FINAL, RunInfo
from .following import Follower
from .process import DeliveryProcess, possible
from .tracker import Tracker

if TYPE_CHECKING:
    from rich.progress import Progress

_POLL_S = 0.05
_QUIET_S = 1.0
"""A wait that is shorter than this is not talked about."""
_STARTS = 5
"""How often a delivery process that died is started again."""


class Deliverer:
    """Has the runs of one process delivered: trackers by name in the delivery process, objects in threads here."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._process: DeliveryProcess | None = None
        self._starts = 0
        self._gave_up = False
        self._threads: Follower | None = None
        self._followed: dict[str, tuple[RunInfo, list[Spec]]] = {}
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
        if mode == "inline":
            here += [(spec.make, spec, spec.every) for spec in specs]
            specs = []
        if here:
            self._threads = self._threads or Follower()
            self._threads.follow(run, here, measures=not specs)  # else the process does
        if specs and self._start(run):
            assert self._process is not None
            self._followed[run.path] = (run, list(specs))
            self._process.follow(run, specs)

    def _start(self, run: RunInfo) -> bool:
        if self._process is not None and self._process.running:
            return True
        why = possible()
        try:
            if not why:
                self._process = DeliveryProcess(Path(run.path, FOLDER, "log"))
                self._starts += 1
                return True
        except OSError as error:
            why = f"no delivery process can be started: {error}"
        warn(f"run {run.name!r} is only recorded: {why}. Deliver it later: trackhooks sync {run.path}")
        return False

    def end(self, run: RunInfo) -> None:
        """Says that nothing more will be written to this run's journal."""
        if self._threads is not None:
            self._threads.end(run.path)
        if run.path in self._followed and self._process is not None:
            self._process.end(run)

    # How it stands

    def check(self, run: RunInfo, strict: bool) -> None:
        """Says once which tracker fails; starts the process again where it has died.

        Raises:
            TrackerError: a tracker fails, and the run is strict.
        """
        self._revive()
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

    def _revive(self) -> None:
        if self._process is None or self._process.running:
            return
        if self._starts >= _STARTS:
            self._give_up()
            return
        behind = [(run, specs) for run, specs in self._followed.values() if not _delivered(run, specs)]
        self._process.close()
        if behind and self._start(behind[0][0]):
            assert self._process is not None
            for run, specs in behind:
                self._process.follow(run, specs)

    def _give_up(self) -> None:
        if not self._gave_up:
            self._gave_up = True
            warn(
                f"the delivery process ended {_STARTS} times and is not started again; recording goes on."
                " Deliver later: trackhooks sync RUN_DIR"
            )

    def wait(self, run: RunInfo, names: Sequence[str], timeout: float | None) -> bool:
        """Waits until all that is written so far is delivered, a status included; False where time was too short."""
        until = None if timeout is None else time.monotonic() + timeout
        size = _size(run)
        is_enough = _is_done if run.status in FINAL else _reached
        while not all(any(is_enough(cursor, size) for cursor in cursors(run.path, name)) for name in names):
            if until is not None and time.monotonic() > until:
                return False
            time.sleep(_POLL_S)
            self._revive()
        return True

    # The end of this process

    def finish(self, timeout: float) -> bool:
        """Waits for the delivery of what has ended, with a bar when it takes long; False where it goes on."""
        if self._process is not None:
            self._process.close()
        until = time.monotonic() + timeout
        if self._join(min(_QUIET_S, timeout)):
            return True
        return self._join_with_bar(until)

    def _join(self, timeout: float) -> bool:
        until = time.monotonic() + timeout
        threads = self._threads is None or self._threads.join(timeout)
        process = self._process is None or self._process.wait(max(until - time.monotonic(), 0))
        return threads and process

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
        for _, name, whole, found in self._deliveries():
            done += max((cursor.offset for cursor in found), default=0)
            size += whole
            if not any(_is_done(cursor, whole) for cursor in found):
                failing = bool(found) and all(cursor.failures > 2 for cursor in found)
                waiting[name] = waiting.get(name, True) and failing
        return done, size, sorted(waiting), all(waiting.values())

    def unfinished(self) -> list[tuple[RunInfo, str, str]]:
        """What is not delivered: run, tracker, and why, as far as it is known."""
        return [
            (run, name, next((cursor.error for cursor in found if cursor.error), ""))
            for run, name, size, found in self._deliveries()
            if not any(_is_done(cursor, size) for cursor in found)
        ]

    def _deliveries(self) -> Iterator[tuple[RunInfo, str, int, list[Cursor]]]:
        """Run, tracker, the size of the journal, and how far the tracker is; a run that was removed needs nothing."""
        for run, specs in self._followed.values():
            size = _size(run)
            if size:
                yield from ((run, spec.name, size, cursors(run.path, spec.name)) for spec in specs)

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
    return not size or all(
        any(_is_done(cursor, size) for cursor in cursors(run.path, spec.name)) for spec in specs
    )


def _size(run: RunInfo) -> int:
    """Bytes of the journal; 0 where the run's folder was removed."""
    try:
        return journal.path_of(run.path).stat().st_size
    except OSError:
        return 0


def _reached(cursor: Cursor, size: int) -> bool:
    return cursor.offset >= size and cursor.error is None


def _is_done(cursor: Cursor, size: int) -> bool:
    return _reached(cursor, size) and cursor.status in FINAL
