"""What the tests of Ultralytics train: a model of 60,000 parameters on sixteen pictures that are drawn here."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from ultralytics import YOLO, __version__, settings

VERSION = tuple(int(part) for part in __version__.split(".")[:3])
SIZE = 32
ARGUMENTS: dict[str, Any] = {
    "imgsz": SIZE, "batch": 4, "workers": 0, "device": "cpu", "amp": False, "plots": False, "verbose": False,
    "pretrained": False,
}  # fmt: skip
"""What keeps a training small."""

_BACKBONE = "backbone: [[-1, 1, Conv, [16, 3, 2]], [-1, 1, Conv, [16, 3, 2]], [-1, 1, Conv, [16, 3, 2]]]\n"
_HEADS = {
    "detect": "head: [[[2], 1, Detect, [nc]]]\n",
    "classify": "head: [[-1, 1, Classify, [nc]]]\n",
}
# In 8.3 its own MLflow integration ends a training with a recent MLflow.
settings.update({"mlflow": False, "sync": False})


class Shapes:
    """A folder with data sets of circles and squares, models for them, and what is trained there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = _draw_detection(folder / "shapes")
        self.pictures = folder / "shapes" / "images" / "val"

    def model(self, task: str = "detect") -> YOLO:
        """An untrained model."""
        path = self.folder / f"mini-{task}.yaml"
        path.write_text(f"nc: 2\n{_BACKBONE}{_HEADS[task]}")
        return YOLO(str(path), task=task)

    def train(self, model: YOLO, **arguments: Any) -> Any:
        """Trains for one epoch, unless the arguments say otherwise."""
        return model.train(**{**ARGUMENTS, **self._places, "data": self.data, "epochs": 1, **arguments})

    def validate(self, model: YOLO, **arguments: Any) -> Any:
        """Evaluates."""
        few = {name: ARGUMENTS[name] for name in ("imgsz", "batch", "workers", "device", "plots", "verbose")}
        return model.val(**{**few, **self._places, "data": self.data, **arguments})

    def predict(self, model: YOLO, **arguments: Any) -> Any:
        """Predicts the eight pictures of the validation."""
        few = {name: ARGUMENTS[name] for name in ("imgsz", "device", "verbose")}
        return model.predict(**{**few, **self._places, "source": self.pictures, **arguments})

    def overrides(self, **arguments: Any) -> dict[str, Any]:
        """The arguments of a trainer, validator, predictor or exporter that is made without a model."""
        model = str(self.model().cfg)
        return {**ARGUMENTS, **self._places, "model": model, "data": self.data, "epochs": 1, **arguments}

    @property
    def _places(self) -> dict[str, Any]:
        return {"project": str(self.folder / "ultralytics")}

    def classification(self) -> str:
        """The data of a classification: a folder for each class."""
        return _draw_classification(self.folder / "classes")


def _draw_detection(folder: Path, count: int = 8) -> str:
    dice = random.Random(0)
    for part in ("train", "val"):
        (folder / "images" / part).mkdir(parents=True)
        (folder / "labels" / part).mkdir(parents=True)
        for number in range(count):
            picture, kind, box = _shape(dice, number)
            picture.save(folder / "images" / part / f"{number}.png")
            label = f"{kind} {' '.join(f'{place / SIZE:.4f}' for place in box)}\n"
            (folder / "labels" / part / f"{number}.txt").write_text(label)
    data = folder / "shapes.yaml"
    data.write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames: [circle, square]\n")
    return str(data)


def _draw_classification(folder: Path, count: int = 8) -> str:
    dice = random.Random(0)
    for part in ("train", "val"):
        for number in range(count):
            picture, kind, _ = _shape(dice, number)
            home = folder / part / ("circle", "square")[kind]
            home.mkdir(parents=True, exist_ok=True)
            picture.save(home / f"{number}.png")
    return str(folder)


def _shape(dice: random.Random, number: int) -> tuple[Image.Image, int, tuple[float, float, float, float]]:
    """A picture, its class, and the centre and size of its box, in pixels."""
    kind, side = number % 2, dice.randint(SIZE // 3, SIZE // 2)
    left, top = dice.randint(0, SIZE - side), dice.randint(0, SIZE - side)
    picture = Image.new("RGB", (SIZE, SIZE), "white")
    pen = ImageDraw.Draw(picture)
    draw = pen.rectangle if kind else pen.ellipse
    draw((left, top, left + side, top + side), fill="red" if kind else "blue")
    return picture, kind, (left + side / 2, top + side / 2, side, side)
