"""The best values that the recorder adds to each epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping

import trackhooks
from trackhooks import Run


def train(run: Run, *epochs: Mapping[str, float]) -> None:
    run.run_callbacks("on_train_start")
    for epoch, metrics in enumerate(epochs):
        run.run_callbacks("on_train_epoch_start", epoch=epoch)
        run.run_callbacks("on_fit_epoch_end", metrics=metrics, epoch=epoch)
    run.run_callbacks("on_train_end")


def best(run: Run) -> list[dict[str, float]]:
    return [event.best for event in trackhooks.journal.read(run.path) if event.hook == "on_fit_epoch_end"]


def test_every_epoch_has_the_best_values_so_far(run: Run) -> None:
    train(
        run,
        {"val/loss": 2.0, "val/f1": 0.5},
        {"val/loss": math.nan, "val/f1": 0.75},
        {"val/loss": 1.0, "val/f1": 0.1},
    )
    assert best(run) == [
        {"val/loss": 2.0, "val/f1": 0.5}, {"val/loss": 2.0, "val/f1": 0.75}, {"val/loss": 1.0, "val/f1": 0.75},
    ]  # fmt: skip


def test_only_metrics_of_the_validation_have_a_best_value_if_there_is_one(run: Run) -> None:
    train(
        run, {"train/loss": 1.0, "val/loss": 2.0, "lr/0": 0.1}, {"train/loss": 0.5, "metrics/mAP50(B)": 0.25}
    )
    assert best(run) == [{"val/loss": 2.0}, {"val/loss": 2.0, "metrics/mAP50(B)": 0.25}]


def test_without_a_validation_every_metric_of_the_epochs_has_a_best_value(run: Run) -> None:
    train(run, {"train/loss": 1.0, "f1": 0.5}, {"train/loss": 2.0, "f1": 0.75})
    assert best(run) == [{"train/loss": 1.0, "f1": 0.5}, {"train/loss": 1.0, "f1": 0.75}]


def test_a_best_value_from_before_the_first_validation_is_kept_up_to_date(run: Run) -> None:
    train(run, {"train/loss": 2.0}, {"train/loss": 1.0, "val/loss": 3.0})
    assert best(run) == [{"train/loss": 2.0}, {"train/loss": 1.0, "val/loss": 3.0}]


def test_a_run_that_continues_knows_the_best_values_of_before(run: Run) -> None:
    train(run, {"val/loss": 1.0})
    run.close()
    with trackhooks.run(resume=run.path, delivery="off") as again:
        train(again, {"val/loss": 2.0})
    assert best(run)[-1] == {"val/loss": 1.0}
