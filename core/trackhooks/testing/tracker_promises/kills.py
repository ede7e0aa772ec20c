"""Promises about processes that are killed: trainings and deliveries."""

from __future__ import annotations

import pytest

from ..sample_runs import everything, log_everything, losses
from ..trial import INTERRUPTIONS, Interruption, Trial
from .suite import TrackerSuite, needs

KILLED = """
import os, signal, sys
import msgspec, trackhooks

home, delivery, tracker, options = msgspec.json.decode(sys.stdin.buffer.read())
run = trackhooks.run(dir=home, name="killed", delivery=delivery, system=None, **{tracker: options})
for epoch in run.epochs(2):
    for batch in run.train(range(3)):
        run.log(loss=(3 * epoch + batch + 1) / 8)
        if epoch == 1 and batch == 2:
            os.kill(os.getpid(), signal.SIGKILL)
"""


class KillPromises(TrackerSuite):
    @needs("status")
    @pytest.mark.parametrize("delivery", ["off", "process"])
    def test_a_training_that_is_killed_has_all_that_was_recorded_and_the_status(
        self, trial: Trial, delivery: str
    ) -> None:
        options = {**trial.spec.options, "every": 1}
        trial.run_killed(KILLED, str(trial.home), delivery, trial.spec.name, options)
        path = trial.home / "killed"
        (trial.deliver if delivery == "off" else trial.wait)(path)
        seen = trial.read(path)
        assert seen.metrics.get("train_batch/loss") == losses(2)["train_batch/loss"][:5]
        assert seen.status == "killed"

    @pytest.mark.parametrize("at", INTERRUPTIONS, ids=str)
    def test_after_a_delivery_that_was_killed_everything_is_there_once(
        self, trial: Trial, at: Interruption
    ) -> None:
        with trial.record() as run:
            log_everything(run)
        trial.kill(run.path, at)
        self.assert_all_once(trial.delivered(run.path), everything(1))

    def test_after_a_delivery_of_a_resumed_run_that_was_killed_everything_is_there_once(
        self, trial: Trial
    ) -> None:
        with trial.record() as run:
            log_everything(run, epochs=2)
        trial.deliver(run.path)
        with trial.record(resume=run.path) as resumed:
            log_everything(resumed, epochs=1)
        trial.kill(run.path, Interruption("flush", 2))
        self.assert_all_once(trial.delivered(run.path), everything(1, 2))
