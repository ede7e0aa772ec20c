"""What a callback gets in a loop of the other vocabulary: views of its trainer, and of its model."""

from __future__ import annotations

import copy
import csv
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from folders import ROOT

from trackhooks import Callback, CallbackList, Run
from trackhooks.hooks.views import VIEWS, ForeignModelError, ModelView, View

keras = pytest.importorskip("keras", reason="Keras is not installed")


def model_and_optimizer() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    model = torch.nn.Linear(2, 1)
    return model, torch.optim.SGD(model.parameters(), lr=0.5)


def train(run: Run, losses: list[float], batches: int = 2) -> int:
    """A training whose loss is as given in each epoch; how many epochs it went through."""
    epochs = 0
    for _ in run.epochs(len(losses)):
        for _ in run.train(range(batches)):
            run.log(loss=losses[epochs])
        for _ in run.validate(range(1)):
            run.log(loss=losses[epochs] + 1)
        epochs += 1
    return epochs


# --- What a function gets


def test_the_attributes_of_the_views_are_those_that_are_documented() -> None:
    page = ROOT / "docs" / "topics" / "callbacks.md"
    documented = {
        row[1]: set(re.findall(r"`(\w+)`", row[2]))
        for row in re.finditer(r"^\| (\w+) \| (`args`.*) \|$", page.read_text(), re.MULTILINE)
    }
    views = {kind: set(view.attributes) for kind, view in VIEWS.items()}
    assert documented == views
    assert View.__doc__ is not None
    assert all(f"`{name}`" in View.__doc__ for names in views.values() for name in names)


def test_a_trainer_has_what_the_loop_knows(run: Run, tmp_path: Path) -> None:
    model, optimizer = model_and_optimizer()
    checkpoint = tmp_path / "last.pt"
    checkpoint.write_text("weights")
    run.log_params(lr=0.5, freeze=3)
    run.watch(model, optimizer)
    seen: list[dict[str, Any]] = []

    def look(trainer: Any) -> None:
        seen.append({name: getattr(trainer, name) for name in dir(trainer)})

    run.add_callback("on_fit_epoch_end", look)
    data = [1.0, 3.0]
    for _ in run.epochs(5, start=3):
        for value in run.train(data):
            run.log(loss=value)
        for _ in run.validate([0]):
            run.log(loss=7.0)
        run.log_model(checkpoint)
    trainer = seen[0]
    assert vars(trainer.pop("args")) == {"lr": 0.5, "freeze": 3}
    speed = {name for name in trainer["metrics"] if name.startswith("speed/")}
    assert {name: value for name, value in trainer.pop("metrics").items() if name not in speed} == {
        "train/loss": 2.0, "lr/0": 0.5, "val/loss": 7.0,
    }  # fmt: skip
    assert trainer == {
        "model": model, "optimizer": optimizer, "data": data, "epoch": 3, "start_epoch": 3, "epochs": 5, "loss": 3.0,
        "loss_items": {"train_batch/loss": 3.0}, "tloss": {"train_batch/loss": 3.0}, "lr": {"lr/0": 0.5},
        "save_dir": run.path, "last": str(checkpoint), "stop": False,
    }  # fmt: skip


def test_a_validator_has_its_position_and_whether_it_is_part_of_a_training(run: Run) -> None:
    seen: list[tuple[Any, ...]] = []

    def look(validator: Any) -> None:
        seen.append((validator.batch_i, validator.seen, validator.training, validator.dataloader))

    run.add_callback("on_val_batch_end", look)
    data = [torch.ones(4, 2), torch.ones(3, 2)]
    for _ in run.epochs(1):
        for _ in run.train([torch.ones(100, 2)]):
            pass
        for _ in run.validate(data):
            pass
    for _ in run.validate(data[:1]):
        pass
    assert seen == [(0, 4, True, data), (1, 7, True, data), (0, 4, False, data[:1])]


def test_a_predictor_has_the_batch_and_its_results_may_be_replaced(run: Run) -> None:
    seen: list[tuple[Any, ...]] = []

    def look(predictor: Any) -> None:
        seen.append((predictor.batch, predictor.seen, predictor.results))
        predictor.results = ["replaced"]

    run.add_callback("on_predict_postprocess_end", look)
    run.add_callback("on_predict_batch_end", look)
    batch = torch.ones(4, 2)
    for _ in run.predict([batch]):
        pass
    assert seen == [(batch, 4, None), (batch, 4, ["replaced"])]


