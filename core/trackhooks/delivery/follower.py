"""`Follower`: delivers runs to their trackers while the runs are being recorded."""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import TrackhooksError, log
from ..errors.secrets import redact_text
from ..event import RunInfo
from ..storage.checkpoints import DeliveredFiles
from ..storage.lost_runs import end_if_dead
from ..tracker import Tracker
from .cursor import Spec
from .feed import Feed
from .system_sampler import Sampler

_POLL_S, _IDLE_POLL_S = 0.1, 1.0
_BACKOFF_S, _LONGEST_BACKOFF_S = 0.5, 30.0
_DOUBLINGS = 10


class Follower:
    """Delivers many runs. Each tracker of a run has its own thread, so that it never delays another.

    Args:
        patience: how long a tracker that fails is retried after the run has ended, in seconds.
        if_stuck: called in place of further retries if a tracker's client is broken in this process. Returns when the
            run is delivered, or cannot be.
    """

    def __init__(self, patience: float = 300.0, if_stuck: Callable[[Feed, Spec], None] | None = None) -> None:
        self._patience = patience
        self._if_stuck = if_stuck
        self._feeds: dict[str, list[Feed]] = {}
        self._threads: dict[threading.Thread, Feed] = {}
        self._stop = threading.Event()
        self._sampler = Sampler()

    @property
    def runs(self) -> list[str]:
        """The folders of the runs that are delivered."""
        return list(self._feeds)

    def follow(
        self,
        run: RunInfo,
        sources: Sequence[tuple[Callable[[], Tracker], Spec | None, int | str | None]],
        measures: bool = True,
    ) -> None:
        """Start delivering a run.

        Args:
            run: the run.
            sources: for each tracker, a function that makes it, its spec, and how often it gets batch metrics.
            measures: whether to record system metrics of the run's process.
        """
        if measures:
            self._sampler.follow(run)
        files = DeliveredFiles(run)
        self._feeds.setdefault(run.path, [])  # also of a run that is only measured
        self._threads = {thread: feed for thread, feed in self._threads.items() if thread.is_alive()}
        for make, spec, every in sources:
            feed = Feed(run, make, files, every, spec)
            self._feeds[run.path].append(feed)
            name = f"trackhooks-{spec.name if spec else 'tracker'}-{run.name}"
            thread = threading.Thread(target=self._run, args=(feed, spec), name=name, daemon=True)
            self._threads[thread] = feed
            thread.start()

    def _run(self, feed: Feed, spec: Spec | None) -> None:
        self._deliver(feed)
        feed.close()
        if feed.is_stuck and self._if_stuck is not None and spec is not None:
            self._if_stuck(feed, spec)

    def _deliver(self, feed: Feed) -> None:
        retries = _Retries(feed, self._patience)
        wait: float | None = 0.0
        while wait is not None and not self._stop.wait(wait):
            if feed.ending:
                retries.start_patience()
            wait = self._step(feed, retries)

    def _step(self, feed: Feed, retries: _Retries) -> float | None:
        """Take a step. Returns the seconds until the next one, or None after the last."""
        ending = feed.ending  # read first, so that the step delivers everything written before it was set
        try:
            is_busy = feed.step()
        except (Exception, SystemExit) as error:  # noqa: BLE001 — the one place that keeps a tracker from breaking anything else
            wait = retries.after(error)
            return None if feed.is_stuck and self._if_stuck is not None else wait
        retries.failures = 0
        if is_busy:
            return 0.0
        if ending:
            return None
        return _IDLE_POLL_S if feed.is_finished else _POLL_S

    def feeds(self, run: str, name: str) -> bool:
        """Whether the run in this folder is still being delivered to the tracker of this name."""
        return any(
            thread.is_alive() and feed.run.path == run and feed.is_of(name)
            for thread, feed in list(self._threads.items())
        )

    def end(self, run: str) -> None:
        """Note that nothing more will be written to the journal of this run, and set its status if it has none."""
        self._sampler.end(run)
        try:
            end_if_dead(run)
        except TrackhooksError as error:  # for example, its folder was removed
            log.warning("%s", error, extra={"run": run})
        for feed in self._feeds.get(run, []):
            feed.ending = True

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all runs that have ended are delivered. Returns False on timeout."""
        until = None if timeout is None else time.monotonic() + timeout
        while running := [thread for thread in list(self._threads) if thread.is_alive()]:
            if until is not None and time.monotonic() > until:
                return False
            running[0].join(None if until is None else max(until - time.monotonic(), 0))
        return True

    def stop(self) -> None:
        """Stop all threads after their current step, even if not everything is delivered."""
        self._stop.set()
        self._sampler.stop()


class _Retries:
    """Counts the failures of a feed in a row, reports the first, and decides when to try again."""

    def __init__(self, feed: Feed, patience: float) -> None:
        self.failures = 0
        self._feed = feed
        self._patience = patience
        self._until = float("inf")

    def start_patience(self) -> None:
        """Give up after a while from the first call on."""
        self._until = min(self._until, time.monotonic() + self._patience)

    def after(self, error: BaseException) -> float | None:
        """Return the seconds until the next attempt, or None if there should not be one."""
        self.failures += 1
        if self.failures == 1:
            self._report(error)
        if time.monotonic() > self._until or not Path(self._feed.run.path).is_dir():
            return None
        doublings = min(
            self.failures - 1, _DOUBLINGS
        )  # after a long outage, the power would not fit into a float
        longest: float = min(_BACKOFF_S * 2**doublings, _LONGEST_BACKOFF_S)
        # Not the shared generator: the training's random numbers must not change.
        return longest * random.SystemRandom().uniform(0.5, 1.0)

    def _report(self, error: BaseException) -> None:
        feed, extra = self._feed, {"run": self._feed.run.path}
        log.warning(
            "%s: %s. Delivery of run %r will be tried again, and no data is lost.",
            feed.name, feed.reason.rstrip("."), feed.run.name, extra=extra,
        )  # fmt: skip
        log.info("%s", redact_text("".join(traceback.format_exception(error))), extra=extra)
