"""`wandb`: a run as a W&B run, offline or online, as W&B's own settings say.

| what | in W&B |
|---|---|
| the project, name, notes, tags | the same |
| a group; for a run inside another, that one's id | the group |
| hyper-parameters; the environment | config; `environment` in it |
| the program, its arguments, host, commit, process statistics | those of the training |
| a record's metrics | a row, whose `_step` is the record's index and `_timestamp` its time |
| metrics of batches and other steps | drawn over `step` |
| metrics of epochs | drawn over `epoch` |
| final and best metrics (`best/…`, of epochs at any time), the status | summary |
| pictures, tables, histograms, texts | media of the row, under their names; the graph under `<name>/graph` |
| checkpoints, exports, files | artifacts `run-<id>-<file>`, `run-<id>-export-<file>`; an export uses its checkpoint |

Rules, and where they come from.

- Rows are numbered by the records of the journal, so that W&B, which refuses a number that is not above the last,
  loses none. What comes again after a crash is recognised by the file that W&B wrote, or by the server's last step.
- Online, W&B uploads some seconds behind, and not at all once its process is gone. So where a delivery was killed
  before it had closed the run, the whole run is gone through again, and the server gets what it has not got.
- W&B measures the training's process and the machine by itself, so it gets no `system/…` from here.
- NaN and ±Inf are kept; in config they are texts.
- What is called `step`, `epoch` or `_…`, as W&B's own columns are, or nothing at all, is `logged/<name>`. A `*` is the
  sign U+2217, which looks the same: to W&B the other means any name.
- The name of a picture, table, text, … becomes a path: parts that are empty or dots are `_`, and above 100 bytes its
  end is a checksum. Tags are cut to 64 characters.
- One name for two uses, such as a metric over steps and over epochs, or a metric and a picture, becomes two: the later
  one is `<name> (epoch)`, `(step)`, `(image)`, `(text)`, …
- Without an account the run is offline, and one line in the log says so; nobody is asked for anything. A key that the
  server does not know is an error, which says so, and is tried again as any other.
- W&B's files lie in the run's folder, in `wandb/`, unless `WANDB_DIR` or the option says otherwise.
- Checkpoints stay as the run's `keep` says. W&B keeps all that it gets, so it gets those that stayed when the run ends;
  with `keep="all"` each one at once, and one that is exported just before its export. That the run uses it is what W&B
  draws as lineage, offline once `wandb sync` has uploaded it; where W&B refuses, the log says so, and all else goes on.
  Offline, an artifact names the files of the run's folder and does not copy them.
- The exit code is 0 for finished, 1 for failed, 255 for killed or lost; the summary's `status` tells them apart.
- W&B calls the time at which delivery began the start of the run; it lets nobody set that.
"""

from __future__ import annotations

import functools
import html
import math
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trackhooks.errors import InvalidValueError, StateLostError, unknown
from trackhooks.event import FINAL, Event, File, Graph, Histogram, RunInfo, Scalar, Table, Text
from trackhooks.tracker import Axis, State, Tracker, better

from ..._shared.files import folder_option
from .artifacts import Artifacts
from .names import as_json, as_path, called
from .opening import Opening, import_wandb
from .transaction_log import MARK, TransactionLog

_MODES = ("online", "offline", "shared", "disabled")
_EXIT_CODES = {"finished": 0, "failed": 1}
_MOST_BINS = 512


