"""Every promise of `trackhooks.testing`, kept by the bundled trackers on their real backends."""

from __future__ import annotations

from typing import Any

import backends
import pytest

from trackhooks.testing import TrackerPromises


class TestCSV(TrackerPromises):
    tracker = "csv"
    read = staticmethod(backends.read_csv)
    called = staticmethod(backends.called_in_csv)


class TestTensorBoard(TrackerPromises):
    tracker = "tensorboard"
    cannot = {"doubles": "scalars are 32-bit floats there"}  # noqa: RUF012 - a ClassVar of the base
    read = staticmethod(backends.read_tensorboard)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A SQLite store that the tests share: making its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.mark.slow
class TestMLflow(TrackerPromises):
    tracker = "mlflow"
    cannot = {  # noqa: RUF012 - a ClassVar of the base
        "infinity": "a SQL store holds 1.797e308 instead",
        "rewind": "rows cannot be removed; of two at a step, the later one counts",
    }
    read = staticmethod(backends.read_mlflow)
    called = staticmethod(backends.called_in_mlflow)

    @pytest.fixture
    def options(self, store: str) -> dict[str, Any]:
        return {"tracking_uri": store}


@pytest.mark.slow
class TestWandB(TrackerPromises):
    tracker = "wandb"
    cannot = {"rewind": "its files only grow"}  # noqa: RUF012 - a ClassVar of the base
    read = staticmethod(backends.read_wandb)
    called = staticmethod(backends.called_in_wandb)

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"mode": "offline"}
