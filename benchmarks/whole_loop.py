"""What tracking costs a whole training: its processor time and its wall time, beside the same one without trackhooks.

Run: python benchmarks/whole_loop.py [--rounds 7] [--epochs 150] [--loops keras,torch] [--threads 1,2]

A small convolutional net learns scikit-learn's digits, in Keras' `fit` with `enable` and in a loop of PyTorch with
`run`. Whole processes take turns: without trackhooks, only recording (`delivery="off"`), with all four trackers at
their default throttle, and with an MLflow server that is down. Only the training process is counted, and only its loop;
the start (`enable` or `run`) and the end of the process, which waits for delivery, have rows of their own. The lag is
how old what the slowest tracker still has to get is when the loop ends. With as many threads as cores, delivery has no
idle core. The median epoch is what a busy machine distorts least; the whole loop holds the first seconds, too, in which
delivery imports the trackers.

Promised: with all four trackers and an idle core ≤ 3 % processor time and ≤ 3 % wall time; a start of ≤ 100 ms; a
server that is down slows nothing; delivery lags ≤ 60 s.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import Figures, by_turns, measured, ratio, report, show, spread, trackers

BATCH = 64
WITHOUT, RECORDED, FOUR, DOWN = "without", "only recorded", "four trackers", "server down"


def main() -> None:
    """Measures and prints; with `--one` it is one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="processes of each candidate")
    parser.add_argument("--epochs", type=int, default=150, help="of 23 batches")
    parser.add_argument("--loops", default="keras,torch", help="which of the two")
    parser.add_argument(
        "--threads", default=f"1,{os.cpu_count()}", help="of torch, one setting after another"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        LOOPS[chosen.loops](chosen.epochs, options(chosen.one, chosen.folder))
        return
    for threads in chosen.threads.split(","):
        for loop in chosen.loops.split(","):
            compare(loop, threads, chosen.epochs, chosen.rounds)


def compare(loop: str, threads: str, epochs: int, rounds: int) -> None:
    """Lets the candidates take turns, and prints how they stand beside the training without trackhooks."""

    def measure(candidate: str) -> Figures:
        env = {"OMP_NUM_THREADS": threads, "KERAS_BACKEND": "torch"}
        with tempfile.TemporaryDirectory() as folder:
            command = (
                __file__,
                "--loops",
                loop,
                "--epochs",
                str(epochs),
                "--one",
                candidate,
                "--folder",
                folder,
            )
            return measured(*command, env=env, to_its_end=candidate != DOWN)  # it would wait for the server

    names = (WITHOUT, RECORDED, FOUR, DOWN)
    taken = by_turns({name: functools.partial(measure, name) for name in names}, rounds)
    base = taken[WITHOUT]
    rows: dict[str, Callable[[dict[str, list[float]]], str]] = {
        "loop, s": lambda found: spread(found["wall_s"], 1),
        "a batch, µs of processor": lambda found: spread(found["batch_us"], 0),
        "processor time, ×": lambda found: ratio(found["cpu_s"], base["cpu_s"]),
        "processor time of the median epoch, ×": lambda found: ratio(
            found["epoch_cpu_s"], base["epoch_cpu_s"]
        ),
        "wall time, ×": lambda found: ratio(found["wall_s"], base["wall_s"]),
        "wall time of the median epoch, ×": lambda found: ratio(found["epoch_wall_s"], base["epoch_wall_s"]),
        "start, ms": lambda found: spread(found["start_ms"], 0),
        "lag, s": lambda found: spread(found["lag_s"], 1),
        "end of the process, s": lambda found: spread(found["end_s"], 1),
    }
    show(
        f"{loop}, torch threads: {threads}",
        ("", *names),
        [(what, *(of(taken[name]) for name in names)) for what, of in rows.items()],
    )


def options(candidate: str, folder: str) -> dict[str, Any] | None:
    """What `enable` and `run` are given; None for neither."""
    down = {"csv": {}, "mlflow": {"tracking_uri": "http://127.0.0.1:9"}}  # nobody listens there
    return {
        WITHOUT: None,
        RECORDED: {"dir": folder, "delivery": "off", **trackers(folder)},
        FOUR: {"dir": folder, **trackers(folder)},
        DOWN: {"dir": folder, **down},
    }[candidate]


def lag(folder: str) -> float:
    """How old what the slowest tracker still has to get is, in seconds."""
    from trackhooks.delivery import cursor
    from trackhooks.storage import journal

    (info,) = Path(folder).glob("*/run.json")
    found = [one.index for one in cursor.cursors(info.parent)]
    got = min(found) if len(found) == len(trackers(folder)) else -1
    return next((time.time() - event.time for event in journal.read(info.parent) if event.index > got), 0.0)


class Clock:
    """Wall time and this process's processor time, of the whole loop and of each epoch, in seconds."""

    def __init__(self) -> None:
        self._laps = [(time.perf_counter(), time.process_time())]

    def lap(self) -> None:
        """An epoch has ended."""
        self._laps.append((time.perf_counter(), time.process_time()))

    def read(self) -> Figures:
        """Of all laps, and of the median one."""
        epochs = [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(self._laps)]
        walls, cpus = zip(*epochs, strict=True)
        return {
            "wall_s": sum(walls),
            "cpu_s": sum(cpus),
            "epoch_wall_s": statistics.median(walls),
            "epoch_cpu_s": statistics.median(cpus),
        }


def digits() -> tuple[Any, Any, Any, Any]:
    """Images to train on (1437, 1, 8, 8) and their labels, and the same to validate on (360)."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).astype("float32").reshape(-1, 1, 8, 8)
    return images[:1437], labels[:1437], images[1437:], labels[1437:]


def reported(taken: Figures, start_ms: float, batches: int, chosen: dict[str, Any] | None) -> None:
    """Hands over what a loop took."""
    late = lag(chosen["dir"]) if chosen is not None else 0.0
    report({**taken, "batch_us": 1e6 * taken["epoch_cpu_s"] / batches, "start_ms": start_ms, "lag_s": late})


def keras_fit(epochs: int, chosen: dict[str, Any] | None) -> None:
    """Keras' `fit`."""
    import keras

    start_ms = 0.0
    if chosen is not None:
        import trackhooks

        start = time.perf_counter()
        trackhooks.enable(**chosen)
        start_ms = 1000 * (time.perf_counter() - start)
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
    clock = Clock()
    laps = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: clock.lap())
    model.fit(
        x,
        y,
        batch_size=BATCH,
        epochs=epochs,
        validation_data=(val_x, val_y),
        validation_batch_size=256,
        verbose=0,
        callbacks=[laps],
    )
    reported(clock.read(), start_ms, -(-len(x) // BATCH), chosen)


def torch_loop(epochs: int, chosen: dict[str, Any] | None) -> None:
    """A custom loop, in PyTorch."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    x, y, val_x, val_y = map(torch.tensor, digits())
    batches = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)
    validation = DataLoader(TensorDataset(val_x, val_y), batch_size=256)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)
    )
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

    train(x[:BATCH], y[:BATCH])  # what torch sets up at the first batch is not the loop
    if chosen is None:
        clock = Clock()
        for _ in range(epochs):
            for images, labels in batches:
                train(images, labels)
            for images, labels in validation:
                accuracy(images, labels)
            clock.lap()
        reported(clock.read(), 0.0, len(batches), None)
        return

    import trackhooks

    start = time.perf_counter()
    run = trackhooks.run(**chosen)
    start_ms = 1000 * (time.perf_counter() - start)
    with run:
        clock = Clock()
        run.watch(net, optimizer)
        for _ in run.epochs(epochs):
            for images, labels in run.train(batches):
                run.log(loss=train(images, labels))
            for images, labels in run.validate(validation):
                run.log({"accuracy": accuracy(images, labels)}, weight=len(images))
            clock.lap()
        reported(clock.read(), start_ms, len(batches), chosen)


LOOPS: dict[str, Callable[[int, dict[str, Any] | None], None]] = {"keras": keras_fit, "torch": torch_loop}


if __name__ == "__main__":
    main()
