"""Ultralytics: what is recorded of a YOLO model, in every mode, whatever goes wrong."""

from __future__ import annotations

import copy
import csv
import hashlib
import os
import subprocess
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from folders import SUPPORT
from odd_values import Unbound
from yolo import VERSION, Shapes

import trackhooks
from trackhooks.delivery.catch_up import deliver
from trackhooks.event import Event, File, Table, Text
from trackhooks.session.run import recorder_of
from trackhooks.storage import journal
from trackhooks_integrations.frameworks.ultralytics.curves import tables

LOSSES = {"box_loss", "cls_loss", "dfl_loss"}
METRICS = {"metrics/precision(B)", "metrics/recall(B)", "metrics/mAP50(B)", "metrics/mAP50-95(B)"}


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Shapes:
    return Shapes(tmp_path_factory.mktemp("shapes"))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[trackhooks.Run]:
    with trackhooks.run(dir=tmp_path, delivery="off") as opened:
        yield opened


@pytest.fixture(scope="module")
def trained(shapes: Shapes) -> tuple[Any, trackhooks.Run]:
    """A model that was trained for two epochs, and its run."""
    model = shapes.model()
    with trackhooks.run(dir=shapes.folder / "runs", delivery="off") as opened:
        opened.attach(model)
        shapes.train(model, epochs=2)
    return model, opened


def events(run: trackhooks.Run, *hooks: str) -> list[Event]:
    return [event for event in journal.read(run.path) if not hooks or event.hook in hooks]


def event(run: trackhooks.Run, hook: str) -> Event:
    return events(run, hook)[-1]


def files(run: trackhooks.Run, kind: str, *hooks: str) -> list[File]:
    return [file for found in events(run, *hooks) for file in found.files if file.kind == kind]


def logged(run: trackhooks.Run, kind: type[Any]) -> list[Any]:
    return [item for found in events(run, "log") for item in found.media if isinstance(item, kind)]


# A training


def test_the_hooks_of_a_training_are_recorded_in_their_order(trained: tuple[Any, trackhooks.Run]) -> None:
    epoch = [
        "on_train_epoch_start",
        *["on_train_batch_end"] * 2,
        "on_train_epoch_end",
        *["on_val_start", "on_val_end"],
        "on_model_save",
        "on_fit_epoch_end",
    ]
    setup = ["on_pretrain_routine_start", "on_pretrain_routine_end", "on_train_start"]
    best = ["on_val_start", "on_val_end"]
    hooks = [event.hook for event in events(trained[1])]
    assert hooks == [*setup, *epoch, *epoch, *best, "on_train_end", "teardown"]


def test_steps_continue_from_epoch_to_epoch(trained: tuple[Any, trackhooks.Run]) -> None:
    batches = events(trained[1], "on_train_batch_end")
    assert [(batch.step, batch.epoch, batch.batch) for batch in batches] == [
        (0, 0, 0),
        (1, 0, 1),
        (2, 1, 0),
        (3, 1, 1),
    ]


@pytest.mark.slow
def test_batch_losses_are_those_of_the_batch_and_their_sum(shapes: Shapes, run: trackhooks.Run) -> None:
    model, seen = shapes.model(), []

    def note(trainer: Any) -> None:
        seen.append(trainer.label_loss_items(trainer.loss_items, prefix="train_batch"))

    model.add_callback("on_train_batch_end", note)
    run.attach(model)
    shapes.train(model)
    recorded = [event.metrics for event in events(run, "on_train_batch_end")]
    assert recorded == [
        {"train_batch/loss": pytest.approx(sum(losses.values())), **losses} for losses in seen
    ]
    assert seen[0] != seen[1]


def test_epochs_hold_what_results_csv_holds(trained: tuple[Any, trackhooks.Run]) -> None:
    model, run = trained
    with Path(model.trainer.csv).open() as file:
        rows = [{name.strip(): float(cell) for name, cell in row.items()} for row in csv.DictReader(file)]
    for row, epoch in zip(rows, events(run, "on_fit_epoch_end"), strict=True):
        for name, value in row.items():
            if name not in ("epoch", "time"):
                assert epoch.metrics[name.replace("lr/pg", "lr/")] == pytest.approx(value, rel=1e-4)


def test_losses_are_summed_up(trained: tuple[Any, trackhooks.Run]) -> None:
    metrics = event(trained[1], "on_fit_epoch_end").metrics
    for part in ("train", "val"):
        assert metrics[f"{part}/loss"] == pytest.approx(sum(metrics[f"{part}/{loss}"] for loss in LOSSES))


