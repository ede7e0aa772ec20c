"""Models, optimizers and data whose descriptions fail: they train as they do without trackhooks.

What cannot be read is reported once, what can be is recorded, and a strict run raises.
"""

from __future__ import annotations

import contextlib
import gc
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import pytest
from keras_models import X, Y, events, runs

import trackhooks
from trackhooks.event import Text


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """Callbacks that are gone let go of Keras' methods."""
    yield
    gc.collect()


class OddError(Exception):
    """An error that no library raises."""


def fail(*_: Any, **__: Any) -> Any:
    raise OddError("not today")


class CustomSchedule(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc] # Keras has no types
    """The schedule of TensorFlow's tutorial on the Transformer: it has no `get_config`."""

    def __init__(self, d_model: int, warmup_steps: int = 4000) -> None:
        super().__init__()
        self.d_model = keras.ops.cast(d_model, "float32")
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> Any:
        step = keras.ops.cast(step, dtype="float32")
        arg1 = keras.ops.rsqrt(step)
        arg2 = step * (self.warmup_steps**-1.5)
        return keras.ops.rsqrt(self.d_model) * keras.ops.minimum(arg1, arg2)


class Subclassed(keras.Model):  # type: ignore[misc]
    """Two layers; it is not built before it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = keras.layers.Dense(3, name="hidden")
        self.out = keras.layers.Dense(1, name="out")

    def call(self, inputs: Any) -> Any:
        return self.out(self.hidden(inputs))


class Doubling(keras.layers.Layer):  # type: ignore[misc]
    def call(self, inputs: Any) -> Any:
        return inputs * 2


def odd_model(**attributes: Any) -> Any:
    return lambda: type("OddModel", (Subclassed,), attributes)()


def with_layer(**attributes: Any) -> Any:
    return lambda: keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, name="hidden"),
            type("OddLayer", (Doubling,), attributes)(name="odd"),
            keras.layers.Dense(1, name="out"),
        ]
    )


def initialised(set_up: Callable[[Any], None]) -> Any:
    """An OddLayer whose `__init__` sets something."""

    def init(self: Any, **named: Any) -> None:
        Doubling.__init__(self, **named)
        set_up(self)

    return with_layer(__init__=init)


def with_optimizer(**attributes: Any) -> Any:
    def make() -> Any:
        model = Subclassed()
        model.compile(type("OddOptimizer", (keras.optimizers.SGD,), attributes)(0.01), "mse", metrics=["mae"])
        return model

    return make


def with_schedule(make_schedule: Callable[[], Any]) -> Any:
    def make() -> Any:
        model = Subclassed()
        model.compile(keras.optimizers.Adam(make_schedule()), "mse", metrics=["mae"])
        return model

    return make


def with_late_rate(read: Callable[[Any], Any]) -> Any:
    """An optimizer that applies gradients in its own way, so that nothing of Keras reads its `learning_rate`."""

    class OddOptimizer(keras.optimizers.SGD):  # type: ignore[misc]
        learning_rate = property(read, lambda self, value: setattr(self, "_learning_rate", value))

        def apply(self, grads: Any, trainable_variables: Any = None) -> None:
            for gradient, variable in zip(grads, trainable_variables, strict=True):
                variable.assign(variable - 0.01 * gradient)

    def make() -> Any:
        model = Subclassed()
        model.compile(OddOptimizer(0.01), "mse", metrics=["mae"])
        return model

    return make


class Constant(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    def __call__(self, step: Any) -> Any:
        return 0.01

    def get_config(self) -> Any:
        raise OddError("not today")


class Unwritable:
    """What cannot be printed, hashed, compared or counted."""

    name = shape = dtype = property(fail)
    __repr__ = __str__ = __hash__ = __eq__ = __bool__ = __len__ = __float__ = fail


class CustomStep(Subclassed):
    """Its own step returns something that is not a number."""

    def train_step(self, data: Any) -> Any:
        logs = super().train_step(data)
        return {**logs, "odd": Unwritable()}


SILENT: dict[str, Callable[[], Any]] = {
    "model.layers is None": odd_model(layers=None),
    "model.layers is a number": odd_model(layers=3),
    "model.layers is a text": odd_model(layers="three"),
    "model.layers is a dict": odd_model(layers={"a": 1}),
    "model.layers is a list of numbers": odd_model(layers=[64, 32]),
    "model.layers is a method": odd_model(layers=lambda self: []),
    "model.layers is itself": odd_model(layers=property(lambda self: self)),
    "model.layers holds itself": odd_model(layers=property(lambda self: [self, *self._layers])),
    "layer.layers is None": with_layer(layers=None),
    "layer.layers is a number": with_layer(layers=3),
    "layer.layers is a set number": initialised(lambda layer: setattr(layer, "layers", 3)),
    "layer.layers are set numbers": initialised(lambda layer: setattr(layer, "layers", [64, 32])),
    "layer.layers is a dict": initialised(lambda layer: setattr(layer, "layers", {"a": 1})),
    "layer.layers is a method": with_layer(layers=lambda self: []),
    "layer.layers is itself": with_layer(layers=property(lambda self: self)),
    "layer.layers holds itself": with_layer(layers=property(lambda self: [self])),
    "model compares and hashes": odd_model(__eq__=lambda self, other: NotImplemented, __hash__=object.__hash__),
    "model has no text": odd_model(__repr__=fail, __str__=fail),
    "model counts no parameters": odd_model(count_params=fail, summary=fail),
    "model has no configuration": odd_model(get_config=fail, get_compile_config=fail, to_json=fail),
    "model has no metrics' names": odd_model(metrics_names=property(fail)),
    "optimizer with a setting without text": with_optimizer(get_config=lambda self: {"odd": Unwritable()}),
    "optimizer with an inner one that fails": with_optimizer(inner_optimizer=property(fail)),
    "model ignores stop_training": odd_model(
        stop_training=property(lambda self: False, lambda self, value: None)
    ),
}  # fmt: skip
"""What has something else of a name that we read: nothing is lost, so there is nothing to report."""

REPORTED: dict[str, Callable[[], Any]] = {
    "the tutorial's schedule": with_schedule(lambda: CustomSchedule(16)),
    "a schedule without get_config": with_schedule(Constant),
    "an optimizer without get_config": with_optimizer(get_config=fail),
    "an optimizer whose get_config is None": with_optimizer(get_config=lambda self: None),
    "an optimizer whose learning_rate is no number": with_late_rate(lambda self: Unwritable()),
    "an optimizer whose learning_rate fails": with_late_rate(fail),
    "model.layers fails": odd_model(layers=property(fail)),
    "layer.layers fails": with_layer(layers=property(fail)),
    "compile config fails": odd_model(_compile_config=property(fail, lambda self, value: None)),
    "a step that gives no number": lambda: CustomStep(),
}  # fmt: skip


def train(make: Callable[[], Any], callbacks: Callable[[], list[Any]] = list) -> dict[str, list[float]]:
    """The history of a training with fixed random numbers."""
    keras.utils.set_random_seed(0)
    model = make()
    if not model.compiled:
        model.compile("sgd", "mse", metrics=["mae"])
    history = model.fit(
        X, Y, validation_data=(X, Y), epochs=2, batch_size=5, verbose=0, callbacks=callbacks()
    ).history
    return {name: values for name, values in history.items() if name != "odd"}


@contextlib.contextmanager
def told() -> Iterator[list[str]]:
    """The warnings of trackhooks; others are as they would be without it."""
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield messages
    messages += [str(one.message) for one in caught if isinstance(one.message, trackhooks.TrackhooksWarning)]


Tracked = Callable[[Callable[[], Any], Path, bool], dict[str, list[float]]]


def by_enable(make: Callable[[], Any], folder: Path, strict: bool) -> dict[str, list[float]]:
    trackhooks.enable(dir=folder, delivery="off", strict=strict)
    try:
        return train(make)
    finally:
        trackhooks.disable()


def by_run(make: Callable[[], Any], folder: Path, strict: bool) -> dict[str, list[float]]:
    with trackhooks.run(dir=folder, delivery="off", strict=strict) as run:
        return train(make, lambda: [run.keras])


def by_callback(make: Callable[[], Any], folder: Path, strict: bool) -> dict[str, list[float]]:
    made = trackhooks.keras_callback(dir=folder, delivery="off", strict=strict)
    return train(make, lambda: [made])


WAYS = pytest.mark.parametrize("tracked", [by_enable, by_run, by_callback])


def plain(make: Callable[[], Any]) -> dict[str, list[float]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return train(make)


def table(folder: Path) -> str:
    (found,) = events(runs(folder)[0], "on_pretrain_routine_end")
    return next(item.text for item in found.media if isinstance(item, Text))


def settings(folder: Path) -> dict[str, Any]:
    (found,) = events(runs(folder)[0], "on_pretrain_routine_start")
    return found.params


@pytest.mark.slow
@WAYS
@pytest.mark.parametrize("make", SILENT.values(), ids=SILENT)
def test_an_odd_model_trains_as_in_plain_keras(make: Any, tracked: Tracked, tmp_path: Path) -> None:
    with told() as messages:
        history = tracked(make, tmp_path, False)
    assert history == plain(make)
    assert messages == []
    assert "| hidden | Dense |" in table(tmp_path)
    assert "| out | Dense |" in table(tmp_path)
    assert len(events(runs(tmp_path)[0], "on_fit_epoch_end")) == 2


@pytest.mark.slow
@WAYS
@pytest.mark.parametrize("make", REPORTED.values(), ids=REPORTED)
def test_what_cannot_be_read_is_reported_once_and_the_rest_is_kept(
    make: Any, tracked: Tracked, tmp_path: Path
) -> None:
    with told() as messages:
        history = tracked(make, tmp_path, False)
    assert history == plain(make)
    assert messages
    assert len(messages) == len(set(messages)) <= 2
    assert "| hidden | Dense |" in table(tmp_path)
    assert "| out | Dense |" in table(tmp_path)
    assert settings(tmp_path)["epochs"] == 2
    assert settings(tmp_path)["batch_size"] == 5
    assert settings(tmp_path)["optimizer/name"] in {"SGD", "Adam", "OddOptimizer"}
    assert len(events(runs(tmp_path)[0], "on_fit_epoch_end")) == 2
    assert runs(tmp_path)[0].is_dir()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("tracked", [by_enable, by_run])
@pytest.mark.parametrize("make", REPORTED.values(), ids=REPORTED)
def test_a_strict_run_raises_what_cannot_be_read(make: Any, tracked: Tracked, tmp_path: Path) -> None:
    with pytest.raises(trackhooks.TrackhooksError):
        tracked(make, tmp_path, True)


@pytest.mark.slow
def test_the_tutorials_schedule_is_recorded_by_its_name_and_its_rates(tmp_path: Path) -> None:
    with told() as messages:
        by_enable(REPORTED["the tutorial's schedule"], tmp_path, False)
    assert len(messages) == 1
    assert "Adam" in messages[0]
    assert "NotImplementedError" in messages[0]
    assert settings(tmp_path)["optimizer/schedule/name"] == "CustomSchedule"
    rates = [event.metrics["lr/0"] for event in events(runs(tmp_path)[0], "on_train_epoch_end")]
    assert len(rates) == 2
    assert 0 < rates[0] < rates[1]


@pytest.mark.slow
def test_an_optimizer_without_configuration_keeps_its_learning_rate(tmp_path: Path) -> None:
    with told() as messages:
        by_enable(REPORTED["an optimizer without get_config"], tmp_path, False)
    assert messages == [
        "the configuration of OddOptimizer could not be read: OddError: not today. It is left out, and the rest is"
        " recorded."
    ]
    assert settings(tmp_path)["optimizer/name"] == "OddOptimizer"
    assert settings(tmp_path)["optimizer/lr"] == 0.01


@pytest.mark.slow
def test_many_layers_of_one_class_are_reported_once(tmp_path: Path) -> None:
    def make() -> Any:
        odd = type("OddLayer", (Doubling,), {"layers": property(fail)})
        return keras.Sequential([keras.Input((4,)), *(odd() for _ in range(5)), keras.layers.Dense(1)])

    with told() as messages:
        by_enable(make, tmp_path, False)
    assert len(messages) == 1


@pytest.mark.slow
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_while_a_model_is_read_ends_the_training(
    error: type[BaseException], tmp_path: Path
) -> None:
    def interrupt(*_: Any) -> Any:
        raise error

    with pytest.raises(error):
        by_enable(with_optimizer(get_config=interrupt), tmp_path, False)


class OddData(keras.utils.PyDataset):  # type: ignore[misc]
    batch_size = property(fail)
    shape = property(fail)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        return X[5 * index : 5 * index + 5], Y[5 * index : 5 * index + 5]


@pytest.mark.slow
@WAYS
def test_data_that_do_not_say_their_size_are_trained_on(tracked: Tracked, tmp_path: Path) -> None:
    class Fitted(Subclassed):
        def fit(self, x: Any = None, y: Any = None, batch_size: Any = None, **more: Any) -> Any:
            return super().fit(OddData(), **more)

    with told() as messages:
        history = tracked(Fitted, tmp_path, False)
    assert history == plain(Fitted)
    assert len(messages) == len(set(messages))
    assert len(events(runs(tmp_path)[0], "on_train_batch_end")) == 8
