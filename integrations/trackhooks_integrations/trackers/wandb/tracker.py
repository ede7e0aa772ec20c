"""Deliver a run to W&B, offline or online, as W&B's own settings say.

| what | in W&B |
|---|---|
| the project, name, notes, tags | the same |
| a group; for a run inside another run, the id of that run | the group |
| hyper-parameters; the environment | config; `trackhooks.environment` in it |
| the program, its arguments, host, commit, process statistics | those of the training |
| the metrics of a record | a row; its `_step` is the record's index, its `_timestamp` the record's time |
| metrics of batches and other steps | charts over `step` |
| metrics of epochs | charts over `epoch` |
| what was found out, such as `model/parameters`; best values (`best/…`); the status | summary |
| pictures, tables, histograms, texts | media in the row, under their names; the graph under `<name>/graph` |
| checkpoints, exports, files | artifacts `run-<id>-<file>`, `run-<id>-export-<file>`; an export uses its checkpoint |

Rules:

- W&B rejects a row whose number is not higher than the last one, so rows are numbered by the records of the journal,
  and metrics may be logged at steps in any order. If a signal handler has logged, the journal may have two records in
  the reverse order: the second then gets the next number that is free. A row that is delivered again after a crash is
  recognised by the file that W&B wrote, or by the server's last step.
- Online, W&B uploads with a delay of some seconds, and not at all after its process has died. If a delivery was killed
  before it closed the run, the whole run is therefore delivered again, and the server receives what it is missing.
- W&B measures the process of the training and the machine itself, so `system/…` is not delivered.
- NaN and ±Inf are kept; in the config they are strings.
- A name that is empty or has a special meaning to W&B (`step`, `epoch`, `_…`) becomes `logged/<name>`. A `*` becomes
  U+2217, which looks the same, because W&B reads `*` as any name.
- The name of a picture, table, text or histogram becomes a path: parts that are empty or dots become `_`. A name of
  more than 100 bytes is cut and ends in a checksum. Tags are cut to 64 characters.
- A name that is used twice, such as for a metric over steps and over epochs, or for a metric and a picture, becomes two
  names: the later one is `<name> (epoch)`, `(step)`, `(image)`, `(text)`, …
- Without an account the run is kept offline, which is logged once; W&B does not ask for an account. An API key that the
  server rejects is an error, and is retried like any other.
- W&B's files are in the run's folder, in `wandb/`, unless `WANDB_DIR` or the option `dir` is set.
- Checkpoints are kept as the run's `keep` says. W&B keeps everything that it receives, so it receives only the
  checkpoints that are left when the run ends. With `keep="all"` it receives each one at once, and a checkpoint that is
  exported is always uploaded just before its export. W&B draws the lineage from the run's use of the checkpoint;
  offline, after `wandb sync` has uploaded it. If W&B rejects the link, this is logged, and nothing else is lost.
  Offline, an artifact refers to the files in the run's folder and does not copy them.
- The exit code is 0 for finished, 1 for failed, and 255, which W&B shows as killed, for killed, pruned or lost;
  `status` in the summary distinguishes them.
- W&B takes the time at which delivery started as the start of the run; this cannot be changed.
"""

from __future__ import annotations

import functools
import html
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trackhooks.errors import StateLostError, unknown
from trackhooks.event import FINAL, Event, File, Graph, Histogram, RunInfo, Scalar, Table, Text
from trackhooks.tracker import Axis, State, Tracker

from ..._shared.files import folder_option, text_options
from .artifacts import Artifacts
from .names import as_json, as_path, called
from .opening import Opening, import_wandb
from .reasons import reason
from .transaction_log import MARK, TransactionLog

_MODES = ("online", "offline", "shared", "disabled")
_EXIT_CODES = {"finished": 0, "failed": 1}
_MOST_BINS = 512


