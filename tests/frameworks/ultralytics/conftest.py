"""What the tests of Ultralytics share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from yolo import Shapes

import trackhooks


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Shapes:
    return Shapes(tmp_path_factory.mktemp("shapes"))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder with the runs, while `enable` is on."""
    trackhooks.enable(dir=tmp_path / "runs", delivery="off")
    yield tmp_path / "runs"
    trackhooks.disable()
