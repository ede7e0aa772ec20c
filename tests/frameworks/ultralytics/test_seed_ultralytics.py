"""The examples of Ultralytics' page on callbacks, run: by Ultralytics alone, in a run, and by the registry itself.

What is changed everywhere: `YOLO("yolo11n.pt")` is a small model built from a yaml, and the data are drawn here, since
no test downloads weights or data sets. Other changes have their reason beside them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from yolo import SIZE, Shapes

import trackhooks

Register = Callable[[Any, str, Callable[[Any], None]], None]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Shapes:
    return Shapes(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(params=["by Ultralytics alone", "on the model, in a run", "on the run"])
def add_callback(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Register]:
    """`model.add_callback`, as the page has it, and the two ways in which a run is there as well."""
    if request.param == "by Ultralytics alone":
        yield lambda model, event, function: model.add_callback(event, function)
        return
    with trackhooks.run(dir=tmp_path, delivery="off") as run:

        def add(model: Any, event: str, function: Callable[[Any], None]) -> None:
            run.attach(model)
            (run if request.param == "on the run" else model).add_callback(event, function)

        yield add
    assert run.path.exists()


# "Returning additional information with Prediction", three times on the page


def on_predict_batch_end(predictor: Any) -> None:
    """Combine prediction results with frames."""
    # The page unpacks four: `_, image, _, _ = predictor.batch`. The batch has three parts in 8.3 and 8.4.
    _, image, _ = predictor.batch
    image = image if isinstance(image, list) else [image]
    predictor.results = zip(predictor.results, image, strict=True)


def test_returning_the_frame_with_each_result(shapes: Shapes, add_callback: Register) -> None:
    model = shapes.model()
    add_callback(model, "on_predict_batch_end", on_predict_batch_end)
    # The page iterates over `model.predict()`, which takes Ultralytics' own pictures.
    count = 0
    for result, frame in shapes.predict(model):
        assert result.orig_img is frame
        count += 1
    assert count == 8


def test_returning_the_frame_with_each_result_of_a_tracking(shapes: Shapes, add_callback: Register) -> None:
    """`for result, frame in model.predict():  # or model.track()`."""
    pytest.importorskip("lap", reason="Ultralytics' tracker needs the package lap")
    model = shapes.model()
    add_callback(model, "on_predict_batch_end", on_predict_batch_end)
    pairs = list(model.track(shapes.pictures, imgsz=SIZE, verbose=False, project=str(shapes.folder)))
    assert all(result.orig_img.shape == frame.shape == (SIZE, SIZE, 3) for result, frame in pairs)


def test_returning_the_frame_with_each_result_through_the_registry() -> None:
    callbacks = trackhooks.CallbackList()
    callbacks.add_callback("on_predict_batch_end", on_predict_batch_end)
    predictor = SimpleNamespace(batch=(["a", "b"], ["frame a", "frame b"], ["", ""]), results=["a", "b"])
    callbacks.run_callbacks("on_predict_batch_end", predictor)
    assert list(predictor.results) == [("a", "frame a"), ("b", "frame b")]


# "How can I customize Ultralytics training routine using callbacks?"


def put_in_eval_mode(trainer: Any) -> None:
    """Add a callback to put the frozen layers in eval mode to prevent BN values from changing."""
    n_layers = trainer.args.freeze
    if not isinstance(n_layers, int):
        return

    for name, module in trainer.model.named_modules():
        if name.endswith("bn") and int(name.split(".")[1]) < n_layers:
            module.eval()
            module.track_running_stats = False


def frozen(model: Any) -> dict[str, Any]:
    return {name: mean.clone() for name, mean in model.named_buffers() if name == "model.0.bn.running_mean"}


@pytest.mark.slow
def test_freezing_the_statistics_of_frozen_layers(shapes: Shapes, add_callback: Register) -> None:
    model, trained = shapes.model(), []
    add_callback(model, "on_train_epoch_start", put_in_eval_mode)
    model.add_callback("on_train_start", lambda trainer: trained.append(frozen(trainer.model)))
    model.add_callback("on_train_epoch_end", lambda trainer: trained.append(frozen(trainer.model)))
    # `freeze` is what the example reads; without it the example does nothing.
    shapes.train(model, freeze=1)
    before, after = trained
    assert before
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_freezing_the_statistics_of_frozen_layers_through_the_registry() -> None:
    """In a custom loop nothing calls `model.train()` after the callback, so `.eval()` stays as well."""

    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bn = torch.nn.BatchNorm2d(3)

    layers = [Layer(), Layer()]
    net = torch.nn.Module()
    net.model = torch.nn.Sequential(*layers)
    callbacks = trackhooks.CallbackList()
    callbacks.add_callback("on_train_epoch_start", put_in_eval_mode)
    callbacks.run_callbacks(
        "on_train_epoch_start", SimpleNamespace(args=SimpleNamespace(freeze=1), model=net)
    )
    assert [layer.bn.training for layer in layers] == [False, True]
    assert [layer.bn.track_running_stats for layer in layers] == [False, True]


def test_the_freezing_example_reads_a_trainer_that_is_none() -> None:
    """If the loop is not Ultralytics', the function gets a view with the same attributes."""
    callbacks = trackhooks.CallbackList()
    callbacks.state.args["freeze"] = None
    callbacks.add_callback("on_train_epoch_start", put_in_eval_mode)
    callbacks.on_epoch_begin(0)


