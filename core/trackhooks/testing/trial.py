"""`Trial`: record runs for a tracker, deliver them, possibly with interruptions, and read them back as `Seen`.

A delivery is interrupted at the worst moment: after a call of the tracker has done its work, and before the cursor is
saved.
"""

from __future__ import annotations

import gc
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from ..delivery.catch_up import deliver
from ..delivery.cursor import Spec, cursors
from ..delivery.feed import Feed
from ..delivery.hidden_imports import hide_unneeded
from ..errors import TrackerError
from ..event import FINAL, Event, RunInfo
from ..session.run import Run, run
from ..storage import journal
from ..storage.checkpoints import DeliveredFiles
from ..storage.run_folder import read_info
from ..tracker import Tracker

_FEW = 6
"""Events between two flushes of a delivery that is interrupted: few, so that the cursor is saved after
the first metrics and before the last."""
_DEADLINE_S = 300.0
_POLL_S = 0.05

Value = TypeVar("Value")
Series = Mapping[str, Sequence[tuple[int, Value]]]
"""The points of each name, in the order of the backend: (step or epoch, value)."""
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a backend holds of one run, read with its own reader. Leave empty what it does not hold."""

    status: str = ""
    """`"running"`, `"finished"`, `"failed"`, `"pruned"`, `"killed"` or `"lost"`."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """The parameters. Numbers may be strings, and 3 may be 3.0."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What was found out about the run, such as `model/parameters`. Numbers may be strings, and there may be more."""
    metrics: Series[float] = field(default_factory=dict)
    """The metrics, under the names that the backend uses; at epochs for metrics of epochs, at steps for others."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The SHA-256 hash of the newest version of each file, in hexadecimal, by file name."""
    images: Series[tuple[int, int]] = field(default_factory=dict)
    """The width and height of each image, by step."""
    texts: Series[str] = field(default_factory=dict)
    """The texts, by step."""
    tables: Series[Sequence[Row]] = field(default_factory=dict)
    """The rows of each table, by step. Cells may be strings."""
    histograms: Series[tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)
    """The edges and counts of each histogram, by step."""


@dataclass(frozen=True)
class Interruption:
    """Interrupt a delivery after a given call of a method of the tracker; the first call is 1."""

    method: str
    call: int = 1

    def __str__(self) -> str:
        return f"{self.method} {self.call}"

    def put_into(self, tracker: Tracker, end: Callable[[], None]) -> Tracker:
        """Make the tracker call `end` at that point, and return it."""
        method, calls = getattr(tracker, self.method), itertools.count(1)

        def interrupted(*arguments: Any) -> Any:
            result = method(*arguments)
            if next(calls) == self.call:
                end()
            return result

        setattr(tracker, self.method, interrupted)
        return tracker


INTERRUPTIONS: Final = (
    Interruption("start"),
    Interruption("handle", 18),
    Interruption("flush"),
    Interruption("flush", 5),
    Interruption("finish"),
)


