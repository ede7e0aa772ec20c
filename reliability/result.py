"""`Result`: what one kind of trial found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import msgspec

Item = TypeVar("Item")
WORKERS = 2
"""How many trials run at the same time."""


class Found(msgspec.Struct):
    """What one trial found."""

    survived: bool = True
    """Whether what must not end did not end, and the run could be opened and delivered."""
    lost: int = 0
    """Records whose hook had returned, or that the journal has, and that are missing."""
    doubled: int = 0
    """Points that a backend has twice."""
    wrong: int = 0
    """Values that differ, and a status that is not right."""
    why: str = ""
    """What went wrong, for the one who reads the output."""
    reached: bool = True
    """Whether the trial came to the place that it was for."""

    @property
    def good(self) -> bool:
        """Whether the promise held."""
        return self.survived and not (self.lost or self.doubled or self.wrong)


class Result(msgspec.Struct):
    """The sums over the trials of one kind."""

    promise: str
    """The row of the design's table of promises."""
    kind: str
    tried: int = 0
    survived: int = 0
    lost: int = 0
    doubled: int = 0
    wrong: int = 0
    note: str = ""
    seconds: float = 0.0
    why: list[str] = []
    """Why trials failed, of the first few."""
    group: str = ""
    """What `--only` calls it."""
    made: str = ""
    """When, and where."""
    unreached: int = 0
    """Trials that are not counted, because they did not come to the place that they were for."""

    def add(self, found: Found) -> None:
        """Add a trial."""
        if not found.reached:
            self.unreached += 1
            return
        self.tried += 1
        self.survived += found.survived
        self.lost += found.lost
        self.doubled += found.doubled
        self.wrong += found.wrong
        if not found.good and len(self.why) < 5:
            self.why = [*self.why, found.why]

    @property
    def held(self) -> bool:
        """Whether the promise held in every trial."""
        return self.survived == self.tried and not (self.lost or self.doubled or self.wrong)


@contextmanager
def measured(promise: str, kind: str, note: str = "") -> Iterator[Result]:
    """Make a result, and note how long its trials take."""
    result, since = Result(promise, kind, note=note), time.monotonic()
    yield result
    result.seconds = round(time.monotonic() - since, 1)


def tried(
    promise: str, kind: str, trial: Callable[[Item], Found], items: Iterable[Item], note: str = ""
) -> Result:
    """Make a trial of each item, some at the same time."""

    def guarded(item: Item) -> Found:
        try:
            return trial(item)
        except Exception as error:  # noqa: BLE001 — what cannot be read back has not survived
            return Found(survived=False, why=f"{type(error).__name__}: {error}")

    with measured(promise, kind, note) as result, ThreadPoolExecutor(WORKERS) as pool:
        for found in pool.map(guarded, items):
            result.add(found)
    return result
