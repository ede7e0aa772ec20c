"""The trials of Ray Tune's searches. One program has them all, because Ray takes long to start."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lines
import pytest
from folders import ROOT, SUPPORT, importing

import trackhooks
from trackhooks.delivery.cursor import is_delivered_to
from trackhooks.storage.run_folder import paths, read_info
from trackhooks_integrations.sweeps.ray import record_trials

pytestmark = pytest.mark.slow  # starts Ray

DEADLINE_S = 500
PROGRAM = """
import os, sys
import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
import trackhooks
from trackhooks_integrations.sweeps.ray import record_trials

HERE = os.getcwd()
LINES = {"lines:Lines": {}}

def objective(config):
    with trackhooks.run(dir=f"{HERE}/inside", name=config["how"], system=None, **LINES) as run:
        for epoch in range(4):
            run.log(epoch=epoch, loss=config["loss"])
            if config["how"] == "returns" and epoch == 1:
                return
            if config["how"] == "raises" and not os.path.exists(f"{HERE}/mended"):
                raise ValueError("no such optimizer")
            if config["how"] == "dies" and not os.path.exists(f"{HERE}/mended"):
                os.kill(os.getpid(), 9)
            tune.report({"loss": config["loss"] - epoch, "val": {"f1": 0.5}})

def search(name, function, trials, stop=None, **options):
    return tune.Tuner(
        function, param_space=tune.grid_search(trials),
        tune_config=tune.TuneConfig(
            metric="loss", mode="min", max_concurrent_trials=1, reuse_actors=True,
            trial_name_creator=lambda trial: trial.config["how"], **options,
        ),
        run_config=tune.RunConfig(
            name=name, stop=stop, storage_path=f"{HERE}/ray", verbose=0,
            callbacks=[record_trials(dir=f"{HERE}/runs", tags=["first"], **LINES)],
        ),
    )

def endless(config):
    while True:
        tune.report({"loss": 1.0})

class AtThree(tune.Stopper):
    '''Stops one trial, and then the search, as a time budget does.'''
    over = False
    def __call__(self, trial_id, result):
        self.over = result["training_iteration"] == 3 and result["config"]["how"] == "endless"
        return result["training_iteration"] == 3 and not self.over
    def stop_all(self):
        return self.over

ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20)
hows = {"survives": 4, "pruned": 9, "returns": 3, "raises": 3, "dies": 3}
trials = [{"how": how, "loss": float(loss)} for how, loss in hows.items()]
asha = ASHAScheduler(max_t=3, grace_period=1, reduction_factor=2)
search("digits", objective, trials, scheduler=asha).fit()
open("mended", "w").close()
tune.Tuner.restore(f"{HERE}/ray/digits", objective, resume_errored=True).fit()

search("more", endless, [{"how": "enough"}, {"how": "endless"}], stop=AtThree()).fit()

