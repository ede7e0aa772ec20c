"""Callbacks of Keras hear a YOLO training, and can stop it; what they cannot have says so."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from yolo import Shapes

import trackhooks
from trackhooks.hooks.views import ForeignModelError
from trackhooks.storage import journal

pytestmark = pytest.mark.slow  # each trains

keras = pytest.importorskip("keras")

LOSSES = {"box_loss", "cls_loss", "dfl_loss", "loss"}
EPOCH = (
    LOSSES
    | {f"val_{loss}" for loss in LOSSES}
    | {"metrics/mAP50(B)", "metrics/mAP50-95(B)", "lr/0", "fitness"}
)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Shapes:
    return Shapes(tmp_path_factory.mktemp("shapes"))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[trackhooks.Run]:
    with trackhooks.run(dir=tmp_path, delivery="off") as opened:
        yield opened


def train(run: trackhooks.Run, shapes: Shapes, *callbacks: Any, **arguments: Any) -> Any:
    model = shapes.model()
    run.attach(model)
    for callback in callbacks:
        run.callbacks.append(callback)
    shapes.train(model, **arguments)
    return model


def epochs(run: trackhooks.Run) -> list[int]:
    return [event.epoch for event in journal.read(run.path) if event.hook == "on_fit_epoch_end"]


class Heard(keras.callbacks.Callback):  # type: ignore[misc,name-defined]
    """Notes what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []


def _note(name: str) -> Any:
    def method(self: Heard, *arguments: Any, logs: Any = None) -> None:
        *index, last = (*arguments, logs) if logs is not None else arguments
        self.calls.append((name, *index, set(last)))

    return method


for _name in ("train_begin", "train_end", "epoch_begin", "epoch_end", "train_batch_begin", "train_batch_end",
              "test_begin", "test_end", "test_batch_begin", "test_batch_end", "predict_begin", "predict_end",
              "predict_batch_begin", "predict_batch_end"):  # fmt: skip
    setattr(Heard, f"on_{_name}", _note(_name))


def test_a_keras_callback_gets_the_hooks_of_a_training_as_those_of_a_fit(
    shapes: Shapes, run: trackhooks.Run
) -> None:
    heard = Heard()
    train(run, shapes, heard, epochs=2)
    batches = [
        call for batch in (0, 1) for call in (("train_batch_begin", batch), ("train_batch_end", batch))
    ]
    validation = [("test_begin",), ("test_batch_begin", 0), ("test_batch_end", 0), ("test_end",)]
    fit: list[tuple[Any, ...]] = [("train_begin",)]
    for epoch in (0, 1):
        fit += [("epoch_begin", epoch), *batches, *validation, ("epoch_end", epoch)]
    # The evaluation of the best checkpoint, which comes after the last epoch, has no place in a fit.
    assert [call[:-1] for call in heard.calls] == [*fit, ("train_end",)]


def test_the_logs_use_the_names_of_keras(shapes: Shapes, run: trackhooks.Run) -> None:
    heard = Heard()
    train(run, shapes, heard)
    logs = {call[0]: call[-1] for call in heard.calls}
    assert logs["train_batch_end"] == LOSSES
    assert logs["epoch_end"] >= EPOCH
    assert logs["train_end"] == logs["epoch_end"]
    assert "metrics/mAP50(B)" in logs["test_end"]
    assert logs["train_begin"] == logs["epoch_begin"] == set()


def test_a_keras_callback_gets_the_hooks_of_predictions_and_evaluations(
    shapes: Shapes, run: trackhooks.Run
) -> None:
    heard, model = Heard(), shapes.model()
    run.attach(model)
    run.callbacks.append(heard)
    shapes.validate(model, batch=8)
    shapes.predict(model, batch=4)
    evaluation: list[Any] = [("test_begin",), ("test_batch_begin", 0), ("test_batch_end", 0), ("test_end",)]
    batches = [
        call for batch in (0, 1) for call in (("predict_batch_begin", batch), ("predict_batch_end", batch))
    ]
    assert [call[:-1] for call in heard.calls] == [
        *evaluation,
        ("predict_begin",),
        *batches,
        ("predict_end",),
    ]


def test_params_say_how_long_the_training_is(shapes: Shapes, run: trackhooks.Run) -> None:
    heard = Heard()
    train(run, shapes, heard)
    assert heard.params["epochs"] == 1
    assert heard.params["steps"] == 2


def test_early_stopping_stops_a_yolo_training(shapes: Shapes, run: trackhooks.Run) -> None:
    """A model that finds nothing has an mAP of 0 in every epoch."""
    stopping = keras.callbacks.EarlyStopping(monitor="metrics/mAP50(B)", mode="max", patience=1)
    model = train(run, shapes, stopping, epochs=5)
    assert epochs(run) == [0, 1]
    assert stopping.stopped_epoch == 1
    assert run.status == "finished"
    assert model.trainer.best.exists()


