"""A training function that another package has wrapped, as MLflow's autolog does."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trackhooks
from trackhooks.testing.framework_promises.base import infos


def check_recorded_once(
    module: Any, train: Callable[[], object], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check that a training is one run if `module.train` was wrapped before, and that the wrapper stays."""
    original = module.train

    @functools.wraps(original)
    def autolog(*args: Any, **named: Any) -> Any:
        return original(*args, **named)

    monkeypatch.setattr(module, "train", autolog)
    trackhooks.enable(dir=folder, delivery="off", system=None)
    train()
    trackhooks.disable()
    assert len(infos(folder)) == 1
    assert module.train is autolog
