"""`connect`: an `MlflowClient` whose requests end soon, and `upload_time` for those that take long."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_SOON_S = 20
_STORING_S = 120
"""What a server may take for a small file, MLflow's own default."""
_BYTES_PER_S = 10e6
"""How slowly a server may pass on a large one, to S3 perhaps, before it answers."""
_ENVIRONMENT = {
    _TIMEOUT: str(_SOON_S),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # delivery tries again itself; MLflow's own 7 take four minutes
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

_mutex = threading.Lock()
_chosen: list[bool] = []
"""Holds a value where the timeout is ours."""
_uploads: list[int] = []
"""The seconds that each upload which is under way may take."""


def connect(uri: str) -> Any:
    """An `MlflowClient`.

    MLflow takes its timeouts from the environment only. They are set where nothing else of this process has imported
    MLflow, which is so in the delivery process, and where the user has not set them.
    """
    if "mlflow" not in sys.modules:
        if (
            os.environ.get(_TIMEOUT, _ENVIRONMENT[_TIMEOUT]) == _ENVIRONMENT[_TIMEOUT]
        ):  # a parent's may be ours, too
            _chosen.append(True)
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


@contextmanager
def upload_time(path: Path) -> Iterator[None]:
    """Gives requests the time that a server may need to store this file or folder before it answers.

    Every request asks the environment how long it may take, in whichever thread: meanwhile others may take as long.
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
        os.environ[_TIMEOUT] = str(max(_uploads, default=_SOON_S))


def _size(path: Path) -> int:
    parts = path.rglob("*") if path.is_dir() else [path]
    return sum(part.stat().st_size for part in parts if part.is_file())