def test_the_next_training_is_not_stopped(shapes: Shapes, run: trackhooks.Run) -> None:
    model = train(
        run, shapes, keras.callbacks.EarlyStopping(monitor="fitness", mode="max", patience=1), epochs=5
    )
    model.overrides.setdefault("model", str(model.trainer.best))  # Ultralytics 8.3 forgets it, and then fails
    shapes.train(model, epochs=5)
    assert epochs(run) == [0, 1, 2, 3]


def test_a_lambda_stops_a_training_in_a_batch(shapes: Shapes, run: trackhooks.Run) -> None:
    def stop(batch: int, logs: Any) -> None:
        callback.model.stop_training = True

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    train(run, shapes, callback, epochs=3)
    assert epochs(run) == [0]


def test_terminate_on_nan_stops_a_training(shapes: Shapes, run: trackhooks.Run) -> None:
    from ultralytics.models.yolo.detect import DetectionTrainer

    class Broken(DetectionTrainer):  # type: ignore[misc]
        def label_loss_items(self, loss_items: Any = None, prefix: str = "train") -> Any:
            found = super().label_loss_items(loss_items, prefix)
            return {name: float("nan") for name in found} if prefix == "train_batch" else found

    train(run, shapes, keras.callbacks.TerminateOnNaN(), epochs=3, trainer=Broken)
    assert epochs(run) == [0]


def test_csv_logger_writes_a_row_for_each_epoch(shapes: Shapes, run: trackhooks.Run, tmp_path: Path) -> None:
    path = tmp_path / "keras.csv"
    train(run, shapes, keras.callbacks.CSVLogger(path), epochs=2)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    recorded = [event for event in journal.read(run.path) if event.hook == "on_fit_epoch_end"]
    for row, event in zip(rows, recorded, strict=True):
        assert float(row["box_loss"]) == event.metrics["train/box_loss"]
        assert float(row["val_loss"]) == event.metrics["val/loss"]


def test_history_holds_every_epoch(shapes: Shapes, run: trackhooks.Run) -> None:
    history = keras.callbacks.History()
    train(run, shapes, history, epochs=2)
    assert history.epoch == [0, 1]
    assert len(history.history["val_loss"]) == 2


def test_what_a_keras_callback_adds_to_the_logs_is_recorded(shapes: Shapes, run: trackhooks.Run) -> None:
    def gap(epoch: int, logs: Any) -> None:
        logs["gap"] = logs["val_loss"] - logs["loss"]

    train(run, shapes, keras.callbacks.LambdaCallback(on_epoch_end=gap))
    event = next(event for event in journal.read(run.path) if event.hook == "on_fit_epoch_end")
    assert event.metrics["train/gap"] == event.metrics["val/loss"] - event.metrics["train/loss"]


@pytest.mark.parametrize(
    "callback",
    [
        lambda folder: keras.callbacks.ReduceLROnPlateau(
            monitor="fitness", mode="max", patience=0, cooldown=0
        ),
        lambda folder: keras.callbacks.LearningRateScheduler(lambda epoch: 0.1),
        lambda folder: keras.callbacks.ModelCheckpoint(folder / "best.keras"),
    ],
    ids=["ReduceLROnPlateau", "LearningRateScheduler", "ModelCheckpoint"],
)
def test_what_needs_a_keras_model_says_so(
    shapes: Shapes, run: trackhooks.Run, tmp_path: Path, callback: Any
) -> None:
    with pytest.raises(ForeignModelError, match="an Ultralytics loop has no Keras model"):
        train(run, shapes, callback(tmp_path), epochs=2)
    assert run.status == "failed"


def test_the_model_of_a_keras_callback_passes_on_what_the_yolo_model_has(
    shapes: Shapes, run: trackhooks.Run
) -> None:
    counted: list[int] = []

    def count(logs: Any) -> None:
        counted.append(sum(weight.numel() for weight in callback.model.parameters()))

    callback = keras.callbacks.LambdaCallback(on_train_begin=count)
    model = train(run, shapes, callback)
    assert counted == [sum(weight.numel() for weight in torch.nn.Module.parameters(model.model))]


def test_functions_of_the_run_stop_a_training_too(shapes: Shapes, run: trackhooks.Run) -> None:
    run.add_callback("on_fit_epoch_end", lambda trainer: setattr(trainer, "stop", True))
    train(run, shapes, epochs=3)
    assert epochs(run) == [0]


def test_a_function_in_a_list_of_the_run_gets_the_live_object_of_every_mode(
    shapes: Shapes, run: trackhooks.Run
) -> None:
    inner = trackhooks.CallbackList()
    seen: dict[str, list[Any]] = {"on_train_epoch_end": [], "on_val_end": [], "on_model_save": []}
    for hook, sources in seen.items():
        inner.add_callback(hook, sources.append)
    trainer = train(run, shapes, inner).trainer
    assert seen["on_train_epoch_end"][0] is seen["on_model_save"][0] is trainer
    assert seen["on_val_end"][0] is trainer.validator
