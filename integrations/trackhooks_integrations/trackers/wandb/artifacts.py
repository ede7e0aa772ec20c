"""`Artifacts`: a run's files as artifacts of W&B, and which was made of which."""

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

    An export comes behind its checkpoint, which is logged for that, and is marked as used by the run: so W&B draws its
    lineage. Online that is said of the artifact that the server has; offline it is a part of the record that
    `wandb sync` uploads.

    Args:
        run: whose files.
        logged_to: the W&B run.
        state: what `state` returned.
    """

    def __init__(self, run: RunInfo, logged_to: Any, state: Any = None) -> None:
        self._run, self._to = run, logged_to
        self._checkpoints = Checkpoints(run.keep, state)
        self._logged: dict[str, Any] = {}
        """By name and version, the artifacts that this process has logged."""
        self._used: set[int] = set()
        """The numbers of the checkpoints that W&B has been told the use of."""

    def add(self, file: File, path: Path, event: Event) -> None:
        """Logs a file; a checkpoint when the run ends, or at once where all are kept."""
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
        """Logs the checkpoints that stay, as far as W&B has not got them yet."""
        for checkpoint in self._checkpoints.held:
            if not checkpoint.id:
                self._log_checkpoint(checkpoint)

    def state(self) -> dict[str, Any]:
        """As JSON holds it."""
        return self._checkpoints.state()

    def _log_checkpoint(self, checkpoint: Checkpoint, used: bool = False) -> None:
        source = checkpoint.source(self._run)
        if source.exists():
            checkpoint.id = self._log(checkpoint.file, source, checkpoint.aliases, used)

    def _use(self, checkpoint: Checkpoint) -> None:
        """Says that the run uses this checkpoint, once, and as soon as W&B has it."""
        if checkpoint.number in self._used:
            return
        if self._to.offline or not checkpoint.id:
            self._log_checkpoint(checkpoint, used=self._to.offline)
        if checkpoint.id and not self._to.offline:
            self._link(checkpoint.id)
        self._used.add(checkpoint.number)

    def _link(self, name: str) -> None:
        """What W&B does not take costs no more than the link."""
        import wandb

        try:
            self._to.use_artifact(self._logged.get(name, name))
        except (wandb.Error, _failed_request(), ValueError) as error:
            log.warning(
                "wandb: %s is not linked to what was made of it: %s",
                name,
                error,
                extra={"run": self._run.path},
            )

    def _log(self, file: File, path: Path, aliases: Sequence[str] = (), used: bool = False) -> str:
        """Logs a file, waits until it is uploaded, and returns what W&B calls it."""
        import wandb

        artifact = wandb.Artifact(
            as_artifact(self._to.id, file.path, file.kind), file.kind, metadata=_about(file)
        )
        policy = "immutable" if file.kept else "mutable"
        if path.is_dir():
            artifact.add_dir(str(path), policy=policy)
        else:
            artifact.add_file(str(path), Path(file.path).name, policy=policy)
        if used:  # what `use_artifact` does with one that is not logged yet, but for its refusal offline
            self._to._log_artifact(
                artifact, aliases=list(aliases), is_user_created=True, use_after_commit=True
            )
        else:
            self._to.log_artifact(artifact, aliases=list(aliases))
        return artifact.name if self._to.offline else self._uploaded(artifact)

    def _uploaded(self, artifact: Any) -> str:
        """Waits until the server has it.

        Raises:
            ValueError: the server did not take it.
        """
        name: str = artifact.name
        try:
            artifact.wait()
        except _failed_request() as error:  # it is there; what the server has made of it is not known
            where = {"run": self._run.path}
            log.warning("wandb: %s is uploaded, and cannot be linked: %s", name, error, extra=where)
            return name
        self._logged[artifact.qualified_name] = artifact
        qualified: str = artifact.qualified_name
        return qualified


def _failed_request() -> type[Exception]:
    """What W&B raises where a request to the server fails; it is no `wandb.Error`."""
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError

    found: type[Exception] = WandbApiFailedError
    return found


def _about(file: File) -> dict[str, Any]:
    about = {
        "path": file.path, "format": file.format, "bytes": file.size, "sha256": file.sha256, "parent": file.parent,
        "seconds": file.duration, "metrics": {name: as_json(value) for name, value in file.metrics.items()} or None,
    }  # fmt: skip
    return {name: value for name, value in about.items() if value is not None}
