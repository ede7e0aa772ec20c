"""`Totals`: what lists and comparisons need of a journal, added up in one pass.

Memory grows with the number of metrics and parameters, not with the number of steps. Totals are stored next to the
journal (see `summary_file`), so that a later reader continues where an earlier one stopped.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from ..errors.plural import counted
from ..event import Event, File, Scalar
from ..hooks.metric_goals import Goal, goal
from ..hooks.vocabulary import Axis, axis_of
from .journal import Reader

FORMAT: Final = 1
"""The version of stored totals. Raise it whenever a journal gives other totals than before, or fields change."""

Progress = Callable[[int], None]
"""Called from time to time with the number of bytes read since the last call."""

_CHUNK = 20_000
"""Number of records between two reports of progress."""


class Metric(msgspec.Struct, array_like=True, gc=False):
    """The last and the best value of one metric, and the steps and epochs at which they were logged."""

    last: float
    """The last value."""
    step: int
    """The step of the last value; −1 before the first step."""
    epoch: int
    """The epoch of the last value; −1 outside of epochs."""
    axis: Axis
    """Whether the metric is plotted over steps or over epochs."""
    goal: Goal
    """`"min"` if lower is better, as for losses and errors; `"max"` if higher is; empty if neither is (`lr/…`)."""
    best: float | None = None
    """The best value; None without a goal, or if all values are NaN."""
    best_step: int = -1
    """The step of the best value."""
    best_epoch: int = -1
    """The epoch of the best value."""

    @property
    def best_place(self) -> str:
        """The epoch of the best value, or `step …` if the metric is plotted over steps."""
        return str(self.best_epoch) if self.axis == "epoch" else f"step {self.best_step}"

    def take(self, value: float, event: Event) -> bool:
        """Add a value. Returns whether it is the best so far; of equally good values, that is the first."""
        self.last, self.step, self.epoch = value, event.step, event.epoch
        return self.rate(value, event)

    def rate(self, value: float, event: Event) -> bool:
        """Note a value as the best if it is. Returns whether it is."""
        if not self.goal or value != value or not self._improves(value):
            return False
        self.best, self.best_step, self.best_epoch = value, event.step, event.epoch
        return True

    def to_row(self, name: str) -> dict[str, float]:
        """Return the cells of this metric in a row of a table."""
        row = {f"last/{name}": self.last}
        if self.best is not None:
            position = self.best_epoch if self.axis == "epoch" else self.best_step
            row |= {f"best/{name}": self.best, f"best_{self.axis}/{name}": position}
        return row

    def _improves(self, value: float) -> bool:
        return self.best is None or (value < self.best if self.goal == "min" else value > self.best)


class JournalState(msgspec.Struct, array_like=True, gc=False):
    """The condition of a journal."""

    records: int = 0
    """The number of complete records."""
    end: int = 0
    """The offset at which the last complete record ends, in bytes."""
    skipped: int = 0
    """The number of bytes between records that cannot be read, because of damage."""
    missing: int = 0
    """The number of records that are missing, because of a full disk or damage. Their numbers leave gaps."""
    torn: int = 0
    """The number of bytes of an incomplete last record: it is still being written, or its writer was killed."""
    left_out: dict[str, int] = {}
    """The parts of records that only a later version of trackhooks can read, with their number."""
    error: str = ""
    """The reason why the journal cannot be read at all."""

    @property
    def damage(self) -> list[str]:
        """Descriptions of what is wrong with the journal; empty if it is intact."""
        found = [self.error] if self.error else []
        if self.skipped:
            found.append(f"damaged: {counted(self.skipped, 'byte')} of the journal cannot be read")
        if self.missing:
            found.append(f"missing: {counted(self.missing, 'record')}")
        if self.left_out:
            parts = ", ".join(f"{part} ({count}×)" for part, count in self.left_out.items())
            found.append(
                f"from a later version of trackhooks, and not read: {parts}. Run: pip install -U trackhooks"
            )
        return found


class Status(msgspec.Struct, array_like=True, gc=False):
    """A status that the journal gives the run."""

    status: str
    reason: str
    time: float


class Totals(msgspec.Struct, array_like=True, gc=False):
    """What lists and comparisons need of a journal."""

    journal: JournalState = msgspec.field(default_factory=JournalState)
    params: dict[str, Scalar] = {}
    facts: dict[str, Scalar] = {}
    defaults: set[str] = set()
    """The names of the parameters that the user left at the default of the framework."""
    metrics: dict[str, Metric] = {}
    files: dict[str, File] = {}
    """The newest version of every logged file, without images, by its path."""
    index: int = -1
    """The highest number of a record."""
    step: int = -1
    epoch: int = -1
    """The last epoch that was completed."""
    time: float = 0.0
    """The time of the last record."""
    without_file: int = 0
    """The number of records that are too large for the journal, and whose files are missing or damaged."""
    status: Status | None = None
    """The last status."""

    def read(self, reader: Reader, progress: Progress | None = None) -> None:
        """Read the journal to its present end, from where the reader stopped."""
        records = iter(reader)
        before = 0
        while chunk := sum(1 for _ in map(self.take, itertools.islice(records, _CHUNK))):
            self.journal.records += chunk
            if progress is not None:
                progress(reader.offset - before)
            before = reader.offset
        state = self.journal
        state.end, state.skipped, state.torn = reader.offset, reader.skipped, reader.behind
        state.left_out = dict(reader.left_out)

    def resume(self, reader: Reader) -> None:
        """Let a new reader continue where these totals end."""
        reader.offset, reader.skipped = self.journal.end, self.journal.skipped
        reader.left_out = Counter(self.journal.left_out)

    def take(self, event: Event) -> None:
        """Add an event."""
        # This is called for every record: there may be millions, most of them of training batches.
        if event.index > self.index:  # a record that a signal handler wrote can come before an earlier one
            self.index = event.index
        if event.overflow:  # its separate file is missing or damaged
            self.without_file += 1
        self.time = event.time
        metrics, step, epoch = self.metrics, event.step, event.epoch
        if step > self.step:
            self.step = step
        for name, value in event.metrics.items():
            metric = metrics.get(name)
            if metric is None:
                metric = metrics[name] = Metric(value, -1, -1, axis_of(event), goal(name))
            metric.last, metric.step, metric.epoch = value, step, epoch
            if metric.goal:
                metric.rate(value, event)
        if event.hook != "on_train_batch_end" or event.params or event.facts or event.files or event.status:
            self._take_more(event)

    def _take_more(self, event: Event) -> None:
        self.params.update(event.params)
        self.defaults = (self.defaults - event.params.keys()).union(event.defaults)
        self.facts.update(event.facts)
        self.files.update({file.path: file for file in event.files if file.kind != "image"})
        if event.hook == "on_fit_epoch_end":
            self.epoch = max(self.epoch, event.epoch)
        if event.status:
            self.status = Status(event.status, event.reason, event.time)
