"""Connect to MLflow with short timeouts, allow more time for uploads, and send some requests only once."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

_TIMEOUT = "MLFLOW_HTTP_REQUEST_TIMEOUT"
_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
_TIMEOUT_S = 20
_STORING_S = 120
"""How long a server may take to store a small file; MLflow's own default."""
_BYTES_PER_S = 10e6
"""How slowly a server may store a large file, such as in S3, before it answers."""
_ENVIRONMENT = {
    _TIMEOUT: str(_TIMEOUT_S),
    _RETRIES: "1",  # delivery retries by itself; MLflow's 7 retries take four minutes
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

_chosen: list[bool] = []
"""Not empty if the timeout was set here."""


class _Variable:
    """An environment variable that is changed for some time. If several threads change it, the largest value counts."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._values: list[int] = []
        self._before: str | None = None
        self._mutex = threading.Lock()

    @contextmanager
    def set(self, value: int) -> Iterator[None]:
        self._change(self._values.append, value)
        try:
            yield
        finally:
            self._change(self._values.remove, value)

    def _change(self, change: Callable[[int], None], value: int) -> None:
        with self._mutex:
            if not self._values:
                self._before = os.environ.get(self._name)
            change(value)
            now = str(max(self._values)) if self._values else self._before
            if now is None:
                del os.environ[self._name]
            else:
                os.environ[self._name] = now


_timeout, _retries = _Variable(_TIMEOUT), _Variable(_RETRIES)


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


def upload_time(path: Path) -> AbstractContextManager[None]:
    """Allow requests as much time as a server may need to store this file or folder.

    The timeout is an environment variable, so requests of other threads may take as long in the meantime.
    """
    if not _chosen:
        return nullcontext()
    return _timeout.set(_STORING_S + int(_size(path) / _BYTES_PER_S))


def sent_once() -> AbstractContextManager[None]:
    """Send requests without MLflow's retries: for those that create something.

    If the answer was lost, a retry would create it twice. The delivery tries again as well, but looks for it first.
    """
    return _retries.set(0)


def _size(path: Path) -> int:
    parts = path.rglob("*") if path.is_dir() else [path]
    return sum(part.stat().st_size for part in parts if part.is_file())
