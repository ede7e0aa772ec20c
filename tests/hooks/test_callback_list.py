"""`CallbackList`: one registry with two faces, and what crosses between them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest.mock import Mock

import keras
import numpy as np
import pytest
import torch

import trackhooks
from trackhooks import Callback, CallbackList, InvalidValueError, Run, Tracker, UnknownNameError
from trackhooks.hooks import vocabulary
from trackhooks.hooks.builtin import History, ProgressBar
from trackhooks.hooks.views import ModelView, TrainerView


class Heard:
    """A recorder, as a run has one, that keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any], int | None, int | None]] = []

    def on_hook(
        self, hook: str, metrics: Mapping[str, Any], epoch: int | None, batch: int | None, **more: Any
    ) -> None:
        self.events.append((hook, dict(metrics), epoch, batch))

    def end_clean_batch(self, metrics: dict[str, float], batch: int) -> None:
        self.on_hook("on_train_batch_end", metrics, None, batch)

    def checked(self, hook: str, more: dict[str, Any]) -> dict[str, Any]:
        return more

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1][1]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def callbacks(heard: Heard) -> CallbackList:
    found = CallbackList()
    found.recorder = heard
    return found


class Every(Callback):
    """Notes every call of a Keras method."""

    def __init__(self, calls: list[tuple[Any, ...]]) -> None:
        self.calls = calls


def _noting(name: str) -> Any:
    def method(self: Every, *arguments: Any, **named: Any) -> None:
        *index, logs = [*arguments, *named.values()]
        self.calls.append((name, *index, dict(logs)))

    return method


def _note(seen: list[tuple[str, Any]], name: str, given: Any) -> None:
    seen.append((name, given))


for _name in vocabulary.FROM_KERAS:
    setattr(Every, _name, _noting(_name))


# --- Keras' face


def test_every_event_of_keras_calls_its_method_with_its_arguments(callbacks: CallbackList) -> None:
    calls: list[tuple[Any, ...]] = []
    callbacks.append(Every(calls))
    expected = []
    for hook in vocabulary.HOOKS:
        if hook.keras is not None:
            index = [3] * (len(hook.keras_args) - 1)
            getattr(callbacks, hook.keras)(*index, {"loss": 1.0})
            getattr(callbacks, hook.keras)(*index)
            expected += [(hook.keras, *index, {"loss": 1.0}), (hook.keras, *index, {})]
    assert calls == expected


def test_the_aliases_of_the_list_fire_their_events(callbacks: CallbackList) -> None:
    calls: list[tuple[Any, ...]] = []
    callbacks.append(Every(calls))
    callbacks.on_batch_begin(1)
    callbacks.on_batch_end(1, {"loss": 1.0})
    assert calls == [("on_train_batch_begin", 1, {}), ("on_train_batch_end", 1, {"loss": 1.0})]


