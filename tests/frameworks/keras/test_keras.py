"""Keras: what is recorded of `fit`, `evaluate` and `predict`, of saves and exports, whatever goes wrong."""

from __future__ import annotations

import copy
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras_models import LABELS, X, Y, batches, compiled, events, infos, names, sequential, two_headed
from torch.utils.data import DataLoader, TensorDataset

import trackhooks
from trackhooks.event import Graph, Text
from trackhooks.recording import open_runs
from trackhooks_integrations.frameworks.keras.ordering import InOrder

METHODS = ("fit", "evaluate", "predict", "save", "save_weights", "load_weights", "set_weights", "export")


@pytest.fixture
def run(tmp_path: Path) -> Iterator[trackhooks.Run]:
    with trackhooks.run(dir=tmp_path / "runs", delivery="off") as opened:
        yield opened


def fit(model: Any, run: trackhooks.Run, **more: Any) -> Any:
    """Train with the run's callback after those of the test."""
    callbacks = [*more.pop("callbacks", []), run.keras]
    return model.fit(X, Y, **{"epochs": 2, "batch_size": 5, "verbose": 0, **more}, callbacks=callbacks)


class Do(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Does something at an event."""

    def __init__(self, event: str, what: Callable[[Any], Any]) -> None:
        super().__init__()
        setattr(self, event, lambda *_, **__: what(self.model))


# What is recorded


def test_the_hooks_of_a_fit_come_in_their_order(run: trackhooks.Run) -> None:
    fit(sequential(), run, epochs=1, batch_size=10, validation_data=(X, Y))
    assert names(run) == [
        "on_pretrain_routine_start", "on_pretrain_routine_end", "on_train_start", "on_train_epoch_start",
        "on_train_batch_end", "on_train_batch_end", "on_train_epoch_end", "on_val_start", "on_val_end",
        "on_fit_epoch_end", "on_train_end",
    ]  # fmt: skip


def test_metrics_have_the_names_that_every_loop_gives_them(run: trackhooks.Run) -> None:
    history = fit(sequential(), run, validation_data=(X, Y)).history
    for epoch, event in enumerate(events(run, "on_fit_epoch_end")):
        assert event.epoch == epoch
        assert event.metrics == {
            "train/loss": history["loss"][epoch], "train/mae": history["mae"][epoch],
            "val/loss": history["val_loss"][epoch], "val/mae": history["val_mae"][epoch],
        }  # fmt: skip
    assert set(events(run, "on_train_batch_end")[0].metrics) == {"train_batch/loss", "train_batch/mae"}
    trained = events(run, "on_train_epoch_end")[0].metrics
    assert {"train/loss", "train/mae", "lr/0", "speed/train_s", "speed/train_samples_per_s"} <= set(trained)


def test_steps_continue_across_epochs(run: trackhooks.Run) -> None:
    fit(sequential(), run, epochs=3)
    assert [event.step for event in events(run, "on_train_batch_end")] == list(range(12))


def test_the_training_part_ends_before_its_validation(run: trackhooks.Run) -> None:
    fit(sequential(), run, epochs=4, validation_data=(X, Y), validation_freq=2)
    edges = [
        name for name in names(run) if name in ("on_train_epoch_end", "on_val_start", "on_fit_epoch_end")
    ]
    without, with_validation = (
        ["on_train_epoch_end", "on_fit_epoch_end"],
        ["on_train_epoch_end", "on_val_start"],
    )
    assert edges == [*without, *with_validation, "on_fit_epoch_end"] * 2


def test_a_metric_of_the_training_may_be_called_like_one_of_the_validation(run: trackhooks.Run) -> None:
    class Gap(keras.Model):  # type: ignore[misc] # Keras has no types
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(1)

        def call(self, inputs: Any) -> Any:
            return self.dense(inputs)

        def train_step(self, data: Any) -> dict[str, Any]:
            return {"val_gap": 1.0, **super().train_step(data)}

    fit(compiled(Gap()), run, validation_data=(X, Y))
    assert {"train/val_gap", "val/loss"} <= set(events(run, "on_fit_epoch_end")[0].metrics)


def test_the_parameters_are_those_to_compare_trainings_by(run: trackhooks.Run) -> None:
    optimizer = keras.optimizers.AdamW(0.003, weight_decay=0.01)
    fit(sequential(optimizer=optimizer, loss="huber"), run, validation_split=0.2, class_weight=None)
    (start,) = events(run, "on_pretrain_routine_start")
    expected = {
        "epochs": 2, "steps": 4, "batch_size": 5, "loss": "huber", "metrics": "['mae']", "validation_split": 0.2,
        "optimizer/name": "AdamW", "optimizer/lr": 0.003, "optimizer/weight_decay": 0.01, "precision": "float32",
    }  # fmt: skip
    assert {name: start.params.get(name) for name in expected} == expected
    assert start.params["architecture"] == "Dense(3, relu) > Dense(1)"


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            {"loss": {"left": "mse", "right": keras.losses.Huber()}},
            {"loss/left": "mse", "loss/right": "huber_loss"},
        ),
        (
            {"loss": ["mse", "mae"], "loss_weights": [1.0, 0.5]},
            {"loss": "['mse', 'mae']", "loss_weights": "[1.0, 0.5]"},
        ),
        ({"metrics": {"left": [keras.metrics.MeanSquaredError(name="own")]}}, {"metrics/left": "['own']"}),
    ],
)
def test_losses_and_metrics_are_called_by_name(
    more: dict[str, Any], expected: dict[str, Any], run: trackhooks.Run
) -> None:
    two_headed(**more).fit(X, {"left": Y, "right": Y}, verbose=0, callbacks=[run.keras])
    found = events(run, "on_pretrain_routine_start")[0].params
    assert {name: found.get(name) for name in expected} == expected


def test_a_learning_rate_schedule_is_recorded_by_its_settings(run: trackhooks.Run) -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, decay_steps=4, decay_rate=0.1)
    fit(sequential(optimizer=keras.optimizers.SGD(schedule)), run)
    params = events(run, "on_pretrain_routine_start")[0].params
    assert params["optimizer/schedule/name"] == "ExponentialDecay"
    assert params["optimizer/schedule/decay_rate"] == 0.1
    rates = [event.metrics["lr/0"] for event in events(run, "on_train_epoch_end")]
    assert rates == pytest.approx([0.05, 0.005])


@pytest.mark.filterwarnings(
    "ignore:Your input ran out of data:UserWarning"
)  # Keras', at the end of a generator
@pytest.mark.parametrize(
    ("data", "size"),
    [
        (lambda: {"x": X, "y": Y}, 32),
        (lambda: {"x": X, "y": Y, "batch_size": 7}, 7),
        (lambda: {"x": batches(2)}, None),
        (lambda: {"x": DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=3)}, 3),
    ],
    ids=["the default", "as given", "a generator", "a loader"],
)
def test_the_batch_size_is_recorded_if_it_can_be_known(
    data: Callable[[], dict[str, Any]], size: int | None, run: trackhooks.Run
) -> None:
    sequential().fit(**data(), shuffle=False, verbose=0, callbacks=[run.keras])
    assert events(run, "on_pretrain_routine_start")[0].params.get("batch_size") == size


def test_the_model_is_recorded_as_a_table_and_as_a_graph(run: trackhooks.Run) -> None:
    inputs = keras.Input((4,), name="inputs")
    nested = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="inner")], name="nested")
    hidden = nested(inputs)
    model = keras.Model(inputs, keras.layers.Add(name="sum")([hidden, inputs]))
    compiled(model).fit(X, X, verbose=0, callbacks=[run.keras])
    (described,) = events(run, "on_pretrain_routine_end")
    assert described.facts["model/parameters"] == 20
    assert described.facts["model/trainable"] == 20
    text, graph = described.media
    assert isinstance(text, Text)
    assert "| nested/inner | Dense | (None, 4) | 20 |" in text.text
    assert isinstance(graph, Graph)
    assert {node.name: node.inputs for node in graph.nodes} == {
        "inputs": [], "nested": ["inputs"], "nested/inner": [], "sum": ["nested", "inputs"],
    }  # fmt: skip


def test_a_second_fit_continues_after_the_first(run: trackhooks.Run) -> None:
    model = sequential()
    fit(model, run)
    fit(model, run, epochs=3)
    assert [event.epoch for event in events(run, "on_fit_epoch_end")] == [0, 1, 2, 3, 4]
    assert [event.step for event in events(run, "on_train_batch_end")] == list(range(20))
    assert len(events(run, "on_pretrain_routine_start")) == 1
    assert [event.params for event in events(run, "log")] == [{"epochs": 3}]  # what has changed


def test_a_fit_with_an_initial_epoch_counts_from_there(run: trackhooks.Run) -> None:
    model = sequential()
    fit(model, run, epochs=2)
    fit(model, run, epochs=4, initial_epoch=2)
    assert [event.epoch for event in events(run, "on_fit_epoch_end")] == [0, 1, 2, 3]


@pytest.mark.slow
def test_several_models_can_be_trained_in_one_run(run: trackhooks.Run) -> None:
    for _ in range(2):
        fit(sequential(), run)
    described = events(run, "on_pretrain_routine_end")
    assert len({event.facts["model/name"] for event in described}) == 2


# Evaluation and prediction


def test_an_evaluation_is_a_test_at_the_step_that_was_trained_to(run: trackhooks.Run) -> None:
    model = sequential()
    fit(model, run)
    loss, mae = model.evaluate(X, Y, verbose=0)
    found = events(run, "on_val_end")[0]
    assert found.metrics == {"test/loss": loss, "test/mae": mae}
    assert found.step == 7


def test_repeated_evaluations_do_not_lie_on_top_of_each_other(run: trackhooks.Run) -> None:
    model = sequential()
    fit(model, run)
    for _ in range(3):
        model.evaluate(X, Y, verbose=0)
    assert [event.step for event in events(run, "on_val_end")] == [7, 8, 9]
    fit(model, run)
    assert events(run, "on_train_batch_end")[-1].step == 15


def test_an_evaluation_alone_is_a_run(run: trackhooks.Run) -> None:
    sequential().evaluate(X, Y, verbose=0, callbacks=[run.keras])
    assert names(run) == ["on_val_start", "on_val_end"]


def test_an_evaluation_in_a_callback_is_not_the_validation_of_the_epoch(run: trackhooks.Run) -> None:
    evaluates = Do("on_epoch_end", lambda model: model.evaluate(X[:4], Y[:4], verbose=0))
    fit(sequential(), run, callbacks=[evaluates], validation_data=(X, Y))
    assert [sorted(event.metrics) for event in events(run, "on_val_end")] == [
        ["val/loss", "val/mae"], ["test/loss", "test/mae"],
    ] * 2  # fmt: skip
    assert {"train/loss", "val/loss"} <= set(events(run, "on_fit_epoch_end")[1].metrics)
    assert [event.epoch for event in events(run, "on_fit_epoch_end")] == [0, 1]
    assert run.callbacks.state.training is False


def test_a_prediction_is_counted_and_timed(run: trackhooks.Run) -> None:
    model = sequential()
    fit(model, run)
    model.predict(X, batch_size=8, verbose=0)
    (found,) = events(run, "on_predict_end")
    assert found.metrics["predict/samples"] == 20
    assert {"predict/samples_per_s", "predict/ms_per_sample"} <= set(found.metrics)


@pytest.mark.parametrize(("make", "samples"), [(two_headed, 20), (sequential, 1)])
def test_whatever_is_predicted_is_counted(make: Callable[[], Any], samples: int, run: trackhooks.Run) -> None:
    make().predict(X[:samples], verbose=0, callbacks=[run.keras])
    assert events(run, "on_predict_end")[0].metrics["predict/samples"] == samples


# What Keras fires no hooks for


def test_a_saved_model_is_a_checkpoint_with_the_metrics_of_that_moment(
    run: trackhooks.Run, tmp_path: Path
) -> None:
    model = sequential()
    history = fit(model, run, validation_data=(X, Y)).history
    model.save(tmp_path / "model.keras")
    model.save_weights(str(tmp_path / "model.weights.h5"))
    saved = [file for event in events(run, "on_model_save") for file in event.files]
    assert [Path(file.path).name for file in saved] == ["model.keras", "model.weights.h5"]
    assert [file.aliases for file in saved] == [("last",), ("last",)]
    assert saved[0].metrics["val/loss"] == history["val_loss"][-1]


def test_a_checkpoint_callback_is_heard_before_the_end_of_its_epoch(
    run: trackhooks.Run, tmp_path: Path
) -> None:
    best = keras.callbacks.ModelCheckpoint(
        tmp_path / "best-{epoch:02d}.keras", monitor="loss", save_best_only=True
    )
    last = keras.callbacks.ModelCheckpoint(tmp_path / "last.keras")
    fit(sequential(), run, callbacks=[best, last])
    order = [
        name for name in names(run) if name in ("on_train_epoch_end", "on_model_save", "on_fit_epoch_end")
    ]
    assert order == ["on_train_epoch_end", "on_model_save", "on_model_save", "on_fit_epoch_end"] * 2
    first, second = (event.files[0] for event in events(run, "on_model_save")[:2])
    assert (first.aliases, second.aliases) == (("best",), ("last",))
    assert first.metrics["train/loss"] == events(run, "on_fit_epoch_end")[0].metrics["train/loss"]


def test_a_checkpoint_amid_an_epoch_does_not_end_its_training_part(
    run: trackhooks.Run, tmp_path: Path
) -> None:
    saves = keras.callbacks.ModelCheckpoint(tmp_path / "{batch}.keras", save_freq=2)
    fit(sequential(), run, epochs=1, callbacks=[saves])
    found = [
        name for name in names(run) if name.startswith(("on_train_batch", "on_train_epoch_end", "on_model"))
    ]
    batch, save = "on_train_batch_end", "on_model_save"
    assert found == [batch, save, batch, batch, save, batch, "on_train_epoch_end"]


def test_a_backup_is_not_a_checkpoint(run: trackhooks.Run, tmp_path: Path) -> None:
    model = sequential()
    fit(model, run, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup")])
    assert events(run, "on_model_save") == []


def test_loaded_weights_are_an_update_of_the_parameters(run: trackhooks.Run, tmp_path: Path) -> None:
    model = sequential()
    fit(model, run)
    model.save_weights(tmp_path / "a.weights.h5")
    model.load_weights(tmp_path / "a.weights.h5")
    assert names(run)[-2:] == ["on_model_save", "on_params_update"]


def test_restored_best_weights_are_an_update_of_the_parameters(run: trackhooks.Run) -> None:
    stops = keras.callbacks.EarlyStopping(monitor="loss", mode="max", patience=1, restore_best_weights=True)
    fit(sequential(), run, epochs=5, callbacks=[stops])
    assert len(events(run, "on_fit_epoch_end")) == 2
    assert "on_params_update" in names(run)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)  # torch's
def test_an_export_is_recorded_with_its_checkpoint(run: trackhooks.Run, tmp_path: Path) -> None:
    model = sequential()
    fit(model, run)
    model.save(tmp_path / "model.keras")
    model.export(tmp_path / "model.pt2", format="torch", verbose=False)
    assert names(run)[-2:] == ["on_export_start", "on_export_end"]
    (file,) = events(run, "on_export_end")[0].files
    assert (Path(file.path).name, file.format) == ("model.pt2", "torch")
    assert file.parent == str(tmp_path / "model.keras")
    assert file.size > 0
    assert file.duration is not None


def test_an_export_that_fails_says_why(run: trackhooks.Run, tmp_path: Path) -> None:
    model = sequential()
    fit(model, run)
    with pytest.raises(ValueError, match="Unrecognized format"):
        model.export(tmp_path / "model", format="paper")
    assert names(run)[-2:] == ["on_export_start", "log"]
    (text,) = events(run)[-1].media
    assert isinstance(text, Text)
    assert "ValueError: Unrecognized format=paper" in text.text


# The end


def test_an_exception_in_a_fit_tears_it_down(run: trackhooks.Run) -> None:
    raises = Do("on_epoch_end", lambda model: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        fit(sequential(), run, callbacks=[raises])
    last = events(run)[-1]
    assert (last.hook, last.status, last.reason) == (
        "teardown",
        "failed",
        "ZeroDivisionError: division by zero",
    )
    assert run.status == "failed"


def test_a_run_that_trains_again_after_a_failure_is_finished(tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        with pytest.raises(ZeroDivisionError):
            fit(sequential(), run, callbacks=[Do("on_epoch_end", lambda model: 1 / 0)])
        fit(sequential(), run)
        assert run.status == "running"
    assert [event.status for event in events(run) if event.status] == ["failed", "running", "finished"]


def test_an_interrupted_fit_is_killed(run: trackhooks.Run) -> None:
    def interrupt(model: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(sequential(), run, callbacks=[Do("on_train_batch_begin", interrupt)])
    assert run.status == "killed"


def test_an_exception_in_an_evaluation_leaves_the_training_its_validation(run: trackhooks.Run) -> None:
    def evaluate(model: Any) -> None:
        with pytest.raises(ValueError, match="shape"):
            model.evaluate(X[:, :2], Y, verbose=0)

    fit(sequential(), run, callbacks=[Do("on_epoch_end", evaluate)], validation_data=(X, Y))
    assert {"val/loss"} <= set(events(run, "on_fit_epoch_end")[-1].metrics)


def test_a_stop_that_was_asked_for_before_the_training_still_counts(run: trackhooks.Run) -> None:
    def stop(model: Any) -> None:
        model.stop_training = True

    history = fit(sequential(), run, callbacks=[Do("on_train_begin", stop)]).history
    plain = sequential().fit(X, Y, epochs=2, verbose=0, callbacks=[Do("on_train_begin", stop)]).history
    assert len(history["loss"]) == len(plain["loss"]) == 1


# Nothing is changed


def test_the_methods_of_keras_are_its_own_again_when_the_run_is_closed(tmp_path: Path) -> None:
    for left_open in open_runs.every():  # by other tests
        left_open.close()

    before = methods_of_keras()
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        assert run.keras is not None
        assert methods_of_keras() != before
    assert methods_of_keras() == before


def methods_of_keras() -> list[Any]:
    methods = [getattr(keras.Model, name) for name in METHODS]
    inside = [[cell.cell_contents for cell in method.__closure__ or ()] for method in methods]
    return [methods, inside, [name in vars(keras.Model) for name in METHODS]]


@pytest.mark.slow
def test_a_training_that_failed_keeps_neither_its_callback_nor_its_model_alive(tmp_path: Path) -> None:
    for left_open in open_runs.every():  # by other tests
        left_open.close()
    before = methods_of_keras()

    def fail(model: Any) -> None:
        raise OSError("no room")

    model, callback = sequential(), trackhooks.keras_callback(dir=tmp_path, delivery="off")
    gone = [weakref.ref(model), weakref.ref(callback)]
    with pytest.raises(OSError, match="no room"):
        model.fit(X, Y, verbose=0, callbacks=[callback, Do("on_epoch_end", fail)])
    del model, callback
    gc.collect()
    assert [reference() for reference in gone] == [None, None]
    for run in open_runs.every():
        run.close()
    assert methods_of_keras() == before


def test_the_results_are_the_same_to_the_last_bit(run: trackhooks.Run) -> None:
    def train(callbacks: list[Any]) -> tuple[Any, list[Any]]:
        keras.utils.set_random_seed(3)
        layers = [keras.Input((4,)), keras.layers.Dropout(0.3), keras.layers.Dense(3, activation="softmax")]
        model = compiled(
            keras.Sequential(layers),
            optimizer="adam",
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )
        history = model.fit(
            X, LABELS, epochs=3, batch_size=6, verbose=0, callbacks=callbacks, validation_split=0.2
        ).history
        return history, model.get_weights()

    plain, recorded = train([]), train([run.keras])
    assert recorded[0] == plain[0]
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(recorded[1], plain[1], strict=True))
    assert run.step >= 0


def test_the_logs_that_other_callbacks_get_are_keras_own(run: trackhooks.Run) -> None:
    class Behind(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
        logs: dict[str, Any]

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.logs = dict(logs)

    behind = Behind()
    sequential().fit(X, Y, verbose=0, callbacks=[run.keras, behind])
    assert set(behind.logs) == {"loss", "mae"}


# Batches that end on other threads


class Where(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Notes on which threads the batches end; it does not mind them."""

    async_safe = True

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.threads.add(threading.get_ident())


def test_batches_may_end_on_other_threads_unless_a_callback_needs_them_in_place(run: trackhooks.Run) -> None:
    where = Where()
    fit(sequential(), run, callbacks=[where])
    assert threading.get_ident() not in where.threads


@pytest.mark.parametrize("hook", ["on_train_batch_end", "on_val_start", "on_train_epoch_end"])
def test_a_callback_of_a_batch_is_called_on_the_thread_that_trains(hook: str, run: trackhooks.Run) -> None:
    where = Where()
    threads = []
    run.add_callback(hook, lambda source: threads.append(threading.get_ident()))
    fit(sequential(), run, callbacks=[where], validation_data=(X, Y))
    assert where.threads == set(threads) == {threading.get_ident()}


def test_a_callback_without_batch_hooks_does_not_keep_batches_on_the_thread(run: trackhooks.Run) -> None:
    where = Where()
    run.callbacks.append(keras.callbacks.EarlyStopping(monitor="loss"))
    fit(sequential(), run, callbacks=[where])
    assert threading.get_ident() not in where.threads


@pytest.mark.slow
def test_the_record_is_in_order_whichever_thread_ends_a_batch(run: trackhooks.Run) -> None:
    data = np.tile(X, (20, 1)), np.tile(Y, (20, 1))
    sequential().fit(*data, batch_size=2, epochs=2, verbose=0, validation_data=(X, Y), callbacks=[run.keras])
    found = events(run)
    assert [event.batch for event in found if event.hook == "on_train_batch_end"] == [*range(200)] * 2
    hooks = [event.hook for event in found if event.hook != "on_train_batch_end"]
    assert hooks[3:7] == ["on_train_epoch_start", "on_train_epoch_end", "on_val_start", "on_val_end"]
    ends = [position for position, event in enumerate(found) if event.hook == "on_train_epoch_end"]
    assert [found[end - 1].batch for end in ends] == [199, 199]


def test_later_events_wait_for_the_batch_before_them() -> None:
    order, made = InOrder(), list[int]()
    for batch in range(3):
        order.announce(batch)
    order.add(partial(made.append, 100))
    for batch in (2, 0, 1):
        order.end(batch, partial(made.append, batch))
    assert made == [0, 1, 2, 100]


def test_a_batch_that_never_ends_does_not_block_forever() -> None:
    """JAX announces a batch before it sees that the data are at their end."""
    order, made = InOrder(), list[int]()
    order.announce(0)
    order.announce(1)
    order.end(0, partial(made.append, 0))
    order.add(partial(made.append, 100))
    assert made == [0]
    order.finish()
    assert made == [0, 100]


def test_many_threads_end_batches_in_order() -> None:
    order, made = InOrder(), list[int]()
    for batch in range(200):
        order.announce(batch)

    def end(batches: range) -> None:
        for batch in batches:
            time.sleep(0)
            order.end(batch, partial(made.append, batch))

    threads = [threading.Thread(target=end, args=(range(199 - start, -1, -4),)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == list(range(200))


# The callback itself


def test_it_is_a_callback_of_keras(run: trackhooks.Run) -> None:
    assert isinstance(run.keras, keras.callbacks.Callback)


def test_a_copy_of_it_records_into_the_same_run(run: trackhooks.Run) -> None:
    """A tuner copies its callbacks for each trial."""
    sequential().fit(X, Y, verbose=0, callbacks=copy.deepcopy([run.keras]))
    assert "on_train_end" in names(run)


def test_it_may_be_passed_alone_or_in_a_list_of_keras(run: trackhooks.Run) -> None:
    sequential().fit(X, Y, verbose=0, callbacks=run.keras)
    model = sequential()
    model.fit(
        X,
        Y,
        callbacks=keras.callbacks.CallbackList([run.keras], add_history=True, model=model, epochs=1, steps=1),
    )
    assert len(events(run, "on_train_end")) == 2


def test_a_custom_loop_may_drive_it_with_the_list_of_keras(run: trackhooks.Run) -> None:
    model = sequential()
    callbacks = keras.callbacks.CallbackList([run.keras], model=model, verbose=0, epochs=1, steps=2)
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    for batch in range(2):
        callbacks.on_train_batch_begin(batch)
        callbacks.on_train_batch_end(batch, {"loss": model.train_on_batch(X, Y)[0]})
    callbacks.on_epoch_end(0, {"loss": 1.0})
    callbacks.on_train_end({"loss": 1.0})
    assert [event.step for event in events(run, "on_train_batch_end")] == [0, 1]


def test_it_cannot_be_its_own_callback(run: trackhooks.Run) -> None:
    with pytest.raises(trackhooks.InvalidValueError, match="cannot be called by it"):
        run.callbacks.append(run.keras)


def test_a_fit_within_a_fit_of_the_same_run_is_left_out_with_a_warning(run: trackhooks.Run) -> None:
    trains = Do("on_epoch_end", lambda _: sequential().fit(X, Y, verbose=0, callbacks=[run.keras]))
    with pytest.warns(trackhooks.TrackhooksWarning, match="records a training around it"):
        fit(sequential(), run, epochs=1, callbacks=[trains])
    assert len(events(run, "on_train_start")) == 1


def test_it_needs_keras_to_be_imported(program: Callable[..., str], tmp_path: Path) -> None:
    said = program(
        """
        import sys, trackhooks
        with trackhooks.run(dir=sys.argv[1], delivery="off") as run:
            try:
                run.keras
            except trackhooks.MissingPackageError as error:
                print(error)
        print("keras" in sys.modules)
        """,
        tmp_path,
    )
    assert said.startswith(
        "a Keras callback is asked for before Keras is imported. Put `import keras` above it"
    )
    assert said.endswith("False\n")


def test_two_runs_may_record_one_fit(run: trackhooks.Run, tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path / "more", delivery="off") as other:
        raises = Do("on_epoch_end", lambda model: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sequential().fit(X, Y, batch_size=4, verbose=0, callbacks=[raises, run.keras, other.keras])
        assert run.status == other.status == "failed"
        assert [len(events(heard, "on_train_batch_end")) for heard in (run, other)] == [5, 5]


# keras_callback


def test_a_callback_that_opens_its_run_itself_closes_the_status_with_the_training(tmp_path: Path) -> None:
    sequential().fit(
        X, Y, verbose=0, callbacks=[trackhooks.keras_callback(name="alone", dir=tmp_path, delivery="off")]
    )
    (info,) = infos(tmp_path)
    assert (info.name, info.status) == ("alone", "finished")
    assert names(Path(info.path))[-1] == "teardown"


def test_evaluations_saves_and_exports_afterwards_belong_to_its_run(tmp_path: Path) -> None:
    model = sequential()
    model.fit(X, Y, verbose=0, callbacks=[trackhooks.keras_callback(dir=tmp_path / "runs", delivery="off")])
    model.evaluate(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    (info,) = infos(tmp_path / "runs")
    assert names(Path(info.path))[-3:] == ["on_val_start", "on_val_end", "on_model_save"]


def test_one_callback_for_two_trainings_makes_two_runs(tmp_path: Path) -> None:
    callback = trackhooks.keras_callback(dir=tmp_path, delivery="off")
    for _ in range(2):
        sequential().fit(X, Y, verbose=0, callbacks=[callback])
    assert [info.status for info in infos(tmp_path)] == ["finished", "finished"]


def test_its_options_are_checked_when_they_are_passed() -> None:
    with pytest.raises(trackhooks.UnknownNameError, match="Did you mean 'project'"):
        trackhooks.keras_callback(projekt={})
    with pytest.raises(trackhooks.InvalidValueError, match=r"trackhooks\.run"):
        trackhooks.keras_callback(resume="runs/a")
