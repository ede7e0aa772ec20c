"""Names of metrics: comparable whatever the loop, and Keras' own words for Keras' callbacks."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import trackhooks
from trackhooks.hooks import metric_goals, metric_names
from trackhooks.storage import journal


@pytest.mark.parametrize(
    ("prefix", "name", "recorded"),
    [
        ("train_batch/", "loss", "train_batch/loss"),
        ("train/", "f1 score", "train/f1 score"),
        ("train/", "lr", "lr/0"),
        ("train_batch/", "learning_rate", "lr/0"),
        ("train_batch/", "lr/1", "lr/1"),
        ("train/", "metrics/mAP50(B)", "metrics/mAP50(B)"),
        ("train/", "val/box_loss", "val/box_loss"),
        ("train/", "encoder/loss", "train/encoder/loss"),
        ("train/", 3, "train/3"),
    ],
)
def test_a_name_gets_a_prefix_unless_it_has_one(prefix: str, name: object, recorded: str) -> None:
    assert metric_names.prefixed(prefix, name) == recorded
    assert metric_names.Prefixed(prefix)[name] == recorded


def test_a_name_that_is_not_a_string_is_recorded_as_one(tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        run.log({1: 0.5, "loss": 1.0})  # type: ignore[dict-item] # which is what is tested
    assert journal.read(run.path)[0].metrics == {"1": 0.5, "loss": 1.0}


def test_cached_names_do_not_fill_the_memory() -> None:
    remembered = metric_names.Prefixed("train_batch/")
    for index in range(50_000):
        assert remembered[f"x{index}"] == f"train_batch/x{index}"
    assert len(remembered) <= 10_000


def test_only_metrics_that_the_validation_returned_are_recorded_as_validation() -> None:
    logs = {"loss": 1, "val_loss": 2, "val_gap": 3, "val_": 4, "learning_rate": 5}
    assert metric_names.from_keras_epoch(logs, {"loss"}) == {
        "train/loss": 1, "val/loss": 2, "train/val_gap": 3, "train/val_": 4, "lr/0": 5,
    }  # fmt: skip
    assert metric_names.from_keras_epoch({"val_loss": 2}, set()) == {"train/val_loss": 2}
    assert metric_names.from_keras_epoch({"val_val_x": 2}, {"val_x"}) == {"val/val_x": 2}


@pytest.mark.parametrize(
    ("hook", "recorded", "in_keras"),
    [
        ("on_train_batch_end", "train_batch/loss", "loss"),
        ("on_train_batch_end", "train/loss", "loss"),
        ("on_fit_epoch_end", "train/loss", "loss"),
        ("on_fit_epoch_end", "val/loss", "val_loss"),
        ("on_train_end", "val/loss", "val_loss"),
        ("on_val_end", "val/loss", "loss"),
        ("on_val_end", "test/loss", "loss"),
        ("on_val_batch_end", "val_batch/loss", "loss"),
        ("on_predict_end", "predict/images", "images"),
        ("on_fit_epoch_end", "metrics/mAP50(B)", "metrics/mAP50(B)"),
        ("on_fit_epoch_end", "lr/0", "lr/0"),
        ("on_fit_epoch_end", "best/val/loss", "best/val/loss"),
    ],
)
def test_recorded_names_are_translated_to_the_names_of_keras(hook: str, recorded: str, in_keras: str) -> None:
    assert metric_names.to_keras(hook, {recorded: 1}) == {in_keras: 1}


WORDS = st.from_regex(r"(val_)?[a-z][a-z_0-9]{0,8}", fullmatch=True).filter(
    lambda name: name not in ("lr", "learning_rate")
)


@pytest.mark.slow
@given(st.dictionaries(WORDS, st.integers()), st.sets(WORDS))
def test_the_logs_of_an_epoch_are_the_same_after_both_translations(
    logs: dict[str, int], validated: set[str]
) -> None:
    assert metric_names.to_keras("on_fit_epoch_end", metric_names.from_keras_epoch(logs, validated)) == logs


@pytest.mark.parametrize(
    "name",
    [
        "loss", "val/loss", "train/box_loss", "val_loss", "valLoss", "logloss", "mse", "RMSE", "test/MAE", "smape",
        "mean_squared_error", "error", "errors", "err", "perplexity", "ppl", "nll", "WER", "val/cer", "FID",
        "kl_divergence", "binary_crossentropy", "squared_hinge", "poisson", "false_positives", "metrics/mse(B)",
        "loss_2", "objective/minimize",
    ],
)  # fmt: skip
def test_lower_losses_and_errors_are_better(name: str) -> None:
    assert metric_goals.lower_is_better(name)
    assert metric_goals.better(name, 1.0, 2.0)
    assert not metric_goals.better(name, 2.0, 1.0)


@pytest.mark.parametrize(
    "name",
    [
        "accuracy", "val/accuracy", "metrics/mAP50(B)", "metrics/precision(B)", "f1", "auc", "r2", "power",
        "tower_score", "cancer_recall", "soccer", "confidence", "valid", "psnr", "true_positives", "reward",
        "lossless_ratio", "objective/maximize",
    ],
)  # fmt: skip
def test_higher_values_of_other_metrics_are_better(name: str) -> None:
    assert not metric_goals.lower_is_better(name)
    assert metric_goals.better(name, 2.0, 1.0)
    assert not metric_goals.better(name, 1.0, 2.0)


def test_nan_is_never_better_and_anything_is_better_than_nan() -> None:
    for name in ("loss", "accuracy"):
        assert not metric_goals.better(name, math.nan, 1.0)
        assert not metric_goals.better(name, math.nan, math.nan)
        assert metric_goals.better(name, 1.0, math.nan)
        assert metric_goals.better(name, -math.inf, math.inf) != metric_goals.better(
            name, math.inf, -math.inf
        )
        assert not metric_goals.better(name, 1.0, 1.0)


@pytest.mark.parametrize(
    "name",
    ["train_batch/loss", "val_batch/loss", "lr/0", "speed/train_s", "system/cpu_percent", "model/updates",
     "predict/images",     "gradients/norm", "weights/norm", "best/val/loss"],
)  # fmt: skip
def test_a_metric_that_measures_no_progress_has_no_best_value(name: str) -> None:
    assert metric_goals.goal(name) == ""
    assert not metric_goals.better(name, 1.0, 2.0)
    assert not metric_goals.better(name, 2.0, 1.0)
    assert not metric_goals.better(name, 1.0, math.nan)
