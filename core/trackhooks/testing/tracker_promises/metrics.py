"""Promises about metrics: steps and epochs, special values, odd names, order."""

from __future__ import annotations

import itertools
import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from ...delivery.catch_up import deliver
from ...delivery.cursor import Spec
from ...errors import TrackhooksWarning
from ...session.run import Run
from ..sample_runs import ALIKE_NAMES, ODD_NAMES, among, everything, log_everything, losses, repeated, train
from ..trial import Series, Trial
from .suite import TrackerSuite, needs


@contextmanager
def interrupted(log: Callable[[], None]) -> Iterator[None]:
    """Call `log` in a signal handler, as often as the main thread bears."""
    before = signal.signal(signal.SIGALRM, lambda *_: log())
    signal.setitimer(signal.ITIMER_REAL, 1e-3, 1e-3)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def points_of(metrics: Series[float], name: str) -> set[tuple[int, float]]:
    """Return the points of a metric, in whatever order the backend has them."""
    return {(step, value) for step, value in metrics.get(name, ())}


def validate(run: Run, value: float) -> None:
    """Validate, with this loss."""
    for _ in run.validate(range(2)):
        run.log(loss=value)


def train_in_two_parts(run: Run) -> None:
    """Train two epochs of two parts, with a validation after each part, and another one at the end."""
    for epoch in run.epochs(2):
        for part in range(2):
            for _ in run.train(range(2)):
                run.log(loss=0.5)
            validate(run, (2 * epoch + part) / 8)
        validate(run, -epoch / 4)


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

    def test_validations_between_the_batches_are_over_steps_and_the_epoch_keeps_the_last(
        self, trial: Trial
    ) -> None:
        with trial.record() as run:
            for epoch in run.epochs(2):
                for batch in run.train(range(4)):
                    run.log(loss=0.5)
                    if batch % 2:
                        validate(run, (4 * epoch + batch) / 8)
        trial.deliver(run.path)
        curves = [list(points) for points in trial.read_as_called(run.path).metrics.values()]
        assert [(step, step / 8) for step in (1, 3, 5, 7)] in curves
        assert [(0, 3 / 8), (1, 7 / 8)] in curves

    def test_of_several_validations_after_the_batches_the_epoch_keeps_the_last_and_none_is_lost(
        self, trial: Trial
    ) -> None:
        with pytest.warns(TrackhooksWarning, match="two validations of the same step"), trial.record() as run:
            train_in_two_parts(run)
        trial.deliver(run.path)
        curves = [list(points) for points in trial.read_as_called(run.path).metrics.values()]
        assert [(0, 0.0), (1, -0.25)] in curves
        assert [(1, 0.0), (3, 1 / 8), (5, 2 / 8), (7, 3 / 8)] in curves

    def test_a_validation_of_an_epoch_that_did_not_end_is_delivered(self, trial: Trial) -> None:
        with suppress(KeyError), trial.record() as run:
            for _ in run.epochs(2):
                validate(run, 0.25)
                raise KeyError
        assert trial.delivered(run.path).metrics.get("val/loss") == [(0, 0.25)]

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

    @pytest.mark.parametrize("one_by_one", [False, True], ids=["at once", "one by one"])
    def test_steps_may_come_in_any_order(self, trial: Trial, one_by_one: bool) -> None:
        steps = [0, 100, 50, 100, 3, 70, 101, 2]
        with trial.record() as run:
            for step in steps:
                run.log({"m": step / 8, f"m/{step % 2}": step}, step=step)
                if one_by_one:
                    trial.deliver(run.path)
        seen = trial.delivered(run.path).metrics
        assert points_of(seen, "m") == {(step, step / 8) for step in steps}
        assert points_of(seen, "m/0") | points_of(seen, "m/1") == {(step, float(step)) for step in steps}

    def test_late_steps_of_a_run_that_is_resumed_remove_nothing(self, trial: Trial) -> None:
        with trial.record() as run:
            train(run, epochs=2)
            run.log({"exam": 1.0}, step=100)
        trial.deliver(run.path)
        with trial.record(resume=run.path) as resumed:
            train(resumed, 3, start=2)
            resumed.log({"exam": 2.0}, step=2)
        seen = trial.delivered(run.path).metrics
        assert points_of(seen, "exam") == {(2, 2.0), (100, 1.0)}
        assert points_of(seen, "train_batch/loss") == {*losses(3)["train_batch/loss"]}

    def test_batches_may_end_in_any_order(self, trial: Trial) -> None:
        with trial.record() as run:
            run.callbacks.on_train_begin()
            run.callbacks.on_epoch_begin(0)
            for batch in (0, 3, 1, 2, 5, 4):
                run.callbacks.on_train_batch_end(batch, {"loss": batch / 8})
        found = points_of(trial.delivered(run.path).metrics, "train_batch/loss")
        assert found == {(step, step / 8) for step in range(6)}

    @needs("repeats")
    def test_several_values_at_one_step_are_all_there(self, trial: Trial) -> None:
        with trial.record() as run:
            for value in (1.0, 2.0, 3.0):
                run.log(m=value, step=5)
        assert points_of(trial.delivered(run.path).metrics, "m") == {(5, 1.0), (5, 2.0), (5, 3.0)}

    @pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no timer signals")
    def test_what_a_signal_handler_logs_is_there_with_all_that_it_interrupts(self, trial: Trial) -> None:
        handled = itertools.count()
        with trial.record() as run, interrupted(lambda: run.log(aside=1.0, step=next(handled))):
            for step in range(3000):
                run.log(loss=1.0, step=step)
        seen = trial.delivered(run.path).metrics
        assert points_of(seen, "loss") == {(step, 1.0) for step in range(3000)}
        assert points_of(seen, "aside") == {(step, 1.0) for step in range(next(handled))}

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
