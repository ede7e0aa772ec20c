"""`deliver`: deliver everything of a run that is still missing, in this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import TrackhooksError
from ..event import FINAL, RunInfo
from ..storage.checkpoints import DeliveredFiles
from ..storage.lost_runs import end_if_dead
from ..tracker import Tracker
from ..values.secrets import redact_text
from .cursor import Spec
from .feed import OWN_ERRORS, TRIES, Feed


def deliver(
    path: str | Path,
    specs: Sequence[Spec | Tracker] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
    from_start: bool = False,
) -> dict[str, str]:
    """Delivers all of a run that is not delivered yet, in this process.

    Args:
        path: the run's folder.
        specs: the trackers; by default those that the run was made with.
        progress: called with the tracker's name, the bytes of the journal that are delivered, and all of them.
        from_start: delivers all again where a tracker was fed less often than its spec says now.

    Returns:
        The name of each tracker that failed → why.

    Raises:
        TrackhooksError: there is no run in this folder.
    """
    run = end_if_dead(path)
    found = list(specs) if specs is not None else specs_of(run)
    keeper = DeliveredFiles(run)
    failed = {}
    for spec in found:
        made = (lambda given=spec: given) if isinstance(spec, Tracker) else spec.make
        feed = Feed(
            run,
            made,
            keeper,
            None if isinstance(spec, Tracker) else spec.every,
            None if isinstance(spec, Tracker) else spec,
            from_start=from_start,
        )
        feed.ending = run.status in FINAL
        try:
            _deliver_all(feed, spec.name, progress)
        except TrackhooksError as error:
            failed[spec.name] = str(error)
        except Exception as error:  # noqa: BLE001 — one tracker's failure must not keep the others from theirs
            failed[spec.name] = redact_text(f"{type(error).__name__}: {error}")
        finally:
            feed.close()
    return failed


def specs_of(run: RunInfo) -> list[Spec]:
    """The trackers that a run was made with, and their options, as far as `run.json` holds them."""
    found = []
    for name in run.trackers:
        options: dict[str, Any] = dict(run.options.get(name, {}))
        every = options.pop("every", None)
        found.append(Spec(name, options, every))
    return found


def _deliver_all(feed: Feed, name: str, progress: Callable[[str, int, int], None] | None) -> None:
    size = Path(feed.run.path, "journal").stat().st_size
    while _step_on(feed):
        if progress is not None and feed.cursor is not None:
            progress(name, feed.cursor.offset, size)


def _step_on(feed: Feed) -> bool:
    """A step; what a tracker's own code cannot take is tried again at once, until the feed skips it."""
    for _ in range(TRIES):
        try:
            return feed.step()
        except TrackhooksError:
            raise
        except OWN_ERRORS:
            continue
    return feed.step()
