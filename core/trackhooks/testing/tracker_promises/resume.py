"""Promises about runs that continue after their end."""

from __future__ import annotations

from ...session.run import recorder_of
from ..sample_runs import among, everything, log_everything, losses, repeated, train
from ..trial import Seen, Trial
from .suite import TrackerSuite, needs


class ResumePromises(TrackerSuite):
    def test_a_run_that_goes_on_after_its_end_has_both_parts(self, trial: Trial) -> None:
        run = trial.record()
        train(run)
        recorder_of(run).settle("finished")
        trial.deliver(run.path)
        for _ in run.validate(range(2)):
            run.log(loss=8.0)
        run.close()
        expected = Seen(metrics=losses(2) | {"test/loss": [(5, 8.0)]})
        seen = trial.delivered(run.path)
        assert among(seen.metrics, expected.metrics) == expected.metrics
        assert seen.status == "finished" or "status" in self.cannot

    @needs("status")
    def test_a_run_that_has_failed_and_is_resumed_finishes(self, trial: Trial) -> None:
        run = trial.record()
        train(run, epochs=1)
        run.close("failed", "ValueError: no")
        assert trial.delivered(run.path).status == "failed"
        with trial.record(resume=run.path) as resumed:
            trial.deliver(run.path)
            assert trial.read(run.path).status == "running"
            train(resumed, epochs=1)
        assert trial.delivered(run.path).status == "finished"

    def test_a_run_is_resumed_in_its_folder_and_stays_one_run(self, trial: Trial) -> None:
        with trial.record() as run:
            log_everything(run, epochs=2)
        trial.deliver(run.path)
        with trial.record(resume=run.path) as resumed:
            log_everything(resumed, epochs=1)
        assert resumed.id == run.id
        self.assert_all_once(trial.delivered(run.path), everything(1, 2))

    @needs("rewind")
    def test_steps_that_are_trained_again_replace_those_from_before(self, trial: Trial) -> None:
        with trial.record() as run:
            train(run, epochs=2)
        trial.deliver(run.path)
        with trial.record(resume=run.path) as resumed:
            train(resumed, 3, start=1, more=100.0)  # the checkpoint is of the end of epoch 0
        again = {name: 3 if name.startswith("train_batch/") else 1 for name in losses(3)}
        expected = {
            name: [(x, value + (-100 if "late" in name else 100) * (x >= again[name])) for x, value in points]
            for name, points in losses(3).items()
        }
        seen = trial.delivered(run.path)
        assert repeated(seen.metrics) == {}
        assert among(seen.metrics, expected) == expected
