"""The wait at the end of the program, with a progress bar if it takes long."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from typing import IO, TYPE_CHECKING, NamedTuple, cast

from ..errors import Notices
from ..event import RunInfo
from .cursor import Cursor, is_delivered

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_UPDATE_S = 0.1
_HOPELESS = 3
"""A tracker that has failed this many times in a row is not waited for."""


class Unfinished(NamedTuple):
    """A run that is not completely delivered to a tracker."""

    run: RunInfo
    tracker: str
    why: str
    """The cause, or an empty string if it is not known."""
    continues: bool
    """Whether the delivery process is still delivering it."""


class Standing(NamedTuple):
    """How far one tracker is with one run."""

    run: RunInfo
    tracker: str
    size: int
    """Bytes of the journal."""
    cursors: list[Cursor]
    """One for each destination of the tracker."""

    @property
    def delivered(self) -> int:
        """Bytes of the journal that are delivered."""
        return max((cursor.offset for cursor in self.cursors), default=0)

    @property
    def is_delivered(self) -> bool:
        """Whether the tracker has the whole run."""
        return any(is_delivered(self.run.path, cursor) for cursor in self.cursors)

    @property
    def is_hopeless(self) -> bool:
        """Whether every recent attempt has failed."""
        return bool(self.cursors) and all(cursor.failures >= _HOPELESS for cursor in self.cursors)

    @property
    def error(self) -> str:
        """Why the last attempt failed; empty if it did not."""
        return next((cursor.error for cursor in self.cursors if cursor.error), "")


def wait_with_bar(
    until: float,
    standings: Callable[[], Iterable[Standing]],
    join: Callable[[float], bool],
    threads_have_ended: Callable[[], bool],
) -> bool:
    """Wait until delivery ends, and show a progress bar in the meantime.

    Waiting stops early when every tracker that is left only fails.

    Args:
        until: when to stop waiting, on the monotonic clock.
        standings: how far each tracker is with each run.
        join: waits for some seconds; returns whether delivery has ended.
        threads_have_ended: whether nothing is delivered by threads of this process any more.

    Returns:
        False if delivery has not ended.
    """
    try:
        bar = _new_bar()
    except (ImportError, OSError):  # no file can be opened any more
        return join(max(until - time.monotonic(), 0))
    with bar:
        task = bar.add_task("", total=1)
        while time.monotonic() < until:
            is_hopeless = _show(bar, task, list(standings()))
            if join(_UPDATE_S):
                return True
            if is_hopeless and threads_have_ended():
                return False
    return False


def _show(bar: Progress, task: TaskID, standings: list[Standing]) -> bool:
    """Draw the bar. Returns whether waiting for the trackers that are left is hopeless."""
    missing = [standing for standing in standings if not standing.is_delivered]
    bar.update(
        task,
        total=max(sum(standing.size for standing in standings), 1),
        completed=sum(standing.delivered for standing in standings),
        description=", ".join(sorted({standing.tracker for standing in missing})),
        refresh=True,
    )
    return all(standing.is_hopeless for standing in missing)


def _new_bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("trackhooks delivers {task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(file=cast("IO[str]", Notices(sys.stderr)))
    # Without a refresh thread: no thread can be started while the interpreter exits.
    return Progress(*columns, console=console, transient=True, auto_refresh=False)
