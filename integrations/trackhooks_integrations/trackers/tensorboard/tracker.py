"""Store a run as TensorBoard event files, for the dashboards that come with TensorBoard.

Neither torch nor TensorFlow is required. The files are in the run's own folder, so `tensorboard --logdir runs` shows
each run under its name.

| what | dashboard | tag | over |
|---|---|---|---|
| metrics of training batches, evaluations, predictions | Scalars | the metric's name | `event.step` |
| metrics of epochs | Scalars | the metric's name | `event.epoch` |
| hyper-parameters that were set, with every scalar as a metric; the status | HParams | | |
| all hyper-parameters; what was found out about the model, … | Text | `run/params`, `run/facts` | `event.step` |
| pictures | Images | the series | `event.step` |
| histograms | Histograms, Distributions | the histogram's name | `event.step` |
| texts; tables, as Markdown | Text | the name | `event.step` |
| checkpoints, exports, other files: path, size, hash, aliases, … | Text | `files/<name>` | `event.step` |
| the run: notes, tags, environment; how it ended | Text | `run/about`, `run/status` | |
| the model's graph | Graphs | | |

Rules, with the files of TensorBoard that they come from:

- Scalars are stored as `simple_value`, which is a 32-bit float: TensorBoard's data server supports nothing else
  (`data_compat.rs`).
- A tag is one curve, over one axis, in one dashboard, and keeps the metadata of its first record
  (`event_accumulator.py`, `run.rs`). The first use of a name gets the name itself. Another use gets `<name> (epoch)`,
  `(step)`, `(text)`, `(table)`, `(image)` or `(histogram)`. The data server shows one object of a tag at one step: the
  next picture, text, table or histogram of the same name there gets `<name> (2)`.
- A training that resumes from a checkpoint, and so starts an epoch again, replaces the records from that step on. The
  data server does this by itself, for each tag, when a step does not increase (`reservoir.rs`). TensorBoard's Python
  readers do it only for files of version 1, and only if the step is lower than that of the previous record
  (`_CheckForOutOfOrderStepAndMaybePurge`), so an empty record with a higher step is inserted if necessary.
- A metric may be logged at steps in any order. A point that comes late is written together with the later points of
  its tag, which it would otherwise remove. At one step, a tag has one value, the last one: values that were replaced by
  another one are counted, and `trackhooks sync` and `trackhooks doctor` show their number.
  `SessionLog.START` of version 2 is not used: it removes all tags from one step on, which cannot be right for steps
  and epochs at the same time, and the data server ignores it.
- HParams gets one session per run, in the run's own folder, as `plugin_data.proto` describes. No experiment summary is
  written, because the plugin uses only one of several; without any, it collects the parameters and metrics of all runs.
  No group name is written, because the plugin shows the runs of a group as one row. The session start is a separate
  small file, which is replaced when parameters are added later. So is the session end, which is removed when the run
  is resumed. HParams knows success, failure and unknown, which is the status of a pruned run.
- The files of a run are read in alphabetical order (`directory_watcher.py`), and these two come first. A TensorBoard
  that is already running keeps the first session start and end that it reads; after a restart it shows the last.
"""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trackhooks.event import Event, File, Graph, Histogram, RunInfo, Scalar, Table, Text
from trackhooks.tracker import Axis, State, Tracker

from ..._shared.files import folder_option, own_name, replace
from ..._shared.same_names import SameNames
from .curves import Curves

if TYPE_CHECKING:
    from .event_files import EventFile

_STATUSES = {"finished": "STATUS_SUCCESS", "pruned": "STATUS_UNKNOWN"}
"""The status of the HParams session; that of all others is a failure."""
_LARGEST = 3.4028234663852886e38
"""The largest 32-bit float."""
_MOST_TABLE_ROWS = 1000
"""The most rows of a table that are written: a browser cannot show more in one text."""


