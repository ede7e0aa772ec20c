"""What a run amounts to: its status, its parameters, and the last and the best value of each metric.

All of it is read from the run's folder, and nothing is written there. The journal is streamed: memory grows with the
number of names, not with the steps.
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
from ..storage import run_folder
from ..storage.journal import Reader
from ..storage.lost_runs import REASONS, status_of_silent
from ..tracker import Axis, axis_of
from .formats import counted

_CHUNK = 20_000
"""Records between two reports of progress."""

_IN_ROWS = ("name", "project", "status", "created", "duration", "steps", "epochs", "path", "id")


class Metric(msgspec.Struct):
    """The last and the best value of one metric, and where they were logged."""

    last: float
    step: int
    """Of the last value; −1 before the first step."""
    epoch: int
    """Of the last value; −1 outside of epochs."""
    axis: Axis
    """What it is drawn over."""
    goal: Goal
    """`"min"` where less is better, as for losses and errors; `"max"`; empty where neither is (`lr/…`, `batch/…`)."""
    best: float | None = None
    """None where there is no goal, or no value but NaN."""
    best_step: int = -1
    best_epoch: int = -1

    def take(self, value: float, event: Event) -> None:
        """Counts a value; of equally good ones the first is the best."""
        self.last, self.step, self.epoch = value, event.step, event.epoch
        if self.goal and value == value and self._improves(value):
            self.best, self.best_step, self.best_epoch = value, event.step, event.epoch

    def to_row(self, name: str) -> dict[str, Any]:
        """Its cells in a row of a table, under the name that the run gives it."""
        row: dict[str, Any] = {f"last/{name}": self.last}
        if self.best is not None:
            place = self.best_epoch if self.axis == "epoch" else self.best_step
            row |= {f"best/{name}": self.best, f"best_{self.axis}/{name}": place}
        return row

    def _improves(self, value: float) -> bool:
        return self.best is None or (value < self.best if self.goal == "min" else value > self.best)


class JournalState(msgspec.Struct):
    """How whole a journal is."""

    records: int = 0
    end: int = 0
    """Where the last whole record ends, in bytes."""
    skipped: int = 0
    """Bytes within the journal that are no records: it was damaged."""
    missing: int = 0
    """Records that are not there, as the gaps in their numbers tell: a full disk, or damage."""
    torn: int = 0
    """Bytes of an incomplete record at the end: it is being written, or the writer was killed."""
    left_out: dict[str, int] = {}
    """Parts of records that only a later version of trackhooks can read, and how many there are of each."""
    error: str = ""
    """Why it cannot be read at all."""

    @property
    def damage(self) -> list[str]:
        """What is wrong with it, in words; empty where nothing is."""
        found = [self.error] if self.error else []
        if self.skipped:
            found.append(f"damaged: {counted(self.skipped, 'byte')} of the journal hold no records")
        if self.missing:
            found.append(f"missing: {counted(self.missing, 'record')}")
        if self.left_out:
            parts = ", ".join(f"{part} ({count}×)" for part, count in self.left_out.items())
            found.append(
                f"of a later version of trackhooks, and not read: {parts}. Run: pip install -U trackhooks"
            )
        return found


class RunSummary(msgspec.Struct):
    """One run, as its folder tells it."""

    info: RunInfo
    """What its `run.json` says; the status, the reason and the end are as they are now."""
    params: dict[str, Scalar]
    metrics: dict[str, Metric]
    files: list[File]
    """The newest version of every file that was logged, pictures left out."""
    steps: int
    """Training batches, or calls of `log` where no loop counts the batches; earlier parts of a resumed run included."""
    epochs: int
    """Epochs that were completed."""
    duration: float
    """Seconds from the start to the end, or to now."""
    journal: JournalState

    @property
    def name(self) -> str:
        """What people call it."""
        return self.info.name

    @property
    def path(self) -> Path:
        """The run's folder."""
        return Path(self.info.path)

    @property
    def id(self) -> str:
        """The same after a move of the folder, and in every tracker that takes ids."""
        return self.info.id

    @property
    def project(self) -> str | None:
        """What it belongs to."""
        return self.info.project

    @property
    def group(self) -> str | None:
        """The runs that it belongs together with."""
        return self.info.group

    @property
    def tags(self) -> list[str]:
        """Words to find it by."""
        return self.info.tags

    @property
    def status(self) -> str:
        """`"running"`, `"finished"`, `"failed"`, `"killed"` or `"lost"`: of a process that is gone, too."""
        return self.info.status

    @property
    def created(self) -> float:
        """Seconds since 1970."""
        return self.info.created

    @property
    def length(self) -> str:
        """How long it trained, in words: `"10 epochs"`, or `"500 steps"` where there were no epochs."""
        count, unit = (self.epochs, "epoch") if self.epochs else (self.steps, "step")
        return counted(count, unit) if count else ""

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; times are seconds since 1970."""
        info = msgspec.to_builtins(self.info)
        kept = (
            "id",
            "name",
            "path",
            "project",
            "group",
            "tags",
            "notes",
            "parent",
            "status",
            "reason",
            "created",
            "ended",
        )
        return {name: info.get(name) for name in kept} | {
            "duration": self.duration,
            "steps": self.steps,
            "epochs": self.epochs,
            "params": self.params,
            "metrics": {name: msgspec.structs.asdict(metric) for name, metric in self.metrics.items()},
            "trackers": self.info.trackers,
            "files": [msgspec.to_builtins(file) for file in self.files],
            "damage": self.journal.damage,
        }

    def to_row(self, params: Iterable[str], metrics: Iterable[str]) -> dict[str, Any]:
        """The run as one row of a table, with these parameters and metrics as far as it has them."""
        row = {name: getattr(self, name) for name in _IN_ROWS}
        row |= {f"param/{name}": self.params[name] for name in params if name in self.params}
        for name in metrics:
            if name in self.metrics:
                row |= self.metrics[name].to_row(name)
        return row

    def __repr__(self) -> str:
        return f"<run {self.name!r}, {', '.join(filter(None, (self.status, self.length)))}, in {self.info.path!r}>"


def summarize(path: str | Path, progress: Callable[[int], None] | None = None) -> RunSummary:
    """Reads a run. A journal that is damaged, or missing, is no error: see `RunSummary.journal`.

    Args:
        path: the run's folder.
        progress: called now and then with the bytes that have been read since the last call.

    Raises:
        TrackhooksError: there is no run in this folder, or its `run.json` cannot be read.
    """
    info = run_folder.read_info(path)
    found = _Found()
    try:
        with Reader(info.path) as reader:
            found.read(reader, progress)
    except (JournalError, OSError) as error:
        found.journal.error = str(error)
    return found.summary(info)


class _Found:
    """What one pass over the journal finds."""

    def __init__(self) -> None:
        self.journal = JournalState()
        self._params: dict[str, Scalar] = {}
        self._metrics: dict[str, Metric] = {}
        self._files: dict[str, File] = {}
        self._step = self._epoch = self._index = -1
        self._told: Event | None = None
        self._time = 0.0

    def read(self, reader: Reader, progress: Callable[[int], None] | None) -> None:
        """Takes the whole journal."""
        records = iter(reader)
        before = 0
        while chunk := sum(1 for _ in map(self._take, itertools.islice(records, _CHUNK))):
            self.journal.records += chunk
            if progress is not None:
                progress(reader.offset - before)
            before = reader.offset
        state = self.journal
        state.end, state.skipped, state.torn = reader.offset, reader.skipped, reader.behind
        state.left_out = dict(reader.left_out)

    def _take(self, event: Event) -> None:
        """Counts a record; there may be millions, most of them of training batches."""
        if event.index != self._index + 1 or event.overflow:
            self._miss(event)
        self._index, self._time = event.index, event.time
        if event.step > self._step:
            self._step = event.step
        for name, value in event.metrics.items():
            metric = self._metrics.get(name)
            if metric is None:
                metric = self._metrics[name] = Metric(value, -1, -1, axis_of(event), goal(name))
            metric.take(value, event)
        if event.hook != "on_train_batch_end" or event.params or event.files or event.status:
            self._take_more(event)

    def _take_more(self, event: Event) -> None:
        self._params.update(event.params)
        self._files.update({file.path: file for file in event.files if file.kind != "image"})
        if event.hook == "on_fit_epoch_end":
            self._epoch = max(self._epoch, event.epoch)
        if event.status:
            self._told = event

    def _miss(self, event: Event) -> None:
        """Counts the records before this one that are not there, and one whose own file is not (`overflow`)."""
        self.journal.missing += max(event.index - self._index - 1, 0) + bool(event.overflow)

    def summary(self, info: RunInfo) -> RunSummary:
        """The summary of the run with this `run.json`."""
        if info.status not in FINAL:
            self._correct(info)
        return RunSummary(
            info=info,
            params=self._params,
            metrics=self._metrics,
            files=list(self._files.values()),
            steps=self._step + 1,
            epochs=self._epoch + 1,
            duration=max((info.ended or time.time()) - info.created, 0.0),
            journal=self.journal,
        )

    def _correct(self, info: RunInfo) -> None:
        """The status of a run whose process did not come to writing it: what the journal was told, or what is seen."""
        told = self._told
        if told is not None and told.status in FINAL:
            info.status, info.reason, info.ended = told.status, told.reason, told.time
            return
        silent = status_of_silent(info, lambda: self._time)
        if silent:
            info.status, info.reason, info.ended = silent, REASONS[silent], self._time or info.created
