"""Callbacks in the words of Keras, without Keras: the base class, the history, the progress bar."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from trackhooks.errors import UnknownNameError
from trackhooks.hooks.builtin import History, ProgressBar
from trackhooks.hooks.callback import KERAS_METHODS, Callback, Logs


def fitted(*callbacks: Any, **more: Any) -> Any:
    """Fits a real model for two epochs of two batches; what `fit` gives."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    x, y = np.ones((4, 2)), np.ones((4, 1))
    return model.fit(
        x, y, batch_size=2, epochs=2, validation_data=(x, y), callbacks=list(callbacks), verbose=0, **more
    )


class Heard(Callback):
    def __init__(self) -> None:
        self.names: list[str] = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.names.append(f"epoch {epoch} {sorted(logs or {})}")
        assert self.model is not None
        self.params_seen = self.params

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.names.append(f"batch {batch}")


def test_it_has_the_methods_of_keras_own_with_their_arguments() -> None:
    theirs = inspect.getmembers(keras.callbacks.Callback, inspect.isfunction)
    for name, method in theirs:
        if not name.startswith("_"):
            ours = inspect.signature(getattr(Callback, name))
            assert [*ours.parameters] == [*inspect.signature(method).parameters]
    assert {name for name, _ in theirs if name.startswith("on_")} == KERAS_METHODS


def test_keras_accepts_it_in_a_real_fit_and_calls_the_old_aliases() -> None:
    heard = Heard()
    fitted(heard)
    logs = ["loss", "mae", "val_loss", "val_mae"]
    assert heard.names == ["batch 0", "batch 1", f"epoch 0 {logs}", "batch 0", "batch 1", f"epoch 1 {logs}"]
    assert heard.params_seen == {"verbose": 0, "epochs": 2, "steps": 2}


def test_it_can_stop_a_keras_training() -> None:
    class Stop(Callback):
        def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
            self.model.stop_training = True

    assert len(fitted(Stop()).epoch) == 1


def test_methods_that_do_nothing_do_not_make_keras_wait() -> None:
    class Waits(Callback):
        def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None: ...

    def dispatches(callback: Callback) -> bool:
        return bool(keras.callbacks.CallbackList([callback])._async_train)

    assert dispatches(Callback()) == dispatches(keras.callbacks.Callback())
    assert dispatches(Waits()) is False
    assert dispatches(Heard()) is False


def test_a_misspelt_method_is_an_error_when_the_class_is_defined() -> None:
    with pytest.raises(
        UnknownNameError,
        match=r"Mine\.on_epoch_ends: unknown hook 'on_epoch_ends'\. Did you mean 'on_epoch_end'\?",
    ):
        type("Mine", (Callback,), {"on_epoch_ends": lambda self, epoch, logs=None: None})


def test_other_methods_and_attributes_may_have_any_name() -> None:
    type(
        "Mine", (Callback,), {"on_screen": True, "onward": lambda self: None, "_on_epoch": lambda self: None}
    )


def test_the_history_is_that_of_keras() -> None:
    history = History()
    theirs = fitted(history)
    assert history.epoch == theirs.epoch == [0, 1]
    assert history.history == theirs.history


def test_the_history_is_cleared_by_the_next_training() -> None:
    history = History()
    for _ in range(2):
        history.on_train_begin()
        history.on_epoch_end(0, {"loss": 1.0})
        history.on_epoch_end(1, {"loss": 0.5, "lr": 0.1})
        history.on_epoch_end(2)
    assert history.epoch == [0, 1, 2]
    assert history.history == {"loss": [1.0, 0.5], "lr": [0.1]}


# The progress bar


def train(*bars: ProgressBar, logs: dict[str, Any] | None = None, **params: Any) -> None:
    for bar in bars:
        bar.set_params(params)
        bar.on_train_begin()
    for bar in bars:
        bar.on_epoch_begin(0)
    for batch in range(3):
        for bar in bars:
            bar.on_train_batch_end(batch, logs)
    for bar in bars:
        bar.on_epoch_end(0, logs)
        bar.on_train_end(logs)


@pytest.fixture(params=["terminal", "file"])
def shown(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[], str]:
    """What was shown, in a terminal and in a file: its last state, without colours."""
    monkeypatch.setenv("COLUMNS", "120")
    if request.param == "terminal":
        monkeypatch.setenv("FORCE_COLOR", "1")
    return lambda: re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().out)


def test_the_bar_shows_the_epoch_its_batches_and_the_latest_logs(shown: Callable[[], str]) -> None:
    train(ProgressBar(), epochs=2, steps=3, logs={"loss": 0.123456, "name": "left out"})
    text = shown()
    assert "epoch 1/2" in text
    assert "3/3" in text
    assert "loss 0.1235" in text
    assert "left out" not in text


def test_the_bar_works_without_the_number_of_batches(shown: Callable[[], str]) -> None:
    train(ProgressBar(), epochs=1, steps=None)
    assert "3/?" in shown()
    train(ProgressBar())
    assert "epoch 1 " in shown()


def test_the_bar_shows_names_with_brackets_as_they_are(shown: Callable[[], str]) -> None:
    train(ProgressBar(), steps=3, logs={"mAP[50]": 1.0, "x[/]": 2.0, "[red]": 3.0})
    assert "mAP[50] 1  x[/] 2  [red] 3" in shown()


def test_two_bars_at_once_do_not_break_the_training(shown: Callable[[], str]) -> None:
    train(ProgressBar(), ProgressBar(), steps=3)
    assert "3/3" in shown()


def test_the_end_of_the_training_closes_a_bar_that_is_open(shown: Callable[[], str]) -> None:
    bar = ProgressBar()
    bar.on_epoch_begin(0)
    bar.on_train_end()
    bar.on_train_batch_end(1)
    bar.on_epoch_end(0)
    assert shown().count("epoch 1") >= 1
