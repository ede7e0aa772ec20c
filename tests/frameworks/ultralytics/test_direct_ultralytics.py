"""Trainers, validators, predictors and exporters that are used without a model are recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from keras_models import events, infos
from ultralytics import YOLO
from ultralytics.engine.exporter import Exporter
from ultralytics.models.yolo.classify import ClassificationTrainer
from ultralytics.models.yolo.detect import DetectionPredictor, DetectionTrainer, DetectionValidator
from yolo import SIZE, Shapes

import trackhooks
from trackhooks.event import Text

pytestmark = pytest.mark.slow  # most of them train


class FailureError(Exception):
    pass


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Shapes:
    return Shapes(tmp_path_factory.mktemp("shapes"))


@pytest.fixture(scope="module")
def checkpoint(shapes: Shapes) -> Path:
    """Of a training that is not recorded."""
    trainer = DetectionTrainer(overrides=shapes.overrides())
    trainer.train()
    return Path(trainer.best)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The folder with the runs, while `enable` is on."""
    trackhooks.enable(dir=tmp_path / "runs", delivery="off")
    yield tmp_path / "runs"
    trackhooks.disable()


def test_a_trainer_is_recorded_as_a_model_is(shapes: Shapes, folder: Path) -> None:
    model = shapes.model()
    shapes.train(model, epochs=2)
    DetectionTrainer(overrides=shapes.overrides(epochs=2)).train()
    by_model, by_trainer = infos(folder)
    assert by_trainer.status == "finished"
    assert [event.hook for event in events(Path(by_trainer.path))] == [
        event.hook for event in events(Path(by_model.path))
    ]
    params = {name: value for event in events(Path(by_trainer.path)) for name, value in event.params.items()}
    assert params["imgsz"] == SIZE
    assert "DetectionModel" in [event.facts.get("model/name") for event in events(Path(by_trainer.path))]


def test_a_trainer_of_another_task_is_recorded(shapes: Shapes, folder: Path) -> None:
    arguments = shapes.overrides(
        data=shapes.classification(), model=str(shapes.model("classify").cfg), task="classify"
    )
    ClassificationTrainer(overrides=arguments).train()
    (info,) = infos(folder)
    assert len(events(Path(info.path), "on_fit_epoch_end")) == 1


def test_a_trainer_that_exists_already_is_recorded(shapes: Shapes, tmp_path: Path) -> None:
    trainer = DetectionTrainer(overrides=shapes.overrides())
    trackhooks.enable(dir=tmp_path, delivery="off")
    trainer.train()
    trackhooks.disable()
    assert [info.status for info in infos(tmp_path)] == ["finished"]


def test_a_trainer_that_fails_has_failed(shapes: Shapes, folder: Path) -> None:
    error = FailureError("enough")

    def fail(trainer: Any) -> None:
        raise error

    trainer = DetectionTrainer(overrides=shapes.overrides())
    trainer.add_callback("on_train_epoch_end", fail)
    with pytest.raises(FailureError) as raised:
        trainer.train()
    (info,) = infos(folder)
    assert raised.value is error
    assert (info.status, info.reason) == ("failed", "FailureError: enough")
    assert len(events(Path(info.path), "on_train_epoch_end")) == 1


def test_a_trainer_resumes_its_run(shapes: Shapes, folder: Path) -> None:
    def leave(trainer: Any) -> None:
        if trainer.epoch == 1:
            raise FailureError

    trainer = DetectionTrainer(overrides=shapes.overrides(epochs=2))
    trainer.add_callback("on_train_epoch_start", leave)
    with pytest.raises(FailureError):
        trainer.train()
    DetectionTrainer(overrides={"resume": str(trainer.last), "model": str(trainer.last)}).train()
    (info,) = infos(folder)
    assert info.status == "finished"
    assert [event.epoch for event in events(Path(info.path), "on_fit_epoch_end")] == [0, 1]


def test_a_trainer_inside_a_training_is_a_part_of_it(shapes: Shapes, folder: Path) -> None:
    def train_another(trainer: Any) -> None:
        DetectionTrainer(overrides=shapes.overrides()).train()

    model = shapes.model()
    model.add_callback("on_train_epoch_end", train_another)
    shapes.train(model)
    outer, inner = infos(folder)
    assert inner.parent == outer.id
    assert outer.status == inner.status == "finished"
    for info in (outer, inner):
        assert [event.epoch for event in events(Path(info.path), "on_fit_epoch_end")] == [0]


def test_a_trainer_that_is_attached_is_recorded_there_only(
    shapes: Shapes, folder: Path, run: trackhooks.Run
) -> None:
    trainer = DetectionTrainer(overrides=shapes.overrides())
    run.attach(trainer)
    trainer.train()
    assert [info.id for info in infos(folder)] == [run.id]
    assert len(events(run, "on_fit_epoch_end")) == 1
    assert run.status == "finished"


def test_a_trainer_that_is_attached_in_its_training_is_recorded_from_then_on(
    shapes: Shapes, run: trackhooks.Run
) -> None:
    trainer = DetectionTrainer(overrides=shapes.overrides())
    trainer.add_callback("on_train_start", run.attach)
    trainer.train()
    assert len(events(run, "on_fit_epoch_end")) == 1
    assert len(events(run, "teardown")) == 1


def test_nothing_is_recorded_of_a_trainer_when_its_run_is_closed(shapes: Shapes, tmp_path: Path) -> None:
    called: list[Any] = []
    trainer = DetectionTrainer(overrides=shapes.overrides())
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        run.attach(trainer)
        run.add_callback("on_train_start", called.append)
    before = len(events(run))
    trainer.train()
    assert len(events(run)) == before
    assert called == []


