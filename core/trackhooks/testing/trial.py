"""`Trial`: runs that are made for one tracker, delivered to it, whole or interrupted, and read back as `Seen`.

What `trackhooks.testing` stands on. A delivery is interrupted where it hurts most: behind a call of the tracker that
has done its work, and before the cursor says so.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..delivery.catch_up import deliver
from ..delivery.cursor import Spec, cursors
from ..delivery.feed import Feed
from ..errors import TrackerError
from ..event import FINAL, RunInfo
from ..session.run import Run, run
from ..storage import journal
from ..storage.checkpoints import DeliveredFiles
from ..storage.run_folder import read_info
from ..tracker import Tracker

_FEW = 6
"""Events between two flushes of a delivery that is interrupted: its cursor is behind the first of them, which hold
metrics, and the later flushes are ahead of it."""
_DEADLINE_S = 300.0
_POLL_S = 0.05

Value = TypeVar("Value")
Series = Mapping[str, Sequence[tuple[int, Value]]]
"""Name → (step or epoch, value), in the order in which the backend holds them."""
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a backend holds of one run, as its own reader tells it; what it holds none of stays empty."""

    status: str = ""
    """`"running"`, `"finished"`, `"failed"`, `"killed"` or `"lost"`."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Name → value; a number may be a text, and 3 may be 3.0."""
    metrics: Series[float] = field(default_factory=dict)
    """By the backend's own names; over the epoch for those of epochs, over the step for all others."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The file's name → the sha256 of its newest version, in hexadecimal."""
    images: Series[tuple[int, int]] = field(default_factory=dict)
    """Width and height of each picture, over the step."""
    texts: Series[str] = field(default_factory=dict)
    """Over the step."""
    tables: Series[Sequence[Row]] = field(default_factory=dict)
    """The rows of each table, over the step; a cell may be a text."""
    histograms: Series[tuple[Sequence[float], Sequence[float]]] = field(default_factory=dict)
    """Edges and counts of each histogram, over the step."""


@dataclass(frozen=True)
class Interruption:
    """Ends a delivery behind the `call`th call of a tracker's method; the first is 1."""

    method: str
    call: int = 1

    def __str__(self) -> str:
        return f"{self.method} {self.call}"

    def put_into(self, tracker: Tracker, end: Callable[[], None]) -> Tracker:
        """The tracker, with `end` called at that point."""
        method, calls = getattr(tracker, self.method), itertools.count(1)

        def interrupted(*arguments: Any) -> Any:
            result = method(*arguments)
            if next(calls) == self.call:
                end()
            return result

        setattr(tracker, self.method, interrupted)
        return tracker


class Trial:
    """One tracker under test.

    Args:
        tracker: its name, or `"module:Class"`.
        options: what it is made with.
        home: the directory of the runs.
        read: reads a run back: (the run, the options) → what the backend holds.
        called: what the backend calls a metric or a parameter of this name.
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

    # Recording

    def record(self, name: str = "run", delivery: str = "off", **settings: Any) -> Run:
        """Opens a run for the tracker; recorded only, unless `delivery` says otherwise."""
        settings[self.spec.name] = {**self.spec.options, "every": self.spec.every}
        return run(dir=self.home, name=name, delivery=delivery, system=None, **settings)

    # Delivering

    def deliver(self, path: Path) -> None:
        """Delivers all of a run that is not delivered yet.

        Raises:
            TrackerError: the tracker failed, or could not take an event.
        """
        failed = deliver(path, [self.spec])
        skipped = [
            f"events {cursor.skipped} are left out" for cursor in self._cursors(path) if cursor.skipped
        ]
        for error in [*failed.values(), *skipped]:
            raise TrackerError(f"{self.spec.name}: {error}")

    def interrupt(self, path: Path, at: Interruption, end: Callable[[], None]) -> None:
        """Delivers a run until `at`, where `end` is called; a few events at a time."""
        run = read_info(path)
        make = lambda: at.put_into(self.spec.make(), end)  # noqa: E731 - what a Feed takes
        feed = Feed(run, make, DeliveredFiles(run), self.spec.every, self.spec, batch=_FEW)
        feed.ending = run.status in FINAL
        try:
            while feed.step():
                pass
        finally:
            feed.close()

    def kill(self, path: Path, at: Interruption) -> None:
        """Delivers a run in a process that is killed at this point.

        Raises:
            TrackerError: it has not come so far.
        """
        self.run_killed(_KILLED_DELIVERY, self.spec, str(path), at)

    def run_killed(self, source: str, *order: Any) -> None:
        """Runs a program that kills itself.

        Raises:
            TrackerError: it has ended in another way.
        """
        done = self.program(source, *order)
        if done.returncode != -signal.SIGKILL:
            raise TrackerError(f"{self.spec.name}: the process was not killed: {done.stderr.decode()}")

    def program(self, source: str, *order: Any) -> subprocess.CompletedProcess[bytes]:
        """Runs a program that reads its order, as JSON, from its standard input: options may hold a secret."""
        return subprocess.run(
            [sys.executable, "-c", source],
            input=msgspec.json.encode(order),
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            check=False,
        )

    def wait(self, path: Path) -> None:
        """Waits until the delivery process has closed the run in the tracker.

        Raises:
            TrackerError: it took longer than five minutes.
        """
        until = time.monotonic() + _DEADLINE_S
        while not any(cursor.status for cursor in self._cursors(path)):
            if time.monotonic() > until:
                why = [cursor.error for cursor in self._cursors(path)]
                raise TrackerError(f"{self.spec.name}: not delivered in {_DEADLINE_S:g} s: {why}")
            time.sleep(_POLL_S)

    def _cursors(self, path: Path) -> list[Any]:
        return cursors(path, self.spec.name)

    # Reading back

    def read(self, path: Path) -> Seen:
        """What the backend holds: metrics and parameters by the names that were recorded, values as `plain` texts."""
        seen = self.read_as_called(path)
        events = list(journal.read(path))
        metrics = self._recorded_names(seen.metrics, (name for event in events for name in event.metrics))
        params = self._recorded_names(seen.params, (name for event in events for name in event.params))
        tables = {
            name: [(step, [plain(row) for row in rows]) for step, rows in series]
            for name, series in seen.tables.items()
        }
        return replace(seen, metrics=metrics, params=plain(params), tables=tables)

    def read_as_called(self, path: Path) -> Seen:
        """What the backend holds, by its own names."""
        return self._read(read_info(path), self.spec.options)

    def delivered(self, path: Path) -> Seen:
        """Delivers a run and reads it back."""
        self.deliver(path)
        return self.read(path)

    def _recorded_names(self, found: Mapping[str, Value], recorded: Any) -> dict[str, Value]:
        names = {self._called(name): name for name in recorded}
        return {names.get(name, name): value for name, value in found.items()}


_KILLED_DELIVERY = f"from {__name__} import _deliver_and_die; _deliver_and_die()"


def _deliver_and_die() -> None:
    spec, path, at = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[Spec, str, Interruption])
    trial = Trial(spec.name, spec.options, Path(path).parent, lambda run, options: Seen())
    trial.interrupt(Path(path), at, lambda: os.kill(os.getpid(), signal.SIGKILL))


def plain(values: Mapping[str, Any]) -> dict[str, str]:
    """The values as texts to compare by: backends may hold a number as a text, 3 as 3.0, and None as nothing."""
    return {name: _plain(value) for name, value in values.items()}


def _plain(value: Any) -> str:
    if value is None or value == "None":
        return ""
    try:
        return str(value) if isinstance(value, bool) else repr(float(value))
    except (TypeError, ValueError, OverflowError):
        return str(value)
