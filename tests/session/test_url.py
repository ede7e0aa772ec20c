"""`run.url`: the address of a run in each tracker, as soon as one asks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trackhooks


@pytest.mark.slow  # imports MLflow and W&B in another process
@pytest.mark.parametrize("delivery", ["process", "inline"])
def test_every_tracker_has_an_address_directly_after_the_with(
    tmp_path: Path, new_store: Callable[[Path], str], delivery: str
) -> None:
    options: dict[str, Any] = {
        "csv": {}, "tensorboard": {}, "mlflow": {"tracking_uri": new_store(tmp_path / "mlflow.db")},
        "wandb": {"mode": "offline"},
    }  # fmt: skip
    if delivery == "inline":
        del options["wandb"]  # W&B keeps a service process for as long as this one lives
    with trackhooks.run(dir=tmp_path, delivery=delivery, **options) as run:
        run.log(loss=1.0)
    found = {name: run.url(name) for name in options}
    assert all(found.values()), found
    assert found["csv"] == str(run.path)


def test_an_address_that_cannot_come_is_not_waited_for(tmp_path: Path) -> None:
    with trackhooks.run("csv", dir=tmp_path, delivery="off") as run:
        run.log(loss=1.0)
    assert run.url("csv") is None
    with trackhooks.run("csv", dir=tmp_path, delivery="inline") as empty:
        assert empty.url("csv") is None  # nothing is recorded, so nothing is delivered


def test_a_training_does_not_wait_for_an_address(tmp_path: Path) -> None:
    with trackhooks.run("csv", dir=tmp_path, delivery="inline") as run:
        for _ in run.epochs(1):
            run.url("csv")
            run.log(loss=1.0)
    assert run.url("csv") == str(run.path)


def test_a_tracker_that_fails_is_not_waited_for(tmp_path: Path) -> None:
    class Down(trackhooks.Tracker):
        def flush(self) -> dict[str, object]:
            raise ConnectionError("down")

    with trackhooks.run(Down(), dir=tmp_path, wait=0) as run:  # nor at the end of this process
        run.log(loss=1.0)
    assert run.url("down", timeout=600) is None


@pytest.mark.parametrize("delivery", ["process", "inline"])
def test_a_tracker_without_an_address_is_not_waited_for(
    tmp_path: Path, third_party: None, delivery: str
) -> None:
    with trackhooks.run("labbook", dir=tmp_path, delivery=delivery) as run:
        run.log(loss=1.0)
    assert run.wait(100)
    assert run.url("labbook", timeout=600) is None


@pytest.mark.parametrize("wrong", [-1, "soon", float("nan")])
def test_a_timeout_that_is_not_a_number_from_0_is_refused(run: trackhooks.Run, wrong: object) -> None:
    with pytest.raises(trackhooks.InvalidValueError, match="timeout must be a finite number from 0"):
        run.url("csv", timeout=wrong)  # type: ignore[arg-type]
