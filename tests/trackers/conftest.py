"""The stores of MLflow that the tests of trackers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow_server import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, mlflow_tables: Path) -> Iterator[Server]:
    """A running server."""
    server = Server(tmp_path_factory.mktemp("server"), mlflow_tables)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], str]) -> str:
    """A SQLite store."""
    return new_store(tmp_path_factory.mktemp("store") / "mlflow.db")
