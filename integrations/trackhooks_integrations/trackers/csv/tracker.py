"""`csv`: a run as tables that every spreadsheet, pandas and `tail -F` can read. Nothing to install, no server.

The files lie in the run's own folder; each appears with its first row:

| file | a row is | columns |
|---|---|---|
| `epochs.csv` | an epoch | epoch, step, time, then every metric over epochs |
| `batches.csv` | a training batch | step, epoch, batch, time, then its metrics |
| `metrics.csv` | any other record: `test/…`, `predict/…`, outside of a loop | time, step, epoch, batch, hook, … |
| `system.csv` | a measurement of the process and the machine | step (its number), time, then `system/…` |
| `params.csv`, `run.csv` | a hyper-parameter; a fact of the run: its status, tags, environment | name, value |
| `files.csv` | a checkpoint, an export, a picture or another file | time, step, epoch, kind, name, path, kept, … |
| `texts.csv` | a text | time, step, epoch, name, text |
| `tables/<name>.csv` | a row of a table that was logged | time, step, epoch, then the table's own |
| `histograms.csv` | a bin of a histogram | time, step, epoch, name, left, right, count |
| `graph.csv` | an operation of the model's graph | time, step, epoch, graph, node, op, inputs, attributes |

Rules. Numbers are Python's `repr`: `float()` and pandas read the same number back, `nan`, `inf` and `-inf` included; an
empty cell is a metric that was not logged. The quoting is RFC 4180's, in UTF-8, lines ending in LF; names are written
as they are. A metric called like a column in front of it (`step`) stands as `logged/step`. A metric that appears late
gets a column at the right, and the rows before it an empty cell: the file is then written anew beside the old one and
put in its place, as `tail -F` expects it. Between two flushes a file holds whole lines only. A training that resumes
at an earlier step replaces the rows from there on.
"""

from __future__ import annotations

import csv
import json
import os
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from trackhooks.event import Event, File, Graph, Histogram, RunInfo, Scalar, Table, Text
from trackhooks.storage.run_folder import as_file_name
from trackhooks.tracker import Axis, State, Tracker
from trackhooks.values.fields import flatten

from ..._shared.files import folder_option, own_folder, replace
from .sheet import Sheet, line

_PLACE = ("time", "step", "epoch")
_COLUMNS: dict[str, tuple[str, ...]] = {
    "epochs.csv": ("epoch", "step", "time"),
    "batches.csv": ("step", "epoch", "batch", "time"),
    "system.csv": ("step", "time"),
    "metrics.csv": (*_PLACE, "batch", "hook"),
    "files.csv": (
        *_PLACE, "kind", "name", "path", "kept", "format", "size", "sha256", "aliases", "parent", "duration",
        "superseded", "metrics",
    ),
    "texts.csv": (*_PLACE, "name", "text"),
    "histograms.csv": (*_PLACE, "name", "left", "right", "count"),
    "graph.csv": (*_PLACE, "graph", "node", "op", "inputs", "attributes"),
}  # fmt: skip
_RISING = frozenset({"epochs.csv", "batches.csv"})
"""The tables whose first column rises."""
_NONE: Mapping[str, Any] = {}


