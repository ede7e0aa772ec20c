"""Store a run as CSV files, which every spreadsheet, pandas and `tail -F` can read. No package or server is required.

The files are in the run's own folder. Each is created with its first row:

| file | one row per | columns |
|---|---|---|
| `epochs.csv` | epoch | epoch, step, time, then every metric over epochs |
| `batches.csv` | training batch | step, epoch, batch, time, then its metrics |
| `metrics.csv` | other record: `test/…`, `predict/…`, validation between batches | time, step, epoch, batch, hook, … |
| `system.csv` | measurement of the process and the machine | step (its number), time, then `system/…` |
| `params.csv` | hyper-parameter | name, value |
| `facts.csv` | what was found out about the model, the optimizer or the data | name, value |
| `run.csv` | property of the run: its status, tags, environment | name, value |
| `files.csv` | checkpoint, export, picture or other file | time, step, epoch, kind, name, path, kept, … |
| `texts.csv` | text | time, step, epoch, name, text |
| `tables/<name>.csv` | row of a logged table | time, step, epoch, then the table's columns |
| `histograms.csv` | bin of a histogram | time, step, epoch, name, left, right, count |
| `graph.csv` | operation of the model's graph | time, step, epoch, graph, node, op, inputs, attributes |

Rules:

- Numbers are written as Python's `repr`: `float()` and pandas read back the same number, including `nan`, `inf` and
  `-inf`. An empty cell means that the metric was not logged.
- The files are UTF-8, with the quoting of RFC 4180 and LF at the end of each line. Between two flushes a file contains
  complete lines only.
- Names are written unchanged. A metric with the name of a fixed column, such as `step`, becomes `logged/step`.
- A metric that first appears later adds a column on the right; earlier rows get an empty cell. The file is then
  rewritten under another name and moved into place, as `tail -F` expects.
- A training that resumes from an earlier checkpoint, and so starts an epoch again, replaces the rows from there on. A
  batch that merely ends late is a row at the end.
"""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from trackhooks.event import Event, File, Graph, Histogram, RunInfo, Scalar, Table, Text
from trackhooks.tracker import Axis, State, Tracker
from trackhooks.tracker_tools import as_file_name

from ..._shared.files import folder_option, own_folder, own_name, replace
from ..._shared.repeats import Repeats
from ..._shared.short_names import NameRule
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
_PAIRS = ("params.csv", "facts.csv")
_RISING = frozenset({"epochs.csv", "batches.csv"})
"""The tables whose first column increases."""
_TABLE_FILE = NameRule(longest=129, in_bytes=True, mark_changes=True)
_NONE: Mapping[str, Any] = {}


