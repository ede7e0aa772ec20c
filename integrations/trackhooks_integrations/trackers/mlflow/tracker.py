"""Deliver a run to MLflow 3, in a SQLite file or on a server.

| what | in MLflow |
|---|---|
| the project | the experiment; without a project, the experiment that the environment names, or `trackhooks` |
| name, notes, tags, environment | name, description, tags (`baseline` = `true`, `environment.…`), source tags |
| a group, a parent run | the parent run; for a group, one is created with the group's name |
| what was found out, such as `model/parameters` | tags |
| best values, `best/…` | metrics at step 0, which MLflow shows as bars over the runs |
| other metrics, including `system/…` | metrics over `event.step` or `event.epoch`, with the time of the event |
| hyper-parameters | parameters; `data` or `dataset` is also a dataset input |
| checkpoints, exports | LoggedModels with metrics, outputs of the run; an export names its checkpoint (`parent`) |
| pictures | the image grid, in `images/` |
| tables, texts, histograms, graphs, other files | artifacts: `<what>/<name>/epoch-3.…`, `…/step-7.…` |
| the artifacts of a run that was joined | the same, below `trackhooks/<id of the run>/` |

Rules:

- Characters that MLflow does not allow in names become `_`: `metrics/mAP50(B)` is `metrics/mAP50_B_`. A name ends in a
  checksum if it has more than 250 characters, or would be equal to another name of the run. Each changed name is logged
  once.
- The next text, table, histogram or graph of the same name at one step is in `<what>/<name> (2)/`.
- In file names, `#`, `?`, `%` and control characters become `_`, because MLflow reads them as parts of an address.
- A metric that is logged over both steps and epochs becomes two metrics: the later one is `<name> epoch` or
  `<name> step`.
- The metrics of the first epoch are sent at its end, the best values first, because MLflow's pages open on the metrics
  that a SQLite store got first. If the epoch takes more than a minute, its metrics are sent after the minute, before
  the best values, which are not known yet. In a SQLite file they are put in order when the run ends; on a server, the
  page that compares runs then opens on `train_batch/…`.
- MLflow does not allow a parameter to change: its later value is the tag `changed/<name>`. If a value has more than
  6000 characters, the parameter has the start and the artifact `params/<name>.txt` has the whole value. The same
  applies to what was found out (`facts/<name>.txt`) and to notes (`notes.md`).
- A metric is stored as a row of name, step, time and value. A row that is delivered twice is stored once
  (`sqlalchemy_store.py`). Rows cannot be removed: if a resumed training repeats a step, that step has two rows, and the
  later one counts.
- NaN is kept. A SQL store replaces ±Inf with ±1.797e308, the largest number that it supports.
- Checkpoints are kept as the run's `keep` says. The LoggedModel of a checkpoint that is not kept any more is reused for
  the next one at the same path; if there is none, it is deleted, and `mlflow gc` frees its space. Aliases are stored in
  the tag `aliases`. A checkpoint that is a version of a registered model is never changed.
- A project takes precedence over `MLFLOW_EXPERIMENT_ID`, which `mlflow.set_experiment` also sets, and that over
  `MLFLOW_EXPERIMENT_NAME`. If a run is active, or else if `MLFLOW_RUN_ID` is set (as by `mlflow run`), that run is
  joined, and left open for its owner to close. These do not apply if the option `tracking_uri` names another store.
- A run that was pruned or lost has the status `KILLED`, and the tag `trackhooks.status` tells them apart.
- What MLflow rejects permanently is reported and skipped, and the rest is delivered. If a run or an experiment was
  deleted, delivery waits until it is restored.
"""

from __future__ import annotations

import math
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from trackhooks.errors import InvalidValueError, unknown
from trackhooks.event import FINAL, Event, File, Graph, Histogram, RunInfo, Scalar, Table, Text
from trackhooks.tracker import Axis, State, Tracker, axis_of
from trackhooks.tracker_tools import shown

from ..._shared.checkpoints import Checkpoints
from ..._shared.files import text_options
from ..._shared.same_names import SameNames
from ..._shared.short_names import checksum
from .metrics import Metrics
from .models import Models, uploading
from .names import LONGEST, Names, legal, legal_file, of_ultralytics, storable
from .reasons import reason
from .store import Store

