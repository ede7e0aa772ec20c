"""Many runs of one search: the trials of an Optuna study, the tasks of joblib's workers."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lines
import optuna
import pytest
from folders import SUPPORT, importing

import trackhooks
from trackhooks.delivery.cursor import is_delivered_to
from trackhooks.storage.run_folder import paths, read_info
from trackhooks_integrations.sweeps.optuna import record_trials

optuna.logging.set_verbosity(optuna.logging.ERROR)
INLINE: dict[str, Any] = {"system": None, "delivery": "inline", "lines:Lines": {}}


def by_name(directory: Path) -> dict[str, Any]:
    return {run.name: run for run in trackhooks.runs(directory)}


def wait_for_delivery(directory: Path, tracker: str = "lines:Lines") -> None:
    """Wait until everything is delivered, which nothing else waits for in this process, and after a kill."""
    until = time.monotonic() + 120
    while not all(is_delivered_to(run, tracker) for run in paths(directory)):
        assert time.monotonic() < until
        time.sleep(0.05)


def delivered(run: Path) -> dict[str, Any]:
    """What the tracker has of a run: its parameters, its metrics, and how it ended."""
    found: dict[str, Any] = {"params": {}, "metrics": {}}
    for line in lines.read(run):
        found["params"].update(line.get("params", {}))
        found["metrics"].update(line.get("metrics", {}))
        if "finish" in line:
            found.setdefault("ends", []).append(line["finish"])
    return found


def test_each_trial_is_a_run_with_its_parameters_values_and_status(tmp_path: Path) -> None:
    @record_trials(dir=tmp_path, tags=["first"], params={"seed": 1}, **INLINE)
    def objective(trial: optuna.Trial, run: trackhooks.Run) -> float:
        x = trial.suggest_float("x", 0, 1)
        for epoch in run.epochs(2):
            for _ in run.train(range(2)):
                run.log(loss=x)
            if trial.number == 1:
                raise optuna.TrialPruned("no hope")
            if epoch == 1:
                trial.suggest_categorical("late", ["adam", None])
        if trial.number == 2:
            raise MemoryError("too large")
        return x

    study = optuna.create_study(study_name="digits")
    study.optimize(objective, n_trials=4, n_jobs=2, catch=MemoryError)

    wait_for_delivery(tmp_path)
    found = by_name(tmp_path)
    assert [trial.state.name for trial in study.get_trials()] == ["COMPLETE", "PRUNED", "FAIL", "COMPLETE"]
    assert {name: (run.status, read_info(run.path).reason) for name, run in found.items()} == {
        "digits-0": ("finished", None),
        "digits-1": ("pruned", "TrialPruned: no hope"),
        "digits-2": ("failed", "MemoryError: too large"),
        "digits-3": ("finished", None),
    }
    for trial in study.get_trials():
        run = found[f"digits-{trial.number}"]
        assert (run.group, run.tags) == ("digits", ["first", f"trial-{trial.number}"])
        assert {name: run.params.get(name) for name in trial.params} == trial.params
        got = delivered(run.path)
        assert got["params"] == {"seed": 1, **trial.params}
        assert got["ends"] == [run.status]
        values = {"objective/minimize": trial.value} if run.status == "finished" else {}
        assert {n: v for n, v in got["metrics"].items() if n.startswith("objective/")} == values


@pytest.mark.parametrize(
    ("directions", "names", "recorded"),
    [
        (["maximize"], None, {"objective/maximize": 0.25}),
        (["maximize"], ["val/accuracy"], {"objective/val/accuracy": 0.25}),
        (["minimize", "maximize"], None, {"objective/0/minimize": 0.25, "objective/1/maximize": 0.5}),
        (["minimize", "maximize"], ["ms", "f1"], {"objective/ms": 0.25, "objective/f1": 0.5}),
    ],
)
def test_the_names_of_the_objectives_are_those_of_the_study(
    tmp_path: Path, directions: Any, names: list[str] | None, recorded: dict[str, float]
) -> None:
    study = optuna.create_study(directions=directions)
    if names:
        with pytest.warns(optuna.exceptions.ExperimentalWarning):
            study.set_metric_names(names)
    returned = (0.25, 0.5) if len(directions) == 2 else 0.25
    study.optimize(record_trials(dir=tmp_path, delivery="off")(lambda trial, run: returned), n_trials=1)
    (run,) = trackhooks.runs(tmp_path)
    assert (run.name, run.group) == ("trial-0", study.study_name)
    assert {name: metric.last for name, metric in run.metrics.items()} == recorded


@pytest.mark.parametrize("wrong", [float("nan"), None, "a", (0.5, 0.5), object()])
def test_a_trial_has_failed_if_optuna_does_not_accept_what_the_objective_returned(
    tmp_path: Path, wrong: Any
) -> None:
    study = optuna.create_study()
    study.optimize(record_trials(dir=tmp_path, delivery="off")(lambda trial, run: wrong), n_trials=1)
    (run,) = trackhooks.runs(tmp_path)
    assert study.trials[0].state == optuna.trial.TrialState.FAIL
    assert run.status == "failed"
    assert (read_info(run.path).reason or "").startswith("Optuna does not accept what the objective returned")


def test_an_objective_is_asked_and_told_by_hand(tmp_path: Path) -> None:
    @record_trials(dir=tmp_path, delivery="off", name="ask", group="mine")
    def objective(trial: optuna.Trial, run: trackhooks.Run) -> float:
        return trial.suggest_float("x", 0, 1)

    study = optuna.create_study()
    trial = study.ask()
    study.tell(trial, objective(trial))
    (run,) = trackhooks.runs(tmp_path)
    assert (run.name, run.group, run.params) == ("ask-0", "mine", study.best_params)


def test_an_objective_takes_a_trial_without_a_study(tmp_path: Path) -> None:
    decorate = record_trials(dir=tmp_path, delivery="off")
    objective: Any = decorate(lambda trial, run: trial.suggest_float("x", 0, 1))
    study = optuna.create_study(study_name="digits")
    study.enqueue_trial({"x": 0.25})
    study.optimize(objective, n_trials=1)
    assert objective(study.best_trial) == 0.25
    assert objective(optuna.trial.FixedTrial({"x": 0.5}, number=7)) == 0.5
    recorded = {
        run.name: (run.params, run.metrics["objective/value"].last) for run in trackhooks.runs(tmp_path)[:2]
    }
    assert recorded == {"trial-0": ({"x": 0.25}, 0.25), "trial-7": ({"x": 0.5}, 0.5)}


def test_nothing_is_recorded_on_other_ranks_of_a_distributed_trial(tmp_path: Path) -> None:
    objective: Any = record_trials(dir=tmp_path)(lambda trial, run: (trial, run.records))
    assert objective(None) == (None, False)
    assert trackhooks.runs(tmp_path) == []


def test_a_tracker_that_is_an_object_holds_one_trial_at_a_time(tmp_path: Path) -> None:
    decorate = record_trials([lines.Lines()], dir=tmp_path, system=None, delivery="inline")
    objective = decorate(lambda trial, run: trial.suggest_float("x", 0, 1))
    optuna.create_study().optimize(objective, n_trials=4, n_jobs=2)
    wait_for_delivery(tmp_path, "lines")
    for run in trackhooks.runs(tmp_path):
        assert delivered(run.path)["params"] == run.params
        assert delivered(run.path)["ends"] == ["finished"]


def test_what_cannot_be_recorded_is_refused() -> None:
    def objective(trial: optuna.Trial, run: trackhooks.Run) -> float:
        raise AssertionError

    with pytest.raises(trackhooks.InvalidValueError, match=r"Use it as @record_trials\(\)"):
        record_trials(objective)
    with pytest.raises(trackhooks.InvalidValueError, match="each trial is a new run"):
        record_trials(resume="runs/a")
    for name in ("", 5):
        with pytest.raises(trackhooks.InvalidValueError, match="name must be a non-empty string"):
            record_trials(name=name)  # type: ignore[arg-type]
    with pytest.raises(trackhooks.InvalidValueError, match="must be a function, got 5"):
        record_trials()(5)  # type: ignore[arg-type]
    with pytest.raises(trackhooks.InvalidValueError, match="called with a trial of Optuna, got 5"):
        record_trials()(objective)(5)  # type: ignore[arg-type]
    for tags in ("first", 5):
        with pytest.raises(trackhooks.InvalidValueError, match="tags must be a list of strings"):
            record_trials(tags=tags)  # type: ignore[arg-type]
    with pytest.raises(trackhooks.UnknownNameError, match="'mlflow'"):
        optuna.create_study().optimize(record_trials("mlfow")(objective), n_trials=1)


# Several processes

SEARCH = """
import os, sys, optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from trackhooks_integrations.sweeps.optuna import record_trials

