"""`deliver`: deliver everything of a run that is still missing, in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import TrackhooksError
from ..event import FINAL, RunInfo
from ..storage.checkpoints import DeliveredFiles
from ..storage.inside import check_links
from ..storage.lost_runs import end_if_dead
from ..tracker import Tracker
from .cursor import Spec, cursors, journal_size
from .feed import OWN_ERRORS, TRIES, Feed

Progress = Callable[[str, int, int], None]
"""Called with the tracker's name, the bytes of the journal that are delivered, and the size of the journal."""


def deliver(
    path: str | Path,
    specs: Sequence[Spec | Tracker] | None = None,
    progress: Progress | None = None,
    from_start: bool = False,
) -> dict[str, str]:
    """Deliver everything of a run that is not delivered yet, in this process.

    Args:
        path: the run's folder.
        specs: the trackers; by default those that the run was made with.
        progress: called with the tracker's name, the bytes of the journal that are delivered, and its size.
        from_start: deliver the whole run again to trackers that got batch metrics less often than their spec now says.

    Returns:
        The names of the trackers that failed, each with the error.

    Raises:
        TrackhooksError: the folder does not contain a run.
    """
    check_links(Path(path))
    run = end_if_dead(path)
    files = DeliveredFiles(run)
    failed = {}
    for spec in specs_of(run) if specs is None else specs:
        feed = _feed(run, spec, files, from_start)
        try:
            _deliver_all(feed, spec.name, progress)
        except Exception:  # noqa: BLE001 — a tracker that fails must not keep the others from being delivered
            failed[spec.name] = feed.reason
        finally:
            feed.close()
    return failed


def specs_of(run: RunInfo) -> list[Spec]:
    """Return the trackers that a run was made with, and their options as far as `run.json` contains them.

    If `run.json` names none, because it was damaged, they are those to which the run was delivered before.
    """
    found = []
    for name in run.trackers or _delivered_before(run):
        options: dict[str, Any] = dict(run.options.get(name, {}))
        every = options.pop("every", None)
        found.append(Spec(name, options, every))
    return found


def _delivered_before(run: RunInfo) -> list[str]:
    names = [known.tracker if known.spec is None else known.spec.name for known in cursors(run.path)]
    return list(dict.fromkeys(names))


def _feed(run: RunInfo, spec: Spec | Tracker, files: DeliveredFiles, from_start: bool) -> Feed:
    if isinstance(spec, Tracker):
        feed = Feed(run, lambda: spec, files, from_start=from_start)
    else:
        feed = Feed(run, spec.make, files, spec.every, spec, from_start=from_start)
    feed.ending = run.status in FINAL
    return feed


def _deliver_all(feed: Feed, name: str, progress: Progress | None) -> None:
    size = journal_size(feed.run.path)
    while _step(feed):
        if progress is not None and feed.cursor is not None:
            progress(name, feed.cursor.offset, size)


def _step(feed: Feed) -> bool:
    """Take a step. Errors of the tracker's own code are retried at once, until the feed skips the event."""
    for _ in range(TRIES):
        try:
            return feed.step()
        except TrackhooksError:
            raise
        except OWN_ERRORS:
            continue
    return feed.step()
