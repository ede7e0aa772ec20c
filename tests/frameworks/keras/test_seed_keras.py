"""The examples of the document of `keras.callbacks.Callback` (TensorFlow 2.9), as they are there.

Comments name what had to change. The document's page calls the class `tf.keras.callbacks.Callback`; `keras`
is what `tf.keras` has become.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras_models import events

import trackhooks

training_finished = False

DOCUMENTED = (
    "on_batch_begin", "on_batch_end", "on_epoch_begin", "on_epoch_end", "on_predict_batch_begin",
    "on_predict_batch_end", "on_predict_begin", "on_predict_end", "on_test_batch_begin", "on_test_batch_end",
    "on_test_begin", "on_test_end", "on_train_batch_begin", "on_train_batch_end", "on_train_begin", "on_train_end",
    "set_model", "set_params",
)  # fmt: skip
"""The methods that the document lists."""


# An example that sets a global when the training has ended


class MyCallback(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    def on_train_end(self, logs: Any = None) -> None:
        global training_finished
        training_finished = True


class MyOwnCallback(trackhooks.Callback):
    on_train_end = MyCallback.on_train_end


def model_of_the_document() -> Any:
    # Keras 3 warns of `input_shape=(1,)` as an argument of a layer; it wants an `Input` in front instead.
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mean_squared_error")
    return model


@pytest.mark.parametrize("callback", [MyCallback, MyOwnCallback])
def test_the_example_runs_with_keras_itself(callback: type, tmp_path: Path) -> None:
    global training_finished
    training_finished = False
    trackhooks.enable(dir=tmp_path, delivery="off")
    # Tensors of NumPy instead of TensorFlow, which is not installed.
    model_of_the_document().fit(np.array([[1.0]]), np.array([[1.0]]), callbacks=[callback()])
    trackhooks.disable()
    assert training_finished is True


@pytest.mark.slow
@pytest.mark.parametrize("callback", [MyCallback, MyOwnCallback])
def test_the_example_is_called_by_a_run(callback: type, tmp_path: Path) -> None:
    global training_finished
    training_finished = False
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        run.callbacks.append(callback())
        model_of_the_document().fit(np.array([[1.0]]), np.array([[1.0]]), callbacks=[run.keras])
    assert training_finished is True


# The custom training loop


class Noting(trackhooks.Callback):
    """Notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.heard.append(("on_train_begin", logs))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.heard.append(("on_epoch_begin", epoch))

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.heard.append(("on_batch_begin", batch))

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self.heard.append(("on_batch_end", batch, sorted(logs)))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.heard.append(("on_epoch_end", epoch, logs))

    def on_train_end(self, logs: Any = None) -> None:
        self.heard.append(("on_train_end", logs))


HEARD = [
    ("on_train_begin", {}),
    ("on_epoch_begin", 0),
    ("on_batch_begin", 0), ("on_batch_end", 0, ["loss"]), ("on_batch_begin", 1), ("on_batch_end", 1, ["loss"]),
    ("on_epoch_end", 0, {"loss": 0.5}),
    ("on_train_end", {"loss": 0.5}),
]  # fmt: skip


def test_the_custom_loop_runs_with_the_models_own_train_step(tmp_path: Path) -> None:
    EPOCHS = 1  # noqa: N806 — as in the document
    model = model_of_the_document()
    x, y = torch.ones(1, 1), torch.ones(1, 1)
    dataset = [(x, y), (x, y)]
    first, second = Noting(), Noting()

    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        callbacks = run.callbacks
        callbacks.append(first)
        callbacks.append(second)
        callbacks.set_model(model)

        callbacks.on_train_begin()
        for epoch in range(EPOCHS):
            callbacks.on_epoch_begin(epoch)
            for i, data in enumerate(dataset):  # a dataset of TensorFlow has a method of this name
                callbacks.on_train_batch_begin(i)
                batch_logs = model.train_step(data)
                callbacks.on_train_batch_end(i, batch_logs)
            epoch_logs = {"loss": 0.5}
            callbacks.on_epoch_end(epoch, epoch_logs)
        final_logs = epoch_logs
        callbacks.on_train_end(final_logs)

    assert first.heard == second.heard == HEARD
    batches = events(run, "on_train_batch_end")
    assert [event.step for event in batches] == [0, 1]
    assert all(event.metrics["train_batch/loss"] > 0 for event in batches)
    assert events(run, "on_fit_epoch_end")[0].metrics == {"train/loss": 0.5}


