"""`Models`: the checkpoints and exports of a run as LoggedModels and registered models of MLflow."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trackhooks.event import Event, File

from ..._shared.checkpoints import Checkpoint, Checkpoints
from .client import sent_once, upload_time
from .names import legal_file, model_name


class Models:
    """The LoggedModels of one run. An upload that is repeated after a failure reuses the model that it has created.

    Args:
        client: the `MlflowClient`.
        run: the MLflow run.
        id_: the run's id in trackhooks; several runs may have joined one run of MLflow.
        checkpoints: the run's checkpoints so far.
    """

    def __init__(self, client: Any, run: Any, id_: str, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self._id = id_
        self._client = client
        self._run: str = run.info.run_id
        self._experiment: str = run.info.experiment_id
        self._outputs = {model.model_id for model in run.outputs.model_outputs} if run.outputs else set()

    def log_checkpoint(self, file: File, path: Path, event: Event) -> str:
        """Upload a checkpoint, and reuse the LoggedModel of one that is not kept any more; return its id."""
        new, lost_alias, dropped = self.checkpoints.add(file, event.index)
        replaceable = self._unregistered(dropped)
        new.id = next((older.id for older in replaceable if older.file.path == file.path), "")
        self._log(new, path, event)
        for older in replaceable:
            if older.id != new.id:
                self._client.delete_logged_model(older.id)
        for older in [*lost_alias, *(older for older in dropped if older not in replaceable)]:
            self._client.set_logged_model_tags(older.id, {"aliases": ", ".join(older.aliases)})
        return new.id

    def _unregistered(self, checkpoints: list[Checkpoint]) -> list[Checkpoint]:
        """Return those that are not a version of any registered model; such a version must not change."""
        if not checkpoints:
            return []
        versions = self._client.search_model_versions(f"run_id = '{self._run}'")
        sources = " ".join(version.source for version in versions)
        return [checkpoint for checkpoint in checkpoints if checkpoint.id not in sources]

    def log_export(self, file: File, path: Path, event: Event) -> str:
        """Upload an export; return its id."""
        export = Checkpoint(file, event.index)
        self._log(export, path, event)
        return export.id

    def _log(self, version: Checkpoint, path: Path, event: Event) -> None:
        about = self._about(version, event)
        version.id = self._find(event, version.file) or version.id or self._create(version.file, about)
        self._client.set_logged_model_tags(version.id, about)
        name = legal_file(Path(version.file.path).name)
        with uploading(path, name) as local:
            if path.is_dir():
                self._client.log_model_artifacts(version.id, local, name)
            else:
                self._client.log_model_artifact(version.id, local)
        self._client.finalize_logged_model(version.id, "READY")
        self._add_output(version.id, event)

    def _find(self, event: Event, file: File) -> str | None:
        query = f"tags.`trackhooks.id` = '{self._id}' AND tags.`trackhooks.event` = '{event.index}'"
        found = self._client.search_logged_models([self._experiment], query)
        return next((model.model_id for model in found if model.tags.get("path") == file.path), None)

    def _create(self, file: File, about: dict[str, str]) -> str:
        """Create a model with the tags by which `_find` finds it, even if MLflow's answer is lost."""
        name = model_name(Path(file.path).name)
        with sent_once():
            made = self._client.create_logged_model(self._experiment, name, self._run, about, None, file.kind)
        return str(made.model_id)

    def _about(self, version: Checkpoint, event: Event) -> dict[str, str]:
        file = version.file
        parents = [held.id for held in self.checkpoints.held if held.file.path == file.parent]
        about = {
            "trackhooks.id": self._id, "trackhooks.event": event.index, "step": event.step, "epoch": event.epoch,
            "path": file.path, "format": file.format, "bytes": file.size, "sha256": file.sha256,
            "aliases": ", ".join(version.aliases), "parent": parents[-1] if parents else file.parent,
            "seconds": file.duration,
        }  # fmt: skip
        return {name: str(value) for name, value in about.items() if value is not None}

    def _add_output(self, model: str, event: Event) -> None:
        from mlflow.entities import LoggedModelOutput

        if model not in self._outputs:
            with sent_once():
                self._client.log_outputs(self._run, [LoggedModelOutput(model, max(event.step, 0))])
            self._outputs.add(model)

    def register(self, name: str) -> None:
        """Register the checkpoints that have aliases as versions of a model, with the same aliases."""
        self._create_registered(name)
        known = self._client.search_model_versions(f"name = '{name}' AND run_id = '{self._run}'")
        for checkpoint in self.checkpoints.held:
            tags = {"sha256": checkpoint.file.sha256}
            version = next((version for version in known if version.tags == tags), None)
            for alias in checkpoint.aliases:
                version = version or self._create_version(name, checkpoint.id, tags)
                self._client.set_registered_model_alias(name, alias, version.version)

    def _create_version(self, name: str, model: str, tags: dict[str, str]) -> Any:
        # Given `models:/<id>`, a SQLite registry would look for the model in the process-wide store.
        source = self._client.get_logged_model(model).artifact_location
        with sent_once():
            return self._client.create_model_version(name, source, self._run, tags, model_id=model)

    def _create_registered(self, name: str) -> None:
        from mlflow import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


@contextmanager
def uploading(path: Path, name: str) -> Iterator[str]:
    """Yield a path that ends in `name` and links to this file or folder: MLflow uses the name of the path."""
    with upload_time(path), tempfile.TemporaryDirectory() as folder:
        link = Path(folder, name)
        link.symlink_to(path.absolute())
        yield str(link)
