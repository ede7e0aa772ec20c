"""Promises about a training: the order of its hooks, its axes, its numbers."""

from __future__ import annotations

import math
import random
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from ...hooks.vocabulary import BY_NAME
from ...session.run import Run
from .base import FrameworkTrial, assert_numbers, events, needs

_VAL = r"on_val_start (on_val_batch_start (on_val_batch_end )?)*(on_val_batch_end )*on_val_end "
_STEP = r"(on_before_zero_grad |optimizer_step )*"
_BATCH = rf"on_train_batch_start {_STEP}on_train_batch_end {_STEP}"
_SAVES = r"(on_model_save )*"
_EPOCH = rf"on_train_epoch_start ({_BATCH})*on_train_epoch_end ({_VAL})?{_SAVES}on_fit_epoch_end {_SAVES}"
ORDER = re.compile(
    rf"(on_pretrain_routine_start on_pretrain_routine_end )?on_train_start ({_EPOCH})+"
    rf"({_VAL}(on_fit_epoch_end )?)?on_train_end (on_params_update )*teardown "
)
"""Every start comes with its end; the best checkpoint may be evaluated once more, after the last epoch."""


class Spy:
    """A callback with methods of Keras' names."""

    def __init__(self) -> None:
        self.epochs: list[tuple[int, bool]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        self.epochs.append((epoch, "loss" in logs))


def seed() -> None:
    """Give every generator of random numbers the same state."""
    random.seed(0)
    for name, call in (
        ("numpy", "random.seed"),
        ("torch", "manual_seed"),
        ("keras", "utils.set_random_seed"),
    ):
        found: Any = sys.modules.get(name)
        for part in call.split("."):
            found = getattr(found, part, None)
        if found is not None:
            found(0)


def random_state() -> list[object]:
    """The states of the generators that a user may have."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    return [
        random.getstate(),
        None if numpy is None else str(numpy.random.get_state()),
        None if torch is None else torch.get_rng_state().tolist(),
    ]


def noting(heard: list[str], hook: str) -> Callable[[Any], None]:
    """A function that notes its hook."""
    return lambda _: heard.append(hook)


class HookPromises(FrameworkTrial):
    """Promises about a training."""

    def test_hooks_come_in_the_order_of_the_vocabulary_each_start_with_its_end(
        self, open_run: Callable[[], Run]
    ) -> None:
        heard: list[str] = []
        with open_run() as run:
            for hook in BY_NAME:
                run.add_callback(hook, noting(heard, hook))
            self.train(self.make(), 2, run=run)
        assert ORDER.fullmatch("".join(f"{hook} " for hook in heard)), heard
        assert heard.count("on_train_batch_end") == 2 * self.batches

    def test_steps_and_epochs_count_from_zero_without_gaps(self, open_run: Callable[[], Run]) -> None:
        with open_run() as run:
            self.train(self.make(), 3, run=run)
        ends = events(run.path, "on_train_batch_end")
        assert [event.step for event in ends] == list(range(3 * self.batches))
        assert [event.epoch for event in ends] == [step // self.batches for step in range(3 * self.batches)]
        assert [event.epoch for event in events(run.path, "on_fit_epoch_end")] == [0, 1, 2]

    def test_metrics_of_epochs_are_those_of_the_framework_under_the_common_names(
        self, open_run: Callable[[], Run]
    ) -> None:
        with open_run() as run:
            own = self.train(self.make(), 3, run=run)
        assert own
        assert all(name.startswith(("train/", "val/", "metrics/", "lr/", "fitness")) for name in own)
        assert_numbers(run.path, own)

    @needs("skipped validations")
    def test_metrics_of_an_epoch_are_never_left_from_an_earlier_one(
        self, open_run: Callable[[], Run]
    ) -> None:
        model = self.make()
        with open_run() as run:
            self.train(model, 1, run=run)
            self.train(model, 2, run=run, validate=False)
        first, second, *_ = events(run.path, "on_fit_epoch_end")
        assert any(name.startswith("val/") for name in first.metrics)
        assert not any(name.startswith(("val/", "metrics/", "fitness")) for name in second.metrics)

    @needs("batches")
    def test_every_batch_has_its_loss(self, open_run: Callable[[], Run]) -> None:
        with open_run() as run:
            self.train(self.make(), 1, run=run)
        losses = [event.metrics["train_batch/loss"] for event in events(run.path, "on_train_batch_end")]
        assert len(losses) == self.batches >= 2
        assert all(map(math.isfinite, losses))

    def test_hyper_parameters_are_recorded(self, open_run: Callable[[], Run]) -> None:
        with open_run() as run:
            self.train(self.make(), 1, run=run)
        recorded = {name: value for event in events(run.path) for name, value in event.params.items()}
        assert {name: recorded.get(name) for name in self.params} == dict(self.params)

    def test_objects_get_the_epoch_and_its_logs(self, open_run: Callable[[], Run]) -> None:
        spy = Spy()
        with open_run() as run:
            run.callbacks.append(spy)
            self.train(self.make(), 2, run=run)
        assert spy.epochs == [(0, True), (1, True)]

    def test_functions_get_a_trainer_at_its_epoch(self, open_run: Callable[[], Run]) -> None:
        epochs: list[int] = []
        with open_run() as run:
            run.add_callback("on_train_epoch_end", lambda trainer: epochs.append(trainer.epoch))
            self.train(self.make(), 2, run=run)
        assert epochs == [0, 1]

    @pytest.mark.parametrize("heard", [False, True], ids=["recorded", "recorded and heard"])
    def test_recording_does_not_change_a_bit_of_a_training(
        self, heard: bool, open_run: Callable[[], Run]
    ) -> None:
        seed()
        plain = self.make()
        plain_numbers = self.train(plain, 2)
        plain_state = random_state()
        seed()
        recorded = self.make()
        with open_run() as run:
            for hook in BY_NAME if heard else ():
                run.add_callback(hook, lambda _: None)
            numbers = self.train(recorded, 2, run=run)
        assert self.weights(recorded) == self.weights(plain)
        assert numbers == plain_numbers
        assert random_state() == plain_state
