"""Helpers for authors of trackers, so that a backend and the run's folder follow the same rules."""

from __future__ import annotations

from .errors.foreign import shown
from .errors.secrets import redact_text
from .storage.checkpoints import Policy as CheckpointPolicy
from .storage.checkpoints import bytes_of
from .storage.locks import locked
from .storage.processes import is_alive
from .storage.run_folder import as_file_name

__all__ = ["CheckpointPolicy", "as_file_name", "bytes_of", "is_alive", "locked", "redact_text", "shown"]
