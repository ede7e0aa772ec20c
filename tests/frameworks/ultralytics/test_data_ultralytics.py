"""Ultralytics: the facts about the dataset of a training."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from yolo import Shapes

import trackhooks
from trackhooks.frameworks.helpers import Lookups
from trackhooks.reading.summary import summarize
from trackhooks_integrations.frameworks.ultralytics import data

pytestmark = pytest.mark.slow


def facts_of(shapes: Shapes, tmp_path: Path, task: str = "detect", **arguments: Any) -> dict[str, Any]:
    model = shapes.model(task)
    with trackhooks.run(dir=tmp_path / "runs", delivery="off") as run:
        run.attach(model)
        shapes.train(model, **arguments)
    facts = summarize(run.path).facts
    return {name: value for name, value in facts.items() if name.startswith("data/")}


def test_the_dataset_of_a_detection_has_a_fingerprint_of_its_labels(shapes: Shapes, tmp_path: Path) -> None:
    first = facts_of(shapes, tmp_path)
    assert first["data/train/samples"] == first["data/val/samples"] == 8
    assert first["data/classes"] == 2
    assert first["data/names"].count(",") == 1
    assert first["data/train/fingerprint"] != first["data/val/fingerprint"]
    other = Shapes(tmp_path / "other")
    copied = facts_of(other, tmp_path)
    same = {name: value for name, value in first.items() if name != "data/file"}
    assert {name: value for name, value in copied.items() if name != "data/file"} == same
    label = next((tmp_path / "other").glob("**/labels/train/3.txt"))
    label.write_text("0 0.5 0.5 0.1 0.1\n")
    for cache in (tmp_path / "other").glob("**/*.cache"):
        cache.unlink()
    changed = facts_of(other, tmp_path)
    assert changed["data/train/fingerprint"] != first["data/train/fingerprint"]
    assert changed["data/val/fingerprint"] == first["data/val/fingerprint"]


def test_the_dataset_of_a_classification_has_one_of_its_classes(shapes: Shapes, tmp_path: Path) -> None:
    found = facts_of(shapes, tmp_path, "classify", data=shapes.classification())
    assert found["data/train/samples"] > 0
    assert len(found["data/train/fingerprint"]) == 16


def test_a_trainer_with_other_data_has_no_facts() -> None:
    trainer = SimpleNamespace(data=None, train_loader=[1, 2], test_loader=SimpleNamespace(dataset=range(3)))
    assert data.facts(trainer, Lookups(strict=True)) == {}


def test_a_large_dataset_is_covered_in_part() -> None:
    labels = [{"cls": np.zeros(1), "bboxes": np.zeros((1, 4))} for _ in range(5000)]
    dataset = SimpleNamespace(im_files=[f"/data/{number}.png" for number in range(5000)], labels=labels)
    trainer = SimpleNamespace(
        data={"path": "/data"}, train_loader=SimpleNamespace(dataset=dataset), test_loader=None
    )
    found = data.facts(trainer, Lookups(strict=True))
    assert found["data/train/samples"] == 5000
    trainer.data["path"] = "/"
    assert data.facts(trainer, Lookups(strict=True)) != found
