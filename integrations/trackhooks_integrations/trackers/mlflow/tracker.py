"""`mlflow`: a run as an MLflow 3 run, in a SQLite file or on a server.

| what | in MLflow |
|---|---|
| the project | the experiment; without one that of the environment, else `trackhooks` |
| name, notes, tags, environment | name, description, tags (`baseline` = `true`, `environment.…`), source tags |
| a group, a parent run | the parent run; a group's is made, and bears its name |
| metrics, `system/…` among them | metrics over `event.step` or `event.epoch`, with the time of the event |
| hyper-parameters | parameters; `data` or `dataset` is a dataset input, too |
| checkpoints, exports | LoggedModels with metrics, outputs of the run; an export names its checkpoint (`parent`) |
| pictures | the image grid, in `images/` |
| tables, texts, histograms, graphs, other files | artifacts: `<what>/<name>/epoch-3.…`, `…/step-7.…` |
| the same in a run that was joined | the same below `trackhooks/<id of the run>/` |

Rules, and where they come from.

- What MLflow takes in no name becomes `_`: `metrics/mAP50(B)` is `metrics/mAP50_B_`. A checksum ends a name that is
  above 250 characters, or that would be the same as another of the run. The log says so once a name.
- In the name of a file, `#`, `?`, `%` and control characters become `_`, since artifacts have addresses.
- A metric that is logged over steps and over epochs is two: the later use of the name is `<name> epoch` or `step`.
- A parameter cannot change in MLflow: its later value is the tag `changed/<name>`. Of a value above 6000 characters
  the start is the parameter, and the whole an artifact, `params/<name>.txt`; of such notes, `notes.md`.
- A metric's row is its name, step, time and value: delivered twice, it is the same row (`sqlalchemy_store.py`). Rows
  cannot be removed: a step that a resumed training does again has two, of which the later one counts.
- NaN is kept. A SQL store holds ±Inf as ±1.797e308, the largest number that it has.
- Checkpoints stay as the run's `keep` says. One that stays no longer gives its LoggedModel to the next at the same
  path; without one it is deleted, and `mlflow gc` frees its space. Aliases are the tag `aliases`. One that is a version
  of a registered model stays as it is.
- A project counts more than `MLFLOW_EXPERIMENT_ID`, which `mlflow.set_experiment` sets, too, and that more than
  `MLFLOW_EXPERIMENT_NAME`. An active run is joined, else that of `MLFLOW_RUN_ID` (`mlflow run` sets it); who made it
  ends it. Neither counts where the option `tracking_uri` names another store.
- What MLflow refuses for good is left out and reported, and the rest arrives. A deleted run or experiment gets what is
  recorded once it is restored.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from trackhooks.errors import InvalidValueError
from trackhooks.event import FINAL, Event, File, Graph, Histogram, RunInfo, Scalar, Table, Text
from trackhooks.tracker import Axis, State, Tracker, axis_of

from ..._shared.checkpoints import Checkpoints
from .models import Models, uploading
from .names import LONGEST, Names, legal, legal_file, storable
from .store import Store

_LONGEST_VALUE = 6000
_ROWS = 1000
"""Metrics in one request, at most (`MAX_METRICS_PER_BATCH`)."""
_PAIRS = 25
"""Parameters or tags in one request: of the longest values, escaped, more would be above its limit of 1 MB."""
_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", 400, 413)
"""The codes of MLflow, and those of HTTP: 413 is a file that a server in front of MLflow finds too large."""
_STATUSES = {"finished": "FINISHED", "failed": "FAILED"}


class MLflow(Tracker):
    """Delivers to an MLflow store or server.

    Args:
        tracking_uri: where: `sqlite:///path/of.db`, or the address of a server. Without it `MLFLOW_TRACKING_URI`, else
            `mlflow.db` in the working directory. A database has its artifacts beside it in `mlartifacts`: a file beside
            the file, another one in the working directory.
        run_id: an MLflow run to log to, such as an active one; it keeps its name and status, and is left open.
        register: a registered model, of which a run that finishes makes its checkpoints with aliases versions.

    Raises:
        InvalidValueError: an option is no text, or `register` is no name of a model.
        mlflow.MlflowException: from the verbs, where the server cannot be reached or refuses.
    """

    requires = {"mlflow": "trackhooks[mlflow]"}  # noqa: RUF012 - a ClassVar of the base
    every = "1s"

    def __init__(
        self, tracking_uri: str | None = None, run_id: str | None = None, register: str | None = None
    ) -> None:
        for name, value in (("tracking_uri", tracking_uri), ("run_id", run_id), ("register", register)):
            if value is not None and not (isinstance(value, str) and value):
                raise InvalidValueError(f"tracker 'mlflow': {name}={value!r}: a text is needed.")
        if register is not None and re.search(r"[/:'\"]", register):
            raise InvalidValueError(f"tracker 'mlflow': register={register!r} holds one of / : ' \".")
        self._store = Store(tracking_uri)
        self._joined = run_id
        self._register = register
        self._id = self._experiment = ""

    @classmethod
    def active(cls) -> Mapping[str, Any]:
        """The run of `mlflow.start_run()`, or the one that `mlflow run` or a scheduler has made for the program."""
        mlflow: Any = sys.modules.get("mlflow")
        run = mlflow.active_run() if mlflow is not None and hasattr(mlflow, "active_run") else None
        if run is not None:
            return {"run_id": run.info.run_id, "tracking_uri": mlflow.get_tracking_uri()}
        known = {
            "run_id": os.environ.get("MLFLOW_RUN_ID"),
            "tracking_uri": os.environ.get("MLFLOW_TRACKING_URI"),
        }
        return {name: value for name, value in known.items() if value} if known["run_id"] else {}

    @property
    def destination(self) -> str:
        """The address of the store, without a password."""
        return self._store.address

    @property
    def url(self) -> str | None:
        """The run's page; of a SQLite file, the command that shows it."""
        return self._store.page(self._experiment, self._id) if self._id else None

    def start(self, run: RunInfo, state: State) -> None:
        """Finds the run by the id of trackhooks, or makes it."""
        self._rows: list[Any] = []
        self._metric_names = Names(state.get("metrics", ()))
        self._param_names = Names(state.get("params", ()))
        self._media_names = Names(state.get("media", ()))
        self._last: dict[str, dict[str, list[Any]]] = state.get("last", {})
        """Name → axis → place, value and time of the last row; the first axis has the plain name."""
        self._time = run.created
        found = self._store.open(run, self._joined or state.get("id"))
        self._client = self._store.client
        self._id, self._experiment = found.info.run_id, found.info.experiment_id
        self._params: dict[str, str] = dict(found.data.params)
        self._tables: list[Any] = msgspec.json.decode(found.data.tags.get("mlflow.loggedArtifacts", "[]"))
        self._models = Models(self._client, found, run.id, Checkpoints(run.keep, state.get("checkpoints")))
        if self._joined is None and run.status not in FINAL:
            self._client.update_run(self._id, "RUNNING", run.name)
        self._tag(_about(run) if self._joined else _about(run) | _source(run))
        if run.notes and len(run.notes) > _LONGEST_VALUE:
            self._client.log_text(self._id, run.notes, self._artifact("notes.md"))

    def _tag(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        made = [RunTag(name, storable(value)[:_LONGEST_VALUE]) for name, value in tags.items()]
        for batch in _batches(made, _PAIRS):
            self._client.log_batch(self._id, tags=batch)

    def handle(self, event: Event) -> None:
        """Calls the method of the event's hook."""
        self._time = event.time
        with self._refusals():
            super().handle(event)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """What MLflow refuses for good is an error of the event's own, which delivery leaves out in the end.

        MLflow gives the same code where somebody has deleted the run: that is an outage, until it is restored.
        """
        from mlflow import MlflowException
        from requests import HTTPError

        try:
            yield
        except (MlflowException, HTTPError) as error:
            if _is_refusal(error) and self._is_there():
                raise ValueError(str(error)) from error
            raise

    def _is_there(self) -> bool:
        return bool(self._client.get_run(self._id).info.lifecycle_stage == "active")

    # The verbs

    def log_params(self, params: Mapping[str, Scalar], event: Event) -> None:
        """Parameters; of one that has another value already, a tag."""
        from mlflow.entities import Param

        named = {self._param_names[name]: storable(str(value)) for name, value in params.items()}
        fresh = {
            name: value for name, value in named.items() if self._params.get(name) != value[:_LONGEST_VALUE]
        }
        for name, value in fresh.items():
            if len(value) > _LONGEST_VALUE:
                self._client.log_text(self._id, value, self._artifact(f"params/{name}.txt"))
        new = [
            Param(name, value[:_LONGEST_VALUE]) for name, value in fresh.items() if name not in self._params
        ]
        for batch in _batches(new, _PAIRS):
            self._client.log_batch(self._id, params=batch)
        self._tag({legal(f"changed/{name}"): fresh[name] for name in fresh if name in self._params})
        self._params.update((param.key, param.value) for param in new)
        self._log_dataset(params)

    def _log_dataset(self, params: Mapping[str, Scalar]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = params.get("dataset", params.get("data"))
        if isinstance(source, str) and source:
            digest = hashlib.sha256(source.encode()).hexdigest()[:8]
            about = msgspec.json.encode({"uri": source}).decode()
            dataset = Dataset(Path(source).stem[:LONGEST], digest, "local", about)
            given = DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
            self._client.log_inputs(self._id, [given])

    def log_metrics(self, metrics: Mapping[str, float], axis: Axis, event: Event) -> None:
        """Rows, sent a thousand at a time."""
        self._rows += [self._row(name, value, axis, event) for name, value in metrics.items()]
        while len(self._rows) >= _ROWS:
            self._send()

    def _row(
        self, name: str, value: float, axis: str, event: Event, model: str | None = None, again: bool = False
    ) -> Any:
        """A metric at its place; what is told `again`, and what several hooks tell of an epoch, is the same row."""
        from mlflow.entities import Metric

        of_name = self._last.setdefault(name, {})
        place = max(event.step, 0) if axis == "step" else event.epoch
        row, known = [place, repr(value), int(event.time * 1000)], of_name.get(axis)
        if known is not None and (again or (axis == "epoch" and known[:2] == row[:2])):
            row = known
        of_name[axis] = row
        first = next(iter(of_name))
        column = self._metric_names[name if axis == first else f"{name} {axis}"]
        return Metric(column, value, row[2], row[0], model_id=model)

    def _rows_of(self, file: File, event: Event, model: str) -> Iterator[Any]:
        """The metrics of a checkpoint: those rows of the run that have these values, linked to the model."""
        for name, value in file.metrics.items():
            if math.isfinite(value):
                known = self._last.get(name, {})
                axis = next((axis for axis, row in known.items() if row[1] == repr(value)), None)
                place = axis or next(iter(known), axis_of(event))
                yield self._row(name, value, place, event, model, again=axis is not None)

    def _send(self) -> None:
        self._client.log_batch(self._id, metrics=self._rows[:_ROWS])
        del self._rows[:_ROWS]

    def log_file(self, file: File, path: Path | None, event: Event) -> None:
        """A checkpoint or an export as a LoggedModel, with the metrics of that moment; another file as an artifact."""
        if path is None:
            return
        if file.kind in ("model", "export"):
            log = self._models.log_checkpoint if file.kind == "model" else self._models.log_export
            self._rows += self._rows_of(file, event, log(file, path, event))
        else:
            with uploading(path, legal_file(Path(file.path).name)) as local:
                self._client.log_artifact(self._id, local, self._artifact("files"))

    def log_image(self, file: File, path: Path | None, event: Event) -> None:
        """A picture of the image grid, which knows series, step and time from the file's name, and a thumbnail."""
        from PIL import Image

        if path is None:
            return
        series = legal(file.name).replace(":", "_").replace("/", "~")
        step = event.epoch if axis_of(event) == "epoch" else max(event.step, 0)
        mark = f"{event.index}-{zlib.crc32(file.path.encode()):08x}"
        name = f"{series}+step+{step}+timestamp+{int(event.time * 1000)}+{mark}"
        with tempfile.TemporaryDirectory() as folder, Image.open(path) as picture:
            picture.save(Path(folder, f"{name}.png"))
            picture.thumbnail((256, 256))
            picture.save(Path(folder, f"{name}+compressed.webp"))
            self._client.log_artifacts(self._id, folder, "images")
        self._client.set_tag(self._id, "mlflow.loggedImages", True)

    def log_text(self, text: Text, event: Event) -> None:
        """A text file."""
        self._client.log_text(self._id, text.text, self._place("texts", text.name, event, "txt"))

    def log_table(self, table: Table, event: Event) -> None:
        """A table as `MlflowClient.load_table` and the dashboard read it."""
        place = self._place("tables", table.name, event, "json")
        data = msgspec.json.encode({"columns": table.columns, "data": table.rows})
        self._client.log_text(self._id, data.decode(), place)
        entry = {"path": place, "type": "table"}
        if entry not in self._tables:
            self._tables.append(entry)
            listed = msgspec.json.encode(self._tables).decode()
            if len(listed) <= _LONGEST_VALUE:  # the tables beyond are artifacts only
                self._client.set_tag(self._id, "mlflow.loggedArtifacts", listed)

    def log_histogram(self, histogram: Histogram, event: Event) -> None:
        """Edges and counts, as JSON."""
        self._log_json("histograms", histogram.name, histogram, event)

    def log_graph(self, graph: Graph, event: Event) -> None:
        """The nodes, as JSON."""
        self._log_json("graphs", graph.name, graph, event)

    def _log_json(self, what: str, name: str, value: Any, event: Event) -> None:
        self._client.log_text(
            self._id, msgspec.json.encode(value).decode(), self._place(what, name, event, "json")
        )

    def _place(self, what: str, name: str, event: Event, ending: str) -> str:
        """Where an artifact lies: by its place on its axis, or by its name alone where it has none."""
        name = self._artifact(f"{what}/{self._media_names[name]}")
        if axis_of(event) == "epoch":
            return f"{name}/epoch-{event.epoch}.{ending}"
        return f"{name}/step-{event.step}.{ending}" if event.step >= 0 else f"{name}.{ending}"

    def _artifact(self, path: str) -> str:
        """The path of an artifact. A joined run has artifacts of its own, which must not be replaced."""
        return path if self._joined is None else f"trackhooks/{self.run.id}/{path}"

    def flush(self) -> State:
        """Sends what is pending."""
        with self._refusals():
            while self._rows:
                self._send()
        return {
            "id": self._id,
            "metrics": list(self._metric_names),
            "params": list(self._param_names),
            "media": list(self._media_names),
            "last": self._last,
            "checkpoints": self._models.checkpoints.state(),
        }

    def finish(self, status: str, reason: str) -> None:
        """Sets the status, and registers the checkpoints; a run that was joined is left open."""
        if self._register is not None and status == "finished":
            self._models.register(self._register)
        if reason or status not in _STATUSES:
            self._tag({"trackhooks.status": f"{status}: {reason}" if reason else status})
        if self._joined is None:
            ended = int((self.run.ended or self._time) * 1000)
            self._client.set_terminated(self._id, _STATUSES.get(status, "KILLED"), ended)


def _about(run: RunInfo) -> dict[str, str]:
    tags = {legal(tag): "true" for tag in run.tags} | {"trackhooks.id": run.id}
    return tags | ({"mlflow.note.content": run.notes} if run.notes else {})


def _source(run: RunInfo) -> dict[str, str]:
    """What MLflow's own tags say of the process that logs, of the training instead; and its environment."""
    known = run.environment
    source = {
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": known.get("program"),
        "mlflow.source.git.commit": known.get("git/commit"),
        "mlflow.source.git.branch": known.get("git/branch"),
        "mlflow.source.git.repoURL": known.get("git/remote"),
        "trackhooks.group": run.group,
    } | {legal(f"environment.{name}"): value for name, value in known.items()}
    return {name: str(value) for name, value in source.items() if value is not None}


def _is_refusal(error: Any) -> bool:
    response = getattr(error, "response", None)
    code = getattr(error, "error_code", None) if response is None else response.status_code
    return code in _REFUSALS


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))
