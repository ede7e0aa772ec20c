"""Promises about evaluations, predictions and saves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ...session.run import Run
from .base import FrameworkTrial, Once, assert_numbers, events, needs


class OtherModePromises(FrameworkTrial):
    """Promises about everything but a training."""

    @needs("evaluation")
    def test_an_evaluation_alone_is_a_test_and_not_of_an_epoch(self, open_run: Callable[[], Run]) -> None:
        with open_run() as run:
            own = self.evaluate(self.make(), run)
        (end,) = events(run.path, "on_val_end")
        assert own
        assert all(name.startswith("test/") for name in own)
        assert {name: end.metrics.get(name) for name in own} == pytest.approx(dict(own), rel=1e-4)
        assert end.epoch == -1
        assert events(run.path, "on_train_start", "teardown") == []

    @needs("evaluation")
    def test_an_evaluation_after_a_training_leaves_its_metrics_and_status_alone(
        self, open_run: Callable[[], Run]
    ) -> None:
        model = self.make()
        with open_run() as run:
            own = self.train(model, 2, run=run)
            self.evaluate(model, run)
        assert_numbers(run.path, own)
        assert run.status == "finished"

    @needs("evaluation", "steps", "inner evaluation")
    def test_an_evaluation_inside_a_training_is_not_the_validation_of_its_epoch(
        self, open_run: Callable[[], Run]
    ) -> None:
        with open_run() as run:
            inner = Once(lambda: self.evaluate(self.make(), run))
            own = self.train(self.make(), 2, run=run, in_batch=inner)
        tests = [
            event
            for event in events(run.path, "on_val_end")
            if any(name.startswith("test/") for name in event.metrics)
        ]
        assert len(tests) == 1
        assert_numbers(run.path, own)
        assert [event.step for event in events(run.path, "on_train_batch_end")] == list(
            range(2 * self.batches)
        )
        assert len(events(run.path, "teardown")) == 1

    @needs("evaluation")
    def test_a_callback_may_evaluate_when_it_hears_the_end_of_an_evaluation(
        self, open_run: Callable[[], Run]
    ) -> None:
        model, heard = self.make(), []

        class Evaluates:
            def on_test_end(_, logs: object = None) -> None:  # noqa: N805 - `self` is the suite
                heard.append("object")
                self.evaluate(model, run)

        with open_run() as run:
            run.callbacks.append(Evaluates())
            self.evaluate(model, run)
        assert heard == ["object"]
        assert len(events(run.path, "on_val_end")) == 2

    @needs("prediction")
    def test_a_prediction_counts_its_samples(self, open_run: Callable[[], Run]) -> None:
        with open_run() as run:
            samples = self.predict(self.make(), run)
        (end,) = events(run.path, "on_predict_end")
        assert end.metrics["predict/samples"] == samples

    @needs("save")
    def test_a_save_is_recorded_when_its_file_exists(
        self, open_run: Callable[[], Run], tmp_path: Path
    ) -> None:
        model, there = self.make(), []
        with open_run() as run:
            self.train(model, 1, run=run)
            known = len(events(run.path, "on_model_save"))
            run.add_callback("on_model_save", lambda _: there.append(True))
            path = self.save(model, tmp_path / "saved")
        saves = events(run.path, "on_model_save")[known:]
        assert [Path(file.path).name for event in saves for file in event.files] == [path.name]
        assert there == [True]
