"""A hook of Ultralytics is recorded whatever the user's own callbacks do: they raise, or replace each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from keras_models import events, infos
from ultralytics.utils.callbacks import get_default_callbacks
from yolo import VERSION, Shapes

import trackhooks

pytestmark = pytest.mark.slow  # each trains


class PrunedError(Exception):
    pass


TRAINING = (
    "on_pretrain_routine_start", "on_pretrain_routine_end", "on_train_start", "on_train_epoch_start",
    "on_train_batch_end", "on_train_epoch_end", "on_val_start", "on_val_end", "on_model_save", "on_fit_epoch_end",
    "on_train_end",
)  # fmt: skip


@pytest.mark.parametrize("hook", TRAINING)
def test_what_a_callback_of_the_model_raises_is_raised_and_its_hook_is_recorded(
    hook: str, shapes: Shapes, folder: Path
) -> None:
    error = PrunedError("not good enough")

    def prune(trainer: Any) -> None:
        raise error

    model = shapes.model()
    model.add_callback(hook, prune)
    with pytest.raises(PrunedError) as raised:
        shapes.train(model)
    (info,) = infos(folder)
    assert raised.value is error
    assert (info.status, info.reason) == ("failed", "PrunedError: not good enough")
    assert len(events(Path(info.path), hook)) == 1
    # A training that raises before its trainer is made is not torn down, and with Ultralytics 8.3 before it starts.
    early = ["on_pretrain_routine_start", *(["on_pretrain_routine_end"] if VERSION < (8, 4) else [])]
    assert len(events(Path(info.path), "teardown")) == (hook not in early)


def test_a_training_while_an_exception_is_handled_is_finished(shapes: Shapes, folder: Path) -> None:
    try:
        raise PrunedError("of another trial")  # noqa: TRY301 — it is the one that is handled meanwhile
    except PrunedError:
        shapes.train(shapes.model())
    assert infos(folder)[0].status == "finished"


def test_the_metrics_of_that_moment_are_recorded(shapes: Shapes, folder: Path) -> None:
    def prune(trainer: Any) -> None:
        trainer.metrics["metrics/mine"] = 0.25
        raise PrunedError

    model = shapes.model()
    model.add_callback("on_fit_epoch_end", prune)
    with pytest.raises(PrunedError):
        shapes.train(model)
    (epoch,) = events(Path(infos(folder)[0].path), "on_fit_epoch_end")
    assert {"train/loss", "val/loss", "metrics/mAP50(B)", "lr/0"} <= epoch.metrics.keys()
    assert epoch.metrics["metrics/mine"] == 0.25


def test_the_callbacks_of_the_run_are_not_called_after_one_that_raised(
    shapes: Shapes, run: trackhooks.Run
) -> None:
    called: list[Any] = []

    def prune(trainer: Any) -> None:
        raise PrunedError

    model = shapes.model()
    model.add_callback("on_fit_epoch_end", prune)
    run.add_callback("on_fit_epoch_end", called.append)
    run.add_callback("teardown", called.append)
    run.attach(model)
    with pytest.raises(PrunedError):
        shapes.train(model)
    assert len(called) == 1
    assert len(events(run, "on_fit_epoch_end")) == 1


@pytest.mark.parametrize(("mode", "hook"), [("validate", "on_val_end"), ("predict", "on_predict_end")])
def test_the_same_in_other_modes(mode: str, hook: str, shapes: Shapes, folder: Path) -> None:
    def fail(source: Any) -> None:
        raise PrunedError

    model = shapes.model()
    model.add_callback(hook, fail)
    with pytest.raises(PrunedError):
        getattr(shapes, mode)(model)
    assert len(events(Path(infos(folder)[0].path), hook)) == 1


# Callbacks that are replaced during a training

REPLACE: dict[str, Callable[[Any, str, Any], None]] = {
    "set_callback": lambda trainer, hook, new: trainer.set_callback(hook, new),
    "a list": lambda trainer, hook, new: trainer.callbacks.update({hook: [new]}),
    "no list": lambda trainer, hook, new: trainer.callbacks.pop(hook, None),
    "an emptied list": lambda trainer, hook, new: trainer.callbacks[hook].clear(),
    "all of them": lambda trainer, hook, new: setattr(
        trainer, "callbacks", {**get_default_callbacks(), hook: [new]}
    ),
    "none left": lambda trainer, hook, new: trainer.callbacks.clear(),
}


@pytest.mark.parametrize("replace", REPLACE.values(), ids=REPLACE)
@pytest.mark.parametrize("at", ["on_pretrain_routine_start", "on_train_epoch_start", "on_fit_epoch_end"])
def test_a_trainer_whose_callbacks_are_replaced_is_recorded(
    replace: Callable[..., None], at: str, shapes: Shapes, folder: Path
) -> None:
    called: list[Any] = []
    model = shapes.model()
    model.add_callback(at, lambda trainer: replace(trainer, "on_fit_epoch_end", called.append))
    shapes.train(model, epochs=2)
    (info,) = infos(folder)
    assert [event.epoch for event in events(Path(info.path), "on_fit_epoch_end")] == [0, 1]
    assert info.status == "finished"


@pytest.mark.parametrize("change", ["clear_callback", "reset_callbacks"])
def test_a_model_whose_callbacks_are_removed_in_a_mode_is_recorded(
    change: str, shapes: Shapes, folder: Path
) -> None:
    model = shapes.model()
    arguments = ("on_val_end",) if change == "clear_callback" else ()
    model.add_callback("on_val_start", lambda _: getattr(model, change)(*arguments))
    shapes.validate(model)
    assert len(events(Path(infos(folder)[0].path), "on_val_end")) == 1


def test_what_a_callback_adds_or_removes_meanwhile_stays_after_the_training(
    shapes: Shapes, folder: Path
) -> None:
    called: list[Any] = []
    model = shapes.model()
    model.add_callback("on_val_start", lambda _: model.add_callback("on_val_end", called.append))
    shapes.validate(model)
    assert model.callbacks["on_val_end"][-1] == called.append
    assert set(model.callbacks) == set(get_default_callbacks())
