"""`Store`: where MLflow keeps runs, a SQLite file or a server, and finding a run there by the id of trackhooks."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackhooks.event import RunInfo
from trackhooks.locking import locked
from trackhooks.redaction import redact_text

_SQLITE = "sqlite:///"
_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # seconds; a server may need some to store a large checkpoint
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # delivery tries again itself; MLflow's own 7 take four minutes
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


def connect(uri: str) -> Any:
    """An `MlflowClient`.

    MLflow takes its timeouts from the environment only. They are set where nothing else of this process has imported
    MLflow, which is so in the delivery process, and where the user has not set them.
    """
    if "mlflow" not in sys.modules:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


class Store:
    """A store or a server.

    Args:
        uri: its address; None for `MLFLOW_TRACKING_URI`, else `mlflow.db` in the working directory.
    """

    client: Any

    def __init__(self, uri: str | None) -> None:
        uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db"
        self.database = Path(uri[len(_SQLITE) :]).absolute() if uri.startswith(_SQLITE) else None
        self.uri = f"{_SQLITE}{self.database}" if self.database else uri
        self.address = redact_text(self.uri)
        """Without a password."""

    def page(self, experiment: str, run_id: str) -> str | None:
        """The run's page; of a SQLite file, the command that shows it; None for another store without a server."""
        if self.database:
            return shlex.join(["mlflow", "server", "--backend-store-uri", self.uri])
        if self.uri.startswith("http"):
            return f"{self.address.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"
        return None

    def open(self, run: RunInfo, run_id: str | None) -> Any:
        """Connects, and returns the MLflow run: the one with that id, or the one of `run`, made where there is none.

        One at a time: of two that make the tables of a new SQLite file at once, one fails.
        """
        beside = self.database or Path(run.path)
        with locked(beside.with_name(f".{beside.name if self.database else 'mlflow'}.lock")):
            self.client = connect(self.uri)
            return self.client.get_run(run_id or self._find_or_make(run))

    def _find_or_make(self, run: RunInfo) -> str:
        experiment = self._experiment(run.project)
        tags = {"mlflow.user": str(run.environment.get("user"))}
        name = run.parent or run.group
        if name is not None:
            tags["mlflow.parentRunId"] = self._parent(experiment, run, name)
        return self._find(experiment, run.id) or self._make(experiment, run.id, run.name, run.created, tags)

    def _experiment(self, project: str | None) -> str:
        from mlflow import MlflowException

        name = project or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "trackhooks"
        found = self.client.get_experiment_by_name(name)
        # MLflow itself would put the artifacts into ./mlruns.
        artifacts = (self.database.parent / "mlartifacts").as_uri() if self.database else None
        try:
            return str(found.experiment_id if found else self.client.create_experiment(name, artifacts))
        except MlflowException:
            found = self.client.get_experiment_by_name(name)  # another machine has just made it
            if found is None:
                raise
            return str(found.experiment_id)

    def _parent(self, experiment: str, run: RunInfo, name: str) -> str:
        """The run around this one: made where it is a group's, or has not been delivered itself."""
        id_ = run.parent or f"group-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
        found = self._find(experiment, id_)
        if found is None:
            found = self._make(experiment, id_, name, run.created, {})
            self.client.set_terminated(found, end_time=int(run.created * 1000))
        return found

    def _find(self, experiment: str, id_: str) -> str | None:
        found = self.client.search_runs([experiment], f"tags.`trackhooks.id` = '{id_}'", max_results=1)
        return str(found[0].info.run_id) if found else None

    def _make(self, experiment: str, id_: str, name: str, created: float, tags: Mapping[str, str]) -> str:
        tags = {"trackhooks.id": id_, **tags}
        return str(self.client.create_run(experiment, int(created * 1000), tags, name).info.run_id)
