"""The wait at the end of the program, with a progress bar if it takes long."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import IO, TYPE_CHECKING, NamedTuple, cast

from ..errors import Notices, say
from ..event import RunInfo
from .cursor import Cursor, is_delivered

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_UPDATE_S = 0.1
_QUIET_S = 1.0
"""A program that does not end within this time says why."""
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
    writes_files: bool = False
    """Whether the tracker only writes files here."""
    in_thread: bool = False
    """Whether a thread of this process is still delivering."""

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


def wait_to_end(
    timeout: float,
    only_for_files: bool,
    standings: Callable[[], list[Standing]],
    join: Callable[[float], bool],
) -> bool:
    """Wait until delivery ends, and show that: with a bar on a terminal, otherwise with one line after a second.

    Waiting stops early when every tracker that is left only fails.

    Args:
        timeout: the longest time to wait, in seconds.
        only_for_files: whether waiting stops as soon as the trackers that write files here have everything.
        standings: how far each tracker is with each run.
        join: waits for some seconds; returns whether delivery has ended.

    Returns:
        False if delivery has not ended.
    """
    since = time.monotonic()
    try:
        shown = _Bar() if Notices(sys.stderr).isatty() else _Line(timeout)
    except (ImportError, OSError):  # no file can be opened any more
        return join(timeout)
    with shown:
        while True:
            left = max(since + timeout - time.monotonic(), 0)
            if join(min(_UPDATE_S, left)):
                return True
            found = standings()
            missing = [standing for standing in found if not standing.is_delivered]
            if not left or _is_enough(missing, only_for_files) or all(map(_is_lost, missing)):
                return False
            shown.update(time.monotonic() - since, found, missing)


def _is_enough(missing: Iterable[Standing], only_for_files: bool) -> bool:
    return only_for_files and not any(standing.writes_files for standing in missing)


def _is_lost(standing: Standing) -> bool:
    return standing.is_hopeless and not standing.in_thread


class _Line:
    """Says once that the program waits, if that takes longer than a moment."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._said = False

    def update(self, seconds: float, found: Sequence[Standing], missing: Sequence[Standing]) -> None:
        if seconds >= _QUIET_S and not self._said:
            self._said = True
            trackers = listed([standing.tracker for standing in missing])
            say(f"waiting up to {self._timeout:g} s for {trackers or 'delivery'}; Ctrl-C is safe")

    def __enter__(self) -> None:
        """Nothing to begin."""

    def __exit__(self, *error: object) -> None:
        """Nothing to end."""


class _Bar:
    """A progress bar, which disappears when it is done."""

    def __init__(self) -> None:
        self._bar = _new_bar()
        self._task: TaskID = self._bar.add_task("", total=1)

    def update(self, seconds: float, found: Sequence[Standing], missing: Sequence[Standing]) -> None:
        self._bar.update(
            self._task,
            total=max(sum(standing.size for standing in found), 1),
            completed=sum(standing.delivered for standing in found),
            description=listed([standing.tracker for standing in missing]),
            refresh=True,
        )

    def __enter__(self) -> None:
        self._bar.start()

    def __exit__(self, *error: object) -> None:
        self._bar.stop()


def listed(names: Iterable[str], most: int = 20) -> str:
    """Join the different names: `a`, `a and b`, `a, b and 3 more`."""
    found = list(dict.fromkeys(names))
    shown = found[:most]
    last = [f"{len(found) - most} more"] if len(found) > most else [shown.pop()] if len(shown) > 1 else []
    return " and ".join([", ".join(shown), *last])


def _new_bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("trackhooks delivers {task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(file=cast("IO[str]", Notices(sys.stderr)), force_jupyter=False)
    # Without a refresh thread: no thread can be started while the interpreter exits.
    return Progress(*columns, console=console, transient=True, auto_refresh=False)
