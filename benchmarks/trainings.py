"""The trainings that benchmarks measure: PyTorch, Keras, Lightning and Ultralytics, on small models and data.

Each is prepared first (data, model, what is built at the first batch), and returns the loop, which is timed. A loop
takes a number of epochs and notes on a clock when each of them ends.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

BATCH = 64
Metrics = dict[str, Any]
Loop = Callable[[int], Any]


class Clock:
    """Wall time and this process's processor time of each epoch of a loop, in seconds."""

    def __init__(self) -> None:
        self.epochs: list[tuple[float, float]] = []
        """Wall time and processor time."""
        self._since: tuple[float, float] | None = None

    def lap(self) -> None:
        """The loop begins, or an epoch has ended."""
        now = time.perf_counter(), time.process_time()
        if self._since is not None:
            self.epochs.append((now[0] - self._since[0], now[1] - self._since[1]))
        self._since = now

    def read(self) -> dict[str, float]:
        """Of all epochs, and of the median one."""
        walls, cpus = zip(*self.epochs, strict=True)
        return {
            "wall_s": sum(walls),
            "cpu_s": sum(cpus),
            "epoch_wall_s": statistics.median(walls),
            "epoch_cpu_s": statistics.median(cpus),
        }


class TurnClock(Clock):
    """The clock of a loop in a greenlet that takes turns with others: after so many epochs, its parent continues.

    Waiting for the next turn does not count.
    """

    def __init__(self, epochs_a_turn: int) -> None:
        super().__init__()
        self._epochs_a_turn = epochs_a_turn

    def lap(self) -> None:
        """The loop begins, or an epoch has ended."""
        import greenlet

        if self._since is not None:
            super().lap()
        if len(self.epochs) % self._epochs_a_turn == 0:
            parent = greenlet.getcurrent().parent
            assert parent is not None
            parent.switch()
            self._since = time.perf_counter(), time.process_time()


def digits() -> tuple[Any, Any, Any, Any]:
    """Images to train on (1437, 1, 8, 8) and their labels, and the same to validate on (360)."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).astype("float32").reshape(-1, 1, 8, 8)
    return images[:1437], labels[:1437], images[1437:], labels[1437:]


def torch_loaders() -> tuple[Any, Any]:
    """23 batches to train on, 2 to validate on."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    x, y, val_x, val_y = map(torch.tensor, digits())
    batches = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)
    return batches, DataLoader(TensorDataset(val_x, val_y), batch_size=256)


def torch_net(width: int) -> Any:
    """A small convolutional net with so many channels, and twice as many."""
    from torch import nn

    layers = (nn.Conv2d(1, width, 3), nn.ReLU(), nn.Conv2d(width, 2 * width, 3), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(2 * width * 16, 10))


def torch_loop(
    clock: Clock, run: Any = None, log: Callable[[Metrics, int], Any] | None = None, width: int = 16
) -> Loop:
    """A custom loop in PyTorch.

    Args:
        clock: notes the end of each epoch.
        run: a run of trackhooks that records it.
        log: is given each batch's loss and each epoch's accuracy, with the step.
        width: of the net; 16 takes 1 to 1.5 ms a batch.
    """
    import torch
    from torch import nn

    batches, validation = torch_loaders()
    net = torch_net(width)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)

    def train(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()  # type: ignore[no-untyped-call] # torch's
        optimizer.step()
        return loss

    @torch.no_grad()
    def accuracy(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        right: torch.Tensor = net(x).argmax(1) == y
        return right.float().mean()

    def plain(epochs: int) -> None:
        step = 0
        clock.lap()
        for _ in range(epochs):
            for images, labels in batches:
                loss = train(images, labels)
                if log is not None:
                    log({"train_batch/loss": loss.item()}, step)
                step += 1
            means = [accuracy(images, labels).item() for images, labels in validation]
            if log is not None:
                log({"val/accuracy": statistics.fmean(means)}, step - 1)
            clock.lap()

    def recorded(epochs: int) -> None:
        clock.lap()
        run.watch(net, optimizer)
        for _ in run.epochs(epochs):
            for images, labels in run.train(batches):
                run.log(loss=train(images, labels))
            for images, labels in run.validate(validation):
                run.log({"accuracy": accuracy(images, labels)}, weight=len(images))
            clock.lap()

    for images, labels in itertools.islice(
        batches, 3
    ):  # what torch sets up at the first batch is not the loop
        train(images, labels)
    return plain if run is None else recorded


def keras_fit(clock: Clock, callbacks: Sequence[Any] = ()) -> Loop:
    """Keras' `fit`, with so many callbacks."""
    import keras

    x, y, val_x, val_y = digits()
    layers = keras.layers
    channels_first = {"data_format": "channels_first", "activation": "relu"}
    model = keras.Sequential(
        [
            keras.Input((1, 8, 8)),
            layers.Conv2D(16, 3, **channels_first),
            layers.Conv2D(32, 3, **channels_first),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    model.train_on_batch(x[:BATCH], y[:BATCH])  # what Keras builds at the first batch is not the loop
    laps = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: clock.lap())

    def fit(epochs: int) -> None:
        clock.lap()
        model.fit(
            x,
            y,
            batch_size=BATCH,
            epochs=epochs,
            validation_data=(val_x, val_y),
            validation_batch_size=256,
            verbose=0,
            callbacks=[*callbacks, laps],
        )

    return fit


def lightning_fit(clock: Clock, loggers: Sequence[Any] = ()) -> Loop:
    """Lightning's `Trainer.fit`, whose module logs the loss of each batch."""
    import lightning.pytorch as pl
    import torch
    from torch import nn

    class Digits(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch_net(16)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            x, y = batch
            loss = nn.functional.cross_entropy(self.net(x), y)
            self.log("train_loss", loss)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            x, y = batch
            self.log("val_accuracy", (self.net(x).argmax(1) == y).float().mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    class Laps(pl.Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            clock.lap()

    batches, validation = torch_loaders()
    quiet: dict[str, Any] = {
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }

    def fit(epochs: int) -> None:
        trainer = pl.Trainer(
            max_epochs=epochs,
            accelerator="cpu",
            logger=[*loggers] or False,
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            callbacks=[Laps()],
            **quiet,
        )
        clock.lap()
        trainer.fit(Digits(), batches, validation)

    return fit


def yolo_training(clock: Clock) -> Loop:
    """A training of YOLO nano, untrained, on drawn shapes; it writes its own results.csv."""
    sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))
    from yolo import Shapes

    shapes = Shapes(Path.cwd())

    def train(epochs: int) -> None:
        from ultralytics import YOLO

        model = YOLO("yolo11n.yaml", task="detect")
        model.add_callback("on_fit_epoch_end", lambda trainer: clock.lap())
        clock.lap()
        shapes.train(model, epochs=epochs, imgsz=64)

    return train
