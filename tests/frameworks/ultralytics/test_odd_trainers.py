"""Trainers, validators, predictors and models of Ultralytics that lack or replace what is read of them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from keras_models import events
from ultralytics.models.yolo.detect import DetectionPredictor, DetectionTrainer, DetectionValidator
from yolo import Shapes

import trackhooks

pytestmark = pytest.mark.slow  # each trains


class OddError(Exception):
    """An error that no library raises."""


def fail(*_: Any, **__: Any) -> Any:
    raise OddError("not today")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Shapes:
    return Shapes(tmp_path_factory.mktemp("shapes"))


def messages(caught: list[warnings.WarningMessage]) -> list[str]:
    return [str(one.message) for one in caught if isinstance(one.message, trackhooks.TrackhooksWarning)]


class AtHooks(DetectionTrainer):  # type: ignore[misc]
    """Has something else of a name while its callbacks are called; between them it is what Ultralytics needs."""

    odd: dict[str, Any] = {}

    def run_callbacks(self, event: str) -> None:
        kept = {name: vars(self)[name] for name in self.odd if name in vars(self)}
        self.__dict__.update({name: self.odd[name] for name in kept})
        try:
            super().run_callbacks(event)
        finally:
            self.__dict__.update(kept)


class Unwritable:
    __repr__ = __str__ = __float__ = __eq__ = __len__ = __bool__ = __int__ = fail
    __hash__ = object.__hash__

    def __getattr__(self, name: str) -> Any:
        raise OddError(name)


def at_hooks(name: str, value: Any) -> Any:
    return type("OddTrainer", (AtHooks,), {"odd": {name: value}})


class Unlabelled(DetectionTrainer):  # type: ignore[misc]
    def label_loss_items(self, loss_items: Any = None, prefix: str = "train") -> Any:
        return fail() if prefix == "train_batch" else super().label_loss_items(loss_items, prefix)


NAMES = (
    "args", "epoch", "loss_items", "tloss", "metrics", "fitness", "best_fitness", "last", "best", "save_period",
    "wdir", "lr", "optimizer", "validator", "plots", "save_dir", "epochs", "start_epoch", "train_loader",
)  # fmt: skip
TRAINERS: dict[str, Any] = {
    **{f"{name} is odd": at_hooks(name, Unwritable()) for name in NAMES},
    **{
        f"{name} is None": at_hooks(name, None)
        for name in ("args", "optimizer", "lr", "epoch", "metrics", "plots")
    },
    "a metric is odd": at_hooks("metrics", {"val/box_loss": Unwritable(), "metrics/mine": 0.5}),
    "a plot is odd": at_hooks("plots", {Path("a.png"): {}}),
    "the losses of a batch have no names": Unlabelled,
}


@pytest.fixture
def plain(shapes: Shapes) -> dict[str, torch.Tensor]:
    return trained(shapes, DetectionTrainer)


def trained(shapes: Shapes, trainer: Any, run: trackhooks.Run | None = None) -> dict[str, torch.Tensor]:
    """The weights after an epoch."""
    torch.manual_seed(0)
    model = shapes.model()
    if run is not None:
        run.attach(model)
    shapes.train(model, trainer=trainer, seed=0)
    weights: dict[str, torch.Tensor] = model.model.state_dict()
    return weights


@pytest.mark.parametrize("trainer", TRAINERS.values(), ids=TRAINERS)
def test_a_trainer_that_is_made_otherwise_trains_and_the_rest_is_kept(
    shapes: Shapes, trainer: Any, run: trackhooks.Run, plain: dict[str, torch.Tensor]
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        weights = trained(shapes, trainer, run)
    assert all(torch.equal(weights[name], plain[name]) for name in plain)
    told = messages(caught)
    assert len(told) == len(set(told))
    assert run.status == "finished"
    assert len(events(run, "on_train_batch_end")) == 2
    (described,) = events(run, "on_pretrain_routine_end")
    assert described.facts["model/name"] == "DetectionModel"
    assert described.facts["model/parameters"]
    hooks = {event.hook for event in events(run)}
    assert {"on_train_start", "on_train_epoch_end", "on_val_end", "on_fit_epoch_end", "on_train_end"} <= hooks


@pytest.mark.parametrize("name", ["lr", "loss_items", "plots", "args", "validator"])
def test_a_strict_run_raises_what_a_trainer_does_not_say(shapes: Shapes, name: str, tmp_path: Path) -> None:
    with (
        trackhooks.run(dir=tmp_path, delivery="off", strict=True) as run,
        pytest.raises(trackhooks.TrackhooksError),
    ):
        trained(shapes, at_hooks(name, Unwritable()), run)


def test_an_odd_metric_does_not_take_the_others_along(shapes: Shapes, run: trackhooks.Run) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained(shapes, TRAINERS["a metric is odd"], run)
    (epoch,) = [event for event in events(run, "on_fit_epoch_end") if event.metrics]
    assert epoch.metrics["metrics/mine"] == 0.5
    assert "val/box_loss" not in epoch.metrics
    assert len(messages(caught)) == 1
    assert "val/box_loss" in messages(caught)[0]


class OddValidator(DetectionValidator):  # type: ignore[misc]
    def run_callbacks(self, event: str) -> None:
        kept = {name: self.__dict__[name] for name in ("speed", "metrics")}
        self.__dict__.update(dict.fromkeys(kept, Unwritable()))
        super().run_callbacks(event)
        self.__dict__.update(kept)


class OddPredictor(DetectionPredictor):  # type: ignore[misc]
    def run_callbacks(self, event: str) -> None:
        kept = {
            name: vars(self)[name] for name in ("batch", "results", "args", "save_dir") if name in vars(self)
        }
        self.__dict__.update(dict.fromkeys(kept, Unwritable()))
        super().run_callbacks(event)
        self.__dict__.update(kept)


def test_an_odd_validator_validates(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    run.attach(model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        shapes.validate(model, validator=OddValidator)
    assert len(messages(caught)) == len(set(messages(caught))) >= 1
    assert len(events(run, "on_val_end")) == 1


def test_an_odd_predictor_predicts(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    run.attach(model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        results = shapes.predict(model, predictor=OddPredictor)
    assert len(results) == 8
    assert len(messages(caught)) == len(set(messages(caught))) >= 1
    assert len(events(run, "on_predict_end")) == 1