def test_the_callbacks_of_keras_hear_a_custom_loop_whose_logs_are_tensors(tmp_path: Path) -> None:
    model, dataset = model_of_the_document(), [(torch.ones(1, 1), torch.ones(1, 1))] * 2
    log, history = keras.callbacks.CSVLogger(str(tmp_path / "log.csv")), keras.callbacks.History()
    callbacks = trackhooks.CallbackList(
        [log, keras.callbacks.TerminateOnNaN(), history], model=model, epochs=2
    )
    callbacks.on_train_begin()
    for epoch in range(2):
        callbacks.on_epoch_begin(epoch)
        for i, data in enumerate(dataset):
            callbacks.on_train_batch_begin(i)
            batch_logs = {**model.train_step(data), "square": torch.ones(1, requires_grad=True) ** 2}
            callbacks.on_train_batch_end(i, batch_logs)
        callbacks.on_epoch_end(epoch, batch_logs)
    callbacks.on_train_end(batch_logs)
    assert history.history["square"] == [1.0, 1.0]
    assert {type(value) for values in history.history.values() for value in values} == {float}
    assert (tmp_path / "log.csv").read_text().startswith("epoch,loss,square,")


def test_the_custom_loop_runs_without_keras(program: Callable[..., str], tmp_path: Path) -> None:
    said = program(
        """
        import sys

        class NoKeras:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("keras", "tensorflow", "torch"):
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, NoKeras())
        import trackhooks

        class Stops(trackhooks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                print("epoch", epoch, logs)
                if logs["loss"] < 0.3:
                    self.model.stop_training = True

        class Model:
            '''Learns a number by itself.'''
            def __init__(self):
                self.value = 0.0
            def train_step(self, data):
                self.value += 0.5 * (data - self.value)
                return {"loss": abs(data - self.value)}

        EPOCHS, dataset, model = 10, [1.0, 1.0], Model()
        callbacks = trackhooks.CallbackList([Stops()], add_history=True, model=model, epochs=EPOCHS, steps=2)

        callbacks.on_train_begin()
        for epoch in range(EPOCHS):
            callbacks.on_epoch_begin(epoch)
            for i, data in enumerate(dataset):
                callbacks.on_train_batch_begin(i)
                batch_logs = model.train_step(data)
                callbacks.on_train_batch_end(i, batch_logs)
            epoch_logs = batch_logs
            callbacks.on_epoch_end(epoch, epoch_logs)
            if callbacks.stop_training:
                break
        final_logs = epoch_logs
        callbacks.on_train_end(final_logs)
        print(model.history.history, [name for name in ("keras", "torch") if name in sys.modules])
        """
    )
    assert said == "epoch 0 {'loss': 0.25}\n{'loss': [0.25]} []\n"


# The class


@pytest.mark.parametrize("name", DOCUMENTED)
def test_our_base_class_has_the_documented_methods(name: str) -> None:
    ours, theirs = (
        inspect.signature(getattr(base, name)).parameters.values()
        for base in (trackhooks.Callback, keras.callbacks.Callback)
    )
    assert [(p.name, p.default) for p in ours] == [(p.name, p.default) for p in theirs]


def test_every_callback_has_the_documented_attributes(tmp_path: Path) -> None:
    callback = MyOwnCallback()
    model = model_of_the_document()
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        run.callbacks.append(callback)
        model.fit(np.array([[1.0]]), np.array([[1.0]]), epochs=3, verbose=0, callbacks=[run.keras])
        assert callback.model is model
        assert callback.params == {"verbose": 0, "epochs": 3, "steps": 1}


@pytest.mark.parametrize("mode", ["fit", "evaluate", "predict"])
def test_callbacks_can_be_passed_to_every_mode(mode: str, tmp_path: Path) -> None:
    x = np.array([[1.0]])
    data = {"fit": (x, x), "evaluate": (x, x), "predict": (x,)}[mode]
    begins = {"fit": "on_train_begin", "evaluate": "on_test_begin", "predict": "on_predict_begin"}[mode]
    heard: list[str] = []
    listener = trackhooks.Callback()
    setattr(listener, begins, lambda logs=None: heard.append(begins))
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        run.callbacks.append(listener)
        getattr(model_of_the_document(), mode)(*data, verbose=0, callbacks=[run.keras])
    assert heard == [begins]
