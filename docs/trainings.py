"""The Keras and Ultralytics trainings that docs/dashboards.py takes pictures of.

    python docs/trainings.py keras         # in the working directory
    python docs/trainings.py ultralytics

Each trains twice, with two learning rates, and logs both runs to TensorBoard, MLflow and W&B.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import trackhooks

TRACKERS: dict[str, Any] = {"tensorboard": {}, "mlflow": {}, "wandb": {"mode": "offline", "dir": "runs"}}
COLORS = ("red", "orange", "blue")
SIZE = 64


def keras() -> None:
    """A classifier of scikit-learn's digits."""
    import keras
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    for lr in (0.01, 0.1):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10, "softmax")]
        )
        model.compile(keras.optimizers.SGD(lr), "sparse_categorical_crossentropy", metrics=["accuracy"])
        trackhooks.enable(**TRACKERS, project="digits", name=f"lr={lr}")
        model.fit(pixels / 16, labels, epochs=12, batch_size=64, validation_split=0.2, verbose=0)
    trackhooks.disable()


def ultralytics() -> None:
    """A classifier of drawn squares."""
    from ultralytics import YOLO

    data = Path("squares").absolute()
    draw(data)
    for lr in (0.0002, 0.002):
        trackhooks.enable(**TRACKERS, project="squares", name=f"lr0={lr}")
        YOLO("yolo11n-cls.yaml").train(
            data=data,
            project=Path("yolo").absolute(),
            epochs=12,
            imgsz=SIZE,
            batch=16,
            lr0=lr,
            optimizer="AdamW",
            amp=False,
            workers=0,
        )
    trackhooks.disable()


def draw(folder: Path) -> None:
    """Draw squares: a folder for training and one for validation, each with a folder for each color."""
    import random

    from PIL import Image, ImageDraw

    dice = random.Random(0)
    for part, count in (("train", 60), ("val", 20)):
        for color in COLORS:
            place = folder / part / color
            place.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                picture = Image.new("RGB", (SIZE, SIZE), "white")
                x, y, radius = dice.uniform(20, 44), dice.uniform(20, 44), dice.uniform(8, 18)
                ImageDraw.Draw(picture).regular_polygon((x, y, radius), 4, dice.randrange(90), fill=color)
                picture.save(place / f"{number}.png")


if __name__ == "__main__":
    {"keras": keras, "ultralytics": ultralytics}[sys.argv[1]]()
