"""Promises about metrics: steps and epochs, special values, odd names, order."""

from __future__ import annotations

import math

from ...delivery.catch_up import deliver
from ...delivery.cursor import Spec
from ..sample_runs import ALIKE_NAMES, ODD_NAMES, among, everything, log_everything, losses, repeated, train
from ..trial import Trial
from .suite import TrackerSuite, needs


class MetricPromises(TrackerSuite):
    def test_metrics_of_batches_are_over_steps_and_those_of_epochs_over_epochs(self, trial: Trial) -> None:
        with trial.record() as run:
            train(run, epochs=3)
        seen = trial.delivered(run.path)
        assert among(seen.metrics, losses(3)) == losses(3)
        assert repeated(seen.metrics) == {}

    def test_a_metric_over_both_axes_is_two_curves(self, trial: Trial) -> None:
        with trial.record() as run:
            for epoch in run.epochs(2):
                for batch in run.train(range(3)):  # each value is that of the batch; their mean, of the epoch
                    run.log({"train/loss": (3 * epoch + batch + 1) / 8})
        trial.deliver(run.path)
        curves = [list(points) for points in trial.read_as_called(run.path).metrics.values()]
        assert losses(2)["train_batch/loss"] in curves
        assert losses(2)["train/loss"] in curves

    def test_what_is_logged_without_a_loop_has_steps_of_its_own_or_those_that_are_given(
        self, trial: Trial
    ) -> None:
        with trial.record() as run:
            for value in (0.5, 0.25, 0.125):
                run.log(counted=value)
            run.log(step=10, given=1.5)
            run.log(step=20, given=2.5)
            run.log(step=20, another=3.5)
        assert trial.delivered(run.path).metrics == {
            "counted": [(0, 0.5), (1, 0.25), (2, 0.125)],
            "given": [(10, 1.5), (20, 2.5)],
            "another": [(20, 3.5)],
        }

    def test_an_evaluation_on_its_own_is_over_a_step_of_its_own(self, trial: Trial) -> None:
        with trial.record() as run:
            train(run, epochs=1)
            for value in (0.5, 0.25):
                for _ in run.validate(range(2)):
                    run.log(loss=value)
        assert trial.delivered(run.path).metrics.get("test/loss") == [(2, 0.5), (3, 0.25)]

    def test_a_metric_that_appears_late_is_at_its_own_steps(self, trial: Trial) -> None:
        with trial.record() as run:
            for step in range(4):
                run.log({"early": step} if step < 2 else {"early": step, "late": 10 * step}, step=step)
        assert trial.delivered(run.path).metrics == {
            "early": [(0, 0), (1, 1), (2, 2), (3, 3)],
            "late": [(2, 20), (3, 30)],
        }

    @needs("nan")
    def test_nan_is_kept(self, trial: Trial) -> None:
        with trial.record() as run:
            for step, value in enumerate((1.0, math.nan, 2.0)):
                run.log(loss=value, step=step)
        points = trial.delivered(run.path).metrics.get("loss", [])
        assert [(step, str(value)) for step, value in points] == [(0, "1.0"), (1, "nan"), (2, "2.0")]

    @needs("infinity")
    def test_infinities_are_kept(self, trial: Trial) -> None:
        with trial.record() as run:
            for step, value in enumerate((math.inf, 1.0, -math.inf)):
                run.log(loss=value, step=step)
        assert trial.delivered(run.path).metrics.get("loss") == [(0, math.inf), (1, 1.0), (2, -math.inf)]

    @needs("doubles")
    def test_every_bit_of_a_number_is_kept(self, trial: Trial) -> None:
        values = [1 / 3, 1e-300, 1.7e308, 16777217.0, -0.1]
        with trial.record() as run:
            for step, value in enumerate(values):
                run.log(loss=value, step=step)
        assert trial.delivered(run.path).metrics.get("loss") == list(enumerate(values))

    def test_an_odd_name_is_kept_or_called_as_the_rule_says(self, trial: Trial) -> None:
        named = {name: position / 8 for position, name in enumerate(ODD_NAMES)}
        with trial.record() as run:
            run.log(named, step=3)
        assert trial.delivered(run.path).metrics == {name: [(3, value)] for name, value in named.items()}

    def test_names_that_look_alike_stay_apart(self, trial: Trial) -> None:
        values = dict(zip(ALIKE_NAMES, range(len(ALIKE_NAMES)), strict=True))
        with trial.record() as run:
            run.log(values, step=0)
            run.log(dict(reversed(values.items())), step=1)
        trial.deliver(run.path)
        curves = trial.read_as_called(run.path).metrics.values()
        expected = [[(0, value), (1, value)] for value in values.values()]
        assert sorted(list(points) for points in curves) == sorted(expected)

    def test_thousands_of_records_arrive_in_order(self, trial: Trial) -> None:
        with trial.record() as run:
            for step in range(2500):
                run.log(loss=step / 8, step=step)
        assert trial.delivered(run.path).metrics.get("loss") == [(step, step / 8) for step in range(2500)]

    @needs("earlier")
    def test_metrics_of_batches_that_were_held_back_are_delivered_later(self, trial: Trial) -> None:
        with trial.record() as run:
            log_everything(run, epochs=2)
        assert deliver(run.path, [Spec(trial.spec.name, trial.spec.options, every=2)]) == {}
        assert among(trial.read(run.path).metrics, losses(2)) != losses(2)
        for _ in range(2):
            assert deliver(run.path, [trial.spec], from_start=True) == {}
            self.assert_all_once(trial.read(run.path), everything(1))