os.makedirs("example")
os.chdir("example")
exec(compile(sys.stdin.read(), "sweeps.md", "exec"))
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ray")
    (folder / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=folder, env={**importing(SUPPORT), "HOME": str(folder)}, text=True,
        input=example(), capture_output=True, timeout=DEADLINE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def example() -> str:
    """The program of the page on sweeps."""
    page = (ROOT / "docs" / "topics" / "sweeps.md").read_text(encoding="utf-8")
    return page.partition("<!-- not run: tests/sweeps/test_ray.py")[2].split("```")[1].removeprefix("python")


def delivered(directory: Path) -> dict[str, dict[str, Any]]:
    """What the tracker has of each run, when it has everything: parameters, metrics by epoch, and how it ended."""
    until = time.monotonic() + DEADLINE_S
    while not all(is_delivered_to(run, "lines:Lines") for run in paths(directory)):
        assert time.monotonic() < until
        time.sleep(0.05)
    found: dict[str, dict[str, Any]] = {}
    for path in paths(directory):
        of_run = found.setdefault(path.name, {"params": {}, "metrics": [], "ends": []})
        for line in lines.read(path):
            of_run["params"].update(line.get("params", {}))
            of_run["metrics"] += [(line["epoch"], line["metrics"])] if "metrics" in line else []
            of_run["ends"] += [line["finish"]] if "finish" in line else []
    return found


def test_each_trial_is_a_run_with_its_parameters_reports_and_status(program: Path) -> None:
    found = {run.name: run for run in trackhooks.runs(program / "runs") if run.group == "digits"}
    got = delivered(program / "runs")
    ends = {name: (run.status, read_info(run.path).reason) for name, run in found.items()}
    assert ends == {
        "survives": ("finished", None),  # until the longest time that the scheduler allows
        "pruned": ("pruned", "stopped by AsyncHyperBandScheduler"),
        "returns": ("finished", None),
        "raises": ("finished", None),  # after it was resumed
        "dies": ("finished", None),  # after it was resumed
    }
    for name, run in found.items():
        assert run.tags == ["first"]
        assert run.params == got[name]["params"]
        assert run.params["how"] == name
        assert got[name]["ends"][-1] == run.status
    report = {"loss": 4.0, "val/f1": 0.5}
    assert got["survives"]["metrics"] == [(epoch, {**report, "loss": 4.0 - epoch}) for epoch in range(3)]
    assert len(got["pruned"]["metrics"]) == len(got["returns"]["metrics"]) == 1


@pytest.mark.parametrize(
    ("trial", "why"),
    [
        ("raises", "ValueError: no such optimizer"),
        ("dies", "ActorDiedError: The actor died unexpectedly before finishing this task."),
    ],
)
def test_a_trial_that_failed_says_why_and_continues_its_run_when_the_search_is_restored(
    program: Path, trial: str, why: str
) -> None:
    events = list(trackhooks.journal.read(program / "runs" / trial))
    ends = [(event.status, event.reason) for event in events if event.status]
    assert ends == [("failed", why), ("running", ""), ("finished", "")]
    assert [epoch for epoch, _ in delivered(program / "runs")[trial]["metrics"]] == [0, 1, 2]


def test_a_trial_that_is_stopped_has_finished_unless_the_whole_search_is_stopped(program: Path) -> None:
    found = {run.name: run for run in trackhooks.runs(program / "runs") if run.group == "more"}
    assert {name: run.status for name, run in found.items()} == {"enough": "finished", "endless": "killed"}
    assert read_info(found["endless"].path).reason == "the search ended before the trial"


def test_a_run_in_a_trial_is_delivered_however_ray_ends_the_process(program: Path) -> None:
    """As the trial sees it, whose program exits if it is stopped."""
    got = delivered(program / "inside")
    ends = {name: (of_run["ends"], len(of_run["metrics"])) for name, of_run in got.items()}
    assert ends == {
        "survives": (["finished"], 3),
        "pruned": (["finished"], 1),
        "returns": (["finished"], 2),
        "raises": (["failed"], 1),
        "raises-2": (["finished"], 3),
        "dies": (["killed"], 1),
        "dies-2": (["finished"], 3),
    }


def test_the_example_of_the_documentation_runs(program: Path) -> None:
    trials = trackhooks.runs(program / "example" / "runs", where="group == digits")
    assert len(trials) == 4
    assert {run.status for run in trials} <= {"finished", "pruned"}
    assert all(list(run.params) == ["lr"] and "loss" in run.metrics for run in trials)


def test_what_cannot_be_recorded_is_refused() -> None:
    with pytest.raises(trackhooks.InvalidValueError, match="runs have the names of their trials"):
        record_trials(name="digits")
    with pytest.raises(trackhooks.InvalidValueError, match="each trial is a new run"):
        record_trials(resume="runs/a")
    with pytest.raises(trackhooks.InvalidValueError, match="tags must be a list of strings"):
        record_trials(tags="first")
