"""Connect to MLflow with short timeouts, and allow more time for uploads."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_TIMEOUT_S = 20
_STORING_S = 120
"""How long a server may take to store a small file; MLflow's own default."""
_BYTES_PER_S = 10e6
"""How slowly a server may store a large file, such as in S3, before it answers."""
_ENVIRONMENT = {
    _TIMEOUT: str(_TIMEOUT_S),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # delivery retries by itself; MLflow's 7 retries take four minutes
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

_mutex = threading.Lock()
_chosen: list[bool] = []
"""Not empty if the timeout was set here."""
_uploads: list[int] = []
"""How many seconds each running upload may take."""


def connect(uri: str) -> Any:
    """Return an `MlflowClient`.

    MLflow reads its timeouts from environment variables only. They are set here unless the user has set them, or other
    code of this process has imported MLflow. In the delivery process, no other code does.
    """
    if "mlflow" not in sys.modules:
        _set_environment()
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _set_environment() -> None:
    ours = _ENVIRONMENT[_TIMEOUT]
    if os.environ.get(_TIMEOUT, ours) == ours:  # a parent process may have set it here as well
        _chosen.append(True)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)


@contextmanager
def upload_time(path: Path) -> Iterator[None]:
    """Allow requests as much time as a server may need to store this file or folder.

    The timeout is an environment variable, so requests of other threads may take as long in the meantime.
    """
    if not _chosen:
        yield
        return
    seconds = _STORING_S + int(_size(path) / _BYTES_PER_S)
    _set(seconds, begins=True)
    try:
        yield
    finally:
        _set(seconds, begins=False)


def _set(seconds: int, begins: bool) -> None:
    with _mutex:
        if begins:
            _uploads.append(seconds)
        else:
            _uploads.remove(seconds)
        os.environ[_TIMEOUT] = str(max(_uploads, default=_TIMEOUT_S))


def _size(path: Path) -> int:
    parts = path.rglob("*") if path.is_dir() else [path]
    return sum(part.stat().st_size for part in parts if part.is_file())