def test_keras_predictions_are_the_results_of_a_predictor() -> None:
    callbacks = CallbackList()
    seen: list[Any] = []
    callbacks.add_callback("on_predict_batch_end", lambda predictor: seen.append(predictor.results))
    callbacks.on_predict_begin()
    callbacks.on_predict_batch_end(0, {"outputs": [1.0]})
    assert seen == [[1.0]]


def test_an_exporter_has_the_checkpoint_that_it_exports(run: Run, tmp_path: Path) -> None:
    seen: list[Any] = []
    run.add_callback("on_export_start", lambda exporter: seen.append((exporter.file, exporter.metadata)))
    for name in ("best.pt", "model.onnx"):
        (tmp_path / name).write_text("weights")
    run.log_model(tmp_path / "best.pt")
    run.log_export(tmp_path / "model.onnx")
    assert seen == [(str(tmp_path / "best.pt"), {})]


@pytest.mark.parametrize("kind", VIEWS)
def test_an_attribute_that_the_loop_does_not_know_is_a_clear_error(run: Run, kind: Any) -> None:
    view = VIEWS[kind](run.callbacks.state)
    known = ", ".join(sorted(view.attributes))
    with pytest.raises(AttributeError, match=f"the {kind} of a custom loop has no 'ema'. It has: {known}"):
        view.ema  # noqa: B018
    assert not hasattr(view, "ema")
    assert getattr(view, "ema", None) is None
    assert dir(view) == sorted(view.attributes)


def test_a_function_finds_what_earlier_functions_set_on_a_view(run: Run) -> None:
    def leave(trainer: Any) -> None:
        trainer.note = "a note"
        trainer.epochs = 7  # what is computed can be replaced as well

    found: list[Any] = []
    run.add_callback("on_train_start", leave)
    run.add_callback("on_fit_epoch_end", lambda trainer: found.append((trainer.note, trainer.epochs)))
    train(run, [1.0])
    assert found == [("a note", 7)]


def test_parameters_are_attributes_that_can_be_set(run: Run) -> None:
    run.log_params({"lr": 0.5, "optimizer": {"name": "sgd"}})

    def save_on_object(predictor: Any) -> None:  # as Ultralytics documents it
        predictor.args.save = predictor.args.lr == 0.5

    def put_in_eval_mode(trainer: Any) -> None:  # from its documentation, too
        assert isinstance(trainer.args.freeze, int)

    run.add_callback("on_predict_postprocess_end", save_on_object)
    for _ in run.predict([0]):
        pass
    args = VIEWS["predictor"](run.callbacks.state).args
    assert args.save is True
    assert args.optimizer == {"name": "sgd"}
    assert repr(args) == "Arguments({'lr': 0.5, 'optimizer': {'name': 'sgd'}, 'save': True})"
    with pytest.raises(AttributeError, match=r"no parameter 'freeze'\. It has: lr, optimizer, save\."):
        put_in_eval_mode(VIEWS["trainer"](run.callbacks.state))


def test_a_view_can_be_copied(run: Run) -> None:
    view = VIEWS["trainer"](run.callbacks.state)
    assert copy.copy(view).epoch == view.epoch


# --- What a Keras callback gets, in a loop in PyTorch


def test_keras_early_stopping_stops_a_loop_in_pytorch(run: Run) -> None:
    run.callbacks.append(keras.callbacks.EarlyStopping(monitor="val_loss", patience=1))
    assert train(run, [3.0, 1.0, 2.0, 2.0, 2.0]) == 3
    assert run.callbacks.stop_training


def test_keras_early_stopping_that_is_to_restore_weights_says_why_it_cannot(run: Run) -> None:
    model, optimizer = model_and_optimizer()
    run.watch(model, optimizer)
    run.callbacks.append(keras.callbacks.EarlyStopping(monitor="loss", restore_best_weights=True))
    reason = r"no Keras model, so there is no model\.get_weights: .* cannot work here"
    with pytest.raises(ForeignModelError, match=reason):
        train(run, [3.0, 2.0])


