"""How fast each backend takes a run from trackhooks, against its own client fed with the same numbers.

Run: python benchmarks/rate_of_clients.py [--rounds 6] [--size 5000] [--backends csv,tensorboard,mlflow,wandb] [--json]

Blocks of training batches with three metrics go to the client directly and through the tracker in turn; the ratios of
neighbours are what a busy machine distorts least. After each block the tracker flushes, as delivery has it do after
5,000 events: it waits until W&B has written all of them, which `run.log` alone does not. In smaller blocks it waits
more often. The clients of CSV and TensorBoard are Python's `csv.writer` and torch's `SummaryWriter`.

Promised: CSV ≥ 0.5, TensorBoard ≥ 5, MLflow ≥ 0.8, W&B ≥ 0.9.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from measuring import arguments, spread
from results import Results, Taken

from trackhooks.event import Event, RunInfo
from trackhooks.tracker import Tracker
from trackhooks_integrations.trackers.csv.tracker import CSV
from trackhooks_integrations.trackers.mlflow.tracker import MLflow
from trackhooks_integrations.trackers.tensorboard.tracker import TensorBoard
from trackhooks_integrations.trackers.wandb.tracker import WandB

PROMISED = {"csv": 0.5, "tensorboard": 5, "mlflow": 0.8, "wandb": 0.9}
CLIENTS = {
    "csv": "`csv.writer`",
    "tensorboard": "torch's `SummaryWriter`",
    "mlflow": "`log_batch` of 1,000",
    "wandb": "`run.log`",
}
Deliver = Callable[[Sequence[Event]], None]


def started(tracker: Tracker, folder: str) -> Tracker:
    """The tracker with its own run."""
    tracker.run = RunInfo("bench", "bench", str(Path(folder, "run")), created=time.time())
    Path(folder, "run").mkdir(exist_ok=True)
    tracker.start(tracker.run, {})
    return tracker


def through(tracker: Tracker) -> Deliver:
    """Delivery through the tracker."""

    def deliver(events: Sequence[Event]) -> None:
        for event in events:
            tracker.handle(event)
        tracker.flush()

    return deliver


def csv(folder: str) -> tuple[Deliver, Deliver]:
    """`csv.writer`, and the tracker."""
    from csv import writer

    tracker = started(CSV(), folder)
    file = Path(folder, "direct.csv").open("w", newline="")  # noqa: SIM115 - as long as the process
    rows = writer(file)

    def directly(events: Sequence[Event]) -> None:
        for event in events:
            rows.writerow([event.step, event.epoch, event.time, *event.metrics.values()])
        file.flush()

    return directly, through(tracker)


def tensorboard(folder: str) -> tuple[Deliver, Deliver]:
    """Torch's `SummaryWriter`, and the tracker."""
    from torch.utils.tensorboard import SummaryWriter

    tracker = started(TensorBoard(), folder)
    writer: Any = SummaryWriter(str(Path(folder, "direct")))

    def directly(events: Sequence[Event]) -> None:
        for event in events:
            for name, value in event.metrics.items():
                writer.add_scalar(name, value, event.step, event.time)
        writer.flush()

    return directly, through(tracker)


def mlflow(folder: str) -> tuple[Deliver, Deliver]:
    """`log_batch` with 1,000 metrics a call, and the tracker, on one SQLite store."""
    uri = f"sqlite:///{folder}/mlflow.db"
    tracker = started(MLflow(uri), folder)

    from mlflow import MlflowClient
    from mlflow.entities import Metric

    client = MlflowClient(uri)
    run = client.create_run(client.create_experiment("direct")).info.run_id

    def directly(events: Sequence[Event]) -> None:
        rows = [
            Metric(name, value, int(event.time * 1000), event.step)
            for event in events
            for name, value in event.metrics.items()
        ]
        for start in range(0, len(rows), 1000):
            client.log_batch(run, metrics=rows[start : start + 1000])

    return directly, through(tracker)


def wandb(folder: str) -> tuple[Deliver, Deliver]:
    """`run.log`, and the tracker, both offline."""
    tracker = started(WandB(mode="offline"), folder)

    import wandb

    settings = wandb.Settings(console="off", quiet=True)
    run = wandb.init(mode="offline", dir=folder, project="direct", reinit="create_new", settings=settings)

    def directly(events: Sequence[Event]) -> None:
        for event in events:
            run.log({"step": event.step, "epoch": event.epoch, **event.metrics}, step=event.index)

    return directly, through(tracker)


BACKENDS: dict[str, Callable[[str], tuple[Deliver, Deliver]]] = {
    "csv": csv,
    "tensorboard": tensorboard,
    "mlflow": mlflow,
    "wandb": wandb,
}


def measured(deliver: Deliver, block: int, size: int) -> float:
    """Batches in a second."""
    metrics = {"train_batch/loss": 0.5, "train_batch/accuracy": 0.25, "train_batch/grad_norm": 1.5}
    steps = range(block * size, (block + 1) * size)
    events = [
        Event(
            "on_train_batch_end",
            step,
            time.time(),
            step,
            0,
            step,
            metrics={**metrics, "train_batch/loss": 1 / (step + 1)},
        )
        for step in steps
    ]
    start = time.perf_counter()
    deliver(events)
    return size / (time.perf_counter() - start)


def main() -> None:
    """Measures and prints."""
    parser = arguments(__doc__, 6, "blocks for each backend")
    parser.add_argument("--size", type=int, default=5000, help="training batches in a block")
    parser.add_argument("--backends", default=",".join(BACKENDS), help="which of these")
    chosen = parser.parse_args()
    results = Results("rate_of_clients", chosen.json)
    taken: Taken = {}
    backends = chosen.backends.split(",")
    for name in backends:
        try:
            taken[name] = rates(name, chosen.rounds, chosen.size, chosen.seconds / len(backends))
        except (RuntimeError, OSError) as error:
            results.failed(name, error)
    rows = [
        (
            name,
            f"{median(found['client']):,.0f}",
            f"{median(found['trackhooks']):,.0f}",
            spread(found["ratio"]),
        )
        for name, found in taken.items()
    ]
    columns = ("backend", "client, batches a second", "trackhooks, batches a second", "ratio")
    results.table("Batches of 3 metrics into each backend", columns, rows, taken)
    for name, limit in PROMISED.items():
        figure = median(taken[name]["ratio"]) if name in taken else math.nan
        results.promise("Delivery", f"{name} next to {CLIENTS[name]}", figure, at_least=limit, unit="×")
    results.end()


def rates(backend: str, blocks: int, size: int, seconds: float) -> dict[str, list[float]]:
    """What the client and trackhooks take in a second, and the ratio, of each block, as long as there is time."""
    with tempfile.TemporaryDirectory() as folder:
        directly, tracked = BACKENDS[backend](folder)
        alone, ours = [], []
        began, longest = time.monotonic(), 0.0
        for block in range(blocks):
            since = time.monotonic()
            if since + longest > began + seconds:
                break
            alone.append(measured(directly, block, size))
            ours.append(measured(tracked, block, size))
            longest = max(longest, time.monotonic() - since)
    ratios = [one / other for one, other in zip(ours, alone, strict=True)]
    return {"client": alone, "trackhooks": ours, "ratio": ratios}


if __name__ == "__main__":
    main()