def test_disable_restores_the_classes(shapes: Shapes, checkpoint: Path, tmp_path: Path) -> None:
    classes = (DetectionTrainer, DetectionValidator, DetectionPredictor, Exporter)
    before = [cls.run_callbacks for cls in classes]  # ours, if a run of another test is still attached
    trackhooks.enable(dir=tmp_path, delivery="off")
    trackhooks.disable()
    assert [cls.run_callbacks for cls in classes] == before
    validate(shapes, checkpoint)
    assert infos(tmp_path) == []


# The other modes


def validate(shapes: Shapes, model: Any) -> Any:
    return DetectionValidator(args=shapes.overrides(model=str(model)))(model=str(model))


def predict(shapes: Shapes, model: Any, **more: Any) -> Any:
    return DetectionPredictor(overrides=shapes.overrides(model=str(model)))(shapes.pictures, **more)


def predict_as_the_command_line(shapes: Shapes, model: Any) -> None:
    DetectionPredictor(
        overrides=shapes.overrides(model=str(model), source=str(shapes.pictures))
    ).predict_cli()


def predict_a_stream(shapes: Shapes, model: Any) -> None:
    assert len(list(predict(shapes, model, stream=True))) == 8


def export(shapes: Shapes, model: Any) -> Any:
    loaded = YOLO(model).model
    return Exporter(overrides={"format": "torchscript", "imgsz": SIZE, "device": "cpu"})(model=loaded)


USES: dict[str, tuple[Callable[[Shapes, Any], Any], str]] = {
    "a validator": (validate, "on_val_end"),
    "a predictor": (predict, "on_predict_end"),
    "a predictor that streams": (predict_a_stream, "on_predict_end"),
    "a predictor of the command line": (predict_as_the_command_line, "on_predict_end"),
    "an exporter": (export, "on_export_end"),
}


@pytest.mark.parametrize(("use", "hook"), USES.values(), ids=USES)
def test_it_is_a_run(
    use: Callable[..., Any], hook: str, shapes: Shapes, checkpoint: Path, folder: Path
) -> None:
    use(shapes, checkpoint)
    (info,) = infos(folder)
    (end,) = events(Path(info.path), hook)
    if hook == "on_val_end":
        assert {name.partition("/")[0] for name in end.metrics} == {"test", "speed"}
    elif hook == "on_predict_end":
        assert end.metrics["predict/samples"] == 8
    else:
        assert end.files[0].format == "torchscript"


@pytest.mark.parametrize(("use", "hook"), USES.values(), ids=USES)
def test_inside_a_training_it_belongs_to_it(
    use: Callable[..., Any], hook: str, shapes: Shapes, checkpoint: Path, folder: Path
) -> None:
    trainer = DetectionTrainer(overrides=shapes.overrides())
    trainer.add_callback("on_train_epoch_end", lambda _: use(shapes, checkpoint))
    trainer.train()
    (info,) = infos(folder)
    ends = events(Path(info.path), hook)
    assert len(ends) == (3 if hook == "on_val_end" else 1)
    (epoch,) = events(Path(info.path), "on_fit_epoch_end")
    assert "train/loss" in epoch.metrics
    assert "metrics/mAP50(B)" in epoch.metrics
    assert info.status == "finished"


def test_an_evaluation_after_a_training_belongs_to_it(shapes: Shapes, folder: Path) -> None:
    trainer = DetectionTrainer(overrides=shapes.overrides())
    trainer.train()
    trainer.validate()
    DetectionValidator(args=shapes.overrides())(model=trainer.model)
    (info,) = infos(folder)
    tests = [
        event
        for event in events(Path(info.path), "on_val_end")
        if any(name.startswith("test/") for name in event.metrics)
    ]
    assert len(tests) == 2


def test_an_export_that_fails_says_why(shapes: Shapes, checkpoint: Path, folder: Path) -> None:
    class Failing(Exporter):  # type: ignore[misc]
        def export_torchscript(self, *_: Any, **__: Any) -> Any:
            raise FailureError("no room")

    exporter = Failing(overrides={"format": "torchscript", "imgsz": SIZE, "device": "cpu"})
    with pytest.raises(FailureError):
        exporter(model=YOLO(checkpoint).model)
    (info,) = infos(folder)
    (text,) = [item for event in events(Path(info.path)) for item in event.media]
    assert isinstance(text, Text)
    assert text.text == "The export to torchscript failed: FailureError: no room"


def test_a_stream_that_is_left_counts_what_was_predicted(
    shapes: Shapes, checkpoint: Path, folder: Path
) -> None:
    stream = predict(shapes, checkpoint, stream=True)
    next(stream)
    next(stream)
    stream.close()
    (info,) = infos(folder)
    (end,) = events(Path(info.path), "on_predict_end")
    assert end.metrics["predict/samples"] >= 2


def test_functions_find_the_variables_of_the_loop(
    shapes: Shapes, checkpoint: Path, run: trackhooks.Run
) -> None:
    """They read `f_back.f_back`, as the example in Ultralytics' documentation does."""
    import inspect

    found = []

    def read(predictor: Any) -> None:
        frame: Any = inspect.currentframe()
        found.append("profilers" in frame.f_back.f_back.f_locals)

    predictor = DetectionPredictor(overrides=shapes.overrides(model=str(checkpoint)))
    predictor.add_callback("on_predict_batch_end", read)
    run.add_callback("on_predict_batch_end", read)
    run.attach(predictor)
    predictor(shapes.pictures)
    assert found
    assert all(found)
    assert len(found) % 2 == 0
