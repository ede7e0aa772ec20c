"""The candidates of scikit-learn's searches, as `cv_results_` has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_iris
from sklearn.exceptions import FitFailedWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 — makes the next import possible
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV
from sklearn.svm import SVC

import trackhooks
from trackhooks.storage.run_folder import read_info
from trackhooks_integrations.sweeps.sklearn import record_search

X, Y = load_iris(return_X_y=True)
OFF: dict[str, Any] = {"delivery": "off", "system": None}


def by_name(directory: Path) -> dict[str, Any]:
    return {run.name: run for run in trackhooks.runs(directory)}


def logged(run: Any, name: str) -> list[float]:
    return [event.metrics[name] for event in trackhooks.journal.read(run.path) if name in event.metrics]


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_each_candidate_is_a_run_with_its_parameters_and_scores(tmp_path: Path, jobs: int) -> None:
    search = GridSearchCV(SVC(), {"C": [0.01, 1], "kernel": ["linear", "rbf"]}, cv=3, n_jobs=jobs)
    with record_search(search, dir=tmp_path, name="svc", group="g", tags=["first"], **OFF) as run:
        search.fit(X, Y)

    found, results = by_name(tmp_path), search.cv_results_
    assert sorted(found) == ["svc", "svc-0", "svc-1", "svc-2", "svc-3"]
    assert {(each.group, each.status, *each.tags) for each in found.values()} == {("g", "finished", "first")}
    for number, params in enumerate(results["params"]):
        candidate = found[f"svc-{number}"]
        assert read_info(candidate.path).parent == run.id
        assert candidate.params == params
        for name in ("mean_test_score", "std_test_score", "rank_test_score"):
            assert candidate.metrics[name].last == results[name][number]
        assert candidate.metrics["speed/mean_fit_time"].last == results["mean_fit_time"][number]
        assert candidate.metrics["objective/maximize"].last == results["mean_test_score"][number]
        assert logged(candidate, "test_score") == [
            results[f"split{split}_test_score"][number] for split in range(3)
        ]
    best = {f"best/{name}": value for name, value in search.best_params_.items()}
    assert found["svc"].params == {"candidates": 4, "splits": 3, **best}
    assert found["svc"].metrics["best_score"].last == search.best_score_


def test_the_metric_that_chooses_is_the_objective_and_an_error_that_scikit_learn_negates_is_better_high(
    tmp_path: Path,
) -> None:
    scoring = ["accuracy", "neg_mean_squared_error"]
    search = RandomizedSearchCV(
        SVC(), {"C": [0.01, 1]}, n_iter=2, cv=2, scoring=scoring, refit="neg_mean_squared_error"
    )
    with record_search(search, dir=tmp_path, **OFF):
        search.fit(X, Y)
    for number, score in enumerate(search.cv_results_["mean_test_neg_mean_squared_error"]):
        metrics = by_name(tmp_path)[f"RandomizedSearchCV-{number}"].metrics
        assert metrics["objective/maximize"].last == score
        assert metrics["mean_test_neg_mean_squared_error"].goal == "max"
        assert metrics["rank_test_accuracy"].goal == "min"


def test_a_candidate_whose_fits_failed_has_failed(tmp_path: Path) -> None:
    search = GridSearchCV(SVC(), {"C": [1, -1]}, cv=2, error_score=np.nan)
    with (
        record_search(search, dir=tmp_path, name="svc", **OFF),
        pytest.warns((FitFailedWarning, UserWarning)),
    ):
        search.fit(X, Y)
    found = by_name(tmp_path)
    assert {name: run.status for name, run in found.items()} == {
        "svc": "finished",
        "svc-0": "finished",
        "svc-1": "failed",
    }
    assert read_info(found["svc-1"].path).reason == "no score in 2 of 2 splits"


def test_a_search_whose_fit_raises_has_failed(tmp_path: Path) -> None:
    search = GridSearchCV(SVC(), {"C": [-1]}, cv=2, error_score="raise")
    with pytest.raises(ValueError, match="'C' parameter"), record_search(search, dir=tmp_path, **OFF):
        search.fit(X, Y)
    (run,) = trackhooks.runs(tmp_path)
    assert (run.name, run.status) == ("GridSearchCV", "failed")


def test_a_candidate_that_a_halving_search_drops_is_pruned_and_its_iterations_are_epochs(
    tmp_path: Path,
) -> None:
    search = HalvingGridSearchCV(SVC(), {"C": [0.01, 0.1, 1, 10]}, cv=2, factor=2, random_state=0)
    with record_search(search, dir=tmp_path, name="half", **OFF):
        search.fit(X, Y)
    results, found = search.cv_results_, by_name(tmp_path)
    assert found["half"].params["candidates"] == 4
    for number, params in enumerate(search.cv_results_["params"][:4]):
        run = found[f"half-{number}"]
        iterations = [index for index, other in enumerate(results["params"]) if other == params]
        assert logged(run, "mean_test_score") == [results["mean_test_score"][index] for index in iterations]
        lasts = results["iter"][iterations[-1]] == search.n_iterations_ - 1
        assert run.status == ("finished" if lasts else "pruned")
        assert run.metrics["mean_test_score"].epoch == len(iterations) - 1


def test_trainings_that_enable_records_are_parts_of_the_search(tmp_path: Path) -> None:
    search = GridSearchCV(xgboost.XGBClassifier(n_estimators=2), {"max_depth": [1, 2]}, cv=2)
    trackhooks.enable(dir=tmp_path, **OFF)
    try:
        with record_search(search, dir=tmp_path, name="trees", **OFF) as run:
            search.fit(X, Y)
    finally:
        trackhooks.disable()
    found = by_name(tmp_path)
    group = found["trees"].group
    assert group.startswith("trees-")
    assert {each.group for each in found.values()} == {group}
    parts = [name for name in found if read_info(found[name].path).parent == run.id]
    assert len(parts) == 2 + 2 * 2 + 1
    assert {each.status for each in found.values()} == {"finished"}


def test_what_is_not_a_search_is_refused(tmp_path: Path) -> None:
    search = GridSearchCV(SVC(), {"C": [1]}, cv=2).fit(X, Y)
    with (
        pytest.raises(trackhooks.InvalidValueError, match="was not fitted within record_search"),
        record_search(search, dir=tmp_path, **OFF),
    ):
        pass
    for wrong in (SVC(), 5, "csv"):
        with (
            pytest.raises(trackhooks.InvalidValueError, match="takes a search of scikit-learn"),
            record_search(wrong),
        ):
            pass
