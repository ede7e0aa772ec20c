"""Summarize a run: its status, its parameters, and the last and the best value of each metric.

The last and the best values come from the file `summary` of the run, and from what its journal has in addition.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from ..event import FINAL, File, RunInfo, Scalar
from ..storage import run_folder
from ..storage.lost_runs import REASONS, last_written, status_of_silent
from ..storage.summary_file import read_totals
from ..storage.totals import JournalState, Totals
from ..storage.totals import Metric as Metric
from .formats import counted

_IN_DICTS = (
    "id", "name", "path", "project", "group", "tags", "notes", "parent", "status", "reason", "created", "ended",
)  # fmt: skip
"""The fields of `run.json` in `RunSummary.to_dict`."""
_IN_ROWS = ("name", "project", "status", "created", "duration", "steps", "epochs", "path", "id")


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

    def _repr_html_(self) -> str:
        from .run_card import card_of  # only notebooks need it; it reads summaries itself

        return card_of(self)

    def __repr__(self) -> str:
        return f"<run {self.name!r}, {', '.join(filter(None, (self.status, self.length)))}, in {self.info.path!r}>"


def summarize(
    path: str | Path, progress: Callable[[int], None] | None = None, from_start: bool = False
) -> RunSummary:
    """Summarize a run. A damaged or missing journal does not raise an error: see `RunSummary.journal`.

    Only what was recorded since the last summary is read from the journal. The file `summary` of the run is updated if
    that is worth it and possible.

    Args:
        path: the folder of the run.
        progress: called from time to time with the number of bytes read since the last call.
        from_start: read the whole journal, to find damage that occurred after it was summarized.

    Raises:
        TrackhooksError: if the folder contains no run, or if its `run.json` cannot be read.
    """
    return summarize_info(run_folder.read_info(path), progress, from_start)


def summarize_info(
    info: RunInfo, progress: Callable[[int], None] | None = None, from_start: bool = False
) -> RunSummary:
    """Summarize a run as `summarize` does, given the contents of its `run.json`."""
    return summary_of(read_totals(info.path, info.status in FINAL, progress, from_start), info)


def summary_of(totals: Totals, info: RunInfo) -> RunSummary:
    """Return the summary of a run, given the totals of its journal and the contents of its `run.json`."""
    if info.status not in FINAL:
        _correct(info, totals)
    journal = totals.journal
    if not journal.error:
        # The last record that `run.json` counts is that of the status, which it has itself.
        expected = max(totals.index + 1, info.records - 1)
        journal.missing = totals.without_file + max(expected - journal.records, 0)
    return RunSummary(
        info=info,
        params=totals.params,
        defaults=[name for name in totals.params if name in totals.defaults],
        facts=totals.facts,
        metrics=totals.metrics,
        files=list(totals.files.values()),
        steps=totals.step + 1,
        epochs=totals.epoch + 1,
        duration=max((info.ended or time.time()) - info.created, 0.0),
        journal=journal,
    )


def _correct(info: RunInfo, totals: Totals) -> None:
    """Correct the status if `run.json` has no final one: use that of the journal, or check the process."""
    last = totals.status
    if last is not None and last.status in FINAL:
        info.status, info.reason, info.ended = last.status, last.reason, last.time
        return
    silent = status_of_silent(info, lambda: last_written(info))
    if silent:
        info.status, info.reason, info.ended = silent, REASONS[silent], totals.time or info.created
