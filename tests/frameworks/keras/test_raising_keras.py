"""A hook of Keras is recorded although a callback of the user raises at it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import pytest
from folders import SUPPORT
from keras_models import X, Y, events, infos, sequential

import trackhooks


class PrunedError(Exception):
    pass


EVENTS = {
    "on_train_begin": "on_train_start", "on_epoch_begin": "on_train_epoch_start",
    "on_train_batch_end": "on_train_batch_end", "on_test_begin": "on_val_start", "on_test_end": "on_val_end",
    "on_epoch_end": "on_fit_epoch_end", "on_train_end": "on_train_end",
}  # fmt: skip
"""The events of a fit that are recorded, and their hooks."""


def raising(event: str, error: BaseException, at: int = 0) -> Any:
    """A callback of Keras that raises at the event; if that has an index, at this one."""

    def method(self: Any, *arguments: Any, **_: Any) -> None:
        if not isinstance(arguments[0], int) or arguments[0] == at:
            raise error

    return type("Pruning", (keras.callbacks.Callback,), {event: method})()


def fit(model: Any, *callbacks: Any, **more: Any) -> Any:
    return model.fit(
        X, Y, verbose=0, epochs=3, batch_size=10, validation_split=0.2, callbacks=list(callbacks), **more
    )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder with the runs, while `enable` is on."""
    trackhooks.enable(dir=tmp_path / "runs", delivery="off")
    yield tmp_path / "runs"
    trackhooks.disable()


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize(
    "error", [PrunedError("not good enough"), KeyboardInterrupt()], ids=["error", "Ctrl-C"]
)
def test_it_is_raised_and_its_hook_is_recorded(event: str, error: BaseException, folder: Path) -> None:
    with pytest.raises(type(error)) as raised:
        fit(sequential(), raising(event, error))
    (info,) = infos(folder)
    assert raised.value is error
    assert info.status == ("killed" if isinstance(error, KeyboardInterrupt) else "failed")
    assert len(events(Path(info.path), EVENTS[event])) == 1
    assert len(events(Path(info.path), "teardown")) == 1


def test_the_metrics_of_the_epoch_are_recorded_and_what_callbacks_added(folder: Path) -> None:
    add = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(mine=0.25))
    with pytest.raises(PrunedError):
        fit(sequential(), add, raising("on_epoch_end", PrunedError(), at=1))
    path = Path(infos(folder)[0].path)
    first, second = events(path, "on_fit_epoch_end")
    assert second.epoch == 1
    assert second.metrics.keys() == first.metrics.keys()
    assert {"train/loss", "train/mae", "val/loss", "val/mae", "train/mine"} <= second.metrics.keys()
    assert [event.epoch for event in events(path, "on_train_epoch_end")] == [0, 1]


def test_the_batch_of_the_exception_is_recorded(folder: Path) -> None:
    with pytest.raises(PrunedError):
        fit(sequential(), raising("on_train_batch_end", PrunedError(), at=1))
    assert [event.step for event in events(Path(infos(folder)[0].path), "on_train_batch_end")] == [0, 1]


@pytest.mark.parametrize("place", ["before", "after"])
def test_the_callback_of_a_run_may_come_before_or_after_it(place: str, run: trackhooks.Run) -> None:
    pruning = raising("on_epoch_end", PrunedError(), at=1)
    called: list[Any] = []
    run.add_callback("on_fit_epoch_end", lambda trainer: called.append(trainer.epoch))
    with pytest.raises(PrunedError):
        fit(sequential(), *([pruning, run.keras] if place == "before" else [run.keras, pruning]))
    assert [event.epoch for event in events(run, "on_fit_epoch_end")] == [0, 1]
    assert called == ([0] if place == "before" else [0, 1])  # as in any list of callbacks
    assert run.status == "failed"


def test_it_may_be_in_a_list_of_keras(folder: Path) -> None:
    model = sequential()
    callbacks = keras.callbacks.CallbackList([raising("on_epoch_end", PrunedError())], model=model)
    with pytest.raises(PrunedError):
        model.fit(X, Y, verbose=0, callbacks=callbacks)
    assert len(events(Path(infos(folder)[0].path), "on_fit_epoch_end")) == 1


@pytest.mark.parametrize(
    ("mode", "event", "hook"),
    [("evaluate", "on_test_end", "on_val_end"), ("predict", "on_predict_end", "on_predict_end")],
)
def test_the_same_in_evaluations_and_predictions(mode: str, event: str, hook: str, folder: Path) -> None:
    with pytest.raises(PrunedError):
        getattr(sequential(), mode)(X, verbose=0, callbacks=[raising(event, PrunedError())], **DATA[mode])
    assert len(events(Path(infos(folder)[0].path), hook)) == 1


DATA: dict[str, dict[str, Any]] = {"evaluate": {"y": Y}, "predict": {}}


def test_what_an_inner_training_raises_is_recorded_in_both(folder: Path) -> None:
    def train_another(epoch: int, logs: Any) -> None:
        fit(sequential(), raising("on_epoch_end", PrunedError(), at=1))

    with pytest.raises(PrunedError):
        fit(sequential(), keras.callbacks.LambdaCallback(on_epoch_end=train_another))
    outer, inner = infos(folder)
    assert inner.parent == outer.id
    assert len(events(Path(outer.path), "on_fit_epoch_end")) == 1
    assert len(events(Path(inner.path), "on_fit_epoch_end")) == 2
    assert [outer.status, inner.status] == ["failed", "failed"]


def test_an_exception_in_an_evaluation_of_the_same_model_inside_its_fit_is_recorded_in_both(
    folder: Path,
) -> None:
    model = sequential()
    failing = raising("on_test_end", PrunedError())

    def evaluate(epoch: int, logs: Any) -> None:
        model.evaluate(X, Y, verbose=0, callbacks=[failing])

    with pytest.raises(PrunedError):
        fit(model, keras.callbacks.LambdaCallback(on_epoch_end=evaluate))
    path = Path(infos(folder)[0].path)
    assert [{name.partition("/")[0] for name in event.metrics} for event in events(path, "on_val_end")] == [
        {"val"}, {"test"},
    ]  # fmt: skip
    assert len(events(path, "on_fit_epoch_end")) == 1


# Copies


@pytest.mark.slow
def test_a_callback_that_is_unpickled_in_another_process_says_that_it_records_nothing(
    tmp_path: Path, torch_program: Callable[..., str]
) -> None:
    (tmp_path / "callback").write_bytes(
        pickle.dumps(trackhooks.keras_callback(dir=tmp_path / "runs", delivery="off"))
    )
    script = """
        import pickle, sys, warnings
        callback = pickle.load(open(sys.argv[2], "rb"))
        sys.path.insert(0, sys.argv[1])
        from keras_models import X, Y, sequential
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            sequential().fit(X, Y, verbose=0, callbacks=[callback])
        print(*[warning.message for warning in caught])
    """
    assert "was copied into another process, where it records nothing" in torch_program(
        script, SUPPORT, tmp_path / "callback"
    )
    assert not (tmp_path / "runs").exists()
