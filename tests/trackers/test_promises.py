"""The promises of `trackhooks.testing`, tested with the bundled trackers on their real backends."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from typing import Any

import backends
import pytest
from folders import ROOT
from mlflow_server import Server

from trackhooks.delivery.registry import ENTRY_POINTS
from trackhooks.testing import ABILITIES, TrackerPromises


class TestCSV(TrackerPromises):
    tracker = "csv"
    read = staticmethod(backends.read_csv)
    called = staticmethod(backends.called_in_csv)


class TestTensorBoard(TrackerPromises):
    tracker = "tensorboard"
    cannot = {
        "doubles": "scalars are 32-bit floats there",
        "repeats": "the last one replaces the others",
    }
    read = staticmethod(backends.read_tensorboard)


@pytest.mark.slow
class TestMLflow(TrackerPromises):
    tracker = "mlflow"
    cannot = {
        "infinity": "a SQL store holds 1.797e308 instead",
        "rewind": "its rows stay",
    }
    read = staticmethod(backends.read_mlflow)
    called = staticmethod(backends.called_in_mlflow)

    @pytest.fixture
    def options(self, store: str) -> dict[str, Any]:
        return {"tracking_uri": store}


class TestMLflowOnAServer(TestMLflow):
    @pytest.fixture
    def options(self, server: Server) -> dict[str, Any]:
        return {"tracking_uri": server.uri}


@pytest.mark.slow
class TestWandB(TrackerPromises):
    tracker = "wandb"
    cannot = {
        "rewind": "its rows stay",
        "earlier": "it takes no step before its last",
    }
    read = staticmethod(backends.read_wandb)
    called = staticmethod(backends.called_in_wandb)

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"mode": "offline"}


def test_every_bundled_tracker_has_its_suite() -> None:
    bundled = distribution("trackhooks").entry_points.select(group=ENTRY_POINTS).names
    suites = {suite.tracker for suite in globals().values() if getattr(suite, "tracker", None)}
    assert suites == bundled


def rows(page: str) -> list[tuple[str, ...]]:
    """Return the rows of the tables on a page of the documentation."""
    text = ROOT.joinpath("docs", page).read_text()
    tables = re.findall(r"^[|-]+\n((?:\|.+\n)+)", text, re.MULTILINE)
    return [tuple(row.strip("| ").split(" | ")) for table in tables for row in table.splitlines()]


def test_what_a_backend_cannot_hold_is_documented() -> None:
    suites = [suite for suite in globals().values() if getattr(suite, "tracker", None)]
    cannot = {(suite.tracker, ABILITIES[what], why) for suite in suites for what, why in suite.cannot.items()}
    assert cannot == {row for row in rows("topics/trackers.md") if len(row) == 3}


def test_what_a_backend_may_be_unable_to_hold_is_documented() -> None:
    assert {row[0]: row[1] for row in rows("reference/testing.md")} == {
        f"`{word}`": what for word, what in ABILITIES.items()
    }