_LONGEST_VALUE = 6000
_MOST_PAIRS = 25
"""The most parameters or tags in one request: with the longest values, escaped, more would exceed its limit of 1 MB."""
_REFUSALS = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", 400, 413)
"""Codes of MLflow and of HTTP. A server in front of MLflow answers 413 if a file is too large."""
_METRIC_NAMES = {"ultralytics": of_ultralytics}
_STATUSES = {"finished": "FINISHED", "failed": "FAILED"}
_STATUS = "trackhooks.status"
"""The tag with a status that MLflow does not have, or with the reason of one."""


class MLflow(Tracker):
    """Deliver to an MLflow store or server.

    Args:
        tracking_uri: `sqlite:///path/of.db`, the URI of another database, or the address of a server. By default,
            `MLFLOW_TRACKING_URI`, or `mlflow.db` in the working directory. The artifacts of a database are stored in a
            folder `mlartifacts`: next to a SQLite file, or else in the working directory.
        run_id: the MLflow run to log to, such as an active one. It keeps its name and status, and is left open.
        metric_names: `"ultralytics"` gives metrics the names of Ultralytics' own MLflow logger (`metrics/mAP50B`,
            `lr/pg0`), for dashboards that were made with it. The other names stay as they are.
        register: the name of a registered model. When the run finishes, its checkpoints with aliases become versions
            of this model.

    Raises:
        InvalidValueError: an option is not a non-empty string, or `register` is not a valid name of a model.
        mlflow.MlflowException: from the verbs, if the server cannot be reached or rejects a request.
    """

    requires = {"mlflow": "trackhooks[mlflow]"}  # noqa: RUF012 - a ClassVar of the base
    unneeded = frozenset(
        {"pandas", "polars", "pyarrow", "scipy"}
    )  # a quarter of the time of importing MLflow
    every = "1s"

    def __init__(
        self,
        tracking_uri: str | None = None,
        run_id: str | None = None,
        register: str | None = None,
        metric_names: str | None = None,
    ) -> None:
        text_options("mlflow", tracking_uri=tracking_uri, run_id=run_id, register=register)
        if metric_names not in (None, *_METRIC_NAMES):
            raise unknown("metric_names", metric_names, _METRIC_NAMES, "tracker 'mlflow': ")
        if register is not None and re.search(r"[/:'\"]", register):
            raise InvalidValueError(
                f"tracker 'mlflow': register must not contain any of / : ' \", got {shown(register)}."
            )
        self._store = Store(tracking_uri)
        self._joined = run_id
        self._register = register
        self._rename = _METRIC_NAMES[metric_names] if metric_names else str
        self._id = self._experiment = ""

    @classmethod
    def active(cls) -> Mapping[str, Any]:
        """Return the run of `mlflow.start_run()`, or the one that `mlflow run` or a scheduler has created."""
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
        """The address of the store, without its password."""
        return self._store.address

    @property
    def url(self) -> str | None:
        """The run's page; for a SQLite file, the command that shows it."""
        return self._store.page(self._experiment, self._id) if self._id else None

    def explain(self, error: BaseException) -> str:
        """Return why the store cannot be used."""
        return reason(error, self._store.address) or super().explain(error)

    def start(self, run: RunInfo, state: State) -> None:
        """Find the run by the id of trackhooks, or create it."""
        self._param_names = Names(state.get("params", ()))
        self._fact_names = Names(state.get("facts", ()))
        self._media_names = Names(state.get("media", ()))
        self._same_names = SameNames(state.get("same_names", {}))
        self._time = run.created
        found = self._store.open(run, self._joined or state.get("id"))
        self._client = self._store.client
        self._id, self._experiment = found.info.run_id, found.info.experiment_id
        self._metrics = Metrics(self._client, self._id, state, self._rename)
        self._params: dict[str, str] = dict(found.data.params)
        self._has_ended_before = _STATUS in found.data.tags
        self._tables: list[Any] = msgspec.json.decode(found.data.tags.get("mlflow.loggedArtifacts", "[]"))
        self._models = Models(self._client, found, run.id, Checkpoints(run.keep, state.get("checkpoints")))
        self._describe(run)
        self._remove_twins()

    def _remove_twins(self) -> None:
        if self._joined is None:
            self._store.remove_twins(self._experiment, self.run.id, self._id)

    def _describe(self, run: RunInfo) -> None:
        if self._joined is None and run.status not in FINAL:
            self._client.update_run(self._id, "RUNNING", run.name)
        self._tag(_about(run) if self._joined else _about(run) | _source(run))
        if run.notes and len(run.notes) > _LONGEST_VALUE:
            self._client.log_text(self._id, run.notes, self._artifact("notes.md"))

    def _tag(self, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        made = [RunTag(name, storable(value)[:_LONGEST_VALUE]) for name, value in tags.items()]
        for batch in _batches(made):
            self._client.log_batch(self._id, tags=batch)

    def handle(self, event: Event) -> None:
        """Call the method of the event's hook."""
        self._time = event.time
        with self._refusals():
            super().handle(event)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        """Raise what MLflow rejects permanently as a `ValueError`: delivery retries the event, and then skips it.

        MLflow answers with the same codes if the run was deleted. That counts as an outage until the run is restored.
        """
        from mlflow import MlflowException
        from requests import HTTPError

        try:
            yield
        except (MlflowException, HTTPError) as error:
            if _is_refusal(error) and self._is_active():
                raise ValueError(str(error)) from error
            raise

    def _is_active(self) -> bool:
        return bool(self._client.get_run(self._id).info.lifecycle_stage == "active")

    # The verbs

    def log_params(self, params: Mapping[str, Scalar], event: Event) -> None:
        """Log parameters; those that already have another value become tags."""
        named = {self._param_names[name]: storable(str(value)) for name, value in params.items()}
        fresh = {
            name: value for name, value in named.items() if self._params.get(name) != value[:_LONGEST_VALUE]
        }
        self._log_long_values("params", fresh)
        changed = {legal(f"changed/{name}"): fresh[name] for name in fresh if name in self._params}
        self._log_new_params({name: value for name, value in fresh.items() if name not in self._params})
        self._tag(changed)
        self._log_dataset(params)

    def log_facts(self, facts: Mapping[str, Scalar], event: Event) -> None:
        """Set tags."""
        named = {self._fact_names[name]: storable(str(value)) for name, value in facts.items()}
        self._log_long_values("facts", named)
        self._tag(named)

    def _log_long_values(self, folder: str, values: Mapping[str, str]) -> None:
        for name, value in values.items():
            if len(value) > _LONGEST_VALUE:
                self._client.log_text(self._id, value, self._artifact(f"{folder}/{name}.txt"))

    def _log_new_params(self, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        made = [Param(name, value[:_LONGEST_VALUE]) for name, value in params.items()]
        for batch in _batches(made):
            self._client.log_batch(self._id, params=batch)
        self._params.update((param.key, param.value) for param in made)

    def _log_dataset(self, params: Mapping[str, Scalar]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        source = params.get("dataset", params.get("data"))
        if isinstance(source, str) and source:
            import hashlib  # OpenSSL is not for the training process, which imports this module

            digest = hashlib.sha256(source.encode()).hexdigest()[:8]
            about = msgspec.json.encode({"uri": source}).decode()
            dataset = Dataset(Path(source).stem[:LONGEST], digest, "local", about)
            given = DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])
            self._client.log_inputs(self._id, [given])

    def log_metrics(self, metrics: Mapping[str, float], axis: Axis, event: Event) -> None:
        """Log metrics as rows."""
        infinities = sum(map(math.isinf, metrics.values()))
        if infinities:
            self.cannot_hold("infinities, and holds ±1.797e308 instead", infinities)
        self._metrics.add(metrics, axis, event)

    def log_file(self, file: File, path: Path | None, event: Event) -> None:
        """Log a checkpoint or an export as a LoggedModel with its metrics, and any other file as an artifact."""
        if path is None:
            return
        if file.kind in ("model", "export"):
            log = self._models.log_checkpoint if file.kind == "model" else self._models.log_export
            self._metrics.add_of_model(file, event, log(file, path, event))
        else:
            with uploading(path, legal_file(Path(file.path).name)) as local:
                self._client.log_artifact(self._id, local, self._artifact("files"))

    def log_image(self, file: File, path: Path | None, event: Event) -> None:
        """Log a picture and its thumbnail for the image grid."""
        from PIL import Image

        if path is None:
            return
        name = _picture_name(file, event)
        with tempfile.TemporaryDirectory() as folder, Image.open(path) as picture:
            picture.save(Path(folder, f"{name}.png"))
            picture.thumbnail((256, 256))
            picture.save(Path(folder, f"{name}+compressed.webp"))
            self._client.log_artifacts(self._id, folder, "images")
        self._client.set_tag(self._id, "mlflow.loggedImages", True)

    def log_text(self, text: Text, event: Event) -> None:
        """Log the text as a file."""
        self._client.log_text(self._id, text.text, self._place("texts", text.name, event, "txt"))

    def log_table(self, table: Table, event: Event) -> None:
        """Log a table in the format of `MlflowClient.load_table` and the dashboard."""
        place = self._place("tables", table.name, event, "json")
        self._log_json({"columns": table.columns, "data": table.rows}, place)
        entry = {"path": place, "type": "table"}
        if entry not in self._tables:
            self._tables.append(entry)
            listed = _as_json(self._tables)
            if len(listed) <= _LONGEST_VALUE:  # further tables are only artifacts
                self._client.set_tag(self._id, "mlflow.loggedArtifacts", listed)

    def log_histogram(self, histogram: Histogram, event: Event) -> None:
        """Log a histogram as JSON."""
        self._log_json(histogram, self._place("histograms", histogram.name, event, "json"))

    def log_graph(self, graph: Graph, event: Event) -> None:
        """Log the graph as JSON."""
        self._log_json(graph, self._place("graphs", graph.name, event, "json"))

    def _log_json(self, value: Any, place: str) -> None:
        self._client.log_text(self._id, _as_json(value), place)

    def _place(self, what: str, name: str, event: Event, ending: str) -> str:
        """Return the path of an artifact: by epoch or step, or by its name alone before the first step.

        The second artifact of a name at one step is in `<name> (2)`.
        """
        name = self._artifact(f"{what}/{self._media_names[name]}")
        at = ""
        if axis_of(event) == "epoch":
            at = f"/epoch-{event.epoch}"
        elif event.step >= 0:
            at = f"/step-{event.step}"
        number = self._same_names.number(name, at)
        return f"{name}{at}.{ending}" if number == 1 else f"{name} ({number}){at}.{ending}"

    def _artifact(self, path: str) -> str:
        """Return the path of an artifact. In a joined run, the artifacts of its owner must not be replaced."""
        return path if self._joined is None else f"trackhooks/{self.run.id}/{path}"

    def flush(self) -> State:
        """Send all pending rows."""
        with self._refusals():
            self._metrics.send()
        return {
            **self._metrics.state(),
            "id": self._id,
            "params": list(self._param_names),
            "facts": list(self._fact_names),
            "media": list(self._media_names),
            "same_names": self._same_names.state(),
            "checkpoints": self._models.checkpoints.state(),
        }

    def finish(self, status: str, reason: str) -> None:
        """Set the status and register the checkpoints. A run that was joined is left open for its owner to close."""
        self._metrics.release()
        with self._refusals():
            self._metrics.send()
        if self._register is not None and status == "finished":
            self._models.register(self._register)
        if reason or status not in _STATUSES or self._has_ended_before:
            self._tag({_STATUS: f"{status}: {reason}" if reason else status})
        if self._joined is None:
            ended = int((self.run.ended or self._time) * 1000)
            self._client.set_terminated(self._id, _STATUSES.get(status, "KILLED"), ended)
            self._store.show_best_first(self._id)
            self._remove_twins()


def _about(run: RunInfo) -> dict[str, str]:
    tags = {legal(tag): "true" for tag in run.tags} | {"trackhooks.id": run.id}
    return tags | ({"mlflow.note.content": run.notes} if run.notes else {})


def _source(run: RunInfo) -> dict[str, str]:
    """Return MLflow's source tags and the environment, for the training instead of the process that delivers."""
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


def _picture_name(file: File, event: Event) -> str:
    """Return a name from which the image grid reads the series, the step and the time."""
    series = legal(file.name).replace(":", "_").replace("/", "~")
    step = event.epoch if axis_of(event) == "epoch" else max(event.step, 0)
    mark = f"{event.index}-{checksum(file.path)}"
    return f"{series}+step+{step}+timestamp+{int(event.time * 1000)}+{mark}"


def _as_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _batches(items: list[Any]) -> Iterator[list[Any]]:
    return (items[start : start + _MOST_PAIRS] for start in range(0, len(items), _MOST_PAIRS))
