"""One recorder through Keras itself, and one through a run: both hear the same, hook for hook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest
import torch
from folders import SUPPORT
from keras_models import LABELS, Recorder, X, Y, batches, compiled, sequential, two_headed
from torch.utils.data import DataLoader, TensorDataset

import trackhooks

Make = Callable[[], Any]
Do = Callable[[Any, list[Any]], Any]


class Dataset(keras.utils.PyDataset):  # type: ignore[misc] # Keras has no types
    """Three batches."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Any:
        return X[:4], Y[:4]


class OwnStep(keras.Model):  # type: ignore[misc] # likewise
    """Trains, evaluates and predicts in its own way, and returns a dict in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)

    def train_step(self, data: Any) -> dict[str, Any]:
        return {"first": 1.0, "nested": {"second": 2.0}, **super().train_step(data)}

    def test_step(self, data: Any) -> dict[str, Any]:
        return {"own": torch.tensor(3.0)}

    def predict_step(self, data: Any) -> dict[str, Any]:
        return {"outputs": super().predict_step(data), "more": torch.zeros(4, 1)}


class StopAt(keras.callbacks.Callback):  # type: ignore[misc] # likewise
    """Ends the training at the first of these events."""

    def __init__(self, event: str) -> None:
        super().__init__()
        setattr(self, event, lambda *_, **__: setattr(self.model, "stop_training", True))


class WritesIntoLogs(keras.callbacks.Callback):  # type: ignore[misc] # likewise
    """The callbacks after it see what it writes."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        logs["written"] = 1.0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["val_written"] = 1.0


def loader() -> Any:
    return DataLoader(TensorDataset(torch.tensor(X), torch.tensor(Y)), batch_size=8)


def fit(*data: Any, **more: Any) -> Do:
    given = {"epochs": 2, "verbose": 0, **more}
    with_more = given.pop("callbacks", list)
    return lambda model, ours: model.fit(*data or (X, Y), callbacks=[*with_more(), *ours], **given)


def fit_on(make: Make, **more: Any) -> Do:
    """As `fit`, on data that can be read only once, or that are shuffled by themselves."""
    return lambda model, ours: fit(make(), shuffle=False, **more)(model, ours)


def in_turn(*parts: Do) -> Do:
    def run(model: Any, callbacks: list[Any]) -> None:
        for part in parts:
            part(model, callbacks)

    return run


def evaluate(*data: Any, **more: Any) -> Do:
    return lambda model, ours: model.evaluate(*data or (X, Y), callbacks=ours, **{"verbose": 0, **more})


def predict(*data: Any, **more: Any) -> Do:
    return lambda model, ours: model.predict(*data or (X,), callbacks=ours, **{"verbose": 0, **more})


def accumulating() -> Any:
    return sequential(optimizer=keras.optimizers.SGD(0.1, gradient_accumulation_steps=2))


def classifier() -> Any:
    layers = [keras.Input((4,)), keras.layers.Dense(3, activation="softmax")]
    return compiled(keras.Sequential(layers), loss="sparse_categorical_crossentropy", metrics=["accuracy"])


VALIDATION = {"validation_data": (X[:7], Y[:7])}
TWO = {"left": Y, "right": Y}

CONFIGURATIONS: dict[str, tuple[Make, Do]] = {
    "fit": (sequential, fit()),
    "batches that do not divide the data": (sequential, fit(batch_size=7)),
    "validation data": (sequential, fit(batch_size=5, validation_batch_size=3, **VALIDATION)),
    "a validation split": (sequential, fit(validation_split=0.25)),
    "validation every second epoch": (sequential, fit(epochs=4, validation_freq=2, **VALIDATION)),
    "validation in some epochs": (sequential, fit(epochs=4, validation_freq=[1, 4], **VALIDATION)),
    "few validation steps": (sequential, fit(validation_steps=1, validation_batch_size=2, **VALIDATION)),
    "an initial epoch": (sequential, fit(epochs=4, initial_epoch=2)),
    "no epoch": (sequential, fit(epochs=0)),
    "steps per epoch": (sequential, fit(batch_size=4, steps_per_epoch=2)),
    "a progress bar": (sequential, fit(verbose=2)),
    "a generator": (sequential, fit_on(lambda: batches(5), epochs=1)),
    "a generator with steps": (sequential, fit_on(lambda: batches(6), steps_per_epoch=3)),
    "a loader of torch": (sequential, fit_on(loader)),
    "a dataset of Keras": (sequential, fit_on(Dataset)),
    "class weights": (classifier, fit(X, LABELS, class_weight={0: 1.0, 1: 2.0, 2: 3.0})),
    "sample weights": (sequential, fit(sample_weight=Y[:, 0])),
    "accumulated gradients": (accumulating, fit(batch_size=4)),
    "several outputs": (two_headed, fit(X, TWO, validation_data=(X, TWO))),
    "metrics of several outputs": (lambda: two_headed(metrics={"left": "mae"}), fit(X, TWO)),
    "steps of one's own": (lambda: compiled(OwnStep()), fit(**VALIDATION)),
    "no metrics": (lambda: sequential(metrics=None), fit(**VALIDATION)),
    "eagerly": (lambda: sequential(run_eagerly=True), fit()),
    "half precision": (lambda: compiled(keras.Sequential([keras.layers.Dense(1, dtype="mixed_bfloat16")])), fit()),
    "stopped in a batch": (sequential, fit(batch_size=4, callbacks=lambda: [StopAt("on_train_batch_end")])),
    "stopped in an epoch": (sequential, fit(epochs=3, callbacks=lambda: [StopAt("on_epoch_end")], **VALIDATION)),
    "logs that are written to": (sequential, fit(callbacks=lambda: [WritesIntoLogs()], **VALIDATION)),
    "two trainings": (sequential, in_turn(fit(), fit(epochs=1))),
    "evaluate": (sequential, evaluate()),
    "evaluate a generator": (sequential, lambda model, ours: model.evaluate(batches(3), callbacks=ours, verbose=0)),
    "evaluate some steps": (sequential, evaluate(batch_size=4, steps=2)),
    "evaluate several outputs": (two_headed, evaluate(X, TWO)),
    "evaluate in a step of one's own": (lambda: compiled(OwnStep()), evaluate()),
    "predict": (sequential, predict(batch_size=8)),
    "predict a single number": (sequential, predict(X[:1])),
    "predict several outputs": (two_headed, predict()),
    "predict in a step of one's own": (lambda: compiled(OwnStep()), predict(X[:4])),
    "train, evaluate, predict": (sequential, in_turn(fit(**VALIDATION), evaluate(), predict())),
}  # fmt: skip