class TensorBoard(Tracker):
    """Write the event files of a run.

    Args:
        log_dir: write to `<log_dir>/<name of the run's folder>/` instead of the run's own folder.

    Raises:
        InvalidValueError: `log_dir` is not a path, or is the path of a file.
        OSError: from the verbs, if a file cannot be written or was changed by another program.
    """

    writes_files = True
    requires = {"tensorboard": "trackhooks[tensorboard]"}  # noqa: RUF012 - a ClassVar of the base

    def __init__(self, log_dir: str | os.PathLike[str] | None = None) -> None:
        self._log_dir = folder_option("tensorboard", "log_dir", log_dir)

    @property
    def destination(self) -> str:
        """The folder given as `log_dir`."""
        return str(self._log_dir or "")

    @property
    def url(self) -> str | None:
        """The command that shows the run together with the other runs in its directory."""
        return shlex.join(["tensorboard", "--logdir", str(self._home.parent)])

    @property
    def _home(self) -> Path:
        folder = Path(self.run.path)
        return self._log_dir / folder.name if self._log_dir else folder

    def _file(self, part: str) -> Path:
        return self._home / f"events.out.tfevents.{self.run.created:010.0f}.{self.run.id}.{part}"

    def start(self, run: RunInfo, state: State) -> None:
        """Cut the event file back to the length that `state` records; without a state, start it again."""
        self._uses: dict[str, str] = dict(state.get("uses", {}))
        self._params: dict[str, Scalar] = dict(state.get("params", {}))
        self._defaults: set[str] = set(state.get("defaults", ()))
        self._facts: dict[str, Scalar] = dict(state.get("facts", {}))
        self._new_params = bool(self._params)
        self._new_texts: dict[str, int] = dict(state.get("texts", {}))
        self._time = run.created
        self._open(run, state)
        self._curves = Curves(self._events, state, self._note_replaced)
        self._same_names = SameNames(state.get("same_names", {}))
        if not state:
            self._file("0.start").unlink(missing_ok=True)
            self._add_text("run/about", _described(run), -1, run.created)

    def _open(self, run: RunInfo, state: State) -> None:
        from .event_files import EventFile

        if self._log_dir:
            self._home.mkdir(parents=True, exist_ok=True)
        self._file("1.end").unlink(missing_ok=True)
        name = own_name(state.get("file", self._file("2").name), "events.out.tfevents.")
        self._events: EventFile = EventFile(self._home / name, run.created, state.get("offset", 0))

    # The verbs

    def log_params(self, params: Mapping[str, Scalar], event: Event) -> None:
        """Add parameters to the HParams session, which is written after the first metric: they are complete then.

        The dashboard shows only a few parameters, so those that have the framework's default are not among them. The
        Text dashboard has them all.
        """
        self._params.update({name: _as_json(value) for name, value in params.items()})
        self._defaults = (self._defaults - params.keys()) | {*event.defaults}
        self._new_params = True
        self._new_texts["params"] = event.step

    def log_facts(self, facts: Mapping[str, Scalar], event: Event) -> None:
        """Add facts to the table in the Text dashboard."""
        self._facts.update({name: _as_json(value) for name, value in facts.items()})
        self._new_texts["facts"] = event.step

    def log_metrics(self, metrics: Mapping[str, float], axis: Axis, event: Event) -> None:
        """Add one record with all values."""
        self._write_texts()
        step = event.step if axis == "step" else event.epoch
        values = {self._tag(name, axis): value for name, value in metrics.items()}
        if event.hook == "on_train_batch_end":
            self._curves.trained(step)
        if any(_LARGEST < abs(value) < math.inf for value in metrics.values()):
            self.cannot_hold("values that are too large for 32-bit floats")
        self._curves.add(values, axis, step, event.time)
        self._time = event.time

    def on_train_epoch_start(self, event: Event) -> None:
        """Start an epoch, perhaps one that the run already has: then its metrics replace those from before."""
        if self._curves.start_epoch(event):
            self._same_names.forget()
        self.record(event)

    def _note_replaced(self, count: int) -> None:
        self.cannot_hold("values of a metric at a step for which it has a later value", count)

    def _tag(self, name: str, use: str) -> str:
        return name if self._uses.setdefault(name, use) == use else f"{name} ({use})"

    def log_file(self, file: File, path: Path | None, event: Event) -> None:
        """Add a description of the file to the Text dashboard; TensorBoard does not store files."""
        facts = {
            "path": file.path, "kept": file.kept, "kind": file.kind, "format": file.format, "bytes": file.size,
            "sha256": file.sha256, "aliases": ", ".join(file.aliases), "made from": file.parent,
            "seconds": file.duration, "superseded": file.superseded or "", **file.metrics,
        }  # fmt: skip
        self._add_text(f"files/{file.name}", _facts("file", file.name, facts), event.step, event.time)

    def log_image(self, file: File, path: Path | None, event: Event) -> None:
        """Add a picture, or its description if its file no longer exists."""
        if path is None or not path.exists():
            self.log_file(file, path, event)
        else:
            tag = self._medium(file.name, "image", event.step)
            self._events.image(tag, path.read_bytes(), event.step, event.time)

    def log_text(self, text: Text, event: Event) -> None:
        """Add the text, as Markdown."""
        tag = self._medium(text.name, "text", event.step)
        self._events.text(tag, text.text, event.step, event.time)

    def log_table(self, table: Table, event: Event) -> None:
        """Add a table, as Markdown; only the first rows of a long table."""
        markdown = _table(table.columns, table.rows[:_MOST_TABLE_ROWS])
        if len(table.rows) > _MOST_TABLE_ROWS:
            markdown += f"\n\n… and {len(table.rows) - _MOST_TABLE_ROWS} more rows; the run's journal has all of them."
        tag = self._medium(table.name, "table", event.step)
        self._events.text(tag, markdown, event.step, event.time)

    def _add_text(self, name: str, markdown: str, step: int, time: float) -> None:
        self._events.text(self._tag(name, "text"), markdown, step, time)

    def _medium(self, name: str, use: str, step: int) -> str:
        """Return the tag of a picture, a text and so on: the second one of a name at one step gets `<name> (2)`."""
        tag = self._tag(name, use)
        number = self._same_names.number(tag, step)
        return tag if number == 1 else f"{tag} ({number})"

    def log_histogram(self, histogram: Histogram, event: Event) -> None:
        """Add a histogram."""
        tag = self._medium(histogram.name, "histogram", event.step)
        self._events.histogram(tag, histogram.edges, histogram.counts, event.step, event.time)

    def log_graph(self, graph: Graph, event: Event) -> None:
        """Add the model's graph; the dashboard shows the newest graph of a run."""
        self._events.graph(graph.nodes, event.step, event.time)

    def flush(self) -> State:
        """Write all pending records; return the length of the file."""
        self._curves.write_late()
        offset = self._events.flush()
        if self._new_params and self._curves:
            self._write_session()
        return {
            **self._curves.state(),
            "same_names": self._same_names.state(),
            "file": self._events.name,
            "offset": offset,
            "uses": dict(self._uses),
            "params": dict(self._params),
            "defaults": sorted(self._defaults),
            "facts": dict(self._facts),
            "texts": dict(self._new_texts),
        }

    def _write_texts(self) -> None:
        """Write the tables of parameters and of facts, if they have changed: they are complete at the next metric."""
        for name, step in self._new_texts.items():
            values = self._params if name == "params" else self._facts
            rows = [[_one_line(fact), _one_line(value)] for fact, value in values.items()]
            self._add_text(f"run/{name}", _table(["name", "value"], rows), step, self._time)
        self._new_texts.clear()

    def _write_session(self) -> None:
        from . import event_files

        shown = {name: value for name, value in self._params.items() if name not in self._defaults}
        replace(self._file("0.start"), event_files.session_start(self.run.created, shown))
        self._new_params = False

    def finish(self, status: str, reason: str) -> None:
        """Close the HParams session with the status; the reason is shown in the Text dashboard."""
        from . import event_files

        self._write_texts()
        self._events.flush()
        self._write_session()
        ended = self.run.ended or self._time
        how = f"{status}: {reason}" if reason else status
        replace(
            self._file("1.end"), event_files.session_end(ended, _STATUSES.get(status, "STATUS_FAILURE"), how)
        )


def _as_json(value: Scalar) -> Scalar:
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def _described(run: RunInfo) -> str:
    facts = {"id": run.id, "project": run.project, "group": run.group, "tags": ", ".join(run.tags)}
    return f"{run.notes or ''}\n\n{_facts('run', run.name, facts | run.environment)}"


def _facts(kind: str, name: str, values: Mapping[str, Any]) -> str:
    return _table([kind, name], [[fact, value] for fact, value in values.items() if value not in (None, "")])


def _table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _one_line(value: Scalar) -> str:
    return str(value).replace("\r", "\\r").replace("\n", "\\n")


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\r", " ").replace("\n", " ")
