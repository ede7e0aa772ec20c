"""Every example runs as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from folders import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_leaves_finished_runs(example: Path, tmp_path: Path) -> None:
    env = {**os.environ, "KERAS_BACKEND": "torch", "YOLO_OFFLINE": "1", "YOLO_CONFIG_DIR": str(tmp_path)}
    del env["WANDB__SAVE_REQUIREMENTS"]  # as W&B does by default
    done = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = list((tmp_path / "runs").rglob("run.json"))
    assert found
    assert all('"status": "finished"' in path.read_text() for path in found)
