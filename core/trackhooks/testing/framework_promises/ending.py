"""Promises about how a training ends: early, with an exception, again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest

from ...session.run import Run
from ...storage.run_folder import read_info
from ..sample_runs import TrialPruned
from .base import FrameworkTrial, Once, events, needs

ERRORS: Final = (
    pytest.param(ValueError("no"), "failed", "ValueError: no", id="exception"),
    pytest.param(SystemExit(3), "failed", "sys.exit(3)", id="sys.exit"),
    pytest.param(KeyboardInterrupt(), "killed", "KeyboardInterrupt", id="Ctrl-C"),
    pytest.param(TrialPruned("epoch 1"), "pruned", "TrialPruned: epoch 1", id="pruned"),
)
HOOKS: Final = (
    "on_train_start", "on_train_epoch_start", "on_train_batch_end", "on_train_epoch_end", "on_val_start", "on_val_end",
    "on_fit_epoch_end", "on_train_end",
)  # fmt: skip


class Stopper:
    """A callback with methods of Keras' names that ends a training after an epoch."""

    model: Any

    def set_model(self, model: Any) -> None:
        self.model = model

    def on_epoch_end(self, epoch: int, logs: Any) -> None:
        self.model.stop_training = True


def raising(error: BaseException) -> Callable[..., None]:
    """A function that raises."""

    def call(*_: object) -> None:
        raise error

    return call


def stop(trainer: Any) -> None:
    """A callback that ends a training."""
    trainer.stop = True


class EndingPromises(FrameworkTrial):
    """Promises about the end of a training."""

    def test_a_function_may_stop_the_training(self, open_run: Callable[[], Run]) -> None:
        with open_run() as run:
            run.add_callback("on_train_epoch_end", stop)
            self.train(self.make(), 3, run=run)
        assert [event.epoch for event in events(run.path, "on_fit_epoch_end")] == [0]
        assert run.status == "finished"

    def test_an_object_may_stop_the_training(self, open_run: Callable[[], Run]) -> None:
        with open_run() as run:
            run.callbacks.append(Stopper())
            self.train(self.make(), 3, run=run)
        assert [event.epoch for event in events(run.path, "on_fit_epoch_end")] == [0]
        assert run.status == "finished"

    @needs("stop", "steps")
    def test_callbacks_see_that_the_framework_stops(self, open_run: Callable[[], Run]) -> None:
        stopped: list[bool] = []
        model = self.make()
        with open_run() as run:
            run.add_callback("on_fit_epoch_end", lambda trainer: stopped.append(bool(trainer.stop)))
            self.train(model, 3, run=run, in_batch=lambda: self.stop(model))
        assert stopped[:1] == [True]
        assert [event.epoch for event in events(run.path, "on_fit_epoch_end")] == [0]

    @needs("steps")
    @pytest.mark.parametrize(("error", "status", "reason"), ERRORS)
    def test_an_exception_in_a_batch_is_raised_unchanged_and_gives_the_status(
        self, error: BaseException, status: str, reason: str, open_run: Callable[[], Run]
    ) -> None:
        with pytest.raises(type(error)) as raised, open_run() as run:
            self.train(self.make(), 2, run=run, in_batch=raising(error))
        assert raised.value is error
        assert (run.status, read_info(run.path).reason) == (status, reason)
        assert len(events(run.path, "teardown")) == 1

    @needs("exceptions of callbacks")
    @pytest.mark.parametrize("hook", HOOKS)
    def test_what_a_callback_raises_is_raised_and_its_hook_is_recorded(
        self, hook: str, open_run: Callable[[], Run]
    ) -> None:
        if "_batch_" in hook and not self.batches:
            pytest.skip("the framework has no batches")
        error = RuntimeError(f"of {hook}")
        with pytest.raises(RuntimeError) as raised, open_run() as run:
            self._train_with_callback(run, hook, raising(error))
        assert raised.value is error
        assert (run.status, read_info(run.path).reason) == ("failed", f"RuntimeError: of {hook}")
        assert len(events(run.path, hook)) == 1
        assert len(events(run.path, "teardown")) == 1

    def _train_with_callback(self, run: Run, hook: str, callback: Callable[..., None]) -> None:
        run.add_callback(hook, callback)
        self.train(self.make(), 2, run=run)

    @needs("steps")
    def test_a_training_after_one_that_failed_is_recorded_as_any_other(
        self, open_run: Callable[[], Run]
    ) -> None:
        fails = Once(raising(ValueError("no")))
        with open_run() as first, pytest.raises(ValueError, match="no"):
            self.train(self.make(), 2, run=first, in_batch=fails)
        with open_run() as run:
            self.train(self.make(), 2, run=run)
        assert run.status == "finished"
        assert [event.epoch for event in events(run.path, "on_fit_epoch_end")] == [0, 1]
