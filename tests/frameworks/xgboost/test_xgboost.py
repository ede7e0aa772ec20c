"""What is special about XGBoost: names of sets, early stopping, trainings that are continued, and its callbacks."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from autologs import check_recorded_once

import trackhooks
from trackhooks.recording import open_runs
from trackhooks.testing.framework_promises.base import events, infos

X = np.random.default_rng(0).normal(size=(60, 3))
Y = X.sum(axis=1)
PARAMS = {"max_depth": 2, "eta": 0.5, "nthread": 1}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """`enable` is on; the directory of its runs."""
    trackhooks.enable(dir=tmp_path / "runs", delivery="off", system=None)
    yield tmp_path / "runs"
    trackhooks.disable()
    for run in open_runs.every():
        run.close()


def data(start: int = 0, end: int = 40) -> Any:
    return xgboost.DMatrix(X[start:end], Y[start:end])


def train(rounds: int = 2, **named: Any) -> Any:
    return xgboost.train(PARAMS, data(), rounds, verbose_eval=False, **named)


def prefixes(home: Path) -> set[str]:
    (info,) = infos(home)
    return {name.partition("/")[0] for name in events(info.path, "on_fit_epoch_end")[-1].metrics}


@pytest.mark.parametrize(
    ("names", "recorded"),
    [
        (["train", "test"], {"train", "val"}),
        (["eval", "holdout"], {"val", "holdout"}),
        (["north", "south"], {"north", "val"}),
        (["train"], {"train"}),
    ],
)
def test_the_validation_set_is_the_one_that_is_called_so_or_the_last_one(
    names: list[str], recorded: set[str], home: Path
) -> None:
    train(evals=[(data(40, 60), name) for name in names])
    assert prefixes(home) == recorded


def test_the_training_set_may_have_any_name(home: Path) -> None:
    own = data()
    xgboost.train(PARAMS, own, 2, evals=[(own, "mine"), (data(40, 60), "yours")], verbose_eval=False)
    assert prefixes(home) == {"train", "val"}


def test_a_training_without_evaluation_has_its_epochs(home: Path) -> None:
    train(3)
    (info,) = infos(home)
    assert [event.epoch for event in events(info.path, "on_fit_epoch_end")] == [0, 1, 2]


def test_early_stopping_hides_no_round_and_is_heard(home: Path) -> None:
    result: dict[str, Any] = {}
    named = {"evals": [(data(40, 60), "val")], "evals_result": result, "early_stopping_rounds": 2}
    booster = train(500, **named)
    (info,) = infos(home)
    values = [event.metrics["val/rmse"] for event in events(info.path, "on_fit_epoch_end")]
    assert values == result["val"]["rmse"]
    assert len(values) < 500
    (end,) = events(info.path, "on_train_end")
    assert end.facts["model/best_iteration"] == booster.best_iteration
    assert end.facts["model/trees"] == booster.num_boosted_rounds() == len(values)
    (start,) = events(info.path, "on_pretrain_routine_start")
    assert start.params["early_stopping_rounds"] == 2


def test_a_copy_of_the_booster_continues_its_run_at_its_round(home: Path) -> None:
    train(3, xgb_model=train(2))
    (info,) = infos(home)
    assert [event.epoch for event in events(info.path, "on_fit_epoch_end")] == [0, 1, 2, 3, 4]
    assert len(events(info.path, "teardown")) == 2


def test_the_booster_that_is_returned_belongs_to_the_run(home: Path, tmp_path: Path) -> None:
    best = xgboost.callback.EarlyStopping(rounds=2, save_best=True)
    booster = train(500, evals=[(data(40, 60), "val")], callbacks=[best])  # a slice of the trained one
    booster.save_model(tmp_path / "best.ubj")
    (info,) = infos(home)
    assert len(events(info.path, "on_model_save")) == 1


def test_a_saved_model_continues_its_run(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    booster = train(2)
    booster.save_model(path)
    train(1, xgb_model=str(path))
    (info,) = infos(home)
    assert [event.epoch for event in events(info.path, "on_fit_epoch_end")] == [0, 1, 2]
    assert [file.name for event in events(info.path, "on_model_save") for file in event.files] == [
        "model.json"
    ]


def test_a_checkpoint_of_a_round_is_recorded_before_its_epoch_ends(home: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    saves = xgboost.callback.TrainingCheckPoint(tmp_path / "checkpoints", interval=1)
    train(2, callbacks=[saves])
    (info,) = infos(home)
    hooks = [event.hook for event in events(info.path) if event.epoch == 1]
    assert hooks[1:4] == ["on_train_epoch_end", "on_model_save", "on_fit_epoch_end"]


def test_a_round_is_a_step_also_if_the_training_is_continued(home: Path) -> None:
    train(2, xgb_model=train(3))
    (info,) = infos(home)
    assert [event.step for event in events(info.path, "on_fit_epoch_end")] == [0, 1, 2, 3, 4]


def test_a_cross_validation_is_a_run_with_means_and_standard_deviations(home: Path) -> None:
    found = xgboost.cv(PARAMS, data(), 2, nfold=2, as_pandas=False)
    (info,) = infos(home)
    ends = events(info.path, "on_fit_epoch_end")
    assert [event.metrics["val/rmse"] for event in ends] == found["test-rmse-mean"]
    assert [event.metrics["train/rmse_std"] for event in ends] == found["train-rmse-std"]
    assert info.status == "finished"


@pytest.mark.slow
def test_a_training_that_others_have_wrapped_is_recorded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_recorded_once(xgboost, lambda: xgboost.train(PARAMS, data(), 1), tmp_path, monkeypatch)


def test_parameters_that_xgboost_refuses_fail_the_run(home: Path) -> None:
    with pytest.raises(xgboost.core.XGBoostError):
        xgboost.train({"objective": "no:such"}, data(), 2)
    (info,) = infos(home)
    assert info.status == "failed"
    assert "no:such" in (info.reason or "")


def test_a_function_that_was_imported_by_its_name_is_recorded(home: Path) -> None:
    from xgboost import train as by_name

    by_name(PARAMS, data(), 1)
    assert len(infos(home)) == 1


def test_wrong_arguments_raise_what_xgboost_raises(home: Path) -> None:
    with pytest.raises(TypeError, match="no_such"):
        xgboost.train(PARAMS, data(), no_such=1)
    assert infos(home) == []


def test_a_callback_records_into_its_run_only(home: Path, tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path / "mine", delivery="off", system=None) as run:
        train(2, callbacks=[run.callback("xgboost")])
    assert [info.path for info in infos(home)] == []
    assert [event.epoch for event in events(run.path, "on_fit_epoch_end")] == [0, 1]


def test_a_callback_of_another_process_says_that_it_records_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with trackhooks.run(dir=tmp_path, delivery="off", system=None) as run:
        pickled = pickle.dumps(run.callback("xgboost"))
        monkeypatch.setattr(os, "getpid", lambda: -1)
        copied = pickle.loads(pickled)
        monkeypatch.undo()
        with pytest.warns(trackhooks.TrackhooksWarning, match="copied into another process"):
            train(1, callbacks=[copied])
    assert events(run.path, "on_train_start") == []


@pytest.mark.parametrize("name", ["xgbost", "", 3, None])
def test_a_framework_that_is_not_known_is_an_error_with_the_nearest_name(name: Any, tmp_path: Path) -> None:
    run = trackhooks.run(dir=tmp_path, delivery="off", system=None)
    with run, pytest.raises(trackhooks.UnknownNameError, match="xgboost"):
        run.callback(name)


def test_a_framework_without_callbacks_is_an_error(tmp_path: Path) -> None:
    run = trackhooks.run(dir=tmp_path, delivery="off", system=None)
    with run, pytest.raises(trackhooks.InvalidValueError, match=r"run\.attach"):
        run.callback("ultralytics.engine.model")


def test_a_callback_of_a_closed_run_says_that_it_records_nothing(tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path, delivery="off", system=None) as run:
        callback = run.callback("xgboost")
    with pytest.warns(trackhooks.TrackhooksWarning, match="run is closed"):
        train(1, callbacks=[callback])