# "Why should I use callbacks during validation in Ultralytics YOLO?"


def plot_samples(validator: Any) -> None:
    frame = inspect.currentframe().f_back.f_back  # type: ignore[union-attr]
    v = frame.f_locals  # type: ignore[union-attr]
    validator.plot_val_samples(v["batch"], v["batch_i"])
    validator.plot_predictions(v["batch"], v["preds"], v["batch_i"])


@contextmanager
def new_threads_joined() -> Iterator[None]:
    """Ultralytics draws in separate threads."""
    import threading

    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join()


@pytest.mark.slow
def test_plotting_every_validation_batch(shapes: Shapes, add_callback: Register) -> None:
    model, folders = shapes.model(), []
    add_callback(model, "on_val_batch_end", plot_samples)
    model.add_callback("on_val_end", lambda validator: folders.append(validator.save_dir))
    with new_threads_joined():
        shapes.validate(model, batch=2)
    drawn = {path.name for path in folders[0].glob("val_batch*")}
    assert drawn == {f"val_batch{batch}_{what}.jpg" for batch in range(4) for what in ("labels", "pred")}


def test_plotting_every_validation_batch_through_the_registry() -> None:
    """The loop's local variables are two frames up, as when Ultralytics calls the function."""
    plotted: list[tuple[Any, ...]] = []
    validator = SimpleNamespace(
        plot_val_samples=lambda batch, batch_i: plotted.append((batch, batch_i)),
        plot_predictions=lambda batch, preds, batch_i: plotted.append((batch, preds, batch_i)),
    )
    callbacks = trackhooks.CallbackList()
    callbacks.append(trackhooks.Callback())  # an object in front of the function makes no difference
    callbacks.add_callback("on_val_batch_end", plot_samples)

    def validate() -> None:
        for batch_i, batch in enumerate(["first", "second"]):  # noqa: B007 — read from the frame
            preds = batch.upper()  # noqa: F841 — read from the frame
            callbacks.run_callbacks("on_val_batch_end", validator)

    validate()
    assert plotted == [("first", 0), ("first", "FIRST", 0), ("second", 1), ("second", "SECOND", 1)]


# "How do I attach a custom callback for the prediction mode in Ultralytics YOLO?"

class_id = 2


def save_on_object(predictor: Any) -> None:
    r = predictor.results[0]
    if class_id in r.boxes.cls:
        predictor.args.save = True
    else:
        predictor.args.save = False


def test_saving_predictions_of_one_class(shapes: Shapes, add_callback: Register, tmp_path: Path) -> None:
    model, saved = shapes.model(), []
    add_callback(model, "on_predict_postprocess_end", save_on_object)
    model.add_callback("on_predict_batch_end", lambda predictor: saved.append(predictor.args.save))
    results = model(
        pedestrians(tmp_path), stream=True, save=True, imgsz=SIZE, verbose=False, project=str(tmp_path)
    )

    count = 0
    for _results in results:
        count += 1
    assert count == 3
    assert saved == [False] * 3  # an untrained model of two classes finds no class 2


def pedestrians(folder: Path) -> str:
    """The page has `"pedestrians.mp4"`, without saying where it is: three empty frames."""
    import cv2
    import numpy

    path = folder / "pedestrians.avi"
    video = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 1, (SIZE, SIZE))
    for _ in range(3):
        video.write(numpy.zeros((SIZE, SIZE, 3), "uint8"))
    video.release()
    return str(path)


@pytest.mark.parametrize(("found", "saves"), [([2.0], True), ([0.0, 1.0], False)])
def test_saving_predictions_of_one_class_through_the_registry(found: list[float], saves: bool) -> None:
    boxes = SimpleNamespace(cls=torch.tensor(found))
    predictor = SimpleNamespace(results=[SimpleNamespace(boxes=boxes)], args=SimpleNamespace(save=True))
    callbacks = trackhooks.CallbackList()
    callbacks.add_callback("on_predict_postprocess_end", save_on_object)
    callbacks.run_callbacks("on_predict_postprocess_end", predictor)
    assert predictor.args.save is saves


# "All callbacks"

PAGE = {
    "trainer": "on_pretrain_routine_start on_pretrain_routine_end on_train_start on_train_epoch_start"
    " on_train_batch_start optimizer_step on_before_zero_grad on_train_batch_end on_train_epoch_end on_fit_epoch_end"
    " on_model_save on_train_end on_params_update teardown",
    "validator": "on_val_start on_val_batch_start on_val_batch_end on_val_end",
    "predictor": "on_predict_start on_predict_batch_start on_predict_postprocess_end on_predict_batch_end"
    " on_predict_end",
    "exporter": "on_export_start on_export_end",
}


@pytest.mark.parametrize(("kind", "hook"), [(kind, hook) for kind in PAGE for hook in PAGE[kind].split()])
def test_every_callback_of_the_page_gets_its_object(kind: str, hook: str) -> None:
    callbacks = trackhooks.CallbackList()
    given: list[Any] = []
    callbacks.add_callback(hook, given.append)
    callbacks.run_callbacks(hook)
    assert given[0].kind == kind


def test_the_page_and_ultralytics_and_the_registry_have_the_same_hooks() -> None:
    from ultralytics.utils.callbacks.base import default_callbacks

    from trackhooks.hooks.vocabulary import BY_NAME

    page = {hook for hooks in PAGE.values() for hook in hooks.split()}
    assert page == set(BY_NAME) == set(default_callbacks)
