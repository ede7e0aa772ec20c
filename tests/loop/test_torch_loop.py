"""Custom loops in PyTorch: `watch`, `epochs`, `train`, `validate`, `predict`, and every way to leave a loop."""

from __future__ import annotations

import copy
import io
import math
import os
import pickle
import pty
import random
import re
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import trackhooks
from trackhooks import Callback, InvalidValueError, Run, TrackhooksWarning
from trackhooks.event import Event, Graph, Histogram, Text
from trackhooks.hooks import vocabulary
from trackhooks.loop.batches import samples
from trackhooks.session.run import recorder_of
from trackhooks.values.numbers import Snapshot

# --- What the tests share


def model_and_optimizer() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    return model, torch.optim.SGD(model.parameters(), lr=0.5)


def trace(run: Run) -> list[str]:
    """The names of all hooks that fire from now on."""
    heard: list[str] = []
    for hook in vocabulary.HOOKS:
        run.add_callback(hook.name, partial(_note, heard, hook.name))
    return heard


def _note(heard: list[str], name: str, _: object) -> None:
    heard.append(name)


def events(run: Run, hook: str | None = None) -> list[Event]:
    return [event for event in trackhooks.journal.read(run.path) if hook in (None, event.hook)]


def metrics(run: Run, hook: str) -> list[dict[str, float]]:
    """The metrics of each event of a hook, without those that depend on the time."""
    return [
        {name: value for name, value in event.metrics.items() if not name.startswith("speed/")}
        for event in events(run, hook)
    ]