class CSV(Tracker):
    """Writes a run's tables.

    Args:
        dir: where to write instead of the run's own folder: `<dir>/<name of the run's folder>/`. If that name is
            taken by anything else, it gets a number; nothing is replaced.

    Raises:
        InvalidValueError: `dir` is no path, or a file.
        OSError: from the verbs, where a file cannot be written or was changed by someone else.
    """

    def __init__(self, dir: str | os.PathLike[str] | None = None) -> None:  # noqa: A002 - the option's name
        self._dir = folder_option("csv", "dir", dir)
        self._folder = ""

    @property
    def destination(self) -> str:
        """The folder of the option `dir`."""
        return str(self._dir or "")

    @property
    def url(self) -> str | None:
        """The folder of the tables."""
        return str(self._home)

    @property
    def _home(self) -> Path:
        folder = Path(self.run.path)
        return self._dir / (self._folder or folder.name) if self._dir else folder

    def _is_ours(self, folder: Path) -> bool:
        """Whether an earlier delivery of this run wrote its tables there."""
        try:
            with (folder / "run.csv").open(encoding="utf-8", newline="") as file:
                return ["id", self.run.id] in csv.reader(file)
        except (OSError, UnicodeDecodeError, csv.Error):
            return False

    def start(self, run: RunInfo, state: State) -> None:
        """Cuts every table back to the rows that `state` names; without a state, each begins anew."""
        if self._dir:
            name = state.get("folder") or Path(run.path).name
            self._folder = own_folder(self._dir, name, self._is_ours).name
        self._sheets: dict[str, Sheet] = {}
        for name, saved in state.get("sheets", {}).items():
            self._sheet(name).restore(saved)
        self._epoch = _EpochRow.from_state(state.get("epoch", {}))
        self._params = _read_pairs(self._home / "params.csv") if state else {}
        self._new_params = False
        self._describe("running", "")

    def _sheet(self, name: str) -> Sheet:
        sheet = self._sheets.get(name)
        if sheet is None:
            path, columns = self._home / name, _COLUMNS.get(name, _PLACE)
            sheet = self._sheets[name] = Sheet(path, columns, rising=name in _RISING)
        return sheet

    def _describe(self, status: str, reason: str) -> None:
        facts = msgspec.to_builtins(self.run) | {"status": status, "reason": reason}
        facts.pop("path", None)  # a run may be moved
        _write_pairs(self._home / "run.csv", dict(flatten(facts)))

    # The verbs

    def log_params(self, params: Mapping[str, Scalar], event: Event) -> None:
        """Rows of `params.csv`, written at the next `flush`."""
        self._params.update(params)
        self._new_params = True

    def log_metrics(self, metrics: Mapping[str, float], axis: Axis, event: Event) -> None:
        """A row of `batches.csv`, `system.csv` or `metrics.csv`, or a part of the epoch's row."""
        if axis == "epoch":
            self._add_to_epoch(metrics, event)
        elif event.hook == "on_train_batch_end":
            self._sheet("batches.csv").append((event.step, event.epoch, event.batch, event.time), metrics)
        elif all(name.startswith("system/") for name in metrics):
            self._sheet("system.csv").append((event.step, event.time), metrics)
        else:
            self._append("metrics.csv", event, event.batch, event.hook, others=metrics)

    def _add_to_epoch(self, metrics: Mapping[str, float], event: Event) -> None:
        if event.epoch != self._epoch.epoch:
            self._write_epoch()
            self._epoch = _EpochRow(event.epoch)
        self._epoch.add(metrics, event)

    def on_fit_epoch_end(self, event: Event) -> None:
        """Completes the epoch's row; what still comes of this epoch is added to it."""
        self.record(event)
        self._epoch.whole = True

    def _write_epoch(self) -> None:
        row = self._epoch
        if row.changed:
            self._sheet("epochs.csv").append((row.epoch, row.step, row.time), row.metrics)
            row.changed = False

    def log_file(self, file: File, path: Path | None, event: Event) -> None:
        """A row of `files.csv`."""
        self._append(
            "files.csv", event, file.kind, file.name, file.path, file.kept, file.format, file.size, file.sha256,
            " ".join(file.aliases), file.parent, file.duration, file.superseded, _json(file.metrics),
        )  # fmt: skip

    log_image = log_file

    def log_text(self, text: Text, event: Event) -> None:
        """A row of `texts.csv`."""
        self._append("texts.csv", event, text.name, text.text)

    def log_table(self, table: Table, event: Event) -> None:
        """The rows, in a file of the table's own; a table of the same name is added below."""
        file, columns = f"tables/{_file_name(table.name)}.csv", _distinct(table.columns)
        for row in table.rows:
            self._append(file, event, others=dict(zip(columns, row, strict=False)))

    def log_histogram(self, histogram: Histogram, event: Event) -> None:
        """A row for each bin."""
        for left, right, count in zip(histogram.edges, histogram.edges[1:], histogram.counts, strict=False):
            self._append("histograms.csv", event, histogram.name, left, right, count)

    def log_graph(self, graph: Graph, event: Event) -> None:
        """A row for each operation."""
        for node in graph.nodes:
            inputs, attributes = " ".join(node.inputs), _json(node.attributes)
            self._append("graph.csv", event, graph.name, node.name, node.op, inputs, attributes)

    def _append(self, file: str, event: Event, *cells: object, others: Mapping[str, Any] = _NONE) -> None:
        self._sheet(file).append((event.time, event.step, event.epoch, *cells), others)

    def flush(self) -> State:
        """Writes what is pending, and returns how many rows each table has."""
        if self._epoch.whole:
            self._write_epoch()
        if self._new_params:
            _write_pairs(self._home / "params.csv", self._params)
            self._new_params = False
        sheets = {name: sheet.write() for name, sheet in self._sheets.items()}
        return {"sheets": sheets, "epoch": self._epoch.state(), "folder": self._folder}

    def finish(self, status: str, reason: str) -> None:
        """Writes the row of an epoch that was left early, and the status."""
        self._write_epoch()
        self._sheet("epochs.csv").write()
        self._describe(status, reason)


class _EpochRow:
    """The row of the present epoch, which several hooks fill."""

    def __init__(self, epoch: int = -1) -> None:
        self.epoch, self.step, self.time = epoch, -1, 0.0
        self.metrics: dict[str, float] = {}
        self.whole = False
        """Whether the epoch has ended."""
        self.changed = False
        """Whether the row is not in the file as it is here."""

    def add(self, metrics: Mapping[str, float], event: Event) -> None:
        if event.hook == "on_train_epoch_end":
            self.whole = False  # maybe trained again, by a resumed training
        if not self.whole:
            self.step, self.time = event.step, event.time
        self.metrics.update(metrics)
        self.changed = True

    def state(self) -> State:
        """As JSON holds it: NaN and infinities as text."""
        return vars(self) | {"metrics": {name: repr(value) for name, value in self.metrics.items()}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> _EpochRow:
        row = cls()
        vars(row).update(state)
        row.metrics = {name: float(value) for name, value in row.metrics.items()}
        return row


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values) if values else ""


def _distinct(names: Sequence[str]) -> list[str]:
    """The names; one that was there before gets a number, as pandas does it."""
    seen: Counter[str] = Counter()
    distinct = []
    for name in names:
        distinct.append(f"{name}.{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return distinct


def _write_pairs(path: Path, pairs: Mapping[str, Any]) -> None:
    rows = [("name", "value"), *((name, str(value)) for name, value in pairs.items())]
    replace(path, "".join(map(line, rows)).encode())


def _read_pairs(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return dict(islice(csv.reader(file), 1, None))


def _file_name(name: str) -> str:
    """The name where it can be a file's; else what is left of it, with a checksum that keeps two names apart."""
    safe = as_file_name(name)
    return safe if safe == name else f"{safe}-{zlib.crc32(name.encode()):08x}"
