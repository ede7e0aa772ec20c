"""`Artifacts`: the files of a run as artifacts of W&B, and their lineage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trackhooks.errors import log
from trackhooks.event import Event, File, RunInfo

from ..._shared.checkpoints import Checkpoint, Checkpoints
from .names import as_artifact, as_json


class Artifacts:
    """The files of one run.

    Before an export, its checkpoint is logged and marked as used by the run, from which W&B draws the lineage. Online,
    the mark is set on the artifact that the server has; offline, it is part of the record that `wandb sync` uploads.

    Args:
        run: the run that the files belong to.
        logged_to: the W&B run.
        state: the return value of `state`, to continue from it.
    """

    def __init__(self, run: RunInfo, logged_to: Any, state: Any = None) -> None:
        self._run, self._to = run, logged_to
        self._checkpoints = Checkpoints(run.keep, state)
        self._logged: dict[str, Any] = {}
        """Name and version → artifact, of those that this process has logged."""
        self._used: set[int] = set()
        """The numbers of the checkpoints that are marked as used."""

    def add(self, file: File, path: Path, event: Event) -> None:
        """Log a file; a checkpoint is logged when the run ends, unless all checkpoints are kept."""
        if file.kind == "model":
            self._checkpoints.add(file, event.index)
            if self._checkpoints.policy.everything:
                self.log_checkpoints()
            return
        checkpoint = self._checkpoints.of(file.parent)
        if checkpoint is not None:
            self._use(checkpoint)
        self._log(file, path)

    def log_checkpoints(self) -> None:
        """Log the checkpoints that are kept and not logged yet."""
        for checkpoint in self._checkpoints.held:
            if not checkpoint.id:
                self._log_checkpoint(checkpoint)

    def state(self) -> dict[str, Any]:
        """Return the state as plain JSON values."""
        return self._checkpoints.state()

    def _log_checkpoint(self, checkpoint: Checkpoint, used: bool = False) -> None:
        source = checkpoint.source(self._run)
        if source is not None:
            checkpoint.id = self._log(checkpoint.file, source, checkpoint.aliases, used)

    def _use(self, checkpoint: Checkpoint) -> None:
        """Mark the checkpoint as used by the run, once; log it first if W&B does not have it."""
        if checkpoint.number in self._used:
            return
        if self._to.offline or not checkpoint.id:
            self._log_checkpoint(checkpoint, used=self._to.offline)
        if checkpoint.id and not self._to.offline:
            self._link(checkpoint.id)
        self._used.add(checkpoint.number)

    def _link(self, name: str) -> None:
        """Mark an artifact as used by the run. If W&B rejects the link, log a warning: everything else is kept."""
        import wandb

        try:
            self._to.use_artifact(self._logged.get(name, name))
        except (wandb.Error, _failed_request(), ValueError) as error:
            self._warn("wandb: %s cannot be linked to its exports: %s", name, error)

    def _warn(self, message: str, name: str, error: Exception) -> None:
        log.warning(message, name, error, extra={"run": self._run.path})

    def _log(self, file: File, path: Path, aliases: Sequence[str] = (), used: bool = False) -> str:
        """Log a file and wait until it is uploaded; return its name in W&B."""
        artifact = self._artifact(file, path)
        if used:  # as `use_artifact` does with an artifact that is not logged yet, but it refuses to offline
            self._to._log_artifact(
                artifact, aliases=list(aliases), is_user_created=True, use_after_commit=True
            )
        else:
            self._to.log_artifact(artifact, aliases=list(aliases))
        return artifact.name if self._to.offline else self._uploaded(artifact)

    def _artifact(self, file: File, path: Path) -> Any:
        import wandb

        name = as_artifact(self._to.id, file.path, file.kind)
        artifact = wandb.Artifact(name, file.kind, metadata=_about(file))
        policy = "immutable" if file.kept else "mutable"
        if path.is_dir():
            artifact.add_dir(str(path), policy=policy)
        else:
            artifact.add_file(str(path), Path(file.path).name, policy=policy)
        return artifact

    def _uploaded(self, artifact: Any) -> str:
        """Wait until the artifact is uploaded; return its full name.

        Raises:
            ValueError: the server rejected it.
        """
        name: str = artifact.name
        try:
            artifact.wait()
        except _failed_request() as error:  # it is uploaded, but its version is unknown
            self._warn("wandb: %s is uploaded, but cannot be linked to its exports: %s", name, error)
            return name
        self._logged[artifact.qualified_name] = artifact
        qualified: str = artifact.qualified_name
        return qualified


def _failed_request() -> type[Exception]:
    """Return the exception that W&B raises if a request fails; it is not a `wandb.Error`."""
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError

    found: type[Exception] = WandbApiFailedError
    return found


def _about(file: File) -> dict[str, Any]:
    about = {
        "path": file.path, "format": file.format, "bytes": file.size, "sha256": file.sha256, "parent": file.parent,
        "seconds": file.duration, "metrics": {name: as_json(value) for name, value in file.metrics.items()} or None,
    }  # fmt: skip
    return {name: value for name, value in about.items() if value is not None}