@pytest.mark.filterwarnings(
    "ignore:Your input ran out of data:UserWarning"
)  # Keras', at the end of a generator
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_a_run_calls_the_hooks_that_keras_calls(configuration: str, tmp_path: Path) -> None:
    make, do = CONFIGURATIONS[configuration]
    through_keras, through_run = Recorder(), Recorder()
    keras.utils.set_random_seed(0)
    do(make(), [through_keras])
    keras.utils.set_random_seed(0)
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        run.callbacks.append(through_run)
        do(make(), [run.keras])
    assert through_run.heard == through_keras.heard
    assert through_keras.heard or configuration == "no epoch"


# The numbers are those of Keras 2.9's own test of its callbacks, `CallbackCountsTest`.
TRAINED = {
    "on_train_begin": 1, "on_train_end": 1, "on_epoch_begin": 5, "on_epoch_end": 5,
    "on_train_batch_begin": 25, "on_train_batch_end": 25, "on_batch_begin": 25, "on_batch_end": 25,
    "on_test_begin": 5, "on_test_end": 5, "on_test_batch_begin": 10, "on_test_batch_end": 10,
}  # fmt: skip
EVALUATED = {"on_test_begin": 1, "on_test_end": 1, "on_test_batch_begin": 5, "on_test_batch_end": 5}
PREDICTED = {
    "on_predict_begin": 1, "on_predict_end": 1, "on_predict_batch_begin": 5, "on_predict_batch_end": 5,
}  # fmt: skip


class Aliases(Recorder):
    """The aliases are called by the base class."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_begin(batch, logs)
        keras.callbacks.Callback.on_train_batch_begin(self, batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        super().on_train_batch_end(batch, logs)
        keras.callbacks.Callback.on_train_batch_end(self, batch, logs)

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        self._note("on_batch_begin", batch, logs)

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        self._note("on_batch_end", batch, logs)


@pytest.mark.parametrize(
    ("do", "counts"),
    [
        (fit(X[:10], Y[:10], validation_data=(X[:4], Y[:4]), batch_size=2, steps_per_epoch=5, epochs=5), TRAINED),
        (evaluate(X[:10], Y[:10], batch_size=2), EVALUATED),
        (predict(X[:10], batch_size=2), PREDICTED),
    ],
    ids=["fit", "evaluate", "predict"],
)  # fmt: skip
def test_every_hook_comes_as_often_as_in_keras(do: Do, counts: dict[str, int], tmp_path: Path) -> None:
    recorder = Aliases()
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        run.callbacks.append(recorder)
        do(sequential(), [run.keras])
    assert Counter(recorder.names()) == counts


@pytest.mark.slow
def test_with_several_steps_in_one_execution_the_indices_are_those_of_keras(
    torch_program: Callable[..., str], tmp_path: Path
) -> None:
    """In a separate process: the backend of torch has no `steps_per_execution`, and JAX needs one to itself."""
    heard = torch_program(
        """
        import os, sys
        os.environ["KERAS_BACKEND"] = "jax"
        sys.path.insert(0, sys.argv[1])
        import trackhooks
        from keras_models import X, Y, Recorder, batches, events, sequential

        def both(do):
            there, here = Recorder(), Recorder()
            do(sequential(steps_per_execution=4), [there])
            with trackhooks.run(dir=sys.argv[2], delivery="off") as run:
                run.callbacks.append(here)
                do(sequential(steps_per_execution=4), [run.keras])
            assert here.heard == there.heard, (here.heard, there.heard)
            return run

        run = both(lambda model, ours: model.fit(X, Y, batch_size=2, epochs=2, verbose=0, callbacks=ours,
                                                 validation_data=(X, Y)))
        print([event.batch for event in events(run, "on_train_batch_end")])
        print([event.step for event in events(run, "on_train_batch_end")])
        both(lambda model, ours: model.fit(batches(6), epochs=1, verbose=0, callbacks=ours, validation_data=(X, Y)))
        both(lambda model, ours: model.evaluate(X, Y, batch_size=3, verbose=0, callbacks=ours))
        both(lambda model, ours: model.predict(X, batch_size=3, verbose=0, callbacks=ours))
        """,
        SUPPORT,
        tmp_path,
    )
    assert heard.splitlines() == [
        "[3, 7, 11, 3, 7, 11]",
        "[3, 7, 9, 13, 17, 19]",  # ten batches an epoch, whatever Keras counts
    ]
