"""`Follower`: feeds the trackers of many runs while these are being recorded."""

from __future__ import annotations

import random
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from ..errors import TrackhooksError, log
from ..event import RunInfo
from ..storage.checkpoints import DeliveredFiles
from ..storage.lost_runs import end_if_dead
from ..tracker import Tracker
from ..values.secrets import redact_text
from .cursor import Spec
from .feed import Feed
from .system_sampler import Sampler

_POLL_S, _IDLE_POLL_S = 0.1, 1.0
_BACKOFF_S, _LONGEST_BACKOFF_S = 0.5, 30.0


class Follower:
    """Feeds the trackers of many runs, each in a thread of its own: one's failure never delays another.

    Args:
        patience: how long failing trackers are tried again once the run has ended, in seconds.
    """

    def __init__(self, patience: float = 300.0) -> None:
        self._patience = patience
        self._feeds: dict[str, list[Feed]] = {}
        self._threads: dict[threading.Thread, Feed] = {}
        self._stop = threading.Event()
        self._sampler = Sampler()

    @property
    def runs(self) -> list[str]:
        """The folders of the runs that are followed."""
        return list(self._feeds)

    def follow(
        self,
        run: RunInfo,
        sources: Sequence[tuple[Callable[[], Tracker], Spec | None, int | str | None]],
        measures: bool = True,
    ) -> None:
        """Starts delivering a run; each source is how to make a tracker, its spec, and how often it is fed.

        With `measures`, the run's process is measured, too, as often as the run says.
        """
        if measures:
            self._sampler.follow(run)
        keeper = DeliveredFiles(run)
        self._threads = {thread: feed for thread, feed in self._threads.items() if thread.is_alive()}
        for make, spec, every in sources:
            feed = Feed(run, make, keeper, every, spec)
            self._feeds.setdefault(run.path, []).append(feed)
            name = f"trackhooks-{spec.name if spec else 'tracker'}-{run.name}"
            thread = threading.Thread(target=self._run, args=(feed,), name=name, daemon=True)
            self._threads[thread] = feed
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
            )  # read before the step, which then delivers what was written before it was set
            try:
                busy = feed.step()
            except (Exception, SystemExit) as error:  # noqa: BLE001 — the one place that keeps a tracker from breaking anything else
                failures += 1
                self._report(feed, error, failures)
                if time.monotonic() > gives_up_at or not Path(feed.run.path).is_dir():
                    break
                wait = _backoff(failures)
                continue
            failures = 0
            if ending and not busy:
                break
            wait = 0.0 if busy else _IDLE_POLL_S if feed.is_finished else _POLL_S
        feed.close()

    def _report(self, feed: Feed, error: BaseException, failures: int) -> None:
        if failures == 1:
            name = "a tracker" if feed.cursor is None else feed.cursor.tracker
            where = {"run": feed.run.path}
            log.warning(
                "%s, run %r: %s. Tries again; nothing is lost.",
                name,
                feed.run.name,
                redact_text(str(error)),
                extra=where,
            )
            log.info("%s", redact_text("".join(traceback.format_exception(error))), extra=where)

    def feeds(self, run: str, name: str) -> bool:
        """Whether the tracker of this name is still fed with the run in this folder."""
        return any(
            thread.is_alive() and feed.run.path == run and feed.is_of(name)
            for thread, feed in list(self._threads.items())
        )

    def end(self, run: str) -> None:
        """Says that nothing more will be written to the journal of this run; a status that it lacks is added."""
        self._sampler.end(run)
        try:
            end_if_dead(run)
        except TrackhooksError as error:  # its folder was removed, perhaps
            log.warning("%s", error, extra={"run": run})
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
        self._sampler.stop()


def _backoff(failures: int) -> float:
    longest: float = min(_BACKOFF_S * 2 ** (failures - 1), _LONGEST_BACKOFF_S)
    return longest * random.SystemRandom().uniform(0.5, 1.0)  # the training's random numbers stay its own
