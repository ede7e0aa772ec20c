"""`enable` with Ultralytics: every model is recorded, and which run each of its modes belongs to."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from folders import SUPPORT
from ultralytics import YOLO
from ultralytics.engine.model import Model
from yolo import SIZE, VERSION, Shapes

import trackhooks
from trackhooks.storage import journal

pytestmark = pytest.mark.slow  # each trains


class FailureError(Exception):
    pass


def runs(folder: Path) -> list[Any]:
    """Oldest first."""
    return sorted(trackhooks.runs(folder), key=lambda run: float(run.info.created)) if folder.exists() else []


def hooks(run: Any, *wanted: str) -> list[str]:
    return [event.hook for event in journal.read(run.info.path) if event.hook in wanted]


def test_every_mode_of_a_model_belongs_to_the_run_of_its_training(shapes: Shapes, folder: Path) -> None:
    model = shapes.model()
    shapes.train(model)
    shapes.validate(model)
    shapes.predict(model)
    model.export(format="torchscript", imgsz=SIZE, verbose=False)
    (run,) = runs(folder)
    ends = ("on_train_end", "on_val_end", "on_predict_end", "on_export_end")
    # An epoch's validation, that of the best checkpoint, and the one on its own.
    assert hooks(run, *ends) == ["on_val_end"] * 2 + [
        "on_train_end",
        "on_val_end",
        "on_predict_end",
        "on_export_end",
    ]
    assert run.status == "finished"


def test_a_model_that_exists_already_is_recorded(shapes: Shapes, tmp_path: Path) -> None:
    model = shapes.model()
    trackhooks.enable(dir=tmp_path, delivery="off")
    shapes.predict(model)
    trackhooks.disable()
    assert len(runs(tmp_path)) == 1


def test_disable_restores_the_framework(shapes: Shapes, tmp_path: Path) -> None:
    gc.collect()  # the runs of other tests that are still attached to a model
    before = {name: vars(Model)[name] for name in ("train", "val", "predict", "export", "benchmark")}
    trackhooks.enable(dir=tmp_path, delivery="off")
    assert all(vars(Model)[name] is not method for name, method in before.items())
    trackhooks.disable()
    assert all(vars(Model)[name] is method for name, method in before.items())
    shapes.predict(shapes.model())
    assert runs(tmp_path) == []


def test_each_training_is_a_separate_run(shapes: Shapes, folder: Path) -> None:
    model = shapes.model()
    shapes.train(model)
    model.overrides.setdefault("model", str(model.trainer.best))  # Ultralytics 8.3 forgets it, and then fails
    shapes.train(model)
    shapes.train(shapes.model())
    assert [run.status for run in runs(folder)] == ["finished"] * 3
    assert [run.epochs for run in runs(folder)] == [1, 1, 1]


def test_a_training_joins_the_run_of_an_evaluation_before_it(shapes: Shapes, folder: Path) -> None:
    model = shapes.model()
    shapes.validate(model)
    shapes.train(model)
    assert len(runs(folder)) == 1


def test_a_training_that_fails_has_failed_and_the_next_is_another(shapes: Shapes, folder: Path) -> None:
    def fail(trainer: Any) -> None:
        raise FailureError("enough")

    model = shapes.model()
    model.add_callback("on_train_epoch_end", fail)
    with pytest.raises(FailureError):
        shapes.train(model)
    model.clear_callback("on_train_epoch_end")
    shapes.train(model)
    assert [(run.status, run.info.reason) for run in runs(folder)] == [
        ("failed", "FailureError: enough"),
        ("finished", None),
    ]


def test_an_evaluation_in_a_callback_belongs_to_the_training(shapes: Shapes, folder: Path) -> None:
    other = shapes.model()

    def evaluate(trainer: Any) -> None:
        shapes.validate(other)

    model = shapes.model()
    model.add_callback("on_train_epoch_end", evaluate)
    shapes.train(model)
    (run,) = runs(folder)
    assert len(hooks(run, "on_val_end")) == 3


def test_a_training_in_a_callback_is_a_part_of_the_training(shapes: Shapes, folder: Path) -> None:
    def train_another(trainer: Any) -> None:
        shapes.train(shapes.model())

    model = shapes.model()
    model.add_callback("on_train_epoch_end", train_another)
    shapes.train(model)
    outer, inner = runs(folder)
    assert inner.info.parent == outer.info.id
    assert outer.status == inner.status == "finished"
    assert outer.epochs == inner.epochs == 1


def test_a_training_is_resumed_into_its_run(shapes: Shapes, folder: Path, tmp_path: Path) -> None:
    """The run is found by a note beside the checkpoint, as in another process."""

    def leave(trainer: Any) -> None:
        if trainer.epoch == 1:
            raise FailureError

    model = shapes.model()
    model.add_callback("on_train_epoch_start", leave)
    with pytest.raises(FailureError):
        shapes.train(model, epochs=2)
    last = model.trainer.last
    trackhooks.disable()
    trackhooks.enable(dir=tmp_path / "runs", delivery="off")
    YOLO(last).train(resume=True)
    (run,) = runs(folder)
    assert (run.status, run.epochs) == ("finished", 2)


def test_a_stream_belongs_to_the_run_in_which_it_began(shapes: Shapes, folder: Path) -> None:
    model = shapes.model()
    stream = shapes.predict(model, stream=True)
    next(stream)
    other = shapes.model()
    shapes.predict(other)
    assert len(list(stream)) == 7
    first, second = runs(folder)
    assert hooks(first, "on_predict_end") == hooks(second, "on_predict_end") == ["on_predict_end"]


def test_a_model_that_is_attached_is_recorded_there_only(
    shapes: Shapes, folder: Path, tmp_path: Path
) -> None:
    model = shapes.model()
    with trackhooks.run(dir=tmp_path / "own", delivery="off") as run:
        run.attach(model)
        shapes.train(model)
    assert runs(folder) == []
    assert len(runs(tmp_path / "own")) == 1


def test_models_in_threads_have_separate_runs(shapes: Shapes, folder: Path) -> None:
    models = [shapes.model(), shapes.model()]
    threads = [threading.Thread(target=shapes.predict, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [hooks(run, "on_predict_end") for run in runs(folder)] == [["on_predict_end"]] * 2


@pytest.mark.slow
def test_a_benchmark_opens_no_runs_for_the_models_that_it_makes(
    shapes: Shapes, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # Ultralytics writes its own log there
    model = shapes.model()
    shapes.train(model)
    model.benchmark(data=shapes.data, imgsz=SIZE, format="torchscript", device="cpu")
    (run,) = runs(folder)
    assert hooks(run, "on_export_end") == ["on_export_end"]


def test_several_data_sets_are_parts_of_one_run(shapes: Shapes, folder: Path) -> None:
    if VERSION < (8, 4):
        pytest.skip(f"Ultralytics {VERSION} trains on one data set at a time")
    shapes.train(shapes.model(), data=[shapes.data, shapes.data])
    whole, *parts = runs(folder)
    assert [part.info.parent for part in parts] == [whole.info.id] * 2
    assert [run.status for run in (whole, *parts)] == ["finished"] * 3


@pytest.mark.slow
@pytest.mark.parametrize("first", ["trackhooks", "ultralytics"])
def test_it_does_not_matter_which_is_imported_first(
    first: str, shapes: Shapes, tmp_path: Path, torch_program: Callable[..., str]
) -> None:
    torch_program(
        """
        import sys
        first, tests, folder, home = sys.argv[1:]
        sys.path.insert(0, tests)
        if first == "ultralytics":
            import yolo
        import trackhooks
        trackhooks.enable(dir=folder, delivery="off")
        from pathlib import Path
        from yolo import Shapes
        shapes = Shapes(Path(home))
        shapes.train(shapes.model())
        """,
        first,
        SUPPORT,
        tmp_path / "runs",
        tmp_path / "home",
    )
    (run,) = runs(tmp_path / "runs")
    assert run.status == "finished"
