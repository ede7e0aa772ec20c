"""`history`: all points of runs, as columns."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import trackhooks
from trackhooks.reading.points import points


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test its own working directory, with its own `runs`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACKHOOKS_DELIVERY", "off")
    monkeypatch.delenv("TRACKHOOKS_DIR", raising=False)
    return tmp_path


def train(name: str, epochs: int = 2, *, offset: float = 0.0) -> Path:
    """Record a run with three batches an epoch."""
    with trackhooks.run(name=name) as run:
        for epoch in run.epochs(epochs):
            for batch in run.train(range(3)):
                run.log(loss=offset + 10 * epoch + batch)
            for _ in run.validate(range(2)):
                run.log(loss=offset + epoch)
    return run.path


def test_a_run_becomes_one_row_per_step_with_all_its_values() -> None:
    train("a")
    found = trackhooks.history("runs/a", "*/loss")
    assert found.names == ["train_batch/loss", "train/loss", "val/loss", "best/val/loss"]
    assert list(found["step"]) == [0, 1, 2, 3, 4, 5]
    assert list(found["epoch"]) == [0, 0, 0, 1, 1, 1]
    assert list(found["train_batch/loss"]) == [0, 1, 2, 10, 11, 12]
    np.testing.assert_array_equal(found["val/loss"], [math.nan, math.nan, 0, math.nan, math.nan, 1])
    assert found["val/loss"].dtype == np.float64
    assert found["step"].dtype == np.int64


def test_the_hooks_that_repeat_the_metrics_of_an_epoch_are_one_point() -> None:
    path = train("a", epochs=3)
    assert list(points(path)["val/loss"].value) == [0, 1, 2]
    assert list(points(path)["val/loss"].epoch) == [0, 1, 2]


def test_over_epochs_there_is_one_row_per_epoch() -> None:
    train("a")
    found = trackhooks.history("runs/a", "train_batch/loss,val/loss", over="epoch")
    assert list(found["epoch"]) == [0, 1]
    assert list(found["step"]) == [2, 5]
    assert list(found["train_batch/loss"]) == [2, 12]
    assert list(found["val/loss"]) == [0, 1]


def test_an_unknown_metric_is_an_error_with_the_nearest_name() -> None:
    train("a")
    with pytest.raises(
        trackhooks.UnknownNameError, match=r"unknown metric 'val/los'\. Did you mean 'val/loss'"
    ):
        trackhooks.history("runs/a", "val/los")


def test_several_runs_have_a_column_with_their_names() -> None:
    train("a")
    train("b", offset=0.5)
    found = trackhooks.history(["a", "b"], "val/loss")
    assert list(found["run"]) == ["a", "a", "b", "b"]
    assert list(found["val/loss"]) == [0, 1, 0.5, 1.5]
    assert list(trackhooks.runs().history("val/loss")["run"]) == ["b", "b", "a", "a"]
    assert list(trackhooks.compare(["a", "b"]).history("val/loss")["run"]) == ["a", "a", "b", "b"]
