"""A Trainer in two processes that torchrun starts is one run, with the losses of both, which both may record."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from folders import SUPPORT

import trackhooks
from trackhooks.storage import journal, run_folder
from trackhooks.storage.run_folder import read_info

pytestmark = pytest.mark.slow


def test_two_processes_are_one_run_whose_numbers_are_those_of_the_trainer(tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, str(SUPPORT / "ddp_trainer.py"), str(tmp_path)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path]),
            "TRACKHOOKS_RANKS": "all",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (path,) = run_folder.paths(tmp_path / "runs")
    assert read_info(path).status == "finished"
    first, second = trackhooks.ranks(path)
    assert second.status == "finished"
    recorded = [
        [(event.hook, event.step, event.epoch) for event in journal.read(rank.summary.path)]
        for rank in (first, second)
    ]
    assert recorded[0] == recorded[1]
    found = journal.read(path)
    assert [event.step for event in found if event.hook == "on_train_batch_end"] == [0, 1, 2, 3]
    epochs = [event.metrics for event in found if event.hook == "on_fit_epoch_end"]
    logs = json.loads((tmp_path / "state.json").read_text())["log_history"]
    assert [epoch["train/loss"] for epoch in epochs] == [log["loss"] for log in logs if "loss" in log]
    assert [epoch["val/loss"] for epoch in epochs] == [
        log["eval_loss"] for log in logs if "eval_loss" in log
    ][:2]
    files = [file for event in found if event.hook == "on_model_save" for file in event.files]
    assert [Path(file.path).name for file in files] == ["checkpoint-2", "checkpoint-4"]
