"""`Sampler`: measures the processes of the runs that are being delivered, and writes a separate journal.

The journal `system` in a run's folder is written by the delivery, never by the training, and delivered like the run's
main journal. Each sample is an event `log`. Its step is the number of the sample, which continues after a resume or
restart. The first sample is taken soon after the start, then one per interval, and the last when the run ends.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import psutil

from ..errors import JournalError, log
from ..event import Event, RunInfo
from ..hooks.vocabulary import LOG
from ..storage.journal import SYSTEM, Writer
from ..storage.lost_runs import has_ended
from .system_meter import Meter

_FIRST_S = 1.0
"""The first sample is taken after this long, so that a short run has one."""
_POLL_S = 0.5
"""How soon the end of a run is noticed; it must be before the run is closed in its trackers."""


class Sampler:
    """Measures many runs in one thread. Thread-safe."""

    def __init__(self) -> None:
        self._samples: dict[str, _Samples] = {}
        self._mutex = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def follow(self, run: RunInfo) -> None:
        """Start measuring a run's process, at the interval that the run specifies."""
        if run.system is None:
            return
        try:
            samples = _Samples(run, run.system)
        except psutil.Error:  # the process has ended
            return
        with self._mutex:
            self._samples[run.path] = samples
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="trackhooks-system", daemon=True)
                self._thread.start()

    def end(self, run: str) -> None:
        """Take the last sample of the run in this folder."""
        with self._mutex:
            samples = self._samples.pop(run, None)
            if samples is not None:
                samples.end()

    def stop(self) -> None:
        """Stop the thread."""
        self._stop.set()

    def _run(self) -> None:
        wait = 0.0
        while not self._stop.wait(wait):
            with self._mutex:
                wait = min([_POLL_S, *(samples.step() for samples in self._samples.values())])


class _Samples:
    """The samples of one run."""

    def __init__(self, run: RunInfo, interval: float) -> None:
        self._path, self._interval = run.path, interval
        self._meter = Meter(run.pid, run.pid_created)
        self._writer: Writer | None = None
        self._number = 0
        self._due = time.monotonic() + min(_FIRST_S, interval)
        self._ended = False

    def step(self) -> float:
        """Take a sample if it is due. Returns the seconds until the next one."""
        had_ended, self._ended = self._ended, has_ended(self._path)
        if self._ended != had_ended or (not self._ended and time.monotonic() >= self._due):
            self._due = time.monotonic() + self._interval
            self._take()
        return _POLL_S if self._ended else max(self._due - time.monotonic(), 0.0)

    def end(self) -> None:
        """Take the last sample, unless it was taken when the run ended."""
        if not self._ended:
            self._take()
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()

    def _take(self) -> None:
        """Take a sample if the process runs, the disk has space, and no other process measures this run."""
        try:
            metrics = self._meter.measure()
            writer = self._writer or self._open()
            writer.append(Event(LOG, self._number, time.time(), self._number, metrics=metrics))
            self._number += 1
        except (psutil.Error, JournalError, OSError) as error:
            log.info("system metrics could not be recorded: %s", error, extra={"run": self._path})

    def _open(self) -> Writer:
        self._writer = Writer(self._path, SYSTEM)
        self._number = 0 if self._writer.last is None else self._writer.last.step + 1
        return self._writer
