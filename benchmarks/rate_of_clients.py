"""How fast MLflow and W&B take a run from trackhooks, against their own clients fed with the same numbers.

Run: python benchmarks/rate_of_clients.py [--blocks 20]

Blocks of 1,000 training batches with three metrics go to the client directly and through the tracker in turn; the
ratios of neighbours are what a busy machine distorts least. Promised: MLflow ≥ 0.8, W&B ≥ 0.9.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from trackhooks.event import Event, RunInfo
from trackhooks.tracker import Tracker
from trackhooks_integrations.mlflow import MLflow
from trackhooks_integrations.wandb import WandB

BLOCK = 1000
Deliver = Callable[[Sequence[Event]], None]


def started(tracker: Tracker, folder: str) -> Tracker:
    """The tracker with a run of its own."""
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


def measured(deliver: Deliver, block: int) -> float:
    """Batches in a second."""
    metrics = {"batch/loss": 0.5, "batch/accuracy": 0.25, "batch/grad_norm": 1.5}
    steps = range(block * BLOCK, (block + 1) * BLOCK)
    events = [
        Event(
            "on_train_batch_end",
            step,
            time.time(),
            step,
            0,
            step,
            metrics={**metrics, "batch/loss": 1 / (step + 1)},
        )
        for step in steps
    ]
    start = time.perf_counter()
    deliver(events)
    return BLOCK / (time.perf_counter() - start)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=20, help="of 1,000 batches")
    blocks = parser.parse_args().blocks
    table = Table("backend", "client, batches/s", "trackhooks, batches/s", "ratio")
    for name, backend in (("mlflow", mlflow), ("wandb", wandb)):
        with tempfile.TemporaryDirectory() as folder:
            directly, tracked = backend(folder)
            pairs = [(measured(directly, block), measured(tracked, block)) for block in range(blocks)]
            alone, ours = (statistics.median(rates) for rates in zip(*pairs, strict=True))
            ratio = statistics.median(tracked / direct for direct, tracked in pairs)
            table.add_row(name, f"{alone:,.0f}", f"{ours:,.0f}", f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
