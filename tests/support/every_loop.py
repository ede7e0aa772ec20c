"""A real training in each kind of loop, PyTorch, Keras and Ultralytics, with all that can be recorded of it.

Each takes the run and a folder to write into. What the user logs by hand is the same in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import torch
from keras_models import X, Y, sequential
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from yolo import Shapes

import trackhooks

EPOCHS = 3
PARAMS = {"lr": 0.05, "net": {"hidden": [16], "bias": True}, "optimizer": "SGD", "seed": 0, "decay": None}


def loader(count: int) -> DataLoader[Any]:
    """That many of scikit-learn's digits."""
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images[:count], dtype=torch.float32) / 16, torch.tensor(labels[:count]))
    return DataLoader(data, batch_size=32)


def in_pytorch(run: trackhooks.Run, folder: Path) -> None:
    """A custom loop: all 25 hooks, a metric that comes late, and one that becomes NaN."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    run.watch(net, optimizer, gradient_norm=True, histograms=5)
    for epoch in run.epochs(EPOCHS):
        for x, y in run.train(loader(160)):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            run.log({"loss": loss, "late(B)": loss / 3} if epoch else {"loss": loss})
        with torch.no_grad():
            for x, y in run.validate(loader(64)):
                run.log(loss=nn.functional.cross_entropy(net(x), y), weight=len(x))
        run.log({"val/diverged": math.nan if epoch == 1 else 1 / (epoch + 3)})
        torch.save(net.state_dict(), folder / "last.pt")
        run.log_model(folder / "last.pt", aliases=["last"])
        run.flush()
    net.load_state_dict(torch.load(folder / "last.pt"))
    for _ in run.validate(loader(64)):
        run.log(loss=0.25)
    for _ in run.predict(loader(64)):
        pass
    torch.jit.trace(net, x[:1]).save(folder / "net.torchscript")  # type: ignore[no-untyped-call]
    run.log_export(folder / "net.torchscript")


def in_keras(run: trackhooks.Run, folder: Path) -> None:
    """A fit with a validation, checkpoints and a schedule, and what comes after it."""
    keras.utils.set_random_seed(0)
    model = sequential()
    callbacks = [
        keras.callbacks.ModelCheckpoint(folder / "best.keras", save_best_only=True),
        keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2),
        run.keras,
    ]
    model.fit(X, Y, batch_size=4, epochs=EPOCHS, validation_split=0.2, verbose=0, callbacks=callbacks)
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    model.save(folder / "last.keras")
    model.save_weights(folder / "last.weights.h5")
    model.load_weights(folder / "last.weights.h5")
    model.export(folder / "last.pt2", format="torch", verbose=False)


def in_ultralytics(run: trackhooks.Run, folder: Path) -> None:
    """A YOLO in every mode, with its plots."""
    shapes = Shapes(folder)
    model = shapes.model()
    run.attach(model)
    shapes.train(model, epochs=EPOCHS, plots=True, seed=0)
    shapes.validate(model)
    shapes.predict(model, save=True)
    model.export(format="torchscript", imgsz=32, verbose=False)


LOOPS: dict[str, Callable[[trackhooks.Run, Path], None]] = {
    "pytorch": in_pytorch,
    "keras": in_keras,
    "ultralytics": in_ultralytics,
}


def log_by_hand(run: trackhooks.Run, folder: Path) -> None:
    """One of each thing that a user may log."""
    run.log_image("samples", torch.linspace(0, 1, 64).reshape(8, 8))
    run.log_histogram("rates", [0.1, 0.2, 0.2, 0.7], bins=8)
    run.log_text("notes", "the loss\nhas become | NaN")
    run.log_table("confusion", [["one", 1, 0.5], ["two", 2, 1 / 3]], columns=["class", "count", "share"])
    (folder / "labels.txt").write_text("0\n1\n")
    run.log_file(folder / "labels.txt")