def test_a_method_with_the_name_of_an_alias_is_called_once(callbacks: CallbackList) -> None:
    calls = []

    class Derived(Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            calls.append(("derived", batch))

    class Duck:
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            calls.append(("duck", batch))

    class Both(Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None:
            raise AssertionError("only the base class calls it, from the event, which is overridden")

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            calls.append(("both", batch))

    for callback in (Derived(), Duck(), Both()):
        callbacks.append(callback)
    callbacks.on_train_batch_end(5, {})
    callbacks.run_callbacks("on_train_batch_end", batch=6)
    assert calls == [(name, batch) for batch in (5, 6) for name in ("derived", "duck", "both")]


def test_the_recipe_for_custom_loops_runs_as_keras_documents_it() -> None:
    losses: list[tuple[Any, float]] = []

    class MyCallback(Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            assert logs == {}

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            losses.append((batch, logs["loss"]))

        def on_train_end(self, logs: Any = None) -> None:
            losses.append(("end", logs["loss"]))

    callbacks = CallbackList([MyCallback()])
    callbacks.append(History())
    callbacks.on_train_begin()
    for epoch in range(2):
        callbacks.on_epoch_begin(epoch)
        for i, data in enumerate([1.0, 2.0]):
            callbacks.on_train_batch_begin(i)
            batch_logs = {"loss": data}
            callbacks.on_train_batch_end(i, batch_logs)
        epoch_logs = {"loss": 1.5}
        callbacks.on_epoch_end(epoch, epoch_logs)
    final_logs = epoch_logs
    callbacks.on_train_end(final_logs)
    assert losses == [(0, 1.0), (1, 2.0)] * 2 + [("end", 1.5)]
    history = list(callbacks)[1]
    assert (history.epoch, history.history) == ([0, 1], {"loss": [1.5, 1.5]})


def test_the_constructor_hands_the_model_and_the_parameters_to_every_callback() -> None:
    model = SimpleNamespace(stop_training=False)
    first, second = Callback(), Callback()
    callbacks = CallbackList([[first], (second,)], model=model, verbose=1, epochs=3, steps=None)
    callbacks.append(third := Callback())
    assert [callback.model for callback in (first, second, third)] == [model] * 3
    assert [callback.params for callback in (first, second, third)] == [
        {"verbose": 1, "epochs": 3, "steps": None}
    ] * 3
    assert (callbacks.model, callbacks.params) == (model, {"verbose": 1, "epochs": 3, "steps": None})
    assert list(callbacks) == [first, second, third]
    assert len(callbacks) == 3


def test_parameters_and_model_may_be_set_later_and_empty_parameters_are_not_passed_on() -> None:
    callback = Callback()
    callbacks = CallbackList([callback])
    assert callback.params is None
    callbacks.set_params({"epochs": 5})
    callbacks.set_params({})
    callbacks.set_model(model := SimpleNamespace())
    assert callback.params == callbacks.params == {"epochs": 5}
    assert callback.model is callbacks.model is model


def test_history_and_progress_bar_are_added_unless_they_are_there() -> None:
    model = SimpleNamespace()
    own = History()
    callbacks = CallbackList([own], add_history=True, add_progbar=True, model=model)
    assert [type(callback) for callback in callbacks] == [History, ProgressBar]
    callbacks.on_epoch_end(0, {"loss": 1.0})
    assert model.history is own
    assert own.history == {"loss": [1.0]}
    later = CallbackList(model=model)
    later.append(another := History())
    assert model.history is another


def test_callbacks_may_come_from_a_generator_one_alone_or_not_at_all() -> None:
    first, second, third = Callback(), Callback(), Callback()
    assert list(CallbackList(callback for callback in (first, second))) == [first, second]
    assert list(CallbackList(first)) == [first]
    assert list(CallbackList({"b": first, "a": [second, {"c": third}]})) == [second, third, first]
    assert list(CallbackList()) == list(CallbackList(None)) == list(CallbackList([None, []])) == []
    assert CallbackList()


def test_all_callbacks_get_the_same_dict_of_logs_and_what_they_write_is_recorded(
    callbacks: CallbackList, heard: Heard
) -> None:
    seen = []

    class Adds(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["f1"] = 0.5
            logs["loss"] = 2.0
            del logs["unwanted"]

    class Sees(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(dict(logs))

    callbacks.append(Adds())
    callbacks.append(Sees())
    given = {"loss": 1.0, "unwanted": 3.0}
    callbacks.on_epoch_end(0, given)
    assert given == {"loss": 2.0, "f1": 0.5}
    assert seen == [given]
    assert heard.last == {"train/loss": 2.0, "train/f1": 0.5}
    callbacks.run_callbacks(
        "on_fit_epoch_end", metrics={"train/loss": 1.0, "train/unwanted": 3.0, "lr/0": 0.1}
    )
    assert seen[1] == {"loss": 2.0, "f1": 0.5, "lr/0": 0.1}
    assert heard.last == {"train/loss": 2.0, "train/f1": 0.5, "lr/0": 0.1}


class Keeps(Callback):
    """Keeps the logs of each batch and epoch."""

    def __init__(self) -> None:
        self.logs: list[Any] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.logs.append(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.logs.append(logs)


VALUES: dict[str, Any] = {
    "z": 1, "flag": True, "text": "0.5", "word": "a word", "none": None, "numpy": np.float32(0.5),
    "one": np.array([[2]]), "tensor": torch.tensor([3.0], requires_grad=True),
    "half": torch.tensor(0.5, dtype=torch.bfloat16),
    "nested": {"y": np.int64(4), "deeper": {"x": torch.tensor(5)}}, "a": 0.25,
}  # fmt: skip
CONVERTED = {
    "a": 0.25, "flag": 1.0, "half": 0.5, "x": 5.0, "y": 4.0, "none": None, "numpy": 0.5, "one": 2.0, "tensor": 3.0,
    "text": 0.5, "word": "a word", "z": 1.0,
}  # fmt: skip


def test_objects_get_logs_as_keras_converts_them(callbacks: CallbackList) -> None:
    callbacks.append(keeps := Keeps())
    callbacks.on_train_batch_end(0, VALUES)
    callbacks.on_epoch_end(0, MappingProxyType(VALUES))  # type: ignore[arg-type]
    metrics = {f"train/{name}": value for name, value in VALUES.items()}
    callbacks.run_callbacks("on_fit_epoch_end", metrics=metrics, epoch=1)
    theirs = keras.callbacks.CallbackList([other := Keeps()])
    theirs.on_epoch_end(0, VALUES)
    assert keeps.logs == [CONVERTED] * 3
    assert other.logs == [CONVERTED]
    assert [list(logs) for logs in keeps.logs[:2]] == [list(CONVERTED)] * 2 == [list(other.logs[0])] * 2
    assert {type(value) for value in keeps.logs[0].values()} == {float, str, type(None)}


def test_what_is_no_number_keeps_no_graph_of_its_gradients(callbacks: CallbackList) -> None:
    callbacks.append(keeps := Keeps())
    several = torch.ones(3, requires_grad=True) * 2
    callbacks.on_epoch_end(0, {"several": several})
    assert isinstance(keeps.logs[0]["several"], np.ndarray)


def test_the_logs_of_the_loop_stay_as_they_are_but_for_what_callbacks_change(
    callbacks: CallbackList, heard: Heard
) -> None:
    class Adds(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["added"] = 1.0
            del logs["unwanted"]

    callbacks.append(Adds())
    loss = torch.tensor(2.0, requires_grad=True)
    given: dict[str, Any] = {"loss": loss, "unwanted": 3}
    callbacks.on_epoch_end(0, given)
    assert given == {"loss": loss, "added": 1.0}
    assert given["loss"] is loss
    assert heard.last == {"train/loss": loss, "train/added": 1.0}


class OnDevice:
    """A number that must not be read yet, as one on an accelerator."""

    def __float__(self) -> float:
        raise AssertionError("it is read")

    detach = item = __array__ = __float__


def test_no_value_is_read_if_no_object_listens(callbacks: CallbackList, heard: Heard) -> None:
    class AtTheEnd(Callback):
        def on_train_end(self, logs: Any = None) -> None:
            pass

    callbacks.append(AtTheEnd())
    callbacks.append(CallbackList([AtTheEnd()]))
    callbacks.add_callback("on_train_batch_end", lambda trainer: None)
    value = OnDevice()
    callbacks.on_train_batch_end(0, {"loss": value})
    callbacks.run_callbacks("on_train_batch_end", metrics={"train_batch/loss": value}, batch=1)
    assert [event[1] for event in heard.events] == [{"train_batch/loss": value}] * 2


class Exact(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Notes how each method is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []


def _exactly(name: str) -> Any:
    return lambda self, *arguments, **named: self.calls.append((name, arguments, named))


for _name in vocabulary.FROM_KERAS:
    setattr(Exact, _name, _exactly(_name))


def test_batches_pass_their_logs_by_keyword_and_epochs_by_position_as_keras_does(
    callbacks: CallbackList,
) -> None:
    callbacks.append(ours := Exact())
    keras_list = keras.callbacks.CallbackList([theirs := Exact()])
    for mode in ("train", "test", "predict"):
        for fired in (callbacks, keras_list):
            getattr(fired, f"on_{mode}_begin")()
            getattr(fired, f"on_{mode}_batch_begin")(3)
            getattr(fired, f"on_{mode}_batch_end")(3, {"loss": 1.0})
            getattr(fired, f"on_{mode}_end")({"loss": 1.0})
    for fired in (callbacks, keras_list):
        fired.on_epoch_begin(3)
        fired.on_epoch_end(3, {"loss": 1.0})
    assert len(ours.calls) == 14
    assert ours.calls == theirs.calls


def test_a_callback_that_shares_a_dict_between_calls_changes_no_earlier_record(
    callbacks: CallbackList, heard: Heard
) -> None:
    logs = {"loss": 1.0}
    callbacks.on_train_batch_end(0, logs)
    logs["loss"] = 2.0
    callbacks.on_train_batch_end(1, logs)
    assert [event[1] for event in heard.events] == [{"train_batch/loss": 1.0}, {"train_batch/loss": 2.0}]


def test_logs_are_recorded_by_the_names_of_every_loop(callbacks: CallbackList, heard: Heard) -> None:
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    callbacks.on_train_batch_end(0, {"loss": 1.0, "lr": 0.1})
    callbacks.on_test_begin()
    callbacks.on_test_end({"loss": 0.5, "val_like": 2.0})
    logs = {"loss": 1.0, "val_loss": 0.5, "val_val_like": 2.0, "val_gap": 3.0, "learning_rate": 0.1}
    callbacks.on_epoch_end(0, logs)
    callbacks.on_epoch_begin(1)
    callbacks.on_epoch_end(1, {"loss": 1.0, "val_loss": 4.0})  # not validated: a metric that is called so
    callbacks.on_train_end({"loss": 1.0})
    callbacks.on_test_end({"loss": 0.25})
    callbacks.on_predict_end({"count": 3})
    assert [(hook, metrics) for hook, metrics, _, _ in heard.events if metrics] == [
        ("on_train_batch_end", {"train_batch/loss": 1.0, "lr/0": 0.1}),
        ("on_val_end", {"val/loss": 0.5, "val/val_like": 2.0}),
        ("on_fit_epoch_end",
         {"train/loss": 1.0, "val/loss": 0.5, "val/val_like": 2.0, "train/val_gap": 3.0, "lr/0": 0.1}),
        ("on_fit_epoch_end", {"train/loss": 1.0, "train/val_loss": 4.0}),
        ("on_train_end", {"train/loss": 1.0}),
        ("on_val_end", {"test/loss": 0.25}),
        ("on_predict_end", {"predict/count": 3}),
    ]  # fmt: skip


def test_indices_may_be_integers_of_any_kind(callbacks: CallbackList, heard: Heard) -> None:
    calls: list[tuple[Any, ...]] = []
    callbacks.append(Every(calls))
    counted: list[Any] = [np.int64(1), torch.tensor(2), np.array(3), True]  # as datasets count
    for batch in counted:
        callbacks.on_train_batch_end(batch, {})
    callbacks.on_epoch_end(np.int32(4), {})
    callbacks.run_callbacks("on_fit_epoch_end", epoch=np.int32(5))
    callbacks.run_callbacks("on_train_batch_end", batch=torch.tensor(6))  # type: ignore[arg-type]
    assert [call[1] for call in calls] == [1, 2, 3, 1, 4, 5, 6]
    assert [epoch if batch is None else batch for _, _, epoch, batch in heard.events] == [1, 2, 3, 1, 4, 5, 6]
    assert {type(index) for _, _, *indices in heard.events for index in indices} <= {int, bool, type(None)}


@pytest.mark.parametrize("wrong", ["0", 1.5, torch.ones(2)])
def test_an_index_that_is_not_an_integer_is_refused(callbacks: CallbackList, wrong: Any) -> None:
    fires: list[Callable[[], None]] = [
        lambda: callbacks.on_train_batch_end(wrong, {}),
        lambda: callbacks.on_epoch_end(wrong, {}),
        lambda: callbacks.run_callbacks("on_fit_epoch_end", epoch=wrong),
        lambda: callbacks.run_callbacks("on_train_batch_end", batch=wrong),
    ]
    for fire in fires:
        with pytest.raises(InvalidValueError, match="must be a whole number"):
            fire()


def test_logs_that_are_not_a_mapping_are_refused(callbacks: CallbackList) -> None:
    fires: list[Callable[[], None]] = [
        lambda: callbacks.on_train_batch_end(0, 0.5),  # type: ignore[arg-type]
        lambda: callbacks.on_epoch_end(0, [0.5]),  # type: ignore[arg-type]
        lambda: callbacks.on_predict_batch_end(0, "outputs"),  # type: ignore[arg-type]
        lambda: callbacks.run_callbacks("on_fit_epoch_end", metrics=[0.5]),  # type: ignore[arg-type]
    ]
    for fire in fires:
        with pytest.raises(InvalidValueError, match="must be a mapping from names to numbers"):
            fire()


# --- Ultralytics' face


def test_every_hook_calls_its_functions_with_the_object_of_its_kind(callbacks: CallbackList) -> None:
    seen: list[tuple[str, Any]] = []
    for hook in vocabulary.HOOKS:
        callbacks.add_callback(hook.name, partial(_note, seen, hook.name))
    for hook in vocabulary.HOOKS:
        callbacks.run_callbacks(hook.name)
    assert [name for name, _ in seen] == [hook.name for hook in vocabulary.HOOKS]
    assert [given.kind for _, given in seen] == [hook.source for hook in vocabulary.HOOKS]
    seen.clear()
    trainer = SimpleNamespace()
    callbacks.run_callbacks("on_train_start", trainer)
    assert seen == [("on_train_start", trainer)]


def test_functions_are_listed_cleared_and_reset_and_objects_stay(callbacks: CallbackList) -> None:
    calls: list[tuple[Any, ...]] = []
    callbacks.append(every := Every(calls))
    first, second = Mock(), Mock()
    callbacks.add_callback("on_train_start", first)
    callbacks.add_callback("on_train_start", second)
    callbacks.add_callback("on_train_end", first)
    assert set(callbacks.callbacks) == set(vocabulary.BY_NAME)
    assert callbacks.callbacks["on_train_start"] == (first, second)
    callbacks.clear_callback("on_train_start")
    assert not callbacks.callbacks["on_train_start"]
    assert callbacks.callbacks["on_train_end"] == (first,)
    callbacks.reset_callbacks()
    assert not any(callbacks.callbacks.values())
    callbacks.on_train_begin()
    assert calls == [("on_train_begin", {})]
    assert list(callbacks) == [every]
    first.assert_not_called()


def plot_samples(validator: Any) -> None:
    """As Ultralytics documents it: the function looks at the variables of the loop that fires the hook."""
    frame = inspect.currentframe().f_back.f_back  # type: ignore[union-attr]
    assert frame is not None
    variables = frame.f_locals
    validator.seen_by_the_example = (variables["batch"], variables["batch_i"], variables["preds"])


def test_a_function_finds_the_variables_of_the_loop_two_frames_up(callbacks: CallbackList, run: Run) -> None:
    for fires in (callbacks, run, run.callbacks):
        validator = SimpleNamespace()
        fires.add_callback("on_val_batch_end", plot_samples)
        for batch_i, batch in enumerate(["a", "b"]):  # noqa: B007 — the function looks at it
            preds = batch.upper()
            fires.run_callbacks("on_val_batch_end", validator)
        assert validator.seen_by_the_example == ("b", 1, preds)


def test_metrics_and_epoch_are_read_from_the_source_by_default(callbacks: CallbackList, heard: Heard) -> None:
    trainer = SimpleNamespace(metrics={"metrics/mAP50(B)": 0.5}, epoch=7, stop=False)
    callbacks.run_callbacks("on_fit_epoch_end", trainer)
    callbacks.run_callbacks("on_fit_epoch_end", trainer, {"train/loss": 1.0}, epoch=2)
    callbacks.run_callbacks("on_fit_epoch_end", SimpleNamespace(metrics="none", epoch="none"))
    assert [event[1:3] for event in heard.events] == [
        ({"metrics/mAP50(B)": 0.5}, 7), ({"train/loss": 1.0}, 2), ({}, None),
    ]  # fmt: skip


# --- Both


def test_callbacks_are_called_in_the_order_of_registration_across_both_kinds(callbacks: CallbackList) -> None:
    order: list[str] = []

    class Notes(Callback):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_train_end(self, logs: Any = None) -> None:
            order.append(self.name)

    callbacks.append(Notes("1"))
    callbacks.add_callback("on_train_end", lambda _: order.append("2"))
    callbacks.append(Notes("3"))
    callbacks.add_callback("on_train_end", lambda _: order.append("4"))
    callbacks.on_train_end()
    callbacks.run_callbacks("on_train_end")
    callbacks.run_callbacks("on_train_end", SimpleNamespace())
    assert order == ["1", "2", "3", "4"] * 3


@pytest.mark.parametrize("name", sorted(vocabulary.COLLIDING))
def test_a_name_of_both_vocabularies_means_what_the_registration_says(
    callbacks: CallbackList, name: str
) -> None:
    """`on_train_batch_end(batch, logs)` of Keras, `on_train_batch_end(trainer)` of Ultralytics."""
    keras: list[tuple[Any, ...]] = []
    functions: list[Any] = []
    callbacks.append(Every(keras))
    callbacks.add_callback(name, functions.append)
    index = [0] * (len(vocabulary.BY_NAME[name].keras_args) - 1)
    getattr(callbacks, name)(*index, {"a": 1.0})
    callbacks.run_callbacks(name, batch=0 if index else None)
    assert keras == [(name, *index, {"a": 1.0}), (name, *index, {})]
    assert [type(given).__name__.lower() for given in functions] == [
        f"{vocabulary.BY_NAME[name].source}view"
    ] * 2


@pytest.mark.parametrize(
    "hook", [hook for hook in vocabulary.HOOKS if hook.keras], ids=lambda hook: hook.name
)
def test_an_event_fired_in_either_vocabulary_reaches_the_callbacks_of_both(
    callbacks: CallbackList, hook: vocabulary.Hook
) -> None:
    keras: list[tuple[Any, ...]] = []
    functions: list[Any] = []
    callbacks.append(Every(keras))
    callbacks.add_callback(hook.name, functions.append)
    index = [4] * (len(hook.keras_args) - 1)
    assert hook.keras is not None
    getattr(callbacks, hook.keras)(*index)
    axis = hook.keras_args[0]
    callbacks.run_callbacks(
        hook.name, epoch=4 if axis == "epoch" else None, batch=4 if axis == "batch" else None
    )
    assert keras == [(hook.keras, *index, {})] * 2
    assert len(functions) == 2


def test_keras_callbacks_get_recorded_metrics_with_the_names_of_keras(callbacks: CallbackList) -> None:
    calls: list[tuple[Any, ...]] = []
    callbacks.append(Every(calls))
    callbacks.run_callbacks("on_train_start")
    callbacks.run_callbacks("on_train_epoch_start", epoch=0)
    callbacks.run_callbacks("on_train_batch_end", metrics={"train_batch/loss": 1.0}, batch=0)
    callbacks.run_callbacks("on_val_end", metrics={"val/loss": 2.0, "metrics/mAP50(B)": 0.5})
    callbacks.run_callbacks(
        "on_fit_epoch_end", metrics={"train/loss": 1.0, "val/loss": 2.0, "metrics/mAP50(B)": 0.5}, epoch=0
    )
    assert calls[2:] == [
        ("on_train_batch_end", 0, {"loss": 1.0}),
        ("on_test_end", {"loss": 2.0, "metrics/mAP50(B)": 0.5}),
        ("on_epoch_end", 0, {"loss": 1.0, "val_loss": 2.0, "metrics/mAP50(B)": 0.5}),
    ]


def test_two_metrics_with_the_same_name_in_keras_are_both_recorded(
    callbacks: CallbackList, heard: Heard
) -> None:
    class Changes(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            logs["loss"] += 1.0

    callbacks.append(Changes())
    callbacks.run_callbacks(
        "on_train_batch_end", metrics={"train_batch/loss": 1.0, "train/loss": 2.0}, batch=0
    )
    assert heard.last == {"train_batch/loss": 1.0, "train/loss": 3.0}


def test_batches_and_epochs_that_the_loop_does_not_count_are_counted(callbacks: CallbackList) -> None:
    calls: list[tuple[Any, ...]] = []
    callbacks.append(Every(calls))
    callbacks.run_callbacks("on_train_start")
    for _ in range(2):
        callbacks.run_callbacks("on_train_epoch_start")
        for _ in range(2):
            callbacks.run_callbacks("on_train_batch_start")
            callbacks.run_callbacks("on_train_batch_end")
        callbacks.run_callbacks("on_fit_epoch_end")
    indices = [call[1] for call in calls if len(call) == 3]
    assert indices == [0, 0, 0, 1, 1, 0, 1, 0, 0, 1, 1, 1]


def test_stopping_crosses_between_the_vocabularies(callbacks: CallbackList) -> None:
    class Stops(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = True

    def stop(trainer: Any) -> None:
        trainer.stop = True

    keras, function = CallbackList([Stops()]), CallbackList()
    function.add_callback("on_fit_epoch_end", stop)
    for stopping in (keras, function):
        model = SimpleNamespace(stop_training=False)
        stopping.set_model(model)
        stopping.on_train_begin()
        assert not stopping.stop_training
        stopping.on_epoch_end(0)
        assert stopping.stop_training
        assert model.stop_training is True
        stopping.on_train_begin()  # what an earlier training left does not stop the next
        assert not stopping.stop_training

        trainer = SimpleNamespace(stop=False)
        stopping.run_callbacks("on_fit_epoch_end", trainer)
        assert trainer.stop is True

    callbacks.append(stopped := Callback())
    trainer = SimpleNamespace(stop=np.True_)
    callbacks.run_callbacks("on_fit_epoch_end", trainer)
    assert stopped.model is None or stopped.model.stop_training
    assert callbacks.stop_training


def test_a_later_callback_sees_that_an_earlier_one_stopped(callbacks: CallbackList) -> None:
    seen = []

    class Looks(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen.append(self.model.stop_training)

    def stop(trainer: Any) -> None:
        trainer.stop = True

    callbacks.add_callback("on_fit_epoch_end", stop)
    callbacks.append(Looks())
    callbacks.add_callback("on_fit_epoch_end", lambda trainer: seen.append(trainer.stop))
    callbacks.on_epoch_end(0)
    assert seen == [True, True]


def test_a_method_called_stop_does_not_stop_the_training(callbacks: CallbackList) -> None:
    class Trainer:
        def stop(self) -> None:
            raise AssertionError

    trainer = Trainer()
    callbacks.add_callback("on_fit_epoch_end", lambda _: None)
    callbacks.run_callbacks("on_fit_epoch_end", trainer)
    assert not callbacks.stop_training
    callbacks.stop_training = True
    callbacks.run_callbacks("on_fit_epoch_end", trainer)
    assert callable(trainer.stop)


def test_callbacks_that_come_or_go_while_being_called_count_from_the_next_event_on(
    callbacks: CallbackList,
) -> None:
    order: list[str] = []

    class Temporary(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            order.append("temporary")
            callbacks.remove(self)
            callbacks.add_callback("on_train_batch_end", lambda _: order.append("added"))

    def clears(_: Any) -> None:
        order.append("clears")
        callbacks.clear_callback("on_train_batch_end")

    callbacks.append(Temporary())
    callbacks.add_callback("on_train_batch_end", clears)
    callbacks.append(every := Every([]))
    callbacks.on_train_batch_end(0)
    assert order == ["temporary", "clears"]
    assert list(callbacks) == [every]
    callbacks.on_train_batch_end(1)
    assert order == ["temporary", "clears"]
    assert [call[1] for call in every.calls] == [0, 1]


def test_what_a_callback_raises_propagates_is_recorded_and_later_hooks_still_work(
    callbacks: CallbackList, heard: Heard
) -> None:
    class Pruned(Exception):  # noqa: N818
        pass

    class Prunes(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["pruned"] = 1.0
            raise Pruned

    callbacks.append(prunes := Prunes())
    callbacks.append(behind := Every([]))
    with pytest.raises(Pruned):
        callbacks.on_epoch_end(3, {"loss": 1.0})
    with pytest.raises(Pruned):
        callbacks.run_callbacks("on_fit_epoch_end", metrics={"train/loss": 2.0}, epoch=4)
    assert [event[1] for event in heard.events] == [
        {"train/loss": 1.0, "train/pruned": 1.0}, {"train/loss": 2.0, "train/pruned": 1.0},
    ]  # fmt: skip
    assert behind.calls == []
    callbacks.remove(prunes)
    callbacks.on_epoch_end(5, {"loss": 3.0})
    assert behind.calls == [("on_epoch_end", 5, {"loss": 3.0})]


def test_a_list_in_a_list_is_called_like_any_object(callbacks: CallbackList) -> None:
    calls: list[tuple[Any, ...]] = []
    functions: list[Any] = []
    inner = CallbackList([Every(calls)])
    inner.recorder = recorded = Heard()
    inner.add_callback("on_fit_epoch_end", functions.append)
    callbacks.append(inner)
    callbacks.on_epoch_end(0, {"loss": 1.0})
    callbacks.run_callbacks("on_fit_epoch_end", metrics={"train/loss": 2.0}, epoch=1)
    assert calls == [("on_epoch_end", 0, {"loss": 1.0}), ("on_epoch_end", 1, {"loss": 2.0})]
    assert len(functions) == 2
    assert [event[1] for event in recorded.events] == [{"train/loss": 1.0}, {"train/loss": 2.0}]
    functions[0].stop = True
    callbacks.on_epoch_end(2)
    assert callbacks.stop_training
    assert list(CallbackList([inner])) == [inner]
    with pytest.raises(InvalidValueError, match="cannot be called by it"):
        inner.append(inner)


def test_functions_in_a_list_in_a_list_hear_every_hook_with_the_live_object(callbacks: CallbackList) -> None:
    seen: list[Any] = []
    innermost, inner, source = CallbackList(), CallbackList(), SimpleNamespace(epoch=2)
    inner.append(innermost)
    callbacks.append(inner)
    for hook in vocabulary.HOOKS:  # after it was appended
        innermost.add_callback(hook.name, seen.append)
    for hook in vocabulary.HOOKS:
        callbacks.run_callbacks(hook.name, source)
    assert seen == [source] * 25
    assert all(callbacks.hears(hook.name) for hook in vocabulary.HOOKS)
    innermost.reset_callbacks()
    assert not any(callbacks.hears(hook.name) for hook in vocabulary.HOOKS)


def test_objects_in_a_list_in_a_list_share_the_logs(callbacks: CallbackList, heard: Heard) -> None:
    class Adds(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs[f"added_{len(logs)}"] = 1.0

    inner = CallbackList([Adds()])
    inner.recorder = recorded = Heard()
    for callback in (Adds(), inner, Adds(), keeps := Keeps()):
        callbacks.append(callback)
    callbacks.on_epoch_end(0, given := {"loss": 0.5})
    assert keeps.logs == [given] == [{"loss": 0.5, "added_1": 1.0, "added_2": 1.0, "added_3": 1.0}]
    assert recorded.last == {"train/loss": 0.5, "train/added_1": 1.0, "train/added_2": 1.0}
    assert set(heard.last) == {"train/loss", "train/added_1", "train/added_2", "train/added_3"}


def test_lists_that_would_call_each_other_are_refused(callbacks: CallbackList) -> None:
    inner = CallbackList([CallbackList()])
    callbacks.append(inner)
    with pytest.raises(InvalidValueError, match="cannot be called by it"):
        next(iter(inner)).append(callbacks)


@pytest.mark.parametrize("fires", ["on_test_end", "run_callbacks"])
def test_a_callback_that_fires_its_own_event_is_not_called_for_it_and_others_are(
    callbacks: CallbackList, heard: Heard, fires: str
) -> None:
    calls: list[str] = []

    def fire() -> None:
        if fires == "on_test_end":
            callbacks.on_test_end({"loss": 2.0})
        else:
            callbacks.run_callbacks("on_val_end", metrics={"test/loss": 2.0})

    class Evaluates(Callback):
        def on_test_end(self, logs: Any = None) -> None:
            calls.append("object")
            fire()

    def function(validator: Any) -> None:
        calls.append("function")
        fire()

    callbacks.append(Evaluates())
    callbacks.add_callback("on_val_end", function)
    callbacks.on_test_end({"loss": 1.0})
    assert calls == ["object", "function", "function", "object"]
    calls.clear()
    callbacks.on_test_end({"loss": 1.0})  # the next event is heard as before
    assert calls == ["object", "function", "function", "object"]
    assert heard.last == {"test/loss": 1.0}


def test_a_callback_that_raised_hears_the_next_event(callbacks: CallbackList) -> None:
    class Fails(Callback):
        def on_test_end(self, logs: Any = None) -> None:
            raise KeyError(1)

    def fails(validator: Any) -> None:
        raise KeyError(2)

    callbacks.append(failing := Fails())
    for number in (1, 1, 2, 2):
        if number == 2 and failing in list(callbacks):
            callbacks.remove(failing)
            callbacks.add_callback("on_val_end", fails)
        with pytest.raises(KeyError, match=str(number)):
            callbacks.on_test_end()


def test_a_base_class_that_does_nothing_is_not_called_at_every_batch(callbacks: CallbackList) -> None:
    class Stops(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            pass

    callbacks.append(Stops())
    assert [name for name in vocabulary.BY_NAME if callbacks.hears(name)] == ["on_fit_epoch_end"]


def test_an_object_of_any_class_may_be_appended(callbacks: CallbackList) -> None:
    callbacks.append(mock := Mock(spec=["on_epoch_end"]))
    callbacks.append(SimpleNamespace(on_epoch_end=(seen := Mock(spec=()))))
    callbacks.on_epoch_end(0, {"loss": 1.0})
    mock.on_epoch_end.assert_called_once_with(0, {"loss": 1.0})
    seen.assert_called_once_with(0, {"loss": 1.0})


# --- Names and values that are wrong


def a_function(trainer: Any) -> None:
    pass


class Trackers(Tracker):
    pass


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Every, r"Every is a class\. Append an object of it: Every\(…\)"),
        (a_function, r"add_callback\('on_fit_epoch_end', function\)"),
        (Trackers(), r"Trackers is a tracker, .* trackhooks\.run\(Trackers\(\)\)"),
        (3, "3 has no method of Keras' names"),
        (SimpleNamespace(on_epoch_ends=a_function), "has no method of Keras' names"),
        ("on_epoch_end", "has no method of Keras' names"),
    ],
)
def test_an_object_that_cannot_be_appended_is_refused_with_a_remedy(
    callbacks: CallbackList, wrong: Any, message: str
) -> None:
    with pytest.raises(InvalidValueError, match=message):
        callbacks.append(wrong)
    with pytest.raises(InvalidValueError, match=message):
        CallbackList([wrong])
    assert list(callbacks) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("on_fit_epoch_ends", "'on_fit_epoch_end'"),
        ("on_batch_end", r"a hook of Keras; .* 'on_train_batch_end'"),
        ("on_train_epoch_begin", "'on_train_epoch_start'"),
        ("tear_down", "'teardown'"),
        ("on_epoch_end", r"a hook of Keras; .* 'on_fit_epoch_end'\. .* append an object"),
        ("on_test_begin", r"a hook of Keras; .* 'on_val_start'"),
        ("nothing like it", "Known: on_before_zero_grad, "),
        (None, "None"),
    ],
)
def test_a_name_that_is_not_a_hook_is_refused_with_the_nearest_hook(
    callbacks: CallbackList, name: Any, message: str
) -> None:
    uses: list[Callable[[], None]] = [
        lambda: callbacks.add_callback(name, a_function),
        lambda: callbacks.run_callbacks(name),
        lambda: callbacks.clear_callback(name),
    ]
    for use in uses:
        with pytest.raises(UnknownNameError, match=message):
            use()


@pytest.mark.parametrize("wrong", [3, None, Every([]), lambda: None, lambda epoch, logs: None])
def test_a_function_must_accept_one_argument(callbacks: CallbackList, wrong: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"must be a function of one argument, the trainer, got"):
        callbacks.add_callback("on_train_start", wrong)


@pytest.mark.parametrize(
    "right", [print, Mock(), a_function, lambda *all: None, lambda trainer, more=1: None, min]
)
def test_anything_that_accepts_one_argument_can_be_added(callbacks: CallbackList, right: Any) -> None:
    callbacks.add_callback("on_train_start", right)
    assert callbacks.callbacks["on_train_start"] == (right,)


def test_a_misspelt_method_causes_a_warning_or_an_error_if_the_class_is_ours(callbacks: CallbackList) -> None:
    class Duck:
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            pass

        def on_epoch_begins(self, epoch: int, logs: Any = None) -> None:
            pass

        def on_something_else(self) -> None:
            pass

    with pytest.warns(trackhooks.TrackhooksWarning, match=r"Duck\.on_epoch_begins .* 'on_epoch_begin'"):
        callbacks.append(Duck())
    with pytest.raises(UnknownNameError, match="'on_epoch_begin'"):
        type("Ours", (Callback,), {"on_epoch_begins": Duck.on_epoch_begins})


def test_only_callbacks_in_the_list_can_be_removed(callbacks: CallbackList) -> None:
    callbacks.append(one := Every([]))
    callbacks.append(one)
    callbacks.remove(one)
    with pytest.raises(InvalidValueError, match="not in this list"):
        callbacks.remove(one)


# --- On a run


def test_a_runs_list_records_what_its_callbacks_write(run: Run, tmp_path: Path) -> None:
    class Adds(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["added"] = 0.5

    run.callbacks.append(Adds())
    run.callbacks.on_train_begin()
    run.callbacks.on_epoch_begin(0)
    run.callbacks.on_epoch_end(0, {"loss": 1.0})
    (event,) = (e for e in trackhooks.journal.read(run.path) if e.hook == "on_fit_epoch_end")
    assert event.metrics == {"train/loss": 1.0, "train/added": 0.5}


def test_functions_and_objects_of_a_run_get_views_of_its_loop(run: Run) -> None:
    given: list[Any] = []

    class Looks(Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            given.append(self.model)

    run.add_callback("on_train_start", given.append)
    run.callbacks.append(Looks())
    for _ in run.epochs(1):
        pass
    assert isinstance(given[0], TrainerView)
    assert isinstance(given[1], ModelView)
    assert given[0].save_dir == run.path
