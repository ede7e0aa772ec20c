"""How much memory the delivery process takes over a long run.

Run: python benchmarks/delivery_memory.py [--steps 1000000] [--trackers csv,tensorboard]

A run of so many training batches is recorded as fast as the hooks return. The resident memory of the delivery process
is read while it catches up: it must not grow with the steps.
"""

from __future__ import annotations

import argparse
import tempfile
import time

import psutil
from rich.console import Console
from rich.table import Table

import trackhooks
from trackhooks import cursor, session

READINGS = 10


def delivered(run: trackhooks.Run) -> int:
    """The last event that the slowest tracker has."""
    found = [one.index for one in cursor.cursors(run.path)]
    return min(found) if len(found) == len(run.info.trackers) else 0


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000, help="training batches")
    parser.add_argument("--trackers", default="csv,tensorboard", help="which trackers deliver")
    chosen = parser.parse_args()
    table = Table("events delivered", "delivery process, MiB", "training process, MiB")
    with (
        tempfile.TemporaryDirectory() as folder,
        trackhooks.run(*chosen.trackers.split(","), dir=folder) as run,
    ):
        child = psutil.Process(session._deliverer().process_id)
        me = psutil.Process()
        callbacks = run.callbacks
        callbacks.on_train_begin()
        callbacks.on_epoch_begin(0)
        step = 0
        for reading in range(1, READINGS + 1):
            for _ in range(chosen.steps // READINGS):
                callbacks.on_train_batch_end(step, {"loss": 0.5, "accuracy": 0.25, "grad_norm": 1.5})
                step += 1
            while delivered(run) < 0.99 * reading * chosen.steps / READINGS:
                time.sleep(0.1)
            table.add_row(f"{delivered(run):,}", *(f"{p.memory_info().rss / 2**20:.0f}" for p in (child, me)))
        callbacks.on_train_end()
        run.close()
        run.wait()
    Console().print(table)


if __name__ == "__main__":
    main()