def train_step(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    model(torch.ones(4, 2)).mean().backward()
    optimizer.step()
    optimizer.zero_grad()


# --- The hooks, each in its place


def pseudocode(epochs: int, train: int, val: int, predict: int) -> list[str]:
    """The hooks in the order in which the vocabulary's document writes the loop."""
    assert vocabulary.__doc__ is not None
    block = vocabulary.__doc__.split("::\n\n")[1].split("\n\nSources")[0]
    code = re.sub(r"^( *)<.*>$", r"\1pass", textwrap.dedent(block), flags=re.MULTILINE)
    code = re.sub(r"^( *)([a-z_]+)( +#.*)?$", r"\1fire('\2')", code, flags=re.MULTILINE).replace(
        "fire('pass')", "pass"
    )
    fired: list[str] = []
    names = {"epochs": epochs, "train_data": range(train), "val_data": range(val), "data": range(predict)}
    exec(code, {**names, "fire": fired.append})
    return fired


@pytest.mark.parametrize(("epochs", "train", "val", "predict"), [(1, 1, 1, 1), (2, 3, 2, 4), (0, 1, 1, 0)])
def test_every_hook_fires_in_its_place(
    run: Run, tmp_path: Path, epochs: int, train: int, val: int, predict: int
) -> None:
    model, optimizer = model_and_optimizer()
    checkpoint = tmp_path / "last.pt"
    heard = trace(run)
    run.watch(model, optimizer)
    for _ in run.epochs(epochs):
        for _ in run.train(range(train)):
            train_step(model, optimizer)
        for _ in run.validate(range(val)):
            model(torch.ones(4, 2))
        torch.save(model.state_dict(), checkpoint)
        run.log_model(checkpoint)
    recorder_of(run).settle("finished")
    model.load_state_dict(model.state_dict())
    for _ in run.predict(range(predict)):
        model(torch.ones(4, 2))
    run.log_export(Path(__file__), format="py")
    assert heard == pseudocode(epochs, train, val, predict)


def test_all_25_hooks_are_in_the_pseudocode_once() -> None:
    assert sorted(pseudocode(1, 1, 1, 1)) == sorted(hook.name for hook in vocabulary.HOOKS)


def test_keras_callbacks_get_the_hooks_of_the_same_loop(run: Run) -> None:
    heard: list[str] = []

    class Everything(Callback):
        pass

    for name in vocabulary.FROM_KERAS:
        setattr(Everything, name, lambda self, *arguments, name=name, **logs: heard.append(name))
    run.callbacks.append(Everything())
    for _ in run.epochs(1):
        for _ in run.train(range(2)):
            run.log(loss=1.0)
        for _ in run.validate(range(1)):
            run.log(loss=1.0)
    for _ in run.predict(range(1)):
        pass
    batch = ["on_train_batch_begin", "on_train_batch_end"]
    test = ["on_test_begin", "on_test_batch_begin", "on_test_batch_end", "on_test_end"]
    predict = ["on_predict_begin", "on_predict_batch_begin", "on_predict_batch_end", "on_predict_end"]
    training = ["on_train_begin", "on_epoch_begin", *batch, *batch, *test, "on_epoch_end", "on_train_end"]
    assert heard == training + predict


# --- What is logged, and to which axis


def test_values_logged_in_a_batch_are_one_record_and_their_mean_one_of_the_epoch(run: Run) -> None:
    for _ in run.epochs(2):
        for batch in run.train([1.0, 3.0]):
            run.log(loss=batch)
            run.log({"accuracy": batch / 4})
    assert (
        metrics(run, "on_train_batch_end")
        == [
            {"train_batch/loss": 1.0, "train_batch/accuracy": 0.25},
            {"train_batch/loss": 3.0, "train_batch/accuracy": 0.75},
        ]
        * 2
    )
    assert metrics(run, "on_train_epoch_end") == [{"train/loss": 2.0, "train/accuracy": 0.5}] * 2
    assert [event.step for event in events(run, "on_train_batch_end")] == [0, 1, 2, 3]
    assert [event.batch for event in events(run, "on_train_batch_end")] == [0, 1, 0, 1]
    assert [event.epoch for event in events(run, "on_train_batch_end")] == [0, 0, 1, 1]


def test_means_are_weighted(run: Run) -> None:
    for _ in run.epochs(1):
        for loss, size in run.train([(1.0, 3), (5.0, 1)]):
            run.log({"loss": loss}, weight=size)
        for loss, size in run.validate([(1.0, torch.tensor(1)), (5.0, np.float32(3))]):
            run.log(loss=loss, weight=size)
    assert metrics(run, "on_fit_epoch_end") == [{"train/loss": 2.0, "val/loss": 4.0}]


@pytest.mark.parametrize("weight", [-1, math.nan, math.inf, "2"])
def test_an_invalid_weight_is_refused(run: Run, weight: Any) -> None:
    for _ in run.train(range(1)):
        with pytest.raises(InvalidValueError, match=r"weight|number"):
            run.log(loss=1.0, weight=weight)


def test_a_mean_of_no_weight_is_nan(run: Run) -> None:
    for _ in run.epochs(1):
        for _ in run.train(range(2)):
            run.log(loss=1.0, weight=0)
    assert math.isnan(metrics(run, "on_fit_epoch_end")[0]["train/loss"])


def test_nan_and_infinity_are_kept_in_batches_and_means(run: Run) -> None:
    for _ in run.epochs(1):
        for value in run.train([1.0, math.inf]):
            run.log(a=value, b=math.nan)
    (epoch,) = metrics(run, "on_fit_epoch_end")
    assert epoch["train/a"] == math.inf
    assert math.isnan(epoch["train/b"])


def test_a_name_with_its_own_prefix_is_kept_and_means_one_thing(run: Run) -> None:
    for _ in run.epochs(1):
        for _ in run.train(range(2)):
            run.log({"train/loss": 1.0, "train_batch/accuracy": 0.5, "lr": 0.1, "system/memory": 2.0})
        for _ in run.validate(range(1)):
            run.log({"val/loss": 3.0, "metrics/mAP50(B)": 0.5})
    assert metrics(run, "on_train_batch_end")[0] == {
        "train_batch/loss": 1.0, "train_batch/accuracy": 0.5, "lr/0": 0.1, "system/memory": 2.0,
    }  # fmt: skip
    assert metrics(run, "on_fit_epoch_end") == [
        {"train/loss": 1.0, "train/accuracy": 0.5, "val/loss": 3.0, "metrics/mAP50(B)": 0.5}
    ]


@pytest.mark.slow
def test_values_logged_in_an_epoch_outside_of_batches_are_a_record_of_the_epoch(run: Run) -> None:
    for _ in run.epochs(1):
        run.log(before=1.0)
        for _ in run.train(range(2)):
            run.log(loss=1.0)
        run.log({"f1": 0.5, "val/f1": 0.25})
    assert metrics(run, "on_fit_epoch_end") == [{"train/loss": 1.0, "before": 1.0, "f1": 0.5, "val/f1": 0.25}]
    assert events(run, "log")[:-1] == []  # the last one ends the run


def test_an_explicit_step_or_epoch_is_a_separate_record(run: Run) -> None:
    for _ in run.epochs(1):
        for _ in run.train(range(1)):
            run.log(other=1.0, step=17)
            run.log(another=2.0, epoch=3)
    assert [(event.metrics, event.step, event.epoch) for event in events(run, "log") if event.metrics] == [
        ({"other": 1.0}, 17, 0), ({"another": 2.0}, 0, 3),
    ]  # fmt: skip


def test_the_means_of_a_validation_outside_of_an_epoch_are_tests(run: Run) -> None:
    for value in run.validate([1.0, 3.0]):
        run.log(loss=value)
    for value in run.validate([5.0]):
        run.log(loss=value)
    assert metrics(run, "on_val_end") == [{"test/loss": 2.0}, {"test/loss": 5.0}]
    assert [event.step for event in events(run, "on_val_end")] == [0, 1]


def test_a_prediction_counts_its_samples(run: Run) -> None:
    for _ in run.predict(DataLoader(TensorDataset(torch.ones(10, 2)), batch_size=4)):
        run.log(confidence=0.5)
    (end,) = metrics(run, "on_predict_end")
    assert end["predict/samples"] == 10
    assert end["predict/confidence"] == 0.5
    assert end["predict/samples_per_s"] > 0
    assert end["predict/ms_per_sample"] > 0


def test_the_speed_of_each_part_is_recorded(run: Run) -> None:
    data = DataLoader(TensorDataset(torch.ones(8, 2), torch.ones(8)), batch_size=4)
    for _ in run.epochs(1):
        for _ in run.train(data):
            pass
        for _ in run.validate(data):
            pass
    (train,) = events(run, "on_train_epoch_end")
    assert {"speed/train_s", "speed/steps_per_s", "speed/train_samples_per_s"} <= train.metrics.keys()
    assert "speed/val_samples_per_s" in events(run, "on_val_end")[0].metrics


@pytest.mark.parametrize(
    ("batch", "count"),
    [
        (torch.ones(4, 2), 4),
        ((torch.ones(4, 2), torch.ones(4)), 4),
        ([torch.ones(4, 2), torch.ones(4)], 4),
        ({"input_ids": torch.ones(4, 7), "labels": torch.ones(4)}, 4),
        ({"texts": ["a", "b"], "labels": torch.ones(2)}, 2),
        (([torch.ones(3, 8, 8), torch.ones(3, 9, 9)], [{}, {}]), 2),  # pictures of different sizes
        (([torch.ones(4, 1), torch.ones(4, 2)], torch.ones(4)), 4),  # two inputs, one target
        ({"inputs": {"ids": np.ones((5, 2))}}, 5),
        (np.ones((6, 2)), 6),
        ((torch.tensor(1.0), torch.ones(4)), 4),
        (7, 0),
        (None, 0),
        ((), 0),
        ("text", 0),
    ],
)
def test_a_batch_knows_how_many_samples_it_contains(batch: Any, count: int) -> None:
    assert samples(batch) == count


def test_values_on_an_accelerator_are_recorded_in_order_and_averaged_in_double_precision(run: Run) -> None:
    value = torch.tensor(0.1, dtype=torch.bfloat16)  # a sum of these in their own precision ends at 32
    for _ in run.epochs(1):
        for batch in run.train(range(1000)):
            run.log(loss=Snapshot(value.clone()), index=float(batch))
    batches = metrics(run, "on_train_batch_end")
    assert [batch["train_batch/index"] for batch in batches] == list(range(1000))
    assert {batch["train_batch/loss"] for batch in batches} == {float(value)}
    assert metrics(run, "on_fit_epoch_end")[0]["train/loss"] == pytest.approx(float(value), rel=1e-12)


def test_the_learning_rates_of_every_group_are_those_of_the_epoch(run: Run) -> None:
    model, _ = model_and_optimizer()
    first, *others = model.parameters()
    groups: list[dict[str, Any]] = [{"params": [first], "lr": 1.0}, {"params": others}]
    optimizer = torch.optim.SGD(groups, lr=0.5)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    run.watch(model, optimizer)
    for _ in run.epochs(2):
        for _ in run.train(range(1)):
            train_step(model, optimizer)
        for _ in run.validate(range(1)):
            pass
        scheduler.step()
    assert metrics(run, "on_train_epoch_end") == [{"lr/0": 1.0, "lr/1": 0.5}, {"lr/0": 0.5, "lr/1": 0.25}]


def test_the_last_and_best_metrics_are_those_of_the_training(run: Run) -> None:
    for _ in run.epochs(3):
        for _ in run.train(range(1)):
            run.log(loss=[3.0, 1.0, 2.0][run.epoch], accuracy=[0.5, 0.75, 0.25][run.epoch])
    (end,) = metrics(run, "on_train_end")
    assert end == {
        "train/loss": 2.0, "train/accuracy": 0.25, "best/train/loss": 1.0, "best/train/accuracy": 0.75,
    }  # fmt: skip


def test_another_thread_does_not_log_into_the_batch(run: Run) -> None:
    from threading import Thread

    for _ in run.epochs(1):
        for _ in run.train(range(1)):
            other = Thread(target=run.log, kwargs={"temperature": 70.0})
            other.start()
            other.join()
            run.log(loss=1.0)
    assert metrics(run, "on_train_batch_end") == [{"train_batch/loss": 1.0}]
    assert [event.metrics for event in events(run, "log") if event.metrics] == [{"temperature": 70.0}]


# --- Left early


class Bar:
    """A progress bar around an iterable, as tqdm is."""

    def __init__(self, items: Iterable[Any]) -> None:
        self.items = items
        self.count = 0

    def __iter__(self) -> Iterator[Any]:
        for item in self.items:
            yield item
            self.count += 1


def plain(items: Iterable[Any]) -> Iterable[Any]:
    return items


def numbered(items: Iterable[Any]) -> Iterable[Any]:
    return (item for _, item in enumerate(items))


def zipped(items: Iterable[Any]) -> Iterable[Any]:
    return zip(items, range(100), strict=False)


WRAPPERS = [plain, Bar, numbered, zipped, lambda items: Bar(enumerate(Bar(items)))]


class Left(Exception):  # noqa: N818
    """What the tests raise."""


Items = Callable[[], Iterable[Any]]
"""Makes what is gone through: nothing else holds on to it."""


def leave_by_break(items: Items, run: Run) -> None:
    for _ in items():
        run.log(loss=1.0)
        break


def leave_by_return(items: Items, run: Run) -> None:
    for _ in items():
        run.log(loss=1.0)
        return


def leave_by_return_of_a_value(items: Items, run: Run) -> float | None:
    for _ in items():
        run.log(loss=1.0)
        value = float(run.step)
        return value + 1
    return None


def leave_by_an_exception(items: Items, run: Run) -> None:
    for _ in items():
        run.log(loss=1.0)
        raise Left


def leave_by_an_exception_deeper_down(items: Items, run: Run) -> None:
    def deeper() -> None:
        raise Left

    for _ in items():
        run.log(loss=1.0)
        try:
            deeper()
        finally:
            run.log(more=1.0)


BY_CHOICE = [leave_by_break, leave_by_return, leave_by_return_of_a_value]
BY_EXCEPTION = [leave_by_an_exception, leave_by_an_exception_deeper_down]
Leave = Callable[[Items, Run], Any]


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("leave", BY_CHOICE)
def test_a_training_part_that_is_left_by_choice_counts_what_was_logged(
    run: Run, leave: Leave, wrap: Callable[[Iterable[Any]], Iterable[Any]]
) -> None:
    heard = trace(run)
    for _ in run.epochs(2):
        leave(lambda: wrap(run.train(range(5))), run)
        run.log(outside=1.0)
    batch = ["on_train_batch_start", "on_train_batch_end"]
    epoch = ["on_train_epoch_start", *batch, "on_train_epoch_end", "on_fit_epoch_end"]
    assert heard[2:] == ["on_train_start", *epoch, *epoch, "on_train_end"]
    assert metrics(run, "on_train_batch_end") == [{"train_batch/loss": 1.0}] * 2
    assert metrics(run, "on_fit_epoch_end") == [{"train/loss": 1.0, "outside": 1.0}] * 2
    assert [event.step for event in events(run, "on_train_batch_end")] == [0, 1]


@pytest.mark.parametrize("leave", BY_CHOICE)
def test_a_validation_that_is_left_by_choice_has_ended(run: Run, leave: Leave) -> None:
    heard = trace(run)
    for _ in run.epochs(1):
        leave(lambda: run.validate(range(5)), run)
    batch = ["on_val_batch_start", "on_val_batch_end"]
    assert heard[4:-2] == ["on_val_start", *batch, "on_val_end"]
    assert metrics(run, "on_fit_epoch_end") == [{"val/loss": 1.0}]


def test_a_batch_in_which_nothing_was_logged_does_not_count_when_it_is_left(run: Run) -> None:
    for _ in run.epochs(1):
        for index in run.train(range(5)):
            if index == 2:
                break
            run.log(loss=1.0)
    assert len(events(run, "on_train_batch_end")) == 2


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("leave", BY_CHOICE)
def test_a_training_that_is_left_by_choice_has_ended(
    run: Run, leave: Leave, wrap: Callable[[Iterable[Any]], Iterable[Any]]
) -> None:
    heard = trace(run)
    leave(lambda: wrap(run.epochs(5)), run)
    assert heard[2:] == ["on_train_start", "on_train_epoch_start", "on_fit_epoch_end", "on_train_end"]
    assert not run.callbacks.state.training


@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("leave", BY_EXCEPTION)
def test_after_an_exception_in_a_batch_only_that_batch_ends_and_the_training_is_torn_down(
    tmp_path: Path, leave: Leave, wrap: Callable[[Iterable[Any]], Iterable[Any]]
) -> None:
    with pytest.raises(Left), trackhooks.run(dir=tmp_path, delivery="off") as run:
        heard = trace(run)
        for _ in wrap(run.epochs(2)):
            leave(lambda: wrap(run.train(range(5))), run)
    batch = ["on_train_batch_start", "on_train_batch_end"]
    assert heard[2:] == ["on_train_start", "on_train_epoch_start", *batch, "teardown"]
    assert metrics(run, "on_train_batch_end")[0]["train_batch/loss"] == 1.0
    assert (run.status, recorder_of(run).info.reason) == ("failed", "Left")


@pytest.mark.parametrize("leave", BY_EXCEPTION)
def test_after_an_exception_in_a_validation_it_has_no_result(tmp_path: Path, leave: Leave) -> None:
    with pytest.raises(Left), trackhooks.run(dir=tmp_path, delivery="off") as run:
        for _ in run.epochs(2):
            leave(lambda: run.validate(range(5)), run)
    assert events(run, "on_val_end") == events(run, "on_fit_epoch_end") == events(run, "on_train_end") == []


@pytest.mark.parametrize("leave", BY_EXCEPTION)
def test_after_an_exception_that_was_caught_the_training_has_ended_and_the_run_continues(
    run: Run, leave: Leave
) -> None:
    heard = trace(run)
    for _ in range(2):
        with pytest.raises(Left):
            for _ in run.epochs(2):
                leave(lambda: run.train(range(2)), run)
    for _ in run.validate(range(1)):
        run.log(loss=4.0)
    run.close()
    batch = ["on_train_batch_start", "on_train_batch_end"]
    training = ["on_train_start", "on_train_epoch_start", *batch, "on_train_epoch_end", "on_fit_epoch_end",
                "on_train_end"]  # fmt: skip
    assert [name for name in heard[2:] if "_val_" not in name] == [*training, *training, "teardown"]
    assert metrics(run, "on_val_end") == [{"test/loss": 4.0}]
    assert [event.epoch for event in events(run, "on_fit_epoch_end")] == [0, 1]
    assert run.status == "finished"


def test_an_exception_of_the_data_is_one_of_the_loop(tmp_path: Path) -> None:
    def broken() -> Iterator[int]:
        yield 0
        raise Left

    with pytest.raises(Left), trackhooks.run(dir=tmp_path, delivery="off") as run:
        for _ in run.epochs(1):
            for _ in run.train(broken()):
                run.log(loss=1.0)
    assert len(events(run, "on_train_batch_end")) == 1
    assert events(run, "on_fit_epoch_end") == []
    assert run.status == "failed"


def test_an_exception_of_a_callback_propagates_and_later_hooks_still_work(run: Run) -> None:
    def fail_once(trainer: Any) -> None:
        run.callbacks.clear_callback("on_train_batch_end")
        raise Left

    run.add_callback("on_train_batch_end", fail_once)
    with pytest.raises(Left):
        for _ in run.epochs(1):
            for _ in run.train(range(3)):
                run.log(loss=1.0)
    for _ in run.epochs(1):
        for _ in run.train(range(3)):
            run.log(loss=2.0)
    assert metrics(run, "on_train_batch_end") == [{"train_batch/loss": 1.0}] + [{"train_batch/loss": 2.0}] * 3


def test_a_prediction_may_be_left_early(run: Run) -> None:
    for batch in run.predict(DataLoader(TensorDataset(torch.ones(10, 2)), batch_size=2)):
        run.log(mean=batch[0].mean())
        if len(events(run, "on_predict_end")) == 0:
            break
    assert metrics(run, "on_predict_end")[0]["predict/samples"] == 2


# --- Stopping, continuing, and loops of other shapes


def test_a_callback_of_either_vocabulary_stops_the_training(run: Run) -> None:
    class Stop(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = epoch == 1

    stop = Stop()
    run.callbacks.append(stop)
    assert list(run.epochs(10)) == [0, 1]
    run.callbacks.remove(stop)

    def stop_at_4(trainer: Any) -> None:
        trainer.stop = trainer.epoch == 4

    run.add_callback("on_train_epoch_start", stop_at_4)
    assert list(run.epochs(10)) == [2, 3, 4]


def test_further_epochs_continue_after_the_earlier_ones(run: Run) -> None:
    for _ in range(2):
        for _ in run.epochs(2):
            for _ in run.train(range(2)):
                run.log(loss=1.0)
    assert [event.epoch for event in events(run, "on_fit_epoch_end")] == [0, 1, 2, 3]
    assert [event.step for event in events(run, "on_train_batch_end")] == list(range(8))
    assert len(events(run, "on_train_end")) == 2


def test_epochs_may_start_after_those_of_a_checkpoint(run: Run) -> None:
    assert list(run.epochs(10, start=8)) == [8, 9]
    assert list(run.epochs(3)) == [10, 11, 12]
    assert list(run.epochs(5, start=5)) == []


@pytest.mark.parametrize("wrong", [-1, 1.5, "3", None])
def test_an_invalid_number_of_epochs_is_refused_when_it_is_passed(run: Run, wrong: Any) -> None:
    with pytest.raises(InvalidValueError, match="count"):
        run.epochs(wrong)
    if wrong is not None:
        with pytest.raises(InvalidValueError, match="start"):
            run.epochs(3, start=wrong)


def test_a_run_that_is_resumed_trains_the_epoch_that_was_left_again_at_the_same_steps(tmp_path: Path) -> None:
    with pytest.raises(Left), trackhooks.run(dir=tmp_path, delivery="off") as run:
        for epoch in run.epochs(5):
            for batch in run.train(range(2)):
                run.log(loss=3.0 - epoch)
                if (epoch, batch) == (1, 0):
                    raise Left
    with trackhooks.run(resume=run.path, delivery="off") as resumed:
        assert (resumed.step, resumed.epoch) == (2, 1)
        for _ in resumed.epochs(1):
            for _ in resumed.train(range(2)):
                resumed.log(loss=4.0)
    assert [event.step for event in events(run, "on_train_batch_end")] == [0, 1, 2, 2, 3]
    assert [event.epoch for event in events(run, "on_fit_epoch_end")] == [0, 1]
    assert metrics(run, "on_train_end")[-1]["best/train/loss"] == 3.0
    assert resumed.status == "finished"


def test_a_step_set_by_the_user_takes_precedence_over_the_start_of_the_epoch(tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        for _ in run.epochs(2):
            for _ in run.train(range(3)):
                pass
    with trackhooks.run(resume=run.path, delivery="off") as resumed:
        resumed.step = 10
        for _ in resumed.epochs(2, start=1):
            for _ in resumed.train(range(3)):
                pass
    assert [event.step for event in events(run, "on_train_batch_end")] == [*range(6), 11, 12, 13]


def test_without_epochs_each_pass_is_one(run: Run) -> None:
    heard = trace(run)
    for _ in range(2):
        for _ in run.train(range(1)):
            run.log(loss=1.0)
        for _ in run.validate(range(1)):
            run.log(loss=2.0)
    run.close()
    train = ["on_train_epoch_start", "on_train_batch_start", "on_train_batch_end", "on_train_epoch_end"]
    val = ["on_val_start", "on_val_batch_start", "on_val_batch_end", "on_val_end"]
    epoch = [*train, *val, "on_fit_epoch_end"]
    assert heard[2:] == ["on_train_start", *epoch, *epoch, "on_train_end", "teardown"]
    assert metrics(run, "on_fit_epoch_end") == [{"train/loss": 1.0, "val/loss": 2.0}] * 2
    assert [event.epoch for event in events(run, "on_fit_epoch_end")] == [0, 1]


def test_a_validation_amid_the_batches_does_not_end_the_training_part(run: Run) -> None:
    heard = trace(run)
    for _ in run.epochs(1):
        for index in run.train(range(4)):
            run.log(loss=1.0)
            if index == 1:
                for _ in run.validate(range(1)):
                    run.log(loss=2.0)
            run.log(later=1.0)
    assert heard.count("on_train_epoch_end") == 1
    assert heard.index("on_train_epoch_end") > heard.index("on_val_end")
    assert metrics(run, "on_train_batch_end") == [{"train_batch/loss": 1.0, "train_batch/later": 1.0}] * 4
    assert metrics(run, "on_fit_epoch_end") == [{"val/loss": 2.0, "train/loss": 1.0, "train/later": 1.0}]


def test_a_validation_between_the_batches_is_at_the_step_and_batch_before_it(run: Run) -> None:
    for _ in run.epochs(2):
        for batch in run.train(range(4)):
            run.log(loss=1.0)
            if batch % 2:
                validate(run, float(-run.step))
    found = events(run, "on_val_end")
    assert [(event.step, event.epoch, event.batch) for event in found] == [
        (1, 0, 1),
        (3, 0, 3),
        (5, 1, 1),
        (7, 1, 3),
    ]
    assert {vocabulary.axis_of(event) for event in found} == {"step"}
    assert [event["val/loss"] for event in metrics(run, "on_fit_epoch_end")] == [-2.0, -6.0]
    assert metrics(run, "on_train_end")[0]["best/val/loss"] == -6.0


def validate(run: Run, loss: float) -> None:
    for _ in run.validate(range(1)):
        run.log(loss=loss)


def test_the_best_value_may_be_one_between_the_batches(run: Run) -> None:
    for loss in run.train([3.0, 1.0, 2.0]):
        validate(run, loss)
    run.close()
    (end,) = metrics(run, "on_train_end")
    assert end["val/loss"] == 2.0
    assert end["best/val/loss"] == 1.0


def test_a_training_counted_in_iterations_continues_at_a_step(tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        for batch in run.train(range(4)):
            if batch % 2:
                validate(run, 1.0)
    with trackhooks.run(resume=run.path, delivery="off") as resumed:
        resumed.step = 1  # that of the checkpoint
        for batch in resumed.train(range(4)):
            if batch % 2:
                validate(resumed, 2.0)
    assert [event.step for event in events(run, "on_val_end")] == [1, 3, 3, 5]
    assert [event.step for event in events(run, "on_train_batch_end")] == [0, 1, 2, 3, 2, 3, 4, 5]


def test_two_validations_of_the_same_step_need_two_names(run: Run) -> None:
    with pytest.warns(TrackhooksWarning, match=r"return 'val/loss'.*two names.*'other/loss'") as warned:
        for _ in run.epochs(2):
            for _ in run.train(range(2)):
                validate(run, 0.0)
            validate(run, 1.0)
            validate(run, 2.0)
    assert len(warned) == 1
    assert [event["val/loss"] for event in metrics(run, "on_fit_epoch_end")] == [2.0, 2.0]


def test_validations_of_other_steps_epochs_and_names_do_not_warn(run: Run) -> None:
    for _ in run.epochs(2):
        validate(run, 0.0)
        for _ in run.validate(range(1)):
            run.log({"other/loss": 1.0})
    assert metrics(run, "on_fit_epoch_end") == [{"val/loss": 0.0, "val/other/loss": 1.0}] * 2


def test_a_training_part_that_continues_after_a_validation_has_one_mean(run: Run) -> None:
    for _ in run.epochs(1):
        for value in run.train([1.0]):
            run.log(loss=value)
        validate(run, 0.0)
        for value in run.train([2.0, 3.0]):
            run.log(loss=value)
    assert metrics(run, "on_fit_epoch_end") == [{"train/loss": 2.0, "val/loss": 0.0}]


def test_two_passes_of_an_epoch_are_one_training_part(run: Run) -> None:
    for _ in run.epochs(1):
        for value in run.train([1.0]):
            run.log(loss=value)
        for value in run.train([2.0, 3.0]):
            run.log(loss=value)
    assert [event.batch for event in events(run, "on_train_batch_end")] == [0, 1, 2]
    assert metrics(run, "on_train_epoch_end") == [{"train/loss": 2.0}]


def test_a_pass_that_is_kept_can_be_gone_through_in_every_epoch(run: Run) -> None:
    train, validate = run.train(range(3)), run.validate([1.0])
    epochs = run.epochs(2)
    assert [len(each) for each in (train, validate, epochs)] == [3, 1, 2]  # type: ignore[arg-type]
    for _ in epochs:
        for _ in train:
            run.log(loss=1.0)
        for value in validate:
            run.log(loss=value)
    assert metrics(run, "on_fit_epoch_end") == [{"train/loss": 1.0, "val/loss": 1.0}] * 2


def test_generators_without_a_length_and_loaders_without_batches_are_gone_through(run: Run) -> None:
    with pytest.raises(TypeError):
        len(run.train(iter([])))  # type: ignore[arg-type]
    for _ in run.epochs(2):
        for _ in run.train(iter(())):
            raise AssertionError
        for value in run.train(value for value in (1.0, 2.0)):
            run.log(loss=value)
        for _ in run.validate([]):
            raise AssertionError
    assert metrics(run, "on_fit_epoch_end") == [{"train/loss": 1.5}] * 2
    for _ in run.predict([]):
        raise AssertionError
    assert metrics(run, "on_predict_end") == [{}]


def test_the_callbacks_get_the_loops_parameters(run: Run) -> None:
    seen = []

    class Look(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(dict(self.params or {}))

    run.callbacks.append(Look())
    for _ in run.epochs(5, start=3):
        for _ in run.train(range(2)):
            run.log(loss=1.0)
        break
    assert seen == [{"verbose": 0, "epochs": 5, "steps": 2, "initial_epoch": 3}] * 2


def test_on_a_run_that_records_nothing_the_loop_and_the_callbacks_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKHOOKS_RANK", "1")
    model, optimizer = model_and_optimizer()
    with trackhooks.run(dir=tmp_path / "runs", delivery="off") as run:
        heard = trace(run)
        run.watch(model, optimizer, gradient_norm=True, histograms=1)
        for _ in run.epochs(2):
            for _ in run.train(range(2)):
                train_step(model, optimizer)
                run.log(loss=1.0)
        assert heard.count("on_train_batch_end") == 4
        assert run.callbacks.state.metrics["train/loss"] == 1.0
    assert not (tmp_path / "runs").exists()


# --- The model and its optimizer


def test_the_model_and_the_optimizer_are_parameters_text_and_graph(run: Run) -> None:
    model, optimizer = model_and_optimizer()
    run.watch(model, optimizer)
    (end,) = events(run, "on_pretrain_routine_end")
    assert end.facts == {
        "model/name": "Sequential", "model/parameters": 13, "model/trainable": 13, "model/layers": 3,
    }  # fmt: skip
    assert end.params.keys() - set(end.defaults) == {"optimizer/name", "optimizer/lr"}
    assert end.params == {
        "optimizer/name": "SGD", "optimizer/lr": 0.5, "optimizer/momentum": 0, "optimizer/dampening": 0,
        "optimizer/weight_decay": 0, "optimizer/nesterov": False, "optimizer/maximize": False,
        "optimizer/differentiable": False,
    }  # fmt: skip
    text, graph = end.media
    assert isinstance(text, Text)
    assert "ReLU()" in text.text
    assert isinstance(graph, Graph)
    assert [(node.name, node.op, node.inputs) for node in graph.nodes] == [
        ("0", "Linear", []), ("1", "ReLU", ["0"]), ("2", "Linear", ["1"]),
    ]  # fmt: skip


def test_a_module_that_is_used_twice_and_one_that_is_lazy_are_watched(run: Run) -> None:
    act = torch.nn.ReLU()
    model = torch.nn.Sequential(
        torch.nn.Sequential(torch.nn.LazyLinear(3), act), torch.nn.Sequential(act, torch.nn.Linear(3, 1), act)
    )
    run.watch(model)
    (end,) = events(run, "on_pretrain_routine_end")
    assert end.facts["model/parameters"] == 4
    graph = end.media[1]
    assert isinstance(graph, Graph)
    assert [(node.name, node.inputs) for node in graph.nodes] == [
        ("0", []), ("0/0", []), ("0/1", ["0/0"]), ("1", ["0"]), ("1/0", []), ("1/1", ["1/0"]), ("1/2", ["1/1"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [("a model",), (None,), (torch.nn.Linear(1, 1), "an optimizer"), (torch.optim.SGD([torch.ones(1)]),)],
)
def test_an_invalid_model_or_optimizer_is_refused(run: Run, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(InvalidValueError, match=r"run\.watch\("):
        run.watch(*arguments)
    with pytest.raises(InvalidValueError, match=r"histograms must be .* got -1"):
        run.watch(torch.nn.Linear(1, 1), histograms=-1)


def test_the_model_and_the_optimizer_are_let_go_of_when_the_run_ends(tmp_path: Path) -> None:
    model, optimizer = model_and_optimizer()
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        heard = trace(run)
        run.watch(model, optimizer)
        run.watch(model, optimizer)  # a second time changes nothing
        train_step(model, optimizer)
        assert heard.count("optimizer_step") == heard.count("on_before_zero_grad") == 1
    heard.clear()
    train_step(model, optimizer)
    model.load_state_dict(model.state_dict())
    assert heard == []
    assert "zero_grad" not in vars(optimizer)
    assert not model._load_state_dict_post_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_a_zero_grad_of_the_optimizers_own_is_restored_and_one_that_came_later_is_left(
    tmp_path: Path,
) -> None:
    model, optimizer = model_and_optimizer()
    calls: list[str] = []

    def own() -> None:
        calls.append("own")

    vars(optimizer)["zero_grad"] = own
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        run.watch(model, optimizer)
        optimizer.zero_grad()
    assert vars(optimizer)["zero_grad"] is own

    heard: list[Any] = []
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        run.add_callback("on_before_zero_grad", heard.append)
        run.watch(model, optimizer)
        ours = optimizer.zero_grad

        def later() -> None:
            calls.append("later")
            ours()

        vars(optimizer)["zero_grad"] = later
    optimizer.zero_grad()
    assert calls == ["own", "later", "own"]
    assert heard == []
    assert vars(optimizer)["zero_grad"] is later


def test_a_watched_model_can_be_copied_averaged_pickled_and_saved_whole(run: Run) -> None:
    model, optimizer = model_and_optimizer()
    heard = trace(run)
    run.watch(model, optimizer)
    heard.clear()
    for copied in (
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        torch.optim.swa_utils.AveragedModel(model).module,
    ):
        copied.load_state_dict(model.state_dict())
    copy.deepcopy(optimizer)
    saved = io.BytesIO()
    torch.save(model, saved)
    assert b"trackhooks" not in saved.getvalue()  # it can be loaded without trackhooks
    saved.seek(0)
    torch.load(saved, weights_only=False).load_state_dict(model.state_dict())
    assert heard == []
    model.load_state_dict(model.state_dict())
    assert heard == ["on_params_update"]


def test_the_norm_of_the_gradients_is_logged_if_requested(run: Run) -> None:
    model, optimizer = model_and_optimizer()
    run.watch(model, optimizer, gradient_norm=True)
    expected = []
    for _ in run.epochs(1):
        for _ in run.train(range(2)):
            model(torch.ones(4, 2)).mean().backward()
            gradients = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
            expected.append({"gradients/norm": pytest.approx(float(gradients.norm()))})
            optimizer.step()
            optimizer.zero_grad()
    assert metrics(run, "on_train_batch_end") == expected


def test_gradients_that_are_sparse_complex_or_missing_have_a_norm(run: Run) -> None:
    table = torch.nn.Embedding(5, 2, sparse=True)
    z = torch.nn.Parameter(torch.tensor([3 + 4j]))
    table.register_parameter("z", z)
    table.register_parameter("unused", torch.nn.Parameter(torch.ones(1)))
    optimizer = torch.optim.SGD(table.parameters(), lr=0.0)
    run.watch(table, optimizer, gradient_norm=True)
    for _ in run.epochs(1):
        for _ in run.train(range(1)):
            loss = table(torch.tensor([1, 1])).sum() + torch.view_as_real(z).sum()
            loss.backward()
            optimizer.step()
    assert metrics(run, "on_train_batch_end") == [{"gradients/norm": pytest.approx(math.sqrt(4 + 4 + 2))}]


def test_histograms_of_weights_and_gradients_are_logged_every_so_many_steps(run: Run) -> None:
    model, optimizer = model_and_optimizer()
    run.watch(model, optimizer, histograms=3)
    for _ in run.epochs(1):
        for batch in run.train(range(8)):
            model(torch.ones(4, 2)).mean().backward()
            if batch % 2:  # gradients are accumulated over two batches
                optimizer.step()
                optimizer.zero_grad()
    logged = [(event.step, event.media[0]) for event in events(run, "log") if event.media]
    assert {step for step, _ in logged} == {1, 5}
    names = {histogram.name for _, histogram in logged if isinstance(histogram, Histogram)}
    assert names == {f"{kind}/{layer}/{what}" for kind in ("weights", "gradients") for layer in (0, 2)
                     for what in ("weight", "bias")}  # fmt: skip


def test_a_model_that_has_become_nan_continues_without_histograms(run: Run) -> None:
    model, optimizer = model_and_optimizer()
    for parameter in model.parameters():
        torch.nn.init.constant_(parameter, math.nan)
    run.watch(model, optimizer, histograms=1)
    with pytest.warns(TrackhooksWarning, match="weights/0/weight") as warned:
        for _ in run.epochs(1):
            for _ in run.train(range(3)):
                train_step(model, optimizer)
                run.log(loss=math.nan)
    assert len(warned) == 1
    assert len(events(run, "on_train_batch_end")) == 3


# --- Around the loop


def seeded_training(run: Run | None) -> tuple[list[torch.Tensor], tuple[Any, ...]]:
    """What a training ends with: the weights, and the states of the random number generators."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    model, optimizer = model_and_optimizer()
    loader = DataLoader(TensorDataset(torch.randn(32, 2)), batch_size=8, shuffle=True)
    if run is not None:
        run.watch(model, optimizer, gradient_norm=True, histograms=2)
    for _ in run.epochs(3) if run is not None else range(3):
        for (x,) in run.train(loader) if run is not None else loader:
            loss = (torch.nn.functional.dropout(model(x)) * random.random()).square().mean()
            loss.backward()  # type: ignore[no-untyped-call] # torch's
            optimizer.step()
            optimizer.zero_grad()
            if run is not None:
                run.log(loss=loss)
    state = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist()  # type: ignore[index]
    return [parameter.detach().clone() for parameter in model.parameters()], state


def test_tracking_changes_no_bit_of_a_training(run: Run) -> None:
    (weights, state), (tracked, tracked_state) = seeded_training(None), seeded_training(run)
    assert all(torch.equal(a, b) for a, b in zip(weights, tracked, strict=True))
    assert state == tracked_state


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)  # of Python 3.12's fork
def test_the_forked_workers_of_a_data_loader_do_not_record(run: Run) -> None:
    loader = DataLoader(
        TensorDataset(torch.ones(8, 2)), batch_size=2, num_workers=2, multiprocessing_context="fork",
        collate_fn=_LoggingCollate(run),
    )  # fmt: skip
    for _ in run.epochs(2):
        for batch in run.train(loader):
            run.log(loss=batch.mean())
    assert metrics(run, "on_train_batch_end") == [{"train_batch/loss": 1.0}] * 8
    assert [event.index for event in events(run)] == list(range(len(events(run))))


class _LoggingCollate:
    def __init__(self, run: Run) -> None:
        self.run = run
        self.warned: list[str] = []

    def __call__(self, items: list[tuple[torch.Tensor]]) -> torch.Tensor:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            self.run.log(from_a_worker=1.0)
            self.run.callbacks.on_test_begin()
        self.warned += [str(one.message) for one in found]
        (message,) = self.warned
        assert "belongs to the process that opened it" in message
        assert not self.run.records
        return torch.stack([item for (item,) in items])


PROGRESS = """
import trackhooks, sys
with trackhooks.run(dir=sys.argv[1], delivery="off") as run:
    for epoch in run.epochs(2, progress=True):
        for batch in run.train(range(3)):
            run.log(loss=0.25)
print("the end")
"""


@pytest.mark.slow
def test_progress_is_a_line_an_epoch_in_a_pipe(tmp_path: Path, program: Callable[..., str]) -> None:
    lines = [line for line in program(PROGRESS, tmp_path).splitlines() if line.strip()]
    assert [line.split()[:2] for line in lines[:-1]] == [["epoch", "1/2"], ["epoch", "2/2"]]
    assert "3/3" in lines[0]
    assert "train/loss" in lines[0] or "loss 0.25" in lines[0]
    assert lines[-1] == "the end"
    assert "\x1b" not in "".join(lines)


@pytest.mark.slow
def test_progress_is_a_bar_in_a_terminal_which_has_its_cursor_again_after_an_exception(
    tmp_path: Path,
) -> None:
    source = PROGRESS.replace("run.log(loss=0.25)", "run.log(loss=0.25); assert epoch == 0")
    shown = in_terminal(source, tmp_path)
    assert "epoch 2/2" in shown
    assert "AssertionError" in shown
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l") >= 0


def in_terminal(source: str, *arguments: object) -> str:
    """What a program shows in a terminal."""
    terminal, side = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", source, *map(str, arguments)], stdout=side, stderr=side,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    ) as process:  # fmt: skip
        os.close(side)
        shown = b""
        try:
            while part := os.read(terminal, 4096):
                shown += part
        except OSError:  # Linux' way to say that the other side is closed
            pass
        process.wait()
    os.close(terminal)
    return shown.decode(errors="replace")