@pytest.mark.slow
def test_a_classification_has_one_loss_which_is_not_summed_up(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model("classify")
    run.attach(model)
    shapes.train(model, data=shapes.classification())
    metrics = event(run, "on_fit_epoch_end").metrics
    losses = {name for name in metrics if "loss" in name}
    assert losses == {"train/loss", "val/loss"}
    assert "metrics/accuracy_top1" in metrics


def test_an_epochs_validation_is_not_recorded_twice_with_other_digits(
    trained: tuple[Any, trackhooks.Run],
) -> None:
    """Trackers leave out what an epoch has already; a value that was rounded differently would come again."""
    validations, epochs = events(trained[1], "on_val_end")[:2], events(trained[1], "on_fit_epoch_end")
    for validation, epoch in zip(validations, epochs, strict=True):
        known = {name: value for name, value in validation.metrics.items() if not name.startswith("speed/")}
        assert known.keys() == METRICS | {"fitness"}
        assert known.items() <= epoch.metrics.items()


def test_a_validation_records_how_long_an_image_takes(trained: tuple[Any, trackhooks.Run]) -> None:
    metrics = events(trained[1], "on_val_end")[0].metrics
    stages = ("preprocess", "inference", "loss", "postprocess")
    assert all(metrics[f"speed/val_{stage}_ms"] >= 0 for stage in stages)


def test_arguments_model_and_chosen_optimizer_are_parameters(trained: tuple[Any, trackhooks.Run]) -> None:
    model, run = trained
    arguments = event(run, "on_pretrain_routine_start").params
    assert arguments["epochs"] == 2
    assert arguments["imgsz"] == 32
    assert arguments["optimizer"] == "auto"
    assert {"mosaic", "degrees", "lr0"} <= arguments.keys()
    assert {"mosaic", "degrees"} <= set(event(run, "on_pretrain_routine_start").defaults)
    assert {"epochs", "imgsz", "lr0"}.isdisjoint(event(run, "on_pretrain_routine_start").defaults)
    assert {"project", "name", "save_dir"} <= event(run, "on_pretrain_routine_start").facts.keys()
    described = event(run, "on_pretrain_routine_end")
    assert float(str(described.facts["model/gflops"])) > 0
    assert described.facts["model/parameters"] == sum(weight.numel() for weight in model.model.parameters())
    assert described.facts["optimizer/name"] == "AdamW"
    assert [type(item).__name__ for item in described.media] == ["Text", "Graph"]


def test_what_ultralytics_writes_about_a_training_is_recorded(trained: tuple[Any, trackhooks.Run]) -> None:
    found = {file.name: Path(file.path) for file in event(trained[1], "on_train_end").files}
    assert {"args.yaml", "results.csv"} <= found.keys()
    assert found["results.csv"] == Path(trained[0].trainer.csv)


def test_the_curves_of_the_best_checkpoint_are_tables() -> None:
    import numpy
    from ultralytics.utils.metrics import DetMetrics

    metrics = DetMetrics(names={0: "square", 1: "disc"})
    assert tables(SimpleNamespace(metrics=metrics), "") == []  # nothing was validated
    right, scores = numpy.ones((6, 10), dtype=bool), numpy.linspace(0.9, 0.4, 6)
    classes = numpy.array([0, 0, 0, 1, 1, 1])
    right[[1, 4]] = False
    metrics.update_stats(
        {
            "tp": right,
            "conf": scores,
            "pred_cls": classes,
            "target_cls": classes,
            "target_img": classes,
            "im_name": "a",
        }
    )
    metrics.process()
    found = {table.name: table for table in tables(SimpleNamespace(metrics=metrics), "test/")}
    assert "test/curves/Precision-Recall(B)" in found
    curve = found["test/curves/F1-Confidence(B)"]
    assert curve.columns == ["class", "confidence", "f1"]
    assert [sum(row[0] == name for row in curve.rows) for name in ("mean", "square", "disc")] == [101] * 3
    best = max(float(str(row[2])) for row in curve.rows if row[0] == "square")
    assert best == pytest.approx(metrics.box.f1_curve[0].max(), abs=0.02)


def test_the_evaluation_of_the_best_checkpoint_is_not_an_epoch(trained: tuple[Any, trackhooks.Run]) -> None:
    run = trained[1]
    assert [event.epoch for event in events(run, "on_fit_epoch_end")] == [0, 1]
    best = events(run, "on_val_end")[-1]
    assert {f"best/{name}" for name in METRICS} < best.metrics.keys()
    assert all(name.startswith("best/") for name in best.metrics)
    assert best.epoch == 1
    assert best.metrics.items() <= event(run, "on_train_end").metrics.items()


@pytest.mark.slow
def test_epochs_without_validation_have_no_metrics_of_earlier_ones(
    shapes: Shapes, run: trackhooks.Run
) -> None:
    model = shapes.model()
    run.attach(model)
    shapes.train(model, epochs=2, val=False)
    first, last = events(run, "on_fit_epoch_end")
    assert not METRICS & first.metrics.keys()
    assert {f"train/{loss}" for loss in LOSSES} < first.metrics.keys()
    assert last.metrics.keys() > METRICS  # the last epoch is always validated


def test_every_save_records_last_and_the_best_so_far(trained: tuple[Any, trackhooks.Run]) -> None:
    model, run = trained
    saves = events(run, "on_model_save")
    assert [file.name for file in saves[0].files] == ["last.pt", "best.pt"]
    assert [file.aliases for file in saves[0].files] == [("last",), ("best",)]
    assert saves[0].files[0].path == str(model.trainer.last)
    assert saves[0].files[0].metrics.keys() > METRICS | {"train/loss", "val/loss", "fitness"}
    assert [save.epoch for save in saves] == [0, 1]


@pytest.mark.slow
def test_checkpoints_of_a_period_are_recorded_as_well(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    run.attach(model)
    shapes.train(model, epochs=3, save_period=2)
    others = [[file.name for file in save.files if not file.aliases] for save in events(run, "on_model_save")]
    assert others == [["epoch0.pt"], [], ["epoch2.pt"]]


@pytest.mark.slow
def test_last_and_best_are_kept_as_they_are_at_the_end(shapes: Shapes, run: trackhooks.Run) -> None:
    """Each epoch overwrites them, and at the end Ultralytics strips them of their optimizers."""
    model = shapes.model()
    run.attach(model)
    shapes.train(model, epochs=2)
    run.close()
    assert deliver(run.path) == {}
    with (run.path / "files.csv").open() as file:
        kept = {row["aliases"]: row for row in csv.DictReader(file) if row["kept"]}
    for alias, path in (("last", model.trainer.last), ("best", model.trainer.best)):
        row = kept[alias]
        assert digest(run.path / row["kept"]) == digest(path) == row["sha256"]


def digest(path: Path | str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.mark.slow
def test_plots_are_recorded_as_pictures(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    run.attach(model)
    shapes.train(model, plots=True)
    pictures = files(run, "image")
    names = {picture.name for picture in pictures}
    assert {"plots/results", "plots/confusion_matrix_normalized", "plots/labels"} <= names
    assert all(
        Path(picture.path).stat().st_size == picture.size for picture in pictures if ".png" in picture.path
    )


@pytest.mark.slow
def test_a_seeded_training_is_the_same_with_and_without_a_run(shapes: Shapes, run: trackhooks.Run) -> None:
    def weights(tracked: bool) -> dict[str, Any]:
        torch.manual_seed(0)
        model = shapes.model()
        if tracked:
            run.attach(model)
        shapes.train(model, epochs=2, seed=1)
        found: dict[str, Any] = model.model.state_dict()
        return found

    with_run, without = weights(tracked=True), weights(tracked=False)
    assert all(torch.equal(with_run[name], without[name]) for name in without)
    assert len(events(run, "on_fit_epoch_end")) == 2


# How a training ends


def test_a_training_that_ends_is_finished(trained: tuple[Any, trackhooks.Run]) -> None:
    last = events(trained[1])[-1]
    assert (last.hook, last.status, last.reason) == ("teardown", "finished", "")
    assert trained[1].status == "finished"


class StoppedError(Exception):
    pass


def raise_in(hook: str, error: BaseException, epoch: int = 0) -> tuple[str, Callable[[Any], None]]:
    def fail(trainer: Any) -> None:
        if getattr(trainer, "epoch", epoch) == epoch:
            raise error

    return hook, fail


@pytest.mark.parametrize("hook", ["on_train_start", "on_train_batch_end", "on_fit_epoch_end", "on_train_end"])
def test_an_exception_fails_the_run_and_reaches_the_caller(
    shapes: Shapes, run: trackhooks.Run, hook: str
) -> None:
    model = shapes.model()
    model.add_callback(*raise_in(hook, StoppedError("enough")))
    run.attach(model)
    with pytest.raises(StoppedError):
        shapes.train(model)
    ends = [(found.status, found.reason) for found in events(run) if found.status]
    assert ends == [("failed", "StoppedError: enough")]
    assert run.status == "failed"


def test_an_interrupted_training_is_killed(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    model.add_callback(*raise_in("on_train_batch_end", KeyboardInterrupt()))
    run.attach(model)
    with pytest.raises(KeyboardInterrupt):
        shapes.train(model)
    assert run.status == "killed"


def test_a_training_that_does_not_start_fails_the_run(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    run.attach(model)
    with pytest.raises((FileNotFoundError, RuntimeError)):
        shapes.train(model, data=str(shapes.folder / "missing.yaml"))
    assert run.status == "failed"
    assert "missing.yaml" in events(run)[-1].reason


@pytest.mark.slow
def test_a_run_that_failed_continues_when_it_is_trained_again(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    model.add_callback(*raise_in("on_train_batch_end", StoppedError()))
    run.attach(model)
    with pytest.raises(StoppedError):
        shapes.train(model)
    model.clear_callback("on_train_batch_end")
    shapes.train(model)
    assert [found.status for found in events(run) if found.status] == ["failed", "running", "finished"]
    assert run.status == "finished"


def test_an_exception_in_a_callback_of_the_run_loses_no_record(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    run.add_callback(*raise_in("on_fit_epoch_end", StoppedError()))
    run.attach(model)
    with pytest.raises(StoppedError):
        shapes.train(model)
    assert event(run, "on_fit_epoch_end").metrics.keys() > METRICS


@pytest.mark.slow
def test_a_training_that_resumes_continues_after_its_checkpoint(shapes: Shapes, tmp_path: Path) -> None:
    model = shapes.model()
    model.add_callback(*raise_in("on_train_epoch_start", StoppedError(), epoch=2))
    with trackhooks.run(dir=tmp_path, delivery="off") as first:
        first.attach(model)
        with pytest.raises(StoppedError):
            shapes.train(model, epochs=3)
    from ultralytics import YOLO

    resumed = YOLO(model.trainer.last)
    with trackhooks.run(dir=tmp_path, delivery="off", resume=first.path) as second:
        second.attach(resumed)
        resumed.train(resume=True)
    assert second.path == first.path
    assert [event.epoch for event in events(second, "on_fit_epoch_end")] == [0, 1, 2]
    assert [event.step for event in events(second, "on_train_batch_end")] == [0, 1, 2, 3, 4, 5]
    assert second.status == "finished"


@pytest.mark.slow
def test_a_separate_run_for_a_resumed_training_counts_from_the_checkpoint(
    shapes: Shapes, tmp_path: Path
) -> None:
    model = shapes.model()
    model.add_callback(*raise_in("on_train_epoch_start", StoppedError(), epoch=2))
    with pytest.raises(StoppedError):
        shapes.train(model, epochs=3)
    from ultralytics import YOLO

    resumed = YOLO(model.trainer.last)
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        run.attach(resumed)
        resumed.train(resume=True)
    batches = events(run, "on_train_batch_end")
    assert [(batch.epoch, batch.step) for batch in batches] == [(2, 4), (2, 5)]


# What Ultralytics repeats


def trainer_class() -> Any:
    from ultralytics.models.yolo.detect import DetectionTrainer

    return DetectionTrainer


@pytest.mark.slow
def test_an_epoch_repeated_for_want_of_memory_counts_on(shapes: Shapes, run: trackhooks.Run) -> None:
    if VERSION < (8, 4):
        pytest.skip(f"Ultralytics {VERSION} does not repeat an epoch for want of memory")

    class Small(trainer_class()):  # type: ignore[misc]
        failures = 0

        def preprocess_batch(self, batch: Any) -> Any:
            if self.batch_size == 4 and self._oom_retries == 0 and self.failures == 1:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            self.failures += 1
            return super().preprocess_batch(batch)

    model = shapes.model()
    run.attach(model)
    shapes.train(model, trainer=Small)
    assert [event.epoch for event in events(run, "on_train_epoch_start")] == [0, 0]
    batches = events(run, "on_train_batch_end")
    # One batch of four, then four of two.
    assert [batch.step for batch in batches] == [0, 1, 2, 3, 4]
    assert [batch.batch for batch in batches] == [0, 0, 1, 2, 3]
    assert run.status == "finished"


@pytest.mark.slow
def test_an_epoch_repeated_after_nan_is_recorded_once_it_went_well(
    shapes: Shapes, run: trackhooks.Run
) -> None:
    class Unstable(trainer_class()):  # type: ignore[misc]
        spoilt = False

        def validate(self) -> Any:
            metrics, fitness = super().validate()
            if self.epoch == 1 and not self.spoilt:
                self.spoilt = True
                self.loss, fitness = torch.tensor(float("nan")), float("nan")
            return metrics, fitness

    model = shapes.model()
    run.attach(model)
    shapes.train(model, trainer=Unstable, epochs=2)
    assert [event.epoch for event in events(run, "on_train_epoch_start")] == [0, 1, 1]
    assert [event.epoch for event in events(run, "on_fit_epoch_end")] == [0, 1]
    assert [event.step for event in events(run, "on_train_batch_end")] == [0, 1, 2, 3, 4, 5]


# Who listens


@pytest.mark.slow
def test_a_callback_of_the_run_that_is_added_in_a_training_is_heard(
    shapes: Shapes, run: trackhooks.Run
) -> None:
    model, heard = shapes.model(), []

    def add(trainer: Any) -> None:
        run.add_callback("on_fit_epoch_end", lambda trainer: heard.append(trainer.epoch))

    run.add_callback("on_train_start", add)
    run.attach(model)
    shapes.train(model, epochs=2)
    assert 0 in heard
    assert 1 in heard


def test_callbacks_of_the_run_get_ultralytics_own_objects(shapes: Shapes, run: trackhooks.Run) -> None:
    model, kinds = shapes.model(), set()
    for hook in ("on_train_start", "on_val_end", "on_predict_end", "on_export_end"):
        run.add_callback(hook, lambda source: kinds.add(type(source).__name__))
    run.attach(model)
    shapes.train(model)
    shapes.predict(model)
    export(model)
    assert kinds == {"DetectionTrainer", "DetectionValidator", "DetectionPredictor", "Exporter"}


@pytest.mark.slow
def test_resetting_the_models_callbacks_does_not_end_the_recording(
    shapes: Shapes, run: trackhooks.Run
) -> None:
    model = shapes.model()
    run.attach(model)
    model.reset_callbacks()
    shapes.train(model)
    assert run.status == "finished"


def test_the_models_callbacks_are_as_before_after_every_call(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()

    def note(trainer: Any) -> None:
        pass

    model.add_callback("on_train_start", note)
    lists = dict(model.callbacks)
    run.attach(model)
    shapes.predict(model)
    for _ in shapes.predict(model, stream=True):
        break
    assert all(model.callbacks[hook] is functions for hook, functions in lists.items())
    modules = {function.__module__ for functions in lists.values() for function in functions}
    assert not any(module.startswith("trackhooks") for module in modules)


def test_a_copy_of_a_model_in_use_is_heard_by_no_run(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    copies = []
    run.add_callback("on_val_start", lambda validator: copies.append(copy.deepcopy(model)))
    run.attach(model)
    shapes.validate(model)
    count = len(events(run))
    assert all(type(functions) is list for functions in copies[0].callbacks.values())
    shapes.predict(copies[0])
    assert len(events(run)) == count


@pytest.mark.slow
def test_pickled_callbacks_hold_no_lock_file_or_run(shapes: Shapes, run: trackhooks.Run) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    model = shapes.model()
    pickles = []
    run.add_callback(
        "on_train_start", lambda trainer: pickles.append(cloudpickle.dumps(trainer.callbacks["on_train_end"]))
    )
    run.attach(model)
    shapes.train(model)
    assert type(cloudpickle.loads(pickles[0])) is list
    assert b"trackhooks" not in pickles[0]


def test_a_closed_run_records_nothing_more(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    run.attach(model)
    run.close()
    before = len(events(run))
    shapes.predict(model)
    assert len(events(run)) == before
    assert not hasattr(type(model).predict, "__wrapped__")


def test_several_models_may_be_attached_to_one_run(shapes: Shapes, run: trackhooks.Run) -> None:
    first, second = shapes.model(), shapes.model()
    run.attach(first)
    run.attach(second)
    shapes.predict(first)
    shapes.predict(second)
    assert len(events(run, "on_predict_end")) == 2


@pytest.mark.slow
def test_a_disabled_run_only_calls_its_callbacks(
    shapes: Shapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKHOOKS_DISABLED", "1")
    heard = []
    with trackhooks.run(dir=tmp_path) as run:
        run.add_callback("on_fit_epoch_end", lambda trainer: heard.append(trainer.epoch))
        model = shapes.model()
        run.attach(model)
        shapes.train(model)
    assert heard[0] == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_custom_trainer_may_be_attached(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    overrides = {"model": model.cfg, "data": shapes.data, "epochs": 1, "imgsz": 32, "batch": 4, "plots": False,
                 "workers": 0, "device": "cpu", "amp": False, "project": str(shapes.folder / "own")}  # fmt: skip
    trainer = trainer_class()(overrides=overrides)
    run.attach(trainer)
    trainer.train()
    assert run.status == "finished"
    assert event(run, "on_pretrain_routine_end").params["epochs"] == 1


@pytest.mark.parametrize("other", [torch.nn.Linear(1, 1), "yolo11n.pt", None])
def test_an_object_that_is_not_an_ultralytics_model_is_refused(run: trackhooks.Run, other: Any) -> None:
    with pytest.raises(trackhooks.InvalidValueError, match=r"it must be .*a model of Ultralytics"):
        run.attach(other)


def test_an_object_that_raises_when_asked_for_its_class_is_refused(run: trackhooks.Run) -> None:
    with pytest.raises(trackhooks.InvalidValueError, match=r"it must be .*a model of Ultralytics"):
        run.attach(Unbound())


@pytest.mark.slow
def test_a_trainer_that_is_made_otherwise_warns_once_and_trains(shapes: Shapes, run: trackhooks.Run) -> None:
    class Other(trainer_class()):  # type: ignore[misc]
        def label_loss_items(self, loss_items: Any = None, prefix: str = "train") -> Any:
            if prefix == "train_batch":
                raise KeyError("no such prefix")
            return super().label_loss_items(loss_items, prefix)

    model = shapes.model()
    run.attach(model)
    with pytest.warns(
        trackhooks.TrackhooksWarning, match="losses.* of Other could not be read: KeyError"
    ) as warnings:
        shapes.train(model, trainer=Other)
    assert len([warning for warning in warnings if warning.category is trackhooks.TrackhooksWarning]) == 1
    assert len(events(run, "on_train_batch_end")) == 2
    assert run.status == "finished"


# The other modes


def test_an_evaluation_on_its_own_is_a_test(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    run.attach(model)
    metrics = shapes.validate(model)
    recorded = event(run, "on_val_end").metrics
    assert {name: recorded[f"test/{name}"] for name in METRICS} == {
        name: metrics.results_dict[name] for name in METRICS
    }
    assert recorded["speed/test_inference_ms"] > 0


@pytest.mark.slow
def test_repeated_evaluations_have_separate_steps(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    run.attach(model)
    shapes.train(model)
    shapes.validate(model)
    shapes.validate(model)
    steps = [found.step for found in events(run, "on_val_end") if "test/fitness" in found.metrics]
    assert steps == [1, 2]
    assert run.status == "finished"


@pytest.mark.slow
def test_an_evaluation_inside_of_a_training_is_a_test_of_that_moment(
    shapes: Shapes, run: trackhooks.Run
) -> None:
    model, other = shapes.model(), shapes.model()
    run.attach(model)
    run.attach(other)
    run.add_callback("on_train_epoch_end", lambda trainer: shapes.validate(other))
    shapes.train(model)
    tests = [found for found in events(run, "on_val_end") if "test/fitness" in found.metrics]
    assert [(found.step, found.epoch) for found in tests] == [(1, 0)]
    assert len(events(run, "on_val_end")) == 3


def test_a_prediction_counts_its_images_and_their_time(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    run.attach(model)
    results = shapes.predict(model, batch=3)
    metrics = event(run, "on_predict_end").metrics
    assert metrics["predict/samples"] == len(results) == 8
    assert metrics["predict/samples_per_s"] > 0
    for stage in ("preprocess", "inference", "postprocess"):
        times = [result.speed[stage] for result in results]
        assert metrics[f"predict/{stage}_ms"] == pytest.approx(sum(times) / len(times))


def test_the_pictures_that_a_prediction_saves_are_its_samples(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    run.attach(model)
    shapes.predict(model)
    assert files(run, "image") == []
    results = shapes.predict(model, save=True, exist_ok=True)
    drawn = sorted(Path(results[0].save_dir).glob("*.jpg"))
    assert len(drawn) == 8
    assert sorted(file.path for file in files(run, "image")) == [str(path) for path in drawn]
    assert {file.name for file in files(run, "image")} == {"predict/images"}
    for path in drawn:
        os.utime(path, (2e9, 2e9))  # the clock was set back since
    for _ in shapes.predict(model, save=True, exist_ok=True, stream=True):
        break  # a stream that was left
    assert 8 < len(files(run, "image")) < 16


def test_a_stream_is_recorded_when_it_ends(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    run.attach(model)
    stream = shapes.predict(model, stream=True)
    assert events(run, "on_predict_start") == []
    assert len(list(stream)) == 8
    assert [found.metrics["predict/samples"] for found in events(run, "on_predict_end")] == [8]


@pytest.mark.parametrize("leave", ["break", "close", "exception"])
def test_a_stream_that_is_left_counts_what_was_predicted(
    shapes: Shapes, run: trackhooks.Run, leave: str
) -> None:
    model = shapes.model()
    run.attach(model)
    stream = shapes.predict(model, stream=True)
    next(stream)
    next(stream)
    if leave == "break":
        for _ in stream:
            break
        del stream
    elif leave == "close":
        stream.close()
    else:
        with pytest.raises(StoppedError):
            stream.throw(StoppedError())
    expected = 3 if leave == "break" else 2
    assert [found.metrics["predict/samples"] for found in events(run, "on_predict_end")] == [expected]


def test_what_the_user_does_between_the_results_of_a_stream_is_not_a_part_of_it(
    shapes: Shapes, run: trackhooks.Run
) -> None:
    model = shapes.model()
    untouched = dict(model.callbacks)
    run.attach(model)
    for _ in shapes.predict(model, stream=True):
        assert all(model.callbacks[hook] is functions for hook, functions in untouched.items())


def test_a_prediction_that_fails_records_how_far_it_came(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    model.add_callback(*raise_in("on_predict_batch_end", StoppedError()))
    run.attach(model)
    with pytest.raises(StoppedError):
        shapes.predict(model)
    assert event(run, "on_predict_end").metrics["predict/samples"] == 1


def test_a_callback_may_replace_the_results(shapes: Shapes, run: trackhooks.Run) -> None:
    """The first example of Ultralytics' document does."""
    model = shapes.model()

    def with_frames(predictor: Any) -> None:
        predictor.results = zip(predictor.results, predictor.batch[1], strict=True)

    model.add_callback("on_predict_batch_end", with_frames)
    run.attach(model)
    pairs = list(shapes.predict(model, stream=True))
    assert len(pairs) == 8
    assert event(run, "on_predict_end").metrics["predict/inference_ms"] > 0


def test_an_embedding_counts_its_images(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    run.attach(model)
    assert len(model.embed(shapes.pictures, imgsz=32, verbose=False)) == 8
    assert event(run, "on_predict_end").metrics["predict/samples"] == 8


def test_a_tracking_is_recorded_after_the_tracker(shapes: Shapes, run: trackhooks.Run) -> None:
    pytest.importorskip("lap", reason="Ultralytics' tracker needs the package lap")
    model, heard = shapes.model(), []
    run.add_callback("on_predict_postprocess_end", lambda predictor: heard.append(predictor.trackers))
    run.attach(model)
    for _ in range(2):
        model.track(shapes.pictures, imgsz=32, verbose=False, persist=True, project=str(shapes.folder))
    assert len(heard) == 16
    assert [found.metrics["predict/samples"] for found in events(run, "on_predict_end")] == [8, 8]


def export(model: Any, **arguments: Any) -> Any:
    return model.export(**{"format": "torchscript", "imgsz": 32, "verbose": False, **arguments})


@pytest.mark.slow
def test_an_export_is_recorded_with_its_path_and_its_checkpoint(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    run.attach(model)
    shapes.train(model)
    path = export(model)
    (exported,) = files(run, "export")
    assert exported.path == str(Path(path).absolute())
    assert exported.format == "torchscript"
    assert exported.size == Path(path).stat().st_size
    assert exported.duration is not None
    assert exported.parent == str(model.trainer.best)
    assert exported.parent in [file.path for file in files(run, "model")]
    assert len(events(run, "on_export_start")) == len(events(run, "on_export_end")) == 1


def test_an_export_of_an_untrained_model_has_no_checkpoint(
    shapes: Shapes, run: trackhooks.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # Ultralytics writes beside the model's yaml, or into the working directory
    model = shapes.model()
    run.attach(model)
    path = export(model)
    (exported,) = files(run, "export")
    assert (exported.path, exported.parent) == (str(Path(path).absolute()), None)


@pytest.mark.slow
def test_an_export_that_fails_says_why_and_leaves_the_status(shapes: Shapes, run: trackhooks.Run) -> None:
    model = shapes.model()
    run.attach(model)
    shapes.train(model)
    run.add_callback(*raise_in("on_export_start", StoppedError("no room")))
    with pytest.raises(StoppedError):
        export(model)
    with pytest.raises(ValueError, match="nonsense"):
        export(model, format="nonsense")
    texts = [media.text for media in logged(run, Text)]
    assert texts[0] == "The export to torchscript failed: StoppedError: no room"
    assert texts[1].startswith("The export to nonsense failed: ValueError")
    assert events(run, "on_export_end") == []
    assert run.status == "finished"


@pytest.mark.slow
def test_a_benchmark_records_its_table_and_its_exports(
    shapes: Shapes, run: trackhooks.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # Ultralytics writes its own log there
    model = shapes.model()
    run.attach(model)
    shapes.train(model)
    before = len(events(run, "on_val_end", "on_predict_end"))
    model.benchmark(data=shapes.data, imgsz=32, format="torchscript", device="cpu")
    (table,) = logged(run, Table)
    assert table.name == "benchmark"
    assert len(table.rows) == 1
    assert len(files(run, "export")) == 1
    # The exported models that it evaluates are others, and their metrics would overwrite each other.
    assert len(events(run, "on_val_end", "on_predict_end")) == before


@pytest.mark.slow
def test_trainings_on_several_data_sets_are_separate_runs(shapes: Shapes, tmp_path: Path) -> None:
    engine = pytest.importorskip("ultralytics.engine.trainer")
    if not hasattr(engine, "MultiTrainer"):
        pytest.skip(f"Ultralytics {VERSION} trains on one data set at a time")
    model = shapes.model()
    with trackhooks.run(dir=tmp_path, name="sweep", delivery="off") as run:
        run.attach(model)
        shapes.train(model, data=[shapes.data, str(shapes.folder / "missing.yaml"), shapes.data])
    parts = [made for made in trackhooks.runs(tmp_path) if made.name != "sweep"]
    assert sorted(made.status for made in parts) == ["failed", "finished", "finished"]
    assert {made.info.parent for made in parts} == {run.id}
    finished = next(made for made in parts if made.status == "finished")
    validations = [found for found in journal.read(finished.info.path) if found.hook == "on_val_end"]
    assert [found.epoch for found in validations] == [0, 0]
    assert run.status == "finished"


# Several processes


def processes_only(hook: str, path: Path) -> Callable[[Any], None]:
    def note(trainer: Any) -> None:
        import os

        with path.open("a") as file:
            file.write(f"{hook} {os.environ.get('RANK')}\n")

    return note


@pytest.mark.slow
def test_a_training_in_two_processes_is_one_run_in_which_each_rank_records(
    shapes: Shapes, tmp_path: Path
) -> None:
    if VERSION < (8, 4, 140):
        pytest.skip(f"Ultralytics {VERSION} hands no callbacks over to its processes")
    from yolo_processes import TwoProcesses

    heard = tmp_path / "heard"
    model = shapes.model()
    run = trackhooks.run(dir=tmp_path / "runs", ranks="all", delivery="off")
    run.log(before=1)
    run.attach(model)
    run.add_callback("on_fit_epoch_end", processes_only("on_fit_epoch_end", heard))
    run.add_callback("on_train_end", processes_only("on_train_end", heard))
    shapes.train(model, trainer=TwoProcesses, epochs=2)
    run.log(after=1)

    batches = events(run, "on_train_batch_end")
    assert [batch.step for batch in batches] == list(range(len(batches)))
    assert [found.epoch for found in events(run, "on_fit_epoch_end")] == [0, 1]
    assert [found.index for found in events(run)] == list(range(len(events(run))))
    assert [found.status for found in events(run) if found.status] == ["finished"]
    assert run.status == "finished"
    # Every process calls the run's functions, as it calls those of a model.
    calls = heard.read_text().split("\n")
    assert calls.count("on_fit_epoch_end 0") == calls.count("on_fit_epoch_end 1") == 2
    assert calls.count("on_train_end 0") == 1
    # Ultralytics validates, and ends the training, on rank 0 only.
    first, second = trackhooks.ranks(run)
    assert (second.rank, second.summary.steps) == (1, first.summary.steps)
    assert "train/box_loss" in second.summary.metrics
    run.close()


@pytest.mark.slow
def test_a_training_that_fails_in_a_process_fails_the_run(shapes: Shapes, run: trackhooks.Run) -> None:
    if VERSION < (8, 4, 140):
        pytest.skip(f"Ultralytics {VERSION} hands no callbacks over to its processes")
    from yolo_processes import TwoProcesses

    def fail(trainer: Any) -> None:
        raise RuntimeError("enough")

    model = shapes.model()
    run.attach(model)
    run.add_callback("on_train_epoch_end", fail)
    with pytest.raises(subprocess.CalledProcessError):
        shapes.train(model, trainer=TwoProcesses)
    assert run.status == "failed"
    assert "enough" in str(recorder_of(run).info.reason)


@pytest.mark.slow
def test_a_callback_that_cannot_be_pickled_is_left_out(shapes: Shapes, run: trackhooks.Run) -> None:
    if VERSION < (8, 4, 140):
        pytest.skip(f"Ultralytics {VERSION} hands no callbacks over to its processes")
    from yolo_processes import TwoProcesses

    lock, model = threading.Lock(), shapes.model()

    def hold(trainer: Any) -> None:
        with lock:
            pass

    run.attach(model)
    run.add_callback("on_train_end", hold)
    with pytest.warns(trackhooks.TrackhooksWarning, match="is not called in the processes of this training"):
        shapes.train(model, trainer=TwoProcesses)
    assert run.status == "finished"


@pytest.mark.slow
def test_a_training_that_fires_no_hooks_says_so(shapes: Shapes, run: trackhooks.Run) -> None:
    """As on several GPUs with Ultralytics 8.3."""

    class Silent(trainer_class()):  # type: ignore[misc]
        def run_callbacks(self, event: str) -> None: ...

        def get_validator(self) -> Any:
            validator = super().get_validator()
            validator.callbacks = defaultdict(list)
            return validator

    model = shapes.model()
    run.attach(model)
    with pytest.warns(trackhooks.TrackhooksWarning, match="nothing of this training was heard"):
        shapes.train(model, trainer=Silent)
    assert run.status == "finished"


# Other loggers


@pytest.mark.slow
def test_ultralytics_own_logging_to_the_same_place_is_reported_once(
    shapes: Shapes, tmp_path: Path, torch_program: Callable[..., str]
) -> None:
    """In a separate process: under pytest Ultralytics switches its own loggers off."""
    told = torch_program(
        """
        import os, sys, warnings
        os.environ.pop("PYTEST_CURRENT_TEST", None)
        sys.path.insert(0, sys.argv[1])
        import trackhooks
        from pathlib import Path
        from yolo import Shapes, settings
        settings.update({"tensorboard": True})
        warnings.simplefilter("always")
        shapes = Shapes(Path(sys.argv[2]))
        with warnings.catch_warnings(record=True) as caught:
            for _ in range(2):
                with trackhooks.run("tensorboard", dir=sys.argv[2] + "/runs", delivery="off") as run:
                    model = shapes.model()
                    run.attach(model)
                    shapes.train(model)
        settings.update({"tensorboard": False})
        print(*[warning.message for warning in caught if warning.category is trackhooks.TrackhooksWarning], sep="\\n")
        """,
        SUPPORT,
        tmp_path,
    )
    expected = "tensorboard logs this training by itself as well, with Ultralytics' integration"
    assert told.count(expected) == 1
    assert "ultralytics.settings.update({'tensorboard': False})" in told
