"""What the tests for reading runs share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test its own working directory, with its own `runs`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACKHOOKS_DELIVERY", "off")
    monkeypatch.delenv("TRACKHOOKS_DIR", raising=False)
    return tmp_path
