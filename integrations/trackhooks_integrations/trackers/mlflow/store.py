"""`Store`: connect to an MLflow store, a SQLite file or a server, and find or create a run there."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from trackhooks.event import RunInfo
from trackhooks.tracker_tools import locked, redact_text

from .client import connect, sent_once
from .colours import COLOUR, colour_after
from .metrics import BEST
from .names import experiment_name, storable
from .sqlite_file import SQLITE, prepare, show_first

_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")


class Store:
    """An MLflow store: a database or a server.

    Args:
        uri: its address. None means `MLFLOW_TRACKING_URI`, or `mlflow.db` in the working directory.
    """

    client: Any

    def __init__(self, uri: str | None) -> None:
        ambient = os.environ.get("MLFLOW_TRACKING_URI")
        self._is_ambient = uri in (None, ambient)
        uri, mark, query = (uri or ambient or f"{SQLITE}mlflow.db").partition("?")
        self.database = Path(uri[len(SQLITE) :]).absolute() if _is_file(uri) else None
        self.uri = f"{SQLITE}{self.database}{mark}{query}" if self.database else f"{uri}{mark}{query}"
        self.address = redact_text(self.uri)
        """The URI without a password."""

    def page(self, experiment: str, run_id: str) -> str | None:
        """Return the run's page; for a SQLite file, the command that shows it; for other databases, None."""
        if self.database:
            return shlex.join(["mlflow", "server", "--backend-store-uri", self.uri])
        if self.uri.startswith("http"):
            page = f"{self.address.rstrip('/')}/#/experiments/{experiment}/runs/{run_id}"
            return f"{page}?workflowType=machine_learning"  # a new browser opens on the pages about language models
        return None

    def open(self, run: RunInfo, run_id: str | None) -> Any:
        """Connect, and return the MLflow run with this id, or that of `run`, created if needed.

        Processes of trackhooks do this one after the other: each would build a new SQLite file, and only one is used.
        """
        with locked(self._lock(run)):
            if self.database:
                prepare(self.database)
            self.client = connect(self.uri)
            return self.client.get_run(run_id or self._find_or_create(run))

    def _lock(self, run: RunInfo) -> Path:
        if self.database is None:
            return Path(run.path).with_name(".mlflow.lock")
        self.database.parent.mkdir(parents=True, exist_ok=True)
        return self.database.with_name(f".{self.database.name}.lock")

    def _find_or_create(self, run: RunInfo) -> str:
        experiment = self._experiment(run.project)
        tags = {"mlflow.user": str(run.environment.get("user"))}
        name = run.parent or run.group
        if name is not None:
            tags["mlflow.parentRunId"] = self._parent(experiment, run, storable(name))
        found = self._find(experiment, run.id)
        if found is not None:
            return str(found.info.run_id)
        return self._create(experiment, run.id, run.name, run.created, tags)

    def _experiment(self, project: str | None) -> str:
        """Return the id of the experiment: that of the project, or the one that the environment names.

        `mlflow.set_experiment` and schedulers set the environment variables. The id counts only in their own store.
        """
        named = os.environ.get("MLFLOW_EXPERIMENT_ID") if self._is_ambient and not project else None
        if named:
            return self._checked(self.client.get_experiment(named))
        name = storable(project or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "trackhooks")
        return self._find_or_create_experiment(experiment_name(name))

    def _find_or_create_experiment(self, name: str) -> str:
        from mlflow import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return self._checked(found)
        try:
            return str(self.client.create_experiment(name, self._artifacts()))
        except MlflowException:
            found = self.client.get_experiment_by_name(name)  # another machine has just created it
            if found is None:
                raise
            return self._checked(found)

    def _artifacts(self) -> str | None:
        """Return the folder for the artifacts of a new experiment; None lets the server choose.

        By default, MLflow would store the artifacts of every database in ./mlruns.
        """
        if self.uri.split(":")[0].split("+")[0] not in _DATABASES:
            return None
        beside = self.database.parent if self.database else Path.cwd()
        return (beside / "mlartifacts").as_uri()

    @staticmethod
    def _checked(experiment: Any) -> str:
        from mlflow import MlflowException

        if experiment.lifecycle_stage != "active":
            raise MlflowException(
                f"the experiment {experiment.name!r} was deleted in MLflow. To deliver the run, restore it:"
                f" mlflow experiments restore --experiment-id {experiment.experiment_id}"
            )
        return str(experiment.experiment_id)

    def _parent(self, experiment: str, run: RunInfo, name: str) -> str:
        """Return the id of the parent run, which is created if it represents a group or was not delivered yet."""
        import hashlib  # OpenSSL is not for the training process, which imports this module

        id_ = run.parent or f"group-{hashlib.sha256(name.encode()).hexdigest()[:32]}"
        found = self._find(experiment, id_)
        made = found.info.run_id if found else self._create(experiment, id_, name, run.created, {})
        if found is None or _is_unfinished_stub(found):
            self.client.set_terminated(made, end_time=int(run.created * 1000))
        return str(made)

    def remove_twins(self, experiment: str, id_: str, run_id: str) -> None:
        """Delete empty runs of the same id as this one: a server that was too slow may have created two."""
        for found in self._with_id(experiment, id_):
            if found.info.run_id != run_id and _was_never_opened(found):
                self.client.delete_run(found.info.run_id)

    def show_best_first(self, run_id: str) -> None:
        """Let MLflow's pages open on the best values of a run. Only a SQLite file can be told to."""
        if self.database:
            show_first(Path(os.path.realpath(self.database)), run_id, BEST)

    def _next_colour(self, experiment: str) -> str:
        """Return a colour for a new run, which differs from that of the newest: MLflow may show two in the same."""
        newest = self.client.search_runs([experiment], max_results=1, order_by=["attribute.start_time DESC"])
        return colour_after(newest[0].data.tags.get(COLOUR, "") if newest else "")

    def _find(self, experiment: str, id_: str) -> Any:
        return next(iter(self._with_id(experiment, id_)), None)

    def _with_id(self, experiment: str, id_: str) -> Iterable[Any]:
        found: Iterable[Any] = self.client.search_runs([experiment], f"tags.`trackhooks.id` = '{id_}'")
        return found

    def _create(self, experiment: str, id_: str, name: str, created: float, tags: Mapping[str, str]) -> str:
        tags = {"trackhooks.id": id_, COLOUR: self._next_colour(experiment), **tags}
        with sent_once():
            return str(self.client.create_run(experiment, int(created * 1000), tags, name).info.run_id)


def _was_never_opened(run: Any) -> bool:
    """Return whether a run was created, but not described: see `MLflow._describe`."""
    return run.info.status == "RUNNING" and "mlflow.source.type" not in run.data.tags


def _is_unfinished_stub(run: Any) -> bool:
    """Return whether a run was created only as a parent, and MLflow's answer was lost before its status was set."""
    return run.info.status == "RUNNING" and "mlflow.user" not in run.data.tags


def _is_file(uri: str) -> bool:
    """Return whether this URI is the path of a SQLite file, and not `:memory:` or one of SQLite's `file:` URIs."""
    return uri.startswith(SQLITE) and not uri.removeprefix(SQLITE).startswith((":", "file:"))