class CSV(Tracker):
    """Write the tables of a run.

    Args:
        dir: write to `<dir>/<name of the run's folder>/` instead of the run's own folder. If that name is taken by
            anything else, a number is added; nothing is replaced.

    Raises:
        InvalidValueError: `dir` is not a path, or is the path of a file.
        OSError: from the verbs, if a file cannot be written or was changed by another program.
    """

    writes_files = True

    def __init__(self, dir: str | os.PathLike[str] | None = None) -> None:  # noqa: A002 - the option's name
        self._dir = folder_option("csv", "dir", dir)
        self._folder = ""

    @property
    def destination(self) -> str:
        """The folder given as `dir`."""
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
        """Return whether an earlier delivery of this run wrote its tables there."""
        try:
            with (folder / "run.csv").open(encoding="utf-8", newline="") as file:
                return ["id", self.run.id] in csv.reader(file)
        except (OSError, UnicodeDecodeError, csv.Error):
            return False

    def start(self, run: RunInfo, state: State) -> None:
        """Cut every table back to the rows that `state` records; without a state, start every table again."""
        if self._dir:
            name = own_name(state.get("folder") or Path(run.path).name)
            self._folder = own_folder(self._dir, name, self._is_ours).name
        self._sheets: dict[str, Sheet] = {}
        for name, saved in state.get("sheets", {}).items():
            self._sheet(_known_sheet(name)).restore(saved)
        self._training = Repeats(state.get("training", (-1, -1)))
        self._epoch = _EpochRow.from_state(state.get("epoch", {}))
        self._pairs = {name: _read_pairs(self._home / name) if state else {} for name in _PAIRS}
        self._new_pairs: set[str] = set()
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
        _write_pairs(self._home / "run.csv", dict(_flat(facts)))

    # The verbs

    def log_params(self, params: Mapping[str, Scalar], event: Event) -> None:
        """Add rows to `params.csv`, which is written at the next `flush`."""
        self._add_pairs("params.csv", params)

    def log_facts(self, facts: Mapping[str, Scalar], event: Event) -> None:
        """Add rows to `facts.csv`, which is written at the next `flush`."""
        self._add_pairs("facts.csv", facts)

    def _add_pairs(self, file: str, pairs: Mapping[str, Scalar]) -> None:
        self._pairs[file].update(pairs)
        self._new_pairs.add(file)

    def log_metrics(self, metrics: Mapping[str, float], axis: Axis, event: Event) -> None:
        """Add a row to `batches.csv`, `system.csv` or `metrics.csv`, or cells to the row of the epoch."""
        if axis == "epoch":
            self._add_to_epoch(metrics, event)
        elif event.hook == "on_train_batch_end":
            self._training.trained(event.step)
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

    def on_train_epoch_start(self, event: Event) -> None:
        """Start an epoch, perhaps one that the run already has: then its rows replace those from before."""
        if self._training.starts_again(event):
            self._write_epoch()
            self._sheet("batches.csv").repeat(event.step + 1)
            self._sheet("epochs.csv").repeat(event.epoch)
        self.record(event)

    def on_fit_epoch_end(self, event: Event) -> None:
        """Complete the row of the epoch. Metrics of this epoch that come later are still added to it."""
        self.record(event)
        self._epoch.whole = True

    def _write_epoch(self) -> None:
        row = self._epoch
        if row.changed:
            self._sheet("epochs.csv").append((row.epoch, row.step, row.time), row.metrics)
            row.changed = False

    def log_file(self, file: File, path: Path | None, event: Event) -> None:
        """Add a row to `files.csv`."""
        self._append(
            "files.csv", event, file.kind, file.name, file.path, file.kept, file.format, file.size, file.sha256,
            " ".join(file.aliases), file.parent, file.duration, file.superseded, _json(file.metrics),
        )  # fmt: skip

    log_image = log_file

    def log_text(self, text: Text, event: Event) -> None:
        """Add a row to `texts.csv`."""
        self._append("texts.csv", event, text.name, text.text)

    def log_table(self, table: Table, event: Event) -> None:
        """Add the rows to the file of this table; tables of the same name share one file."""
        file, columns = f"tables/{_table_file(table.name)}.csv", _distinct(table.columns)
        for row in table.rows:
            self._append(file, event, others=dict(zip(columns, row, strict=False)))

    def log_histogram(self, histogram: Histogram, event: Event) -> None:
        """Add a row to `histograms.csv` for each bin."""
        for left, right, count in zip(histogram.edges, histogram.edges[1:], histogram.counts, strict=False):
            self._append("histograms.csv", event, histogram.name, left, right, count)

    def log_graph(self, graph: Graph, event: Event) -> None:
        """Add a row to `graph.csv` for each operation."""
        for node in graph.nodes:
            inputs, attributes = " ".join(node.inputs), _json(node.attributes)
            self._append("graph.csv", event, graph.name, node.name, node.op, inputs, attributes)

    def _append(self, file: str, event: Event, *cells: object, others: Mapping[str, Any] = _NONE) -> None:
        self._sheet(file).append((event.time, event.step, event.epoch, *cells), others)

    def flush(self) -> State:
        """Write all pending rows; return how many rows each table has."""
        if self._epoch.whole:
            self._write_epoch()
        for name in sorted(self._new_pairs):
            _write_pairs(self._home / name, self._pairs[name])
        self._new_pairs.clear()
        sheets = {name: sheet.write() for name, sheet in self._sheets.items()}
        return {
            "sheets": sheets, "epoch": self._epoch.state(), "training": self._training.state(),
            "folder": self._folder,
        }  # fmt: skip

    def finish(self, status: str, reason: str) -> None:
        """Write the row of an unfinished epoch, and the status."""
        self._write_epoch()
        self._sheet("epochs.csv").write()
        self._describe(status, reason)


class _EpochRow:
    """The row of the current epoch, which several hooks fill."""

    def __init__(self, epoch: int = -1) -> None:
        self.epoch, self.step, self.time = epoch, -1, 0.0
        self.metrics: dict[str, float] = {}
        self.whole = False
        """Whether the epoch has ended."""
        self.changed = False
        """Whether the row has changed since it was written."""

    def add(self, metrics: Mapping[str, float], event: Event) -> None:
        if event.hook == "on_train_epoch_end":
            self.whole = False  # a resumed training may train it again
        if not self.whole:
            self.step, self.time = event.step, event.time
        self.metrics.update(metrics)
        self.changed = True

    def state(self) -> State:
        """Return the state as plain JSON values, with numbers as strings: JSON has neither NaN nor infinities."""
        return vars(self) | {"metrics": {name: repr(value) for name, value in self.metrics.items()}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> _EpochRow:
        row = cls()
        vars(row).update(state)
        row.metrics = {name: float(value) for name, value in row.metrics.items()}
        return row


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values) if values else ""


def _distinct(names: Sequence[str]) -> list[str]:
    """Number repeated names, as pandas does: `a`, `a.1`, `a.2`."""
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


def _known_sheet(name: str) -> str:
    """Return the name of a sheet from a state.

    Raises:
        StateLostError: this tracker does not write such a file.
    """
    if name not in _COLUMNS:
        own_name(name.removeprefix("tables/") if name.startswith("tables/") else None)
    return name


def _table_file(name: str) -> str:
    """Return the name of a table's file. A checksum keeps names apart that differ only in replaced characters."""
    return _TABLE_FILE.shorten(as_file_name(name), name)
