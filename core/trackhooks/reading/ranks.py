"""`ranks`: the ranks of a run next to each other, and the one that the others wait for."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..errors import JournalError
from ..storage import run_folder
from ..storage.journal import EMPTY, SYSTEM, Reader
from ..storage.rank_folders import ranks_of
from . import formats
from .finding import RunLike, one
from .selection import damage_notes, shown_metrics
from .summary import RunSummary, summarize
from .table import Cell, Section, Table, as_text, status_cell, terminal_width

_FEW = 3
"""The smallest number of steps that says how long a step takes."""
_LONGER = 1.1
"""The steps of a rank take longer than those of the others from this ratio on."""
_WAITS = 0.05
"""The other ranks wait for one if it needs this share of a step more than they do between two steps."""
_MOST_METRICS = 3
_MIB = 1 << 20
_HEADER = ("rank", "host", "status", "trained", "step time", "between steps", "CPU", "memory")


class Times(NamedTuple):
    """How long the steps of a rank take, as medians in seconds."""

    step: float
    """From the end of one batch to the end of the next."""
    between: float
    """From the end of one batch to the start of the next: loading data, and what the loop does besides."""


class RankSummary(msgspec.Struct):
    """One rank of a run."""

    rank: int
    """The number of the rank."""
    summary: RunSummary
    """The summary of its records."""
    times: Times | None
    """How long its steps take; None if it recorded too few."""
    system: dict[str, float]
    """The medians of the measurements of its process, such as `system/cpu_percent`, by name."""

    @property
    def host(self) -> str:
        """The machine that it ran on."""
        return self.summary.info.host

    @property
    def status(self) -> str:
        """`"running"`, `"finished"`, `"failed"`, `"killed"`, …: see `RunSummary.status`."""
        return self.summary.status

    def to_dict(self) -> dict[str, Any]:
        """Convert to a dict of plain values. Times are in seconds."""
        found = self.summary.to_dict()
        named = ("status", "reason", "created", "ended", "duration", "steps", "epochs", "metrics", "path")
        step, between = self.times or (None, None)
        return {
            "rank": self.rank,
            "host": self.host,
            **{name: found[name] for name in named},
            "step_s": step,
            "between_s": between,
            "system": self.system,
        }


class Slowest(NamedTuple):
    """The rank that the others wait for."""

    rank: int
    why: str
    """What tells it apart, with the times."""


class RankList(list[RankSummary]):
    """The ranks of a run that recorded, by number. Printed, it is a table."""

    def __init__(self, ranks: Sequence[RankSummary], world_size: int) -> None:
        super().__init__(ranks)
        self.world_size = world_size
        """The number of ranks of the job; 0 if it is not known."""

    @property
    def missing(self) -> list[int]:
        """The ranks of the job that recorded nothing."""
        return sorted(set(range(self.world_size)) - {found.rank for found in self})

    @property
    def slowest(self) -> Slowest | None:
        """The rank that the others wait for; None if no rank stands out."""
        timed = {found.rank: found.times for found in self if found.times is not None}
        if len(timed) < 2:
            return None
        return _with_longer_steps(timed) or _waited_for(timed)

    def to_dict(self) -> dict[str, Any]:
        """Convert to a dict of plain values."""
        slowest = self.slowest
        return {
            "world_size": self.world_size,
            "missing": self.missing,
            "slowest": None if slowest is None else slowest._asdict(),
            "ranks": [found.to_dict() for found in self],
        }

    def table(self) -> Table:
        """Return the table that is printed."""
        names = shown_metrics([found.summary for found in self])[:_MOST_METRICS]
        header = [*_HEADER, *map(formats.plain, names)]
        return Table(header, [Section("", [_row(found, names) for found in self])], list(self._notes()))

    def _notes(self) -> Iterator[str]:
        slowest = self.slowest
        if slowest is not None:
            yield f"Slowest: rank {slowest.rank}. {slowest.why}"
        elif len([found for found in self if found.times]) > 1:
            yield "Slowest: no rank stands out."
        if self.missing:
            yield f"Without records: {_numbers(self.missing)} of {self.world_size} ranks"
        yield from damage_notes(found.summary for found in self)

    def __str__(self) -> str:
        return as_text(self.table(), terminal_width())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from .html import as_html  # only notebooks need it

        return as_html(self.table())


def ranks(run: RunLike) -> RankList:
    """Show the ranks of a distributed training that recorded (`ranks="all"`), and the one that the others wait for.

    Args:
        run: the folder of a run, the name of one in `TRACKHOOKS_DIR` (by default `runs`), or a run object.

    Returns:
        A list of the ranks: for each its host, its status, how long its steps take, and its metrics. A run of one
        process has one rank, 0.

    Raises:
        UnknownNameError: if the run does not exist; the message suggests the nearest name.
        InvalidValueError: if `run` names several runs.
    """
    path = one(run)
    found = [
        RankSummary(rank, summary, step_times(folder), measurements(folder))
        for rank, folder in ranks_of(path).items()
        if (summary := summarize(folder)).journal.end > EMPTY or summary.journal.error
    ]
    return RankList(found, run_folder.read_info(path).world_size)


def step_times(folder: Path) -> Times | None:
    """Return how long the steps of a rank take, given the folder with its journal; None if it has too few."""
    try:
        found = list(_steps(folder))
    except JournalError:
        return None
    between = [gap for _, gap in found if gap is not None]
    if len(found) < _FEW:
        return None
    return Times(_median(step for step, _ in found), _median(between) if between else 0.0)


def measurements(folder: Path) -> dict[str, float]:
    """Return the median of each measurement of the process of a rank, by name; none if it was not measured."""
    found: dict[str, list[float]] = {}
    with suppress(JournalError), Reader(folder / SYSTEM) as samples:
        for sample in samples:
            for name, value in sample.metrics.items():
                found.setdefault(name, []).append(value)
    return {name: _median(values) for name, values in found.items()}


def _steps(folder: Path) -> Iterator[tuple[float, float | None]]:
    """Yield for each batch but the first of an epoch: the time since the last one ended, and how much of it was before
    the batch started, if that was recorded."""
    ended = started = None
    with Reader(folder) as events:
        for event in events:
            if event.hook == "on_train_batch_start":
                started = event.time
            elif event.hook == "on_train_batch_end":
                if ended is not None:
                    yield event.time - ended, None if started is None else started - ended
                ended, started = event.time, None
            elif event.hook in ("on_train_epoch_start", "on_val_start"):
                ended = started = None


def _with_longer_steps(timed: dict[int, Times]) -> Slowest | None:
    """Return the rank whose steps take longest, if the ranks do not end their steps together."""
    rank = max(timed, key=lambda number: timed[number].step)
    own, others = (
        timed[rank].step,
        _median([times.step for number, times in timed.items() if number != rank]),
    )
    if own < others * _LONGER:
        return None
    return Slowest(rank, f"A step takes {_seconds(own)}, on the other ranks {_seconds(others)}.")


def _waited_for(timed: dict[int, Times]) -> Slowest | None:
    """Return the rank that starts its steps last, if the ranks end their steps together."""
    rank = max(timed, key=lambda number: timed[number].between)
    own = timed[rank].between
    others = _median([times.between for number, times in timed.items() if number != rank])
    if own - others < timed[rank].step * _WAITS:
        return None
    why = f"It needs {_seconds(own)} between two steps, the other ranks {_seconds(others)}: they wait for it."
    return Slowest(rank, why)


def _median(values: Iterable[float]) -> float:
    """Return the upper median. The module `statistics` takes milliseconds to import."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _row(found: RankSummary, names: Sequence[str]) -> list[Cell]:
    step, between = found.times or (None, None)
    cpu, memory = (found.system.get(f"system/{name}") for name in ("cpu_percent", "memory_mib"))
    metrics = [found.summary.metrics.get(name) for name in names]
    return [
        Cell(str(found.rank), "bold"),
        Cell(formats.plain(found.host)),
        status_cell(found.status, [found.status]),
        Cell(found.summary.length),
        Cell("" if step is None else _seconds(step)),
        Cell("" if between is None else _seconds(between)),
        Cell("" if cpu is None else f"{cpu:.0f}%"),
        Cell("" if memory is None else formats.size(int(memory * _MIB))),
        *(Cell("" if metric is None else formats.number(metric.last)) for metric in metrics),
    ]


def _seconds(seconds: float) -> str:
    """Format the time of a step: `0.42 ms`, `41 ms`, `1.2 s`."""
    return f"{seconds * 1000:.2g} ms" if seconds < 0.01 else formats.duration(seconds)


def _numbers(ranks: Sequence[int]) -> str:
    """Format numbers as ranges: `1, 3–5`."""
    found = []
    for _, group in itertools.groupby(enumerate(ranks), key=lambda pair: pair[1] - pair[0]):
        numbers = [number for _, number in group]
        found.append(str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]}–{numbers[-1]}")
    return ", ".join(found)
