"""Summarize a run: its status, its parameters, and the last and the best value of each metric.

The journal is streamed: memory grows with the number of metrics and parameters, not with the number of steps.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from ..errors import JournalError
from ..event import FINAL, Event, File, RunInfo, Scalar
from ..hooks.metric_goals import Goal, goal
from ..hooks.vocabulary import Axis, axis_of
from ..storage import run_folder
from ..storage.journal import Reader
from ..storage.lost_runs import REASONS, last_written, status_of_silent
from .formats import counted

_CHUNK = 20_000
"""Number of records between two reports of progress."""

_IN_DICTS = (
    "id", "name", "path", "project", "group", "tags", "notes", "parent", "status", "reason", "created", "ended",
)  # fmt: skip
"""The fields of `run.json` in `RunSummary.to_dict`."""
_IN_ROWS = ("name", "project", "status", "created", "duration", "steps", "epochs", "path", "id")


class Metric(msgspec.Struct):
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
        if not self.goal or value != value or not self._improves(value):
            return False
        self.best, self.best_step, self.best_epoch = value, event.step, event.epoch
        return True

    def to_row(self, name: str) -> dict[str, Any]:
        """Return the cells of this metric in a row of a table."""
        row: dict[str, Any] = {f"last/{name}": self.last}
        if self.best is not None:
            position = self.best_epoch if self.axis == "epoch" else self.best_step
            row |= {f"best/{name}": self.best, f"best_{self.axis}/{name}": position}
        return row

    def _improves(self, value: float) -> bool:
        return self.best is None or (value < self.best if self.goal == "min" else value > self.best)


class JournalState(msgspec.Struct):
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


class RunSummary(msgspec.Struct):
    """A summary of one run, read from its folder."""

    info: RunInfo
    """The contents of `run.json`, with the current status, reason and end."""
    params: dict[str, Scalar]
    """The parameters, by name."""
    defaults: list[str]
    """The names of the parameters that the user left at the default of the framework."""
    facts: dict[str, Scalar]
    """What was found out about the model, the optimizer or the data, by name."""
    metrics: dict[str, Metric]
    """The metrics, by name."""
    files: list[File]
    """The newest version of every logged file, without images."""
    steps: int
    """The number of training batches, or of `log` calls without a loop, including those before a resume."""
    epochs: int
    """The number of completed epochs."""
    duration: float
    """The time from the start to the end, or until now if the run has not ended, in seconds."""
    journal: JournalState
    """The condition of the journal."""

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.info.name

    @property
    def path(self) -> Path:
        """The folder of the run."""
        return Path(self.info.path)

    @property
    def id(self) -> str:
        """The id of the run. It stays the same if the folder is moved, and in every tracker that accepts ids."""
        return self.info.id

    @property
    def project(self) -> str | None:
        """The project of the run."""
        return self.info.project

    @property
    def group(self) -> str | None:
        """The group of related runs that this run is in."""
        return self.info.group

    @property
    def tags(self) -> list[str]:
        """The tags of the run."""
        return self.info.tags

    @property
    def status(self) -> str:
        """`"running"`, `"finished"`, `"failed"`, `"pruned"`, `"killed"` or `"lost"`.

        It is correct even if the process has died.
        """
        return self.info.status

    @property
    def created(self) -> float:
        """The time at which the run was created, in seconds since 1970."""
        return self.info.created

    @property
    def length(self) -> str:
        """The length of the training, such as `"10 epochs"`, or `"500 steps"` if there were no epochs."""
        count, unit = (self.epochs, "epoch") if self.epochs else (self.steps, "step")
        return counted(count, unit) if count else ""

    def to_dict(self) -> dict[str, Any]:
        """Convert to a dict of plain values. Times are in seconds since 1970."""
        info = msgspec.to_builtins(self.info)
        return {name: info.get(name) for name in _IN_DICTS} | {
            "duration": self.duration,
            "steps": self.steps,
            "epochs": self.epochs,
            "params": self.params,
            "facts": self.facts,
            "metrics": {name: msgspec.structs.asdict(metric) for name, metric in self.metrics.items()},
            "trackers": self.info.trackers,
            "files": [msgspec.to_builtins(file) for file in self.files],
            "damage": self.journal.damage,
        }

    def to_row(self, params: Iterable[str], metrics: Iterable[str]) -> dict[str, Any]:
        """Convert to one row of a table, with those of the given parameters and metrics that the run has."""
        row = {name: getattr(self, name) for name in _IN_ROWS}
        row |= {f"param/{name}": self.params[name] for name in params if name in self.params}
        for name in metrics:
            if name in self.metrics:
                row |= self.metrics[name].to_row(name)
        return row

    def __repr__(self) -> str:
        return f"<run {self.name!r}, {', '.join(filter(None, (self.status, self.length)))}, in {self.info.path!r}>"


def summarize(path: str | Path, progress: Callable[[int], None] | None = None) -> RunSummary:
    """Summarize a run. A damaged or missing journal does not raise an error: see `RunSummary.journal`.

    Args:
        path: the folder of the run.
        progress: called from time to time with the number of bytes read since the last call.

    Raises:
        TrackhooksError: if the folder contains no run, or if its `run.json` cannot be read.
    """
    info = run_folder.read_info(path)
    found = Collector()
    try:
        with Reader(info.path) as reader:
            found.read(reader, progress)
    except (JournalError, OSError) as error:
        found.journal.error = str(error)
    return found.summary(info)


class Collector:
    """Collects a summary in one pass over the journal."""

    def __init__(self) -> None:
        self.journal = JournalState()
        self._params: dict[str, Scalar] = {}
        self._facts: dict[str, Scalar] = {}
        self._defaults: set[str] = set()
        self._metrics: dict[str, Metric] = {}
        self._files: dict[str, File] = {}
        self._step = self._epoch = self._index = -1
        self._without_file = 0
        self._last_status: Event | None = None
        self._time = 0.0

    def read(self, reader: Reader, progress: Callable[[int], None] | None = None) -> None:
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

    def take(self, event: Event) -> None:
        """Add an event."""
        # This is called for every record: there may be millions, most of them of training batches.
        if event.index > self._index:  # a record that a signal handler wrote can come before an earlier one
            self._index = event.index
        if event.overflow:  # its separate file is missing or damaged
            self._without_file += 1
        self._time = event.time
        if event.step > self._step:
            self._step = event.step
        for name, value in event.metrics.items():
            metric = self._metrics.get(name)
            if metric is None:
                metric = self._metrics[name] = Metric(value, -1, -1, axis_of(event), goal(name))
            metric.take(value, event)
        if event.hook != "on_train_batch_end" or event.params or event.facts or event.files or event.status:
            self._take_more(event)

    def _take_more(self, event: Event) -> None:
        self._params.update(event.params)
        self._defaults = (self._defaults - event.params.keys()).union(event.defaults)
        self._facts.update(event.facts)
        self._files.update({file.path: file for file in event.files if file.kind != "image"})
        if event.hook == "on_fit_epoch_end":
            self._epoch = max(self._epoch, event.epoch)
        if event.status:
            self._last_status = event

    def summary(self, info: RunInfo) -> RunSummary:
        """Return the summary, given the contents of `run.json`."""
        if info.status not in FINAL:
            self._correct(info)
        if not self.journal.error:
            # The last record that `run.json` counts is that of the status, which it has itself.
            expected = max(self._index + 1, info.records - 1)
            self.journal.missing = self._without_file + max(expected - self.journal.records, 0)
        return RunSummary(
            info=info,
            params=self._params,
            defaults=[name for name in self._params if name in self._defaults],
            facts=self._facts,
            metrics=self._metrics,
            files=list(self._files.values()),
            steps=self._step + 1,
            epochs=self._epoch + 1,
            duration=max((info.ended or time.time()) - info.created, 0.0),
            journal=self.journal,
        )

    def _correct(self, info: RunInfo) -> None:
        """Correct the status if `run.json` has no final one: use that of the journal, or check the process."""
        last = self._last_status
        if last is not None and last.status in FINAL:
            info.status, info.reason, info.ended = last.status, last.reason, last.time
            return
        silent = status_of_silent(info, lambda: last_written(info))
        if silent:
            info.status, info.reason, info.ended = silent, REASONS[silent], self._time or info.created