class WandB(Tracker):
    """Delivers to W&B.

    Args:
        entity: the user or team; without it `WANDB_ENTITY`, else the account's own.
        project: instead of the run's; without both `WANDB_PROJECT`, else what W&B makes of the program's name.
        job_type: such as `"train"`.
        mode: `"online"`, `"offline"`, `"shared"` or `"disabled"`; without it `WANDB_MODE`.
        dir: the folder in which W&B makes its `wandb`, instead of the run's own.
        run_id: the id of this process' active `wandb.run` to log to; it is left open.

    Raises:
        InvalidValueError: an option is no text, or `dir` no folder.
        UnknownNameError: `mode` is none of these.
        OSError: from `start`, where the server does not answer.
        StateLostError: from `start`, where the server has not got all that was delivered.
        wandb.Error: from the verbs.
        TimeoutError: from `flush` and `finish`, where W&B does not write what it was given.
    """

    requires = {"wandb": "trackhooks[wandb]"}  # noqa: RUF012 - a ClassVar of the base
    every = "1s"
    system = False
    takes_earlier = False
    _run: Any
    """W&B's own."""

    def __init__(
        self,
        entity: str | None = None,
        project: str | None = None,
        job_type: str | None = None,
        mode: str | None = None,
        dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the option's name
        run_id: str | None = None,
    ) -> None:
        options = {"entity": entity, "project": project, "job_type": job_type, "mode": mode, "run_id": run_id}
        for name, value in options.items():
            if value is not None and not (isinstance(value, str) and value):
                raise InvalidValueError(f"tracker 'wandb': {name}={value!r}: a text is needed.")
        if mode is not None and mode not in _MODES:
            raise unknown("mode", mode, _MODES, "tracker 'wandb': ")
        self._opening = Opening(entity, project, job_type, mode, folder_option("wandb", "dir", dir))
        self._joined = run_id

    @classmethod
    def active(cls) -> Mapping[str, Any]:
        """The `wandb.run` of the program, where it has one."""
        run = getattr(sys.modules.get("wandb"), "run", None)
        return {} if run is None else {"run_id": run.id}

    @property
    def in_place(self) -> bool:
        """An active `wandb.run` lives in the program's own process."""
        return self._joined is not None

    @property
    def destination(self) -> str:
        """What it is delivered to: offline and online are two things, and so are projects."""
        return self._opening.destination

    @property
    def url(self) -> str | None:
        """The run's page; offline, the command that shows the run beside its neighbours in the terminal."""
        if not hasattr(self, "_run"):
            return None
        return (
            shlex.join(["wandb", "leet", self._run.settings.wandb_dir])
            if self._run.offline
            else self._run.url
        )

    # The verbs

    def start(self, run: RunInfo, state: State) -> None:
        """Opens the run by the id of trackhooks."""
        active = import_wandb().run
        self._joins = active is not None and active.id == self._joined
        if state and not self._joins and self._opening.is_behind(run):
            raise StateLostError("the delivery to W&B was ended before the server had everything.")
        self._run = active if self._joins else self._opening.open(run)
        self._artifacts = Artifacts(run, self._run, state.get("checkpoints"))
        self._row: dict[str, Any] = {}
        self._last: int = state.get("last", -1)
        self._best: dict[str, float] = dict(state.get("best", {}))
        self._written = None
        if not self._joins and not self._run.disabled:
            self._written = TransactionLog(Path(self._run.settings.sync_file))
            self._last = max(self._last, self._run.step - 1, *self._steps_in_files())
        self._run.config.update({"environment": run.environment}, allow_val_change=True)
        self._run.define_metric("epoch", hidden=True)
        self._uses: dict[str, str] = {}
        for name, use in state.get("uses", {}).items():  # W&B forgets them when the run is opened again
            self._column(name, use)
        self._sync()

    def _column(self, name: str, use: str) -> str:
        """The name, or with its use behind it where it has another already: an axis, or a kind of media."""
        column = name if self._uses.get(name, use) == use else f"{name} ({use})"
        if column not in self._uses:
            self._uses[column] = use
            if use in ("step", "epoch"):
                self._run.define_metric(column, step_metric=use)
        return column

    def _steps_in_files(self) -> Iterator[int]:
        """The last rows of what was written offline so far; online, the server knows."""
        yield -1
        for path in Path(self._run.settings.wandb_dir).glob(f"offline-run-*/run-{self._run.id}.wandb"):
            if self._run.offline:
                file = TransactionLog(path)
                file.read()
                yield file.step

    def handle(self, event: Event) -> None:
        """Calls the method of the event's hook, and logs what it gives as one row."""
        self._row = {}
        super().handle(event)
        if self._row and event.index > self._last:
            place = {"step": max(event.step, 0), "_timestamp": event.time}
            row = place | ({"epoch": event.epoch} if event.epoch >= 0 else {}) | self._row
            self._run.log(row, step=None if self._joins else event.index, commit=True)
            self._last = event.index
        if event.status in FINAL:
            self._artifacts.log_checkpoints()

    def log_params(self, params: Mapping[str, Scalar], event: Event) -> None:
        """Config."""
        self._run.config.update(
            {name: as_json(value) for name, value in params.items()}, allow_val_change=True
        )

    def log_metrics(self, metrics: Mapping[str, float], axis: Axis, event: Event) -> None:
        """A part of the event's row."""
        if axis == "epoch":
            self._note_best(metrics)
        for name, value in metrics.items():
            self._row[self._column(called(name), axis)] = value

    def _note_best(self, metrics: Mapping[str, float]) -> None:
        """The summary has the best so far at any time: a run that is killed has no last word."""
        best = {
            name: value
            for name, value in metrics.items()
            if math.isfinite(value) and better(name, value, self._best.get(name, math.nan))
        }
        if best:
            self._best |= best
            self._run.summary.update({called(f"best/{name}"): value for name, value in best.items()})

    def log_file(self, file: File, path: Path | None, event: Event) -> None:
        """An artifact: a checkpoint when the run ends or at once, as `keep` says, anything else at once."""
        if path is not None:
            self._artifacts.add(file, path, event)

    def log_image(self, file: File, path: Path | None, event: Event) -> None:
        """A picture of the row; several of one series are a list."""
        import wandb

        if path is not None:
            picture = wandb.Image(str(path), caption=Path(file.path).stem)
            series = self._column(as_path(file.name), "image")
            known = self._row.get(series)
            self._row[series] = (
                picture if known is None else [*(known if isinstance(known, list) else [known]), picture]
            )

    def log_text(self, text: Text, event: Event) -> None:
        """A text, as HTML that keeps its lines."""
        import wandb

        self._row[self._column(as_path(text.name), "text")] = wandb.Html(
            f"<pre>{html.escape(text.text)}</pre>", data_is_not_path=True
        )

    def log_table(self, table: Table, event: Event) -> None:
        """A table."""
        import wandb

        self._row[self._column(as_path(table.name), "table")] = wandb.Table(
            columns=table.columns, data=table.rows, allow_mixed_types=True
        )

    def log_histogram(self, histogram: Histogram, event: Event) -> None:
        """A histogram; W&B takes 512 bins, so neighbours of more are joined."""
        import wandb

        width = -(-len(histogram.counts) // _MOST_BINS)
        counts = [
            sum(histogram.counts[start : start + width]) for start in range(0, len(histogram.counts), width)
        ]
        edges = [*histogram.edges[:-1:width], histogram.edges[-1]]
        column = self._column(as_path(histogram.name), "histogram")
        self._row[column] = wandb.Histogram(np_histogram=(counts, edges))

    def log_graph(self, graph: Graph, event: Event) -> None:
        """The model's graph."""
        import wandb

        drawn = wandb.Graph()
        nodes = {
            node.name: drawn.add_node(id=node.name, name=node.name, class_name=node.op)
            for node in graph.nodes
        }
        for node in graph.nodes:
            for source in filter(nodes.__contains__, node.inputs):
                drawn.add_edge(nodes[source], nodes[node.name])
        self._row[as_path(f"{graph.name}/graph")] = drawn  # a summary is a text of the same name

    def _sync(self) -> None:
        mark = functools.partial(self._run.define_metric, MARK, hidden=True)
        if self._written is None:
            mark()
        else:
            self._written.wait_for_mark(mark)

    def flush(self) -> State:
        """Waits until W&B has written what it was given."""
        self._sync()
        return {
            "last": self._last,
            "uses": dict(self._uses),
            "best": dict(self._best),
            "checkpoints": self._artifacts.state(),
        }

    def finish(self, status: str, reason: str) -> None:
        """Ends the run with its exit code; one that was joined is left open."""
        if self._joins:
            return
        self._run.summary.update({"status": status} | ({"reason": reason} if reason else {}))
        self._opening.close(self.run, self._run, _EXIT_CODES.get(status, 255))
        if self._written is not None:
            self._written.wait_for_exit()
