"""The same recorder, called by Ultralytics itself and through our registry: it hears the same, in the same order.

What is compared is the sequence of (hook, kind of object, index, sorted names of its metrics); the index is the epoch
of a trainer, the batch of a validator, the images that a predictor has seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ultralytics import YOLO
from yolo import SIZE, VERSION, Shapes

import trackhooks
from trackhooks.hooks.vocabulary import BY_NAME

pytestmark = pytest.mark.slow  # each trains

Step = tuple[str, str, Any, tuple[str, ...]]
Mode = Callable[[Shapes, Any, Any], Any]
"""What is done with the data, a fresh model, and that where callbacks are added: the model itself, or a run."""


class FailureError(Exception):
    pass


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Shapes:
    return Shapes(tmp_path_factory.mktemp("shapes"))


def recorder(steps: list[Step], hook: str) -> Callable[[Any], None]:
    def note(source: Any) -> None:
        steps.append((hook, type(source).__name__, _index(source), _metric_names(source)))

    return note


def _index(source: Any) -> Any:
    return next((vars(source)[name] for name in ("epoch", "batch_i", "seen") if name in vars(source)), None)


def _metric_names(source: Any) -> tuple[str, ...]:
    metrics = getattr(source, "metrics", None)
    return tuple(sorted(metrics if isinstance(metrics, Mapping) else getattr(metrics, "results_dict", {})))


def train(task: str = "detect", **arguments: Any) -> Mode:
    def mode(shapes: Shapes, model: Any, listener: Any) -> None:
        data = shapes.data if task == "detect" else shapes.classification()
        shapes.train(model, **{"data": data, **arguments})

    return mode


def train_with(hook: str, callback: Callable[[Shapes, Any], None], **arguments: Any) -> Mode:
    """A training with another callback, which may fail."""

    def mode(shapes: Shapes, model: Any, listener: Any) -> None:
        listener.add_callback(hook, lambda trainer: callback(shapes, trainer))
        with contextlib.suppress(FailureError):
            shapes.train(model, **arguments)

    return mode


def fail(shapes: Shapes, trainer: Any) -> None:
    raise FailureError


def stop(shapes: Shapes, trainer: Any) -> None:
    trainer.stop = True


def validate_another(shapes: Shapes, trainer: Any) -> None:
    shapes.validate(shapes.model())


def train_twice(shapes: Shapes, model: Any, listener: Any) -> None:
    shapes.train(model)
    model.overrides.setdefault("model", str(model.trainer.best))  # 8.3 forgets it, and then fails by itself
    shapes.train(model)


def train_on_two_data_sets(shapes: Shapes, model: Any, listener: Any) -> None:
    if VERSION < (8, 4):
        pytest.skip(f"Ultralytics {VERSION} trains on one data set at a time")
    shapes.train(model, data=[shapes.data, shapes.data])


def validate(**arguments: Any) -> Mode:
    return lambda shapes, model, listener: shapes.validate(model, **arguments)


def predict(**arguments: Any) -> Mode:
    return lambda shapes, model, listener: list(shapes.predict(model, **arguments))


def predict_twice(shapes: Shapes, model: Any, listener: Any) -> None:
    """The second time the model has its predictor already."""
    shapes.predict(model)
    shapes.predict(model)


def leave_a_stream(shapes: Shapes, model: Any, listener: Any) -> None:
    for _ in shapes.predict(model, stream=True):
        break


def embed(shapes: Shapes, model: Any, listener: Any) -> None:
    model.embed(shapes.pictures, imgsz=SIZE, verbose=False)


def track(shapes: Shapes, model: Any, listener: Any) -> None:
    pytest.importorskip("lap", reason="Ultralytics' tracker needs the package lap")
    model.track(shapes.pictures, imgsz=SIZE, verbose=False, project=str(shapes.folder))


def call(shapes: Shapes, model: Any, listener: Any) -> None:
    model(shapes.pictures / "0.png", imgsz=SIZE, verbose=False, project=str(shapes.folder))


def export(shapes: Shapes, model: Any, listener: Any) -> None:
    model.export(format="torchscript", imgsz=SIZE, verbose=False)


def export_to_nowhere(shapes: Shapes, model: Any, listener: Any) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        model.export(format="nonsense", imgsz=SIZE)


def fail_to_export(shapes: Shapes, model: Any, listener: Any) -> None:
    listener.add_callback("on_export_start", lambda exporter: fail(shapes, exporter))
    with pytest.raises(FailureError):
        export(shapes, model, listener)


def use_all(shapes: Shapes, model: Any, listener: Any) -> None:
    shapes.train(model)
    shapes.validate(model)
    shapes.predict(model)
    export(shapes, model, listener)


CONFIGURATIONS: dict[str, tuple[str, Mode]] = {
    "one epoch": ("detect", train()),
    "three epochs": ("detect", train(epochs=3)),
    "batches that are not full": ("detect", train(batch=3)),
    "no validation": ("detect", train(epochs=2, val=False)),
    "no checkpoints but the last": ("detect", train(epochs=2, save=False)),
    "checkpoints of a period": ("detect", train(epochs=2, save_period=1)),
    "out of patience": ("detect", train(epochs=4, patience=1)),
    "out of time": ("detect", train(epochs=2, time=1e-6)),
    "a classification": ("classify", train("classify")),
    "two trainings": ("detect", train_twice),
    "two data sets": ("detect", train_on_two_data_sets),
    "stopped at the first batch": ("detect", train_with("on_train_batch_end", stop, epochs=2)),
    "stopped at the end of an epoch": ("detect", train_with("on_fit_epoch_end", stop, epochs=3)),
    "failed before the first epoch": ("detect", train_with("on_train_start", fail)),
    "failed in a batch": ("detect", train_with("on_train_batch_end", fail)),
    "failed in the validation": ("detect", train_with("on_val_batch_end", fail)),
    "an evaluation within": ("detect", train_with("on_train_epoch_end", validate_another, epochs=2)),
    "validation": ("detect", validate()),
    "validation of small batches": ("detect", validate(batch=1)),
    "prediction": ("detect", predict()),
    "prediction of larger batches": ("detect", predict(batch=3)),
    "prediction as a stream": ("detect", predict(stream=True)),
    "two predictions": ("detect", predict_twice),
    "a stream that is left": ("detect", leave_a_stream),
    "a call": ("detect", call),
    "an embedding": ("detect", embed),
    "a tracking": ("detect", track),
    "an export": ("detect", export),
    "an export to a format that is none": ("detect", export_to_nowhere),
    "an export that fails": ("detect", fail_to_export),
    "all modes": ("detect", use_all),
}


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_the_registry_calls_the_hooks_that_ultralytics_calls(
    shapes: Shapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configuration: str
) -> None:
    monkeypatch.chdir(tmp_path)  # an untrained model is exported into the working directory
    task, mode = CONFIGURATIONS[configuration]

    directly: list[Step] = []
    model = shapes.model(task)
    for hook in BY_NAME:
        model.add_callback(hook, recorder(directly, hook))
    mode(shapes, model, model)

    by_registry: list[Step] = []
    with trackhooks.run(dir=tmp_path / "runs", delivery="off") as run:
        model = shapes.model(task)
        run.attach(model)
        for hook in BY_NAME:
            run.add_callback(hook, recorder(by_registry, hook))
        mode(shapes, model, run)
    if VERSION < (8, 4) and configuration.startswith("failed"):
        assert by_registry.pop()[0] == "teardown"  # which Ultralytics 8.3 only fires if all went well
    assert by_registry == directly
    if configuration != "an export to a format that is none":
        assert directly


def test_a_resumed_training_calls_the_same_hooks(shapes: Shapes, tmp_path: Path) -> None:
    def fail_in_the_second(shapes: Shapes, trainer: Any) -> None:
        if trainer.epoch == 1:
            raise FailureError

    def resumed(attach: Callable[[Any], Any]) -> list[Step]:
        model, steps = shapes.model(), list[Step]()
        train_with("on_train_epoch_start", fail_in_the_second, epochs=3)(shapes, model, model)
        again = YOLO(model.trainer.last)
        listener = attach(again)
        for hook in BY_NAME:
            listener.add_callback(hook, recorder(steps, hook))
        again.train(resume=True)
        return steps

    directly = resumed(lambda model: model)
    with trackhooks.run(dir=tmp_path, delivery="off") as run:

        def attach(model: Any) -> trackhooks.Run:
            run.attach(model)
            return run

        assert resumed(attach) == directly
    assert [step[2] for step in directly if step[0] == "on_train_epoch_start"] == [1, 2]
