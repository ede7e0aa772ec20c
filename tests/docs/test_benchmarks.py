"""Every benchmark runs to its end, on small sizes; how fast anything is, no test says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from folders import ROOT

BENCHMARKS = ROOT / "benchmarks"
SHORT = {
    "history": ("--steps", "3000", "--peer-steps", "500", "--metrics", "4", "--rounds", "1"),
    "hot_path": ("--rounds", "1", "--trackers", "csv"),
    "large_files": ("--gb", "0.01", "--trackers", "csv"),
    "many_at_once": ("--trainings", "2", "--trackers", "csv", "--steps", "5"),
    "memory": ("--rounds", "1", "--steps", "1000", "--trackers", "csv"),
    "ranks": ("--ranks", "2", "--only", "all", "--epochs", "1", "--steps", "10"),
    "rate_of_clients": ("--blocks", "1", "--size", "1000"),
    "reading": ("--runs", "2", "--steps", "50", "--long", "200", "--rounds", "1"),
    "report": ("--sizes", "2x100", "--rounds", "1"),
    "start_up": ("--rounds", "1"),
    "sweeps": ("--trials", "2", "--trackers", "csv", "--only", "optuna"),
    "to_the_prompt": ("--rounds", "1", "--epochs", "1", "--only", "wandb.log"),
    "whole_loop": ("--rounds", "1", "--epochs", "1", "--threads", "1", "--loops", "torch"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_a_benchmark_runs_and_prints_its_figures(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *SHORT[name]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "│" in done.stdout, done.stdout
    assert not list(tmp_path.iterdir())  # it leaves no files


def test_every_benchmark_is_run() -> None:
    scripts = {path.stem for path in BENCHMARKS.glob("*.py") if "def main(" in path.read_text()}
    assert scripts == set(SHORT)