class WandB(Tracker):
    """Deliver to W&B.

    Args:
        entity: the user or team. By default, `WANDB_ENTITY`, or the entity of the account.
        project: the project, instead of the run's. If neither is set, `WANDB_PROJECT`, or W&B's default.
        job_type: the type of the run, such as `"train"`.
        mode: `"online"`, `"offline"`, `"shared"` or `"disabled"`. By default, `WANDB_MODE`.
        dir: the folder in which W&B creates its `wandb`, instead of the run's own folder.
        run_id: the id of the active `wandb.run` of this process, to log to it; it is left open.

    Raises:
        InvalidValueError: an option is not a non-empty string, or `dir` is not a folder.
        UnknownNameError: `mode` is not one of these.
        OSError: from `start`, if the server does not answer.
        StateLostError: from `start`, if the server may not have received everything that was delivered.
        wandb.Error: from the verbs.
        TimeoutError: from `flush` and `finish`, if W&B does not write what was logged.
    """

    requires = {"wandb": "trackhooks[wandb]"}  # noqa: RUF012 - a ClassVar of the base
    every = "1s"
    system = False
    takes_earlier = False
    _run: Any
    """The W&B run."""

    def __init__(
        self,
        entity: str | None = None,
        project: str | None = None,
        job_type: str | None = None,
        mode: str | None = None,
        dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the option's name
        run_id: str | None = None,
    ) -> None:
        text_options("wandb", entity=entity, project=project, job_type=job_type, mode=mode, run_id=run_id)
        if mode is not None and mode not in _MODES:
            raise unknown("mode", mode, _MODES, "tracker 'wandb': ")
        self._opening = Opening(entity, project, job_type, mode, folder_option("wandb", "dir", dir))
        self._joined = run_id

    @classmethod
    def active(cls) -> Mapping[str, Any]:
        """Return the `wandb.run` of the program, if there is one."""
        run = getattr(sys.modules.get("wandb"), "run", None)
        return {} if run is None else {"run_id": run.id}

    @property
    def in_place(self) -> bool:
        """Whether it logs to an active `wandb.run`, which exists in the program's process only."""
        return self._joined is not None

    @property
    def destination(self) -> str:
        """The server or mode, the entity and the project: offline and online are two destinations."""
        return self._opening.destination

    @property
    def url(self) -> str | None:
        """The run's page; offline, the command that shows the run in the terminal."""
        if not hasattr(self, "_run"):
            return None
        if self._run.offline:
            return shlex.join(["wandb", "leet", self._run.settings.wandb_dir])
        url: str | None = self._run.url
        return url

    def explain(self, error: BaseException) -> str:
        """Return why W&B cannot be used."""
        return reason(error, self._opening.server) or super().explain(error)

    # The verbs

    def start(self, run: RunInfo, state: State) -> None:
        """Open the run by the id of trackhooks, or join the active one."""
        self._open(run, bool(state))
        self._artifacts = Artifacts(run, self._run, state.get("checkpoints"))
        self._row: dict[str, Any] = {}
        self._last: int = state.get("last", -1)
        """The number of the last row that was delivered."""
        self._held = -1
        """The number of the last row that W&B has: after a crash, more than were delivered as far as we know."""
        self._written = None
        if not self._joins and not self._run.disabled:
            self._written = TransactionLog(Path(self._run.settings.sync_file))
            self._held = max(self._run.step - 1, *self._steps_in_files())
        # Dashboards sort the config by name, and most hyper-parameters come before `trackhooks`.
        self._run.config.update({"trackhooks": {"environment": run.environment}}, allow_val_change=True)
        self._define_columns(state.get("uses", {}))
        self._sync()

    def _open(self, run: RunInfo, again: bool) -> None:
        active = import_wandb().run
        self._joins = active is not None and active.id == self._joined
        if again and not self._joins and self._opening.is_behind(run):
            raise StateLostError("the delivery to W&B ended before the server had received everything.")
        self._run = active if self._joins else self._opening.open(run)

    def _define_columns(self, uses: Mapping[str, str]) -> None:
        """Define the columns so far: W&B forgets them when the run is opened again."""
        self._uses: dict[str, str] = {}
        self._run.define_metric("epoch", hidden=True)
        for name, use in uses.items():
            self._column(name, use)

    def _column(self, name: str, use: str) -> str:
        """Return the name, followed by its use (an axis or a kind of media) if it already has another use."""
        column = name if self._uses.get(name, use) == use else f"{name} ({use})"
        if column not in self._uses:
            self._uses[column] = use
            if use in ("step", "epoch"):
                self._run.define_metric(column, step_metric=use)
        return column

    def _steps_in_files(self) -> Iterator[int]:
        """Yield the last step of each file that was written offline; online, the server knows the last step."""
        yield -1
        for path in Path(self._run.settings.wandb_dir).glob(f"offline-run-*/run-{self._run.id}.wandb"):
            if self._run.offline:
                file = TransactionLog(path)
                file.read()
                yield file.step

    def handle(self, event: Event) -> None:
        """Call the method of the event's hook, and log everything that it adds as one row."""
        self._row = {}
        super().handle(event)
        if self._row:
            self._last = max(event.index, self._last + 1)
            if self._last > self._held:
                self._log_row(event)
        if event.status in FINAL:
            self._artifacts.log_checkpoints()

    def _log_row(self, event: Event) -> None:
        place = {"step": max(event.step, 0), "_timestamp": event.time}
        row = place | ({"epoch": event.epoch} if event.epoch >= 0 else {}) | self._row
        self._run.log(row, step=None if self._joins else self._last, commit=True)

    def log_params(self, params: Mapping[str, Scalar], event: Event) -> None:
        """Update the config."""
        self._run.config.update(
            {name: as_json(value) for name, value in params.items()}, allow_val_change=True
        )
        # W&B's terminal dashboard shows the config of the run's record only, which setting the tags writes again.
        self._run.tags = self._run.tags

    def log_metrics(self, metrics: Mapping[str, float], axis: Axis, event: Event) -> None:
        """Add the metrics to the row, but best values to the summary: as a chart they would repeat the curve."""
        best = {called(name): value for name, value in metrics.items() if name.startswith("best/")}
        if best:
            self._run.summary.update(best)
        drawn = {called(name): value for name, value in metrics.items() if called(name) not in best}
        if drawn:
            self._row |= {"epoch": event.epoch} if axis == "epoch" else {"step": max(event.step, 0)}
            self._row |= {self._column(name, axis): value for name, value in drawn.items()}

    def log_facts(self, facts: Mapping[str, Scalar], event: Event) -> None:
        """Update the summary."""
        self._run.summary.update({called(name): as_json(value) for name, value in facts.items()})

    def log_file(self, file: File, path: Path | None, event: Event) -> None:
        """Log an artifact: a checkpoint at once or when the run ends, as `keep` says, and any other file at once."""
        if path is not None:
            self._artifacts.add(file, path, event)

    def log_image(self, file: File, path: Path | None, event: Event) -> None:
        """Add a picture to the row; several of one series become a list."""
        import wandb

        if path is not None:
            picture = wandb.Image(str(path), caption=Path(file.path).stem)
            series = self._column(as_path(file.name), "image")
            known = self._row.get(series)
            self._row[series] = picture if known is None else [*_as_list(known), picture]

    def log_text(self, text: Text, event: Event) -> None:
        """Add the text to the row, as HTML that keeps its line breaks."""
        import wandb

        self._row[self._column(as_path(text.name), "text")] = wandb.Html(
            f"<pre>{html.escape(text.text)}</pre>", data_is_not_path=True
        )

    def log_table(self, table: Table, event: Event) -> None:
        """Add a table to the row; one with a curve of each class is also a plot in W&B's dashboard."""
        import wandb

        made = wandb.Table(columns=table.columns, data=table.rows, allow_mixed_types=True)
        column = self._column(as_path(table.name), "table")
        self._row[column] = made
        if _is_curve(table):
            kind, x, y = table.columns
            titles = {"title": table.name, "x-axis-title": x, "y-axis-title": y}
            self._row[f"{column}/plot"] = wandb.plot_table(
                "wandb/area-under-curve/v0", made, {"x": x, "y": y, "class": kind}, titles
            )

    def log_histogram(self, histogram: Histogram, event: Event) -> None:
        """Add a histogram to the row. If it has more bins than W&B accepts, neighbouring bins are merged."""
        import wandb

        column = self._column(as_path(histogram.name), "histogram")
        self._row[column] = wandb.Histogram(np_histogram=_merged(histogram))

    def log_graph(self, graph: Graph, event: Event) -> None:
        """Add the model's graph to the row, under `<name>/graph`: `<name>` is the text of the model's summary."""
        self._row[as_path(f"{graph.name}/graph")] = _drawn(graph)

    def _sync(self) -> None:
        mark = functools.partial(self._run.define_metric, MARK, hidden=True)
        if self._written is None:
            mark()
        else:
            self._written.wait_for_mark(mark)

    def flush(self) -> State:
        """Wait until W&B has written everything that was logged."""
        self._sync()
        return {
            "last": self._last,
            "uses": dict(self._uses),
            "checkpoints": self._artifacts.state(),
        }

    def finish(self, status: str, reason: str) -> None:
        """Close the run with its exit code. A run that was joined is left open for its owner to close."""
        if self._joins:
            return
        self._run.summary.update({"status": status} | ({"reason": reason} if reason else {}))
        self._opening.close(self.run, self._run, _EXIT_CODES.get(status, 255))
        if self._written is not None:
            self._written.wait_for_exit()


def _is_curve(table: Table) -> bool:
    """Return whether a table has the points of curves: the class, x and y."""
    return table.columns[:1] == ["class"] and len(table.columns) == 3 and "curves/" in table.name


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _merged(histogram: Histogram) -> tuple[list[float], list[float]]:
    """Return counts and edges, with at most as many bins as W&B accepts."""
    width = -(-len(histogram.counts) // _MOST_BINS)
    starts = range(0, len(histogram.counts), width)
    counts = [sum(histogram.counts[start : start + width]) for start in starts]
    return counts, [*histogram.edges[:-1:width], histogram.edges[-1]]


def _drawn(graph: Graph) -> Any:
    import wandb

    drawn = wandb.Graph()
    nodes = {
        node.name: drawn.add_node(id=node.name, name=node.name, class_name=node.op) for node in graph.nodes
    }
    for node in graph.nodes:
        for source in filter(nodes.__contains__, node.inputs):
            drawn.add_edge(nodes[source], nodes[node.name])
    return drawn
