"""What the tests for reading runs share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def in_separate_directories(here: Path) -> None:
    """Give each test its own working directory."""