class Trial:
    """One tracker under test.

    Args:
        tracker: the name of the tracker, or `"module:Class"`.
        options: the options of the tracker.
        home: the directory for the runs.
        read: a function that returns what the backend holds of a run, given the run and the options.
        called: a function that returns the backend's name for a metric or parameter.
    """

    def __init__(
        self,
        tracker: str,
        options: Mapping[str, Any],
        home: Path,
        read: Callable[[RunInfo, Mapping[str, Any]], Seen],
        called: Callable[[str], str] = str,
    ) -> None:
        self.spec = Spec(tracker, dict(options), every=1)
        self.home = home
        self._read = read
        self._called = called

    # Recorder

    def record(self, name: str = "run", delivery: str = "off", **settings: Any) -> Run:
        """Open a run for the tracker. By default it is only recorded, not delivered."""
        settings[self.spec.name] = {**self.spec.options, "every": self.spec.every}
        return run(dir=self.home, name=name, delivery=delivery, system=None, **settings)

    # Delivering

    def deliver(self, path: Path) -> None:
        """Deliver what was not delivered yet of a run.

        Raises:
            TrackerError: if the tracker fails, or rejects an event.
        """
        failed = deliver(path, [self.spec])
        skipped = [
            f"the tracker rejected the events {cursor.skipped}"
            for cursor in self._cursors(path)
            if cursor.skipped
        ]
        for error in [*failed.values(), *skipped]:
            raise TrackerError(f"{self.spec.name}: {error}")

    def interrupt(self, path: Path, at: Interruption, end: Callable[[], None]) -> None:
        """Deliver a run, a few events at a time, and call `end` at the interruption."""
        run = read_info(path)
        make = lambda: at.put_into(self.spec.make(), end)  # noqa: E731
        feed = Feed(run, make, DeliveredFiles(run), self.spec.every, self.spec, batch=_FEW)
        feed.ending = run.status in FINAL
        try:
            while feed.step():
                pass
        finally:
            feed.close()

    def kill(self, path: Path, at: Interruption) -> None:
        """Deliver a run in a process that kills itself at the interruption.

        Raises:
            TrackerError: if the process ends before it is killed.
        """
        self.run_killed(_KILLED_DELIVERY, self.spec, str(path), at)

    def run_killed(self, source: str, *arguments: Any) -> None:
        """Run a program that kills itself.

        Raises:
            TrackerError: if it ends in another way.
        """
        done = self.program(source, *arguments)
        if done.returncode != -signal.SIGKILL:
            raise TrackerError(f"{self.spec.name}: the process was not killed: {done.stderr.decode()}")

    def program(self, source: str, *arguments: Any) -> subprocess.CompletedProcess[bytes]:
        """Run a program, with its arguments as JSON on standard input, because options may contain secrets."""
        return subprocess.run(
            [sys.executable, "-c", source],
            input=msgspec.json.encode(arguments),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=False,
        )

    def wait(self, path: Path) -> None:
        """Wait until the delivery process has closed the run in the tracker.

        Raises:
            TrackerError: after five minutes.
        """
        until = time.monotonic() + _DEADLINE_S
        while not any(cursor.status for cursor in self._cursors(path)):
            if time.monotonic() > until:
                why = [cursor.error for cursor in self._cursors(path)]
                raise TrackerError(f"{self.spec.name}: not delivered after {_DEADLINE_S:g} s: {why}")
            time.sleep(_POLL_S)

    def _cursors(self, path: Path) -> list[Any]:
        return cursors(path, self.spec.name)

    # Reading back

    def read(self, path: Path) -> Seen:
        """Return what the backend holds, under the recorded names; parameters and cells are `plain` strings."""
        seen = self.read_as_called(path)
        events = list(journal.read(path))
        metrics = self._recorded_names(seen.metrics, (name for event in events for name in _metrics(event)))
        params = self._recorded_names(seen.params, (name for event in events for name in event.params))
        known = (name for event in events for name in (*event.facts, *_metrics(event)))
        facts = self._recorded_names(seen.facts, known)
        tables = {
            name: [(step, [plain(row) for row in rows]) for step, rows in series]
            for name, series in seen.tables.items()
        }
        return replace(seen, metrics=metrics, params=plain(params), facts=plain(facts), tables=tables)

    def read_as_called(self, path: Path) -> Seen:
        """Return what the backend holds, under the names that it uses."""
        return self._read(read_info(path), self.spec.options)

    def delivered(self, path: Path) -> Seen:
        """Deliver a run and read it back."""
        self.deliver(path)
        return self.read(path)

    def _recorded_names(self, found: Mapping[str, Value], recorded: Any) -> dict[str, Value]:
        names = {self._called(name): name for name in recorded}
        return {names.get(name, name): value for name, value in found.items()}


_KILLED_DELIVERY = f"from {__name__} import _deliver_and_die; _deliver_and_die()"


def _deliver_and_die() -> None:
    gc.disable()  # it will soon be dead
    hide_unneeded()
    spec, path, at = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[Spec, str, Interruption])
    trial = Trial(spec.name, spec.options, Path(path).parent, lambda run, options: Seen())
    trial.interrupt(Path(path), at, lambda: os.kill(os.getpid(), signal.SIGKILL))


def _metrics(event: Event) -> list[str]:
    """Return the names under which an event gives metrics to a tracker."""
    return [*event.metrics, *(f"best/{name}" for name in event.best)]


def plain(values: Mapping[str, Any]) -> dict[str, str]:
    """Convert values to comparable strings: backends may store numbers as strings, 3 as 3.0, and None as nothing."""
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> str:
    if value is None or value == "None":
        return ""
    try:
        return str(value) if isinstance(value, bool) else repr(float(value))
    except (TypeError, ValueError, OverflowError):
        return str(value)