@pytest.mark.parametrize(
    ("make", "missing"),
    [
        (
            lambda path: keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=1),
            "optimizer: .* scheduler",
        ),
        (lambda path: keras.callbacks.LearningRateScheduler(lambda epoch: 0.1), "optimizer: .* scheduler"),
        (
            lambda path: keras.callbacks.ModelCheckpoint(path / "a.keras", save_freq="epoch"),
            r"save: .* run\.log_model",
        ),
        (
            lambda path: keras.callbacks.ModelCheckpoint(path / "a.weights.h5", save_weights_only=True),
            r"save_weights: .* run\.log_model",
        ),
        (
            lambda path: keras.callbacks.EarlyStopping(monitor="loss", restore_best_weights=True),
            r"get_weights: .* restore_best_weights=False",
        ),
        (lambda path: keras.callbacks.BackupAndRestore(path), r"built: .*run\(resume=…\)"),
    ],
    ids=["ReduceLR", "Scheduler", "Checkpoint", "Weights", "EarlyStopping", "Backup"],
)
def test_a_keras_callback_that_needs_a_keras_model_says_so(
    run: Run, tmp_path: Path, make: Any, missing: str
) -> None:
    run.callbacks.append(callback := make(tmp_path))
    with pytest.raises(ForeignModelError, match=f"there is no model.{missing}"):
        train(run, [1.0] * 4)
    run.callbacks.remove(callback)
    assert train(run, [1.0]) == 1


@pytest.mark.parametrize("name", ["save", "optimizer", "get_weights"])
def test_a_model_of_another_kind_that_lacks_what_keras_has_gets_the_same_error(name: str) -> None:
    class Needs(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            getattr(self.model, name)()

    class Misspelt(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.weigths  # noqa: B018

    callbacks = CallbackList([Needs(), Misspelt()], model=Own())
    with pytest.raises(ForeignModelError, match=rf"no model\.{name}: .* instead"):
        callbacks.on_train_batch_end(0)
    with pytest.raises(AttributeError, match="weigths") as raised:
        callbacks.on_epoch_end(0)
    assert not isinstance(raised.value, ForeignModelError)


def test_keras_callbacks_that_only_read_the_logs_work(run: Run, tmp_path: Path) -> None:
    said: list[Any] = []
    run.callbacks.append(keras.callbacks.CSVLogger(str(tmp_path / "log.csv")))
    run.callbacks.append(keras.callbacks.TerminateOnNaN())
    run.callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: said.append(epoch)))
    assert train(run, [3.0, 2.0, math.nan, 1.0]) == 3
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["loss"], row["val_loss"]) for row in rows] == [
        ("0", "3.0", "4.0"), ("1", "2.0", "3.0"), ("2", "nan", "nan"),
    ]  # fmt: skip
    assert said == [0, 1, 2]


def test_early_stopping_gets_metrics_of_ultralytics_by_their_names() -> None:
    callbacks = CallbackList(
        [keras.callbacks.EarlyStopping(monitor="metrics/mAP50(B)", mode="max", patience=0)]
    )
    callbacks.run_callbacks("on_train_start")
    for epoch, value in enumerate([0.1, 0.2, 0.15]):
        callbacks.run_callbacks("on_fit_epoch_end", metrics={"metrics/mAP50(B)": value}, epoch=epoch)
        assert callbacks.stop_training == (epoch == 2)


def test_a_model_view_has_the_attributes_of_the_loops_model(run: Run) -> None:
    model, optimizer = model_and_optimizer()
    run.watch(model, optimizer)
    view = run.callbacks.model
    assert isinstance(view, ModelView)
    assert view.in_features == 2
    assert view.weight is model.weight
    view.training = False
    assert model.training is False
    view.note = "of the view"
    assert view.note == "of the view"
    assert not hasattr(model, "note")
    view.stop_training = True
    assert view.stop_training is run.callbacks.stop_training is True
    assert not hasattr(view, "optimizer")
    assert not hasattr(view, "__wrapped__")


# --- Which model a Keras callback gets as it is


class Own:
    """A model of the user's own, whose loop asks the model itself."""


@dataclass(frozen=True, slots=True)
class Frozen:
    weight: float = 1.0


def test_a_model_on_which_stop_training_can_be_set_is_passed_on_unchanged() -> None:
    class Stops(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = True

    for model in (Own(), keras.Sequential([keras.layers.Dense(1)])):
        callbacks = CallbackList([Stops()], model=model)
        assert callbacks.model is model
        callbacks.on_epoch_end(0)
        assert model.stop_training is True
        assert callbacks.stop_training


@pytest.mark.parametrize(
    "model", [None, {"w": 1.0}, Frozen(), (1, 2)], ids=lambda model: type(model).__name__
)
def test_other_models_are_passed_on_as_a_view(model: Any) -> None:
    callbacks = CallbackList([Callback()], model=model)
    callbacks.run_callbacks("on_train_start")
    callbacks.set_model(model)
    assert isinstance(callbacks.model, ModelView)
    callbacks.model.stop_training = True
    assert callbacks.stop_training
