"""Promises about trainings in several processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from ...session.enable import disable, enable
from ...session.run import Run
from .base import FrameworkTrial, events, infos, needs

SECOND_OF_TWO: Final = {
    "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
}  # fmt: skip
"""What a launcher, such as torchrun, tells the second process of a job."""


def note_process(path: str, _: Any) -> None:
    """Note the process in which it is called. Other processes can unpickle it."""
    with Path(path).open("a") as file:
        file.write(f"{os.getpid()}\n")


class ProcessPromises(FrameworkTrial):
    """Promises about trainings in several processes."""

    def test_the_second_process_of_a_job_calls_callbacks_and_records_nothing(
        self, open_run: Callable[[], Run], home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        called: list[Any] = []
        for name, value in SECOND_OF_TWO.items():
            monkeypatch.setenv(name, value)
        with open_run() as run:
            run.add_callback("on_fit_epoch_end", called.append)
            self.train(self.make(), 2, run=run)
        assert len(called) >= 2
        assert infos(home) == []

    @needs("enable")
    def test_the_second_process_of_a_job_opens_no_runs(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        enable(dir=home, delivery="off", system=None)
        self.train(self.make(), 1)
        for name, value in SECOND_OF_TWO.items():
            monkeypatch.setenv(name, value)
        self.train(self.make(), 1)
        disable()
        assert len(infos(home)) == 1

    @needs("processes")
    def test_a_training_in_processes_of_the_framework_is_recorded_once_and_heard_in_each(
        self, open_run: Callable[[], Run], home: Path, tmp_path: Path
    ) -> None:
        with open_run() as run:
            run.add_callback("on_fit_epoch_end", partial(note_process, str(tmp_path / "called")))
            self.launch(self.make(), 2, run)
        assert len(infos(home)) == 1
        assert run.status == "finished"
        assert [event.epoch for event in events(run.path, "on_fit_epoch_end")] == [0, 1]
        steps = [event.step for event in events(run.path, "on_train_batch_end")]
        assert steps == list(range(len(steps)))
        calls = (tmp_path / "called").read_text().split()
        assert sorted(calls.count(process) for process in set(calls)) == [2, 2]
        assert str(os.getpid()) not in calls
