"""What is special about LightGBM: names of sets, early stopping, trainings that are continued, and its callbacks."""

from __future__ import annotations

import copy
import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
from autologs import check_recorded_once

import trackhooks
from trackhooks.recording import open_runs
from trackhooks.testing.framework_promises.base import events, infos

X = np.random.default_rng(0).normal(size=(60, 3))
Y = X.sum(axis=1)
PARAMS = {"objective": "l2", "verbose": -1, "num_threads": 1, "min_child_samples": 2, "learning_rate": 0.5}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """`enable` is on; the directory of its runs."""
    trackhooks.enable(dir=tmp_path / "runs", delivery="off", system=None)
    yield tmp_path / "runs"
    trackhooks.disable()
    for run in open_runs.every():
        run.close()


def data(start: int = 0, end: int = 40) -> Any:
    return lightgbm.Dataset(X[start:end], Y[start:end])


def train(rounds: int = 2, params: dict[str, Any] = PARAMS, **named: Any) -> Any:
    return lightgbm.train(params, data(), rounds, **named)


def epochs(path: str) -> list[int]:
    return [event.epoch for event in events(path, "on_fit_epoch_end")]


@pytest.mark.parametrize("names", [None, ["mine", "yours"], ["training", "valid_1"]])
def test_the_training_set_is_train_whatever_its_name(names: list[str] | None, home: Path) -> None:
    own = data()
    lightgbm.train(PARAMS, own, 2, valid_sets=[own, data(40, 60)], valid_names=names)
    (info,) = infos(home)
    assert set(events(info.path, "on_fit_epoch_end")[-1].metrics) == {"train/l2", "val/l2"}


@pytest.mark.parametrize("how", ["callback", "parameter"])
def test_early_stopping_hides_no_round_and_is_heard(how: str, home: Path) -> None:
    result: dict[str, Any] = {}
    callbacks: list[Any] = [lightgbm.record_evaluation(result)]
    params = PARAMS
    if how == "callback":
        callbacks.append(lightgbm.early_stopping(2, verbose=False))
    else:
        params = {**PARAMS, "early_stopping_round": 2}
    booster = train(500, params, valid_sets=[data(40, 60)], callbacks=callbacks)
    (info,) = infos(home)
    values = [event.metrics["val/l2"] for event in events(info.path, "on_fit_epoch_end")]
    assert values == result["valid_0"]["l2"]
    assert len(values) < 500
    (end,) = events(info.path, "on_train_end")
    assert end.facts["model/best_iteration"] == booster.best_iteration - 1
    assert end.facts["model/trees"] == booster.num_trees()
    assert info.status == "finished"


def test_the_last_round_of_a_training_with_early_stopping_is_recorded(home: Path) -> None:
    early = lightgbm.early_stopping(500, verbose=False)
    train(3, valid_sets=[data(40, 60)], callbacks=[early])
    (info,) = infos(home)
    assert epochs(info.path) == [0, 1, 2]


def test_a_booster_that_is_trained_further_continues_its_run_at_its_round(home: Path) -> None:
    train(3, init_model=train(2))
    (info,) = infos(home)
    assert epochs(info.path) == [0, 1, 2, 3, 4]


def test_a_saved_model_continues_its_run(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    train(2).save_model(path)
    train(1, init_model=path)
    (info,) = infos(home)
    assert epochs(info.path) == [0, 1, 2]
    assert [file.name for event in events(info.path, "on_model_save") for file in event.files] == [
        "model.txt"
    ]


def test_a_round_is_a_step_also_if_the_training_is_continued(home: Path) -> None:
    train(2, init_model=train(3))
    (info,) = infos(home)
    assert [event.step for event in events(info.path, "on_fit_epoch_end")] == [0, 1, 2, 3, 4]


def test_a_cross_validation_is_a_run_with_means_and_standard_deviations(home: Path) -> None:
    found = lightgbm.cv(PARAMS, data(), 2, nfold=2, stratified=False, eval_train_metric=True)
    (info,) = infos(home)
    ends = events(info.path, "on_fit_epoch_end")
    assert [event.metrics["val/l2"] for event in ends] == found["valid l2-mean"]
    assert [event.metrics["val/l2_std"] for event in ends] == found["valid l2-stdv"]
    assert [event.metrics["train/l2"] for event in ends] == found["train l2-mean"]


def test_a_training_that_others_have_wrapped_is_recorded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_recorded_once(lightgbm, lambda: lightgbm.train(PARAMS, data(), 1), tmp_path, monkeypatch)


def test_parameters_that_lightgbm_refuses_fail_the_run(home: Path) -> None:
    with pytest.raises(lightgbm.basic.LightGBMError):
        train(2, {**PARAMS, "objective": "no_such"})
    (info,) = infos(home)
    assert info.status == "failed"
    assert "no_such" in (info.reason or "")


def test_the_order_of_callbacks_of_the_user_is_theirs(home: Path) -> None:
    heard: list[str] = []

    def first(env: Any) -> None:
        heard.append("first")

    def second(env: Any) -> None:
        heard.append("second")

    train(1, callbacks=[first, second])
    assert heard == ["first", "second"]


def test_a_callback_of_a_run_stops_the_training_before_the_next_round(tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path, delivery="off", system=None) as run:
        run.add_callback("on_fit_epoch_end", lambda trainer: setattr(trainer, "stop", trainer.epoch == 1))
        booster = train(9, callbacks=[run.callback("lightgbm")])
    assert booster.current_iteration() == 2
    assert epochs(str(run.path)) == [0, 1]


def test_a_function_that_was_imported_by_its_name_before_says_that_it_records_nothing(tmp_path: Path) -> None:
    from lightgbm import train as by_name

    with trackhooks.run(dir=tmp_path, delivery="off", system=None) as run:
        callback = copy.deepcopy(run.callback("lightgbm"))
        with pytest.warns(trackhooks.TrackhooksWarning, match="imported by its name"):
            by_name(PARAMS, data(), 2, callbacks=[callback])
    assert events(run.path, "on_train_start") == []


def test_a_run_stays_open_until_the_library_has_made_the_booster(home: Path) -> None:
    class Slow(dict[str, Any]):
        """Another training runs in another thread while LightGBM copies the parameters."""

        def __deepcopy__(self, memo: object) -> dict[str, Any]:
            gc.collect()
            thread = threading.Thread(target=train)
            thread.start()
            thread.join()
            return dict(self)

    train(2, Slow(PARAMS))
    assert [epochs(info.path) for info in infos(home)] == [[0, 1], [0, 1]]


def test_the_functions_of_its_modules_are_restored(tmp_path: Path) -> None:
    modules = [lightgbm, lightgbm.engine, lightgbm.sklearn]
    before = [(vars(module).get("train"), vars(module).get("cv")) for module in modules]
    trackhooks.enable(dir=tmp_path, delivery="off", system=None)
    assert lightgbm.train is not before[0][0]
    trackhooks.disable()
    assert [(vars(module).get("train"), vars(module).get("cv")) for module in modules] == before
