"""`tensorboard`: a run as TensorBoard's event files, made of its own protos, for its own plugins.

Neither torch nor TensorFlow is needed. The files lie in the run's own folder, so that `tensorboard --logdir runs` shows
each run under its own name.

| what | dashboard | tag | over |
|---|---|---|---|
| metrics of training batches, evaluations, predictions | Scalars | the metric's name | `event.step` |
| metrics of epochs | Scalars | the metric's name | `event.epoch` |
| hyper-parameters, with every scalar as a metric, and the status | HParams | | |
| pictures | Images | the series | `event.step` |
| histograms | Histograms, Distributions | the histogram's name | `event.step` |
| texts; tables, as Markdown | Text | the name | `event.step` |
| checkpoints, exports, other files: path, size, hash, aliases, … | Text | `files/<name>` | `event.step` |
| the run: notes, tags, environment; how it ended | Text | `run/about`, `run/status` | |
| the model's graph | Graphs | | |

Rules, and where they come from.

- Scalars are `simple_value`s, 32-bit floats: TensorBoard's data server (`data_compat.rs`) holds no others.
- A tag is one curve, over one axis, of one dashboard, and keeps the metadata that it came with first
  (`event_accumulator.py`, `run.rs`). The first to use a name gets it; another use of it is called `<name> (epoch)`,
  `(step)`, `(text)`, `(table)`, `(image)` or `(histogram)`.
- A record whose step is not above that of its tag's last one replaces what stood from there on, since a training goes
  on from a checkpoint. The data server does so by itself, tag by tag (`reservoir.rs`). TensorBoard's Python readers do
  it only for files of version 1 (`_CheckForOutOfOrderStepAndMaybePurge`), and only where the step falls below that of
  the record before: an empty record goes before it where needed. `SessionLog.START`, which version 2 has for this,
  would cut all tags at one step, which cannot be right for steps and epochs at once, and the data server ignores it.
- HParams: one session a run, in the run's own folder, as `plugin_data.proto` has it. No experiment summary is written,
  since of several the plugin takes one: without any it collects the parameters and metrics of all runs. Neither is a
  group name, since the runs of a group become one row. The session start has a small file of its own, which is
  replaced when parameters come late, and so has the session end, which goes away when the run goes on.
- Files of a run are read in the order of their names (`directory_watcher.py`), so those two come first. A TensorBoard
  that is already running keeps the first session start and end that it reads; started again, it shows the last.
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

from ..._shared.files import folder_option, replace

if TYPE_CHECKING:
    from .event_files import EventFile

_BELOW_ALL = -2
"""Below every step and epoch."""
_MOST_TABLE_ROWS = 1000
"""More than that, a browser does not show in one text."""


class TensorBoard(Tracker):
    """Writes a run's event files.

    Args:
        log_dir: where to write instead of the run's own folder: `<log_dir>/<name of the run's folder>/`.

    Raises:
        InvalidValueError: `log_dir` is no path, or a file.
        OSError: from the verbs, where a file cannot be written or was changed by someone else.
    """

    requires = {"tensorboard": "trackhooks[tensorboard]"}  # noqa: RUF012 - a ClassVar of the base

    def __init__(self, log_dir: str | os.PathLike[str] | None = None) -> None:
        self._log_dir = folder_option("tensorboard", "log_dir", log_dir)

    @property
    def destination(self) -> str:
        """The folder of the option `log_dir`."""
        return str(self._log_dir or "")

    @property
    def url(self) -> str | None:
        """The command that shows the run beside its neighbours."""
        return shlex.join(["tensorboard", "--logdir", str(self._home.parent)])

    @property
    def _home(self) -> Path:
        folder = Path(self.run.path)
        return self._log_dir / folder.name if self._log_dir else folder

    def _file(self, part: str) -> Path:
        return self._home / f"events.out.tfevents.{self.run.created:010.0f}.{self.run.id}.{part}"

    def start(self, run: RunInfo, state: State) -> None:
        """Cuts the event file back to the length that `state` names; without a state, it begins anew."""
        from .event_files import EventFile

        if self._log_dir:
            self._home.mkdir(parents=True, exist_ok=True)
        self._uses: dict[str, str] = dict(state.get("uses", {}))
        self._last: dict[str, int] = dict(state.get("last", {}))
        self._params: dict[str, Scalar] = dict(state.get("params", {}))
        self._new_params = bool(self._params)
        self._time = run.created
        self._file("1.end").unlink(missing_ok=True)
        name = state.get("file", self._file("2").name)
        self._events: EventFile = EventFile(self._home / name, run.created, state.get("offset", 0))
        if not state:
            self._file("0.start").unlink(missing_ok=True)
            self._add_text("run/about", _described(run), -1, run.created)

    # The verbs

    def log_params(self, params: Mapping[str, Scalar], event: Event) -> None:
        """Hyper-parameters of the HParams session; it is written when a metric has come, since they are whole then."""
        self._params.update({name: _as_json(value) for name, value in params.items()})
        self._new_params = True

    def log_metrics(self, metrics: Mapping[str, float], axis: Axis, event: Event) -> None:
        """One record with all the values."""
        step = event.step if axis == "step" else event.epoch
        tags = [self._tag(name, axis) for name in metrics]
        values = zip(tags, metrics.values(), strict=True)
        self._events.scalars(values, step, event.time, self._goes_back(tags, step))
        self._time = event.time

    def _tag(self, name: str, use: str) -> str:
        return name if self._uses.setdefault(name, use) == use else f"{name} ({use})"

    def _goes_back(self, tags: Iterable[str], step: int) -> bool:
        """Whether one of the tags has a value at this step already, or at a later one."""
        last = self._last
        back = False
        for tag in tags:
            back = back or last.get(tag, _BELOW_ALL) >= step
            last[tag] = step
        return back

    def log_file(self, file: File, path: Path | None, event: Event) -> None:
        """A text that describes the file; TensorBoard keeps no files."""
        facts = {
            "path": file.path, "kept": file.kept, "kind": file.kind, "format": file.format, "bytes": file.size,
            "sha256": file.sha256, "aliases": ", ".join(file.aliases), "made from": file.parent,
            "seconds": file.duration, "superseded": file.superseded or "", **file.metrics,
        }  # fmt: skip
        self._add_text(f"files/{file.name}", _facts("file", file.name, facts), event.step, event.time)

    def log_image(self, file: File, path: Path | None, event: Event) -> None:
        """A picture; where it is not on the disk any more, its description."""
        if path is None or not path.exists():
            self.log_file(file, path, event)
        else:
            self._events.image(self._tag(file.name, "image"), path.read_bytes(), event.step, event.time)

    def log_text(self, text: Text, event: Event) -> None:
        """A text, as Markdown."""
        self._add_text(text.name, text.text, event.step, event.time)

    def log_table(self, table: Table, event: Event) -> None:
        """A table, as Markdown; of a long one, the first rows."""
        markdown = _table(table.columns, table.rows[:_MOST_TABLE_ROWS])
        if len(table.rows) > _MOST_TABLE_ROWS:
            markdown += (
                f"\n\n… and {len(table.rows) - _MOST_TABLE_ROWS} more rows, which are in the run's journal."
            )
        self._add_text(table.name, markdown, event.step, event.time, "table")

    def _add_text(self, name: str, markdown: str, step: int, time: float, use: str = "text") -> None:
        self._events.text(self._tag(name, use), markdown, step, time)

    def log_histogram(self, histogram: Histogram, event: Event) -> None:
        """A histogram."""
        tag = self._tag(histogram.name, "histogram")
        self._events.histogram(tag, histogram.edges, histogram.counts, event.step, event.time)

    def log_graph(self, graph: Graph, event: Event) -> None:
        """The model's graph; the dashboard shows the newest one of a run."""
        self._events.graph(graph.nodes, event.step, event.time)

    def flush(self) -> State:
        """Writes what is pending, and returns the length of the file."""
        offset = self._events.flush()
        if self._new_params and self._last:
            self._write_session()
        return {
            "file": self._events.name,
            "offset": offset,
            "uses": dict(self._uses),
            "last": dict(self._last),
            "params": dict(self._params),
        }

    def _write_session(self) -> None:
        from . import event_files

        replace(self._file("0.start"), event_files.session_start(self.run.created, self._params))
        self._new_params = False

    def finish(self, status: str, reason: str) -> None:
        """Closes the HParams session with the status; the reason is a text."""
        from . import event_files

        self._write_session()
        ended = self.run.ended or self._time
        how = f"{status}: {reason}" if reason else status
        replace(self._file("1.end"), event_files.session_end(ended, status == "finished", how))


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


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\r", " ").replace("\n", " ")