@record_trials(dir="runs", system=None, **{"lines:Lines": {}})
def objective(trial, run):
    x = trial.suggest_float("x", 0, 1)
    for epoch in run.epochs(2):
        for _ in run.train(range(2)):
            run.log(loss=x)
        if sys.argv[2] == "dies":
            os.kill(os.getpid(), 9)
        if trial.number % 2:
            raise optuna.TrialPruned
    return x

file = "sqlite:///study.db" if sys.argv[1] == "sqlite" else JournalStorage(JournalFileBackend("study.log"))
optuna.load_study(study_name="s", storage=file).optimize(objective, n_trials=3)
"""
JOBLIB = """
import joblib, trackhooks

def work(number):
    with trackhooks.run(dir="runs", name=f"w{number}", group="g", params={"number": number}, system=None,
                        **{"lines:Lines": {}}) as run:
        run.log(x=number)

joblib.Parallel(n_jobs=2)(joblib.delayed(work)(number) for number in range(6))
"""


def start(tmp_path: Path, code: str, *arguments: str) -> subprocess.Popen[bytes]:
    program = tmp_path / "program.py"
    program.write_text(code)
    return subprocess.Popen([sys.executable, program, *arguments], cwd=tmp_path, env=importing(SUPPORT))


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["sqlite", "journal"])
def test_processes_share_a_study_and_one_that_is_killed_loses_nothing(tmp_path: Path, storage: str) -> None:
    url: Any = f"sqlite:///{tmp_path}/study.db"
    if storage == "journal":
        from optuna.storages.journal import JournalFileBackend

        url = optuna.storages.JournalStorage(JournalFileBackend(str(tmp_path / "study.log")))
    study = optuna.create_study(study_name="s", storage=url)
    programs = [start(tmp_path, SEARCH, storage, how) for how in ("lives", "lives", "dies")]
    assert [program.wait(120) for program in programs] == [0, 0, -9]

    wait_for_delivery(tmp_path / "runs")
    found = by_name(tmp_path / "runs")
    assert {run.group for run in found.values()} == {"s"}
    expected = {"COMPLETE": "finished", "PRUNED": "pruned", "RUNNING": "killed"}
    assert {name: run.status for name, run in found.items()} == {
        f"s-{trial.number}": expected[trial.state.name] for trial in study.get_trials()
    }
    assert len(found) == 7
    for trial in study.get_trials():
        run = found[f"s-{trial.number}"]
        got = delivered(run.path)
        assert got["params"] == trial.params
        assert got["ends"] == [run.status]


@pytest.mark.slow
def test_the_runs_of_joblibs_workers_are_delivered(tmp_path: Path) -> None:
    assert start(tmp_path, JOBLIB).wait(120) == 0
    found = by_name(tmp_path / "runs")
    assert sorted(found) == [f"w{number}" for number in range(6)]
    for run in found.values():
        assert (run.status, run.group) == ("finished", "g")
        assert delivered(run.path) == {
            "params": run.params,
            "metrics": {"x": run.params["number"]},
            "ends": ["finished"],
        }
