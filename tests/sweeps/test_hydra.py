"""The jobs of a Hydra sweep, started by two launchers. The program is that of the documentation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from folders import ROOT

import trackhooks
from trackhooks.storage.run_folder import read_info
from trackhooks_integrations.sweeps.hydra import record_jobs

CONFIG = {
    "config.yaml": "defaults: [optimizer: sgd, _self_]\nepochs: 2\ncopied: ${epochs}\n",
    "optimizer/sgd.yaml": "lr: 0.1\n",
    "optimizer/adam.yaml": "lr: 0.01\nbetas: [0.9, 0.99]\n",
}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    page = (ROOT / "docs" / "topics" / "sweeps.md").read_text(encoding="utf-8")
    code = (
        page.partition("<!-- not run: tests/sweeps/test_hydra.py")[2].split("```")[1].removeprefix("python")
    )
    (tmp_path / "train.py").write_text(code)
    for name, text in CONFIG.items():
        path = tmp_path / "conf" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return tmp_path


def start(program: Path, *arguments: str) -> int:
    return subprocess.run([sys.executable, "train.py", *arguments], cwd=program, check=False).returncode


def by_name(program: Path) -> dict[str, Any]:
    return {run.name: run for run in trackhooks.runs(program / "runs")}


@pytest.mark.slow
def test_each_job_is_a_run_with_its_config_and_choices_in_the_group_of_the_sweep(program: Path) -> None:
    arguments = ["optimizer=sgd,adam", "epochs=1,-1", "hydra.sweep.dir=swept"]
    assert start(program, "--multirun", *arguments) == 1
    found = by_name(program)
    assert {name: (run.status, run.params) for name, run in found.items()} == {
        "train-0": ("finished", {"optimizer": "sgd", "optimizer/lr": 0.1, "epochs": 1, "copied": 1}),
        "train-1": ("failed", {"optimizer": "sgd", "optimizer/lr": 0.1, "epochs": -1, "copied": -1}),
        "train-2": (
            "finished",
            {
                "optimizer": "adam",
                "optimizer/lr": 0.01,
                "optimizer/betas": "[0.9, 0.99]",
                "epochs": 1,
                "copied": 1,
            },
        ),
        "train-3": (
            "failed",
            {
                "optimizer": "adam",
                "optimizer/lr": 0.01,
                "optimizer/betas": "[0.9, 0.99]",
                "epochs": -1,
                "copied": -1,
            },
        ),
    }
    assert {run.group for run in found.values()} == {"swept"}
    assert "count must be" in (read_info(found["train-1"].path).reason or "")


@pytest.mark.slow
def test_processes_and_directories_of_a_launcher_do_not_scatter_the_runs(program: Path) -> None:
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.job.chdir=True"]
    assert start(program, "--multirun", *launcher, "optimizer.lr=0.1,0.2,0.3") == 0
    found = by_name(program)
    assert {name: (run.status, run.params["optimizer/lr"]) for name, run in found.items()} == {
        "train-0": ("finished", 0.1),
        "train-1": ("finished", 0.2),
        "train-2": ("finished", 0.3),
    }
    (group,) = {run.group for run in found.values()}
    assert (program / group / "0").is_dir()
    assert [path.parent for path in program.rglob("runs")] == [program]


def test_a_function_is_called_without_hydra(tmp_path: Path) -> None:
    main = record_jobs(dir=tmp_path, delivery="off", name="alone")(lambda config, run: config["lr"])
    assert main({"lr": 0.1}) == 0.1
    (run,) = trackhooks.runs(tmp_path)
    assert (run.name, run.group, run.params) == ("alone", None, {"lr": 0.1})


def test_what_cannot_be_recorded_is_refused() -> None:
    with pytest.raises(trackhooks.InvalidValueError, match=r"Use it as @record_jobs\(\)"):
        record_jobs(lambda config, run: None)
    with pytest.raises(trackhooks.InvalidValueError, match="the config has the parameters"):
        record_jobs(params={"lr": 0.1})
    with pytest.raises(trackhooks.InvalidValueError, match="must be a function, got 5"):
        record_jobs()(5)  # type: ignore[arg-type]
