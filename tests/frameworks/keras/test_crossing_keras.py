"""Callbacks of Keras in other loops, and functions of Ultralytics' kind in Keras' `fit`: they hear, and they stop."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import pytest
import torch
from keras_models import X, Y, events, infos, sequential
from torch import nn

import trackhooks
from trackhooks.hooks.views import ForeignModelError


@pytest.fixture
def run(tmp_path: Path) -> Iterator[trackhooks.Run]:
    with trackhooks.run(dir=tmp_path / "runs", delivery="off") as opened:
        yield opened


def loop_in_torch(run: trackhooks.Run, losses: list[float], net: nn.Module | None = None) -> int:
    """Run a custom loop with these validation losses, and return the number of its epochs."""
    net = net or nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    run.watch(net, optimizer)
    done = 0
    for epoch in run.epochs(len(losses)):
        for start in run.train(range(0, 20, 10)):
            loss = nn.functional.mse_loss(
                net(torch.tensor(X[start : start + 10])), torch.tensor(Y[start : start + 10])
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch's
            optimizer.step()
            run.log(loss=loss if not math.isnan(losses[epoch]) else math.nan)
        for _ in run.validate(range(1)):
            run.log(loss=losses[epoch])
        done += 1
    return done


# Callbacks of Keras hear a loop in PyTorch


def test_early_stopping_ends_a_loop_in_pytorch(run: trackhooks.Run) -> None:
    stopping = keras.callbacks.EarlyStopping(monitor="val_loss", patience=2)
    run.callbacks.append(stopping)
    assert loop_in_torch(run, [3.0, 2.0, 2.5, 2.6, 2.7, 2.8]) == 4
    assert stopping.stopped_epoch == 3
    assert stopping.best == 2.0


def test_early_stopping_watches_any_metric_by_its_recorded_name(run: trackhooks.Run) -> None:
    run.callbacks.append(keras.callbacks.EarlyStopping(monitor="metrics/mAP50(B)", mode="max"))
    done = 0
    for epoch in run.epochs(5):
        for _ in run.train(range(1)):
            pass
        run.log({"metrics/mAP50(B)": [0.1, 0.2, 0.15, 0.3, 0.4][epoch]})
        done += 1
    assert done == 3


def test_a_csv_of_keras_is_written_from_a_loop_in_pytorch(run: trackhooks.Run, tmp_path: Path) -> None:
    run.callbacks.append(keras.callbacks.CSVLogger(str(tmp_path / "log.csv")))
    loop_in_torch(run, [3.0, 2.0])
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["val_loss"]) for row in rows] == [("0", "3.0"), ("1", "2.0")]
    assert float(rows[1]["loss"]) == events(run, "on_train_epoch_end")[1].metrics["train/loss"]


def test_a_lambda_of_keras_gets_every_event_of_a_pytorch_loop(run: trackhooks.Run) -> None:
    heard: list[Any] = []
    run.callbacks.append(
        keras.callbacks.LambdaCallback(
            on_train_begin=lambda logs: heard.append(("begin", dict(logs))),
            on_train_batch_end=lambda batch, logs: heard.append((batch, sorted(logs))),
            on_epoch_end=lambda epoch, logs: heard.append((epoch, sorted(logs))),
            on_train_end=lambda logs: heard.append(("end", "val_loss" in logs)),
        )
    )
    loop_in_torch(run, [3.0])
    assert heard == [
        ("begin", {}), (0, ["loss"]), (1, ["loss"]), (0, ["loss", "lr/0", "val_loss"]), ("end", True),
    ]  # fmt: skip


def test_a_loss_that_is_not_a_number_ends_a_pytorch_loop(run: trackhooks.Run) -> None:
    run.callbacks.append(keras.callbacks.TerminateOnNaN())
    assert loop_in_torch(run, [1.0, math.nan, 1.0]) == 2


@pytest.mark.parametrize(
    ("callback", "missing"),
    [
        (lambda: keras.callbacks.EarlyStopping("val_loss", restore_best_weights=True), "get_weights"),
        (lambda: keras.callbacks.ReduceLROnPlateau("val_loss", patience=1), "optimizer"),
        (lambda: keras.callbacks.LearningRateScheduler(lambda epoch: 0.1), "optimizer"),
        (lambda: keras.callbacks.ModelCheckpoint("last.keras"), "save"),
    ],
)
def test_what_only_a_keras_model_has_is_refused_with_the_reason(
    callback: Callable[[], Any], missing: str, tmp_path: Path
) -> None:
    def train() -> None:
        with trackhooks.run(dir=tmp_path, delivery="off") as run:
            run.callbacks.append(callback())
            loop_in_torch(run, [3.0, 4.0, 5.0])

    with pytest.raises(ForeignModelError, match=rf"has no Keras model, so there is no model\.{missing}"):
        train()
    assert [info.status for info in infos(tmp_path)] == ["failed"]


# Callbacks of Keras hear Keras through a run


def test_a_callback_of_the_run_stops_a_fit(run: trackhooks.Run) -> None:
    run.callbacks.append(keras.callbacks.EarlyStopping(monitor="loss", mode="max", patience=1))
    history = sequential().fit(X, Y, epochs=9, verbose=0, callbacks=[run.keras])
    assert len(history.epoch) == 2


def test_a_callback_of_the_run_may_restore_weights_and_change_the_learning_rate(run: trackhooks.Run) -> None:
    model = sequential()
    run.callbacks.append(
        keras.callbacks.ReduceLROnPlateau(monitor="loss", mode="max", patience=1, factor=0.5, min_lr=0)
    )
    run.callbacks.append(
        keras.callbacks.EarlyStopping(monitor="loss", mode="max", patience=3, restore_best_weights=True)
    )
    before = float(model.optimizer.learning_rate)
    model.fit(X, Y, epochs=9, verbose=0, callbacks=[run.keras])
    assert float(model.optimizer.learning_rate) < before
    assert "on_params_update" in {event.hook for event in events(run)}


# Functions of Ultralytics' kind hear Keras


def test_a_function_reads_the_trainer_of_a_fit(run: trackhooks.Run) -> None:
    read: list[Any] = []

    def note(trainer: Any) -> None:
        read.append((trainer.epoch, trainer.epochs, sorted(trainer.metrics), trainer.args.batch_size))

    run.add_callback("on_fit_epoch_end", note)
    sequential().fit(X, Y, epochs=2, batch_size=4, verbose=0, validation_data=(X, Y), callbacks=[run.keras])
    assert [found[:2] for found in read] == [(0, 2), (1, 2)]
    assert {"train/loss", "train/mae", "val/loss", "val/mae", "lr/0"} <= set(read[0][2])
    assert read[0][3] == 4


def test_a_function_gets_every_hook_of_a_fit_in_order(run: trackhooks.Run) -> None:
    heard: list[str] = []
    for hook in run.callbacks.callbacks:
        run.add_callback(hook, lambda source, hook=hook: heard.append(hook))  # type: ignore[misc] # the hook of now
    sequential().fit(X, Y, epochs=1, batch_size=20, verbose=0, validation_data=(X, Y), callbacks=[run.keras])
    assert heard == [
        "on_pretrain_routine_start", "on_pretrain_routine_end", "on_train_start", "on_train_epoch_start",
        "on_train_batch_start", "on_train_batch_end", "on_train_epoch_end", "on_val_start", "on_val_batch_start",
        "on_val_batch_end", "on_val_end", "on_fit_epoch_end", "on_train_end",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("hook", "batches", "epochs"), [("on_train_batch_end", 1, 1), ("on_fit_epoch_end", 5, 1)]
)
def test_a_function_stops_a_fit(hook: str, batches: int, epochs: int, run: trackhooks.Run) -> None:
    def stop(trainer: Any) -> None:
        trainer.stop = True

    run.add_callback(hook, stop)
    model = sequential()
    model.fit(X, Y, epochs=9, batch_size=4, verbose=0, callbacks=[run.keras])
    assert model.stop_training is True
    assert len(events(run, "on_train_batch_end")) == batches
    assert len(events(run, "on_fit_epoch_end")) == epochs


def test_a_function_may_evaluate_and_predict_with_the_model_that_trains(run: trackhooks.Run) -> None:
    run.add_callback(
        "on_fit_epoch_end", lambda trainer: trainer.model.evaluate(X, Y, batch_size=2, verbose=0)
    )
    run.add_callback("on_train_end", lambda trainer: trainer.model.predict(X, batch_size=2, verbose=0))
    sequential().fit(X, Y, epochs=2, verbose=0, callbacks=[run.keras])
    assert [sorted(event.metrics) for event in events(run, "on_val_end")] == [["test/loss", "test/mae"]] * 2
    assert len(events(run, "on_predict_end")) == 1


EVENTS: dict[str, Callable[[Any], Any]] = {
    "on_test_begin": lambda model: model.evaluate(X, Y, verbose=0),
    "on_test_batch_end": lambda model: model.evaluate(X, Y, verbose=0),
    "on_test_end": lambda model: model.evaluate(X, Y, verbose=0),
    "on_predict_end": lambda model: model.predict(X, verbose=0),
}


@pytest.mark.parametrize("event", EVENTS)
def test_a_callback_may_start_the_mode_that_it_hears(run: trackhooks.Run, event: str) -> None:
    model, calls = sequential(), []

    def method(*_: Any, **__: Any) -> None:
        calls.append(event)
        EVENTS[event](model)

    run.callbacks.append(type("Starts", (trackhooks.Callback,), {event: method})())
    model.fit(X, Y, validation_data=(X, Y), batch_size=len(X), verbose=0, callbacks=[run.keras])
    model.predict(X, verbose=0)
    assert len(calls) == 1
    evaluated = [event.epoch for event in events(run, "on_val_end")]
    assert sorted(evaluated) == ([0] if event == "on_predict_end" else [-1, 0])
    assert len(events(run, "on_predict_end")) == (2 if event == "on_predict_end" else 1)


def test_callbacks_may_be_a_dict_as_keras_takes_them(tmp_path: Path) -> None:
    trackhooks.enable(dir=tmp_path / "runs", delivery="off")
    log = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    sequential().fit(
        X, Y, verbose=0, callbacks={"log": log, "more": {"stop": keras.callbacks.TerminateOnNaN()}}
    )
    trackhooks.disable()
    assert (tmp_path / "log.csv").read_text().startswith("epoch,")
    assert [info.status for info in infos(tmp_path / "runs")] == ["finished"]


def test_a_function_can_distinguish_a_validation_from_an_evaluation(run: trackhooks.Run) -> None:
    training: list[bool] = []
    run.add_callback("on_val_end", lambda validator: training.append(validator.training))
    model = sequential()
    model.fit(X, Y, verbose=0, validation_data=(X, Y), callbacks=[run.keras])
    model.evaluate(X, Y, verbose=0)
    assert training == [True, False]


def test_a_function_reads_what_was_predicted(run: trackhooks.Run) -> None:
    seen = []
    run.add_callback(
        "on_predict_batch_end", lambda predictor: seen.append((predictor.seen, predictor.results.shape))
    )
    sequential().predict(X, batch_size=15, verbose=0, callbacks=[run.keras])
    assert seen == [(15, (15, 1)), (20, (5, 1))]


def test_a_function_gets_a_save_with_its_file(run: trackhooks.Run, tmp_path: Path) -> None:
    files = []
    run.add_callback("on_model_save", lambda trainer: files.append(Path(trainer.last).name))
    model = sequential()
    model.fit(X, Y, verbose=0, callbacks=[run.keras])
    model.save(tmp_path / "model.keras")
    assert files == ["model.keras"]


def test_a_function_that_asks_for_something_keras_does_not_have_is_told_what_exists(
    run: trackhooks.Run,
) -> None:
    run.add_callback("on_train_start", lambda trainer: trainer.ema)
    with pytest.raises(
        AttributeError, match=r"the trainer of a Keras model has no 'ema'\. It has: args, data"
    ):
        sequential().fit(X, Y, verbose=0, callbacks=[run.keras])


def test_both_kinds_are_called_in_the_order_in_which_they_were_registered(run: trackhooks.Run) -> None:
    heard: list[str] = []
    run.add_callback("on_fit_epoch_end", lambda trainer: heard.append("function"))
    run.callbacks.append(
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: heard.append("object"))
    )
    sequential().fit(X, Y, verbose=0, callbacks=[run.keras])
    assert heard == ["function", "object"]
