"""What a checkpoint of 2 GB costs the training, and the process that delivers it.

Run: python benchmarks/large_files.py [--gb 2] [--trackers csv,tensorboard,mlflow,server,wandb] [--json]

A loop logs one checkpoint with `run.log_model` and trains on while it is copied, hashed and uploaded. Each tracker has
its own processes: one with a file of 1 kB, one with the large one. `mlflow` is a SQLite file, `server` an MLflow server
that takes the artifacts. Four times the size must be free on the disk.

Promised: files stream, so the delivery process (here with its children, as `wandb-core` is one) takes no more memory
for a large file than for a small one; and the upload never delays the loop. Files that a process maps to read them, as
W&B does to hash them, are no memory that it takes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measuring import Figures, measured, report, trackers
from results import Results, Taken

import trackhooks
from trackhooks import Run
from trackhooks.delivery import cursor
from trackhooks.storage import journal

sys.path.append(str(Path(__file__).parent.parent / "tests" / "support"))
from mlflow_server import Server

SMALL = 1000
BLOCK = os.urandom(8 << 20)
STEPS = 300


def main() -> None:
    """Measures and prints; with `--one` it is one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gb", type=float, default=2.0, help="the size of the large file")
    parser.add_argument("--trackers", default="csv,tensorboard,mlflow,server,wandb", help="which of these")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    parser.add_argument("--bytes", type=int, default=SMALL, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        train(chosen.one, chosen.folder, chosen.bytes)
        return
    results = Results("large_files", chosen.json)
    rows, taken = [], Taken()
    for tracker in chosen.trackers.split(","):
        for size in (SMALL, int(chosen.gb * 1e9)):
            found = measure(tracker, size)
            rows.append(row(tracker, size, found))
            taken[f"{tracker}, {size} bytes"] = {name: [value] for name, value in found.items()}
    columns = (
        "tracker",
        "file, MB",
        "log_model, ms",
        "step, ×",
        "slowest step, ms",
        "delivered in, s",
        "end, s",
        "delivery, MiB",
    )
    results.table("One checkpoint", columns, rows, taken)
    results.end()


def measure(tracker: str, size: int) -> Figures:
    """One process, with a file of this size."""
    with tempfile.TemporaryDirectory() as folder, serving(tracker, folder) as uri:
        env = {"MLFLOW_TRACKING_URI": uri}
        return measured(
            __file__, "--one", tracker, "--folder", folder, "--bytes", str(size), env=env, watch=True
        )


@contextmanager
def serving(tracker: str, folder: str) -> Iterator[str]:
    """The address of an MLflow server where one is needed."""
    if tracker != "server":
        yield ""
        return
    home = Path(folder, "server")
    home.mkdir()
    server = Server(home)
    yield server.uri
    server.stop()


def row(tracker: str, size: int, found: Figures) -> tuple[str, ...]:
    """The figures of one process."""
    names = ("log_ms", "slower", "slowest_ms", "delivered_s", "end_s", "children_mib")
    return tracker, f"{size / 1e6:,.3f}", *(f"{found[name]:,.2f}" for name in names)


# The process that is measured


def train(tracker: str, folder: str, size: int) -> None:
    """Trains, logs a checkpoint, and trains on until the tracker has it."""
    name = "mlflow" if tracker == "server" else tracker
    options = (
        {} if tracker == "server" else trackers(folder)[name]
    )  # the server's address is in the environment
    checkpoint = Path(folder, "last.pt")
    write(checkpoint, size)
    chosen: dict[str, Any] = {name: options}
    with trackhooks.run(dir=folder, **chosen) as run:
        run.callbacks.on_train_begin()
        run.callbacks.on_epoch_begin(0)
        run.wait()  # what the tracker imports is not in the figures
        before = [step(run, number) for number in range(STEPS)]
        since = time.perf_counter()
        run.log_model(checkpoint, aliases=["last"])
        log_ms = 1000 * (time.perf_counter() - since)
        journal_bytes = journal.path_of(run.path).stat().st_size
        meanwhile = [step(run, STEPS)]
        while delivered(run) < journal_bytes:
            meanwhile += [step(run, STEPS + len(meanwhile)) for _ in range(10)]
        delivered_s = time.perf_counter() - since
        run.callbacks.on_train_end()
    slower = statistics.median(meanwhile) / statistics.median(before)
    report(
        {"log_ms": log_ms, "slower": slower, "slowest_ms": 1000 * max(meanwhile), "delivered_s": delivered_s}
    )


def step(run: Run, number: int) -> float:
    """A training batch of some ms; how long it took, in seconds."""
    since = time.perf_counter()
    total = sum(range(100_000))
    run.callbacks.on_train_batch_end(number, {"loss": 1 / total})
    return time.perf_counter() - since


def delivered(run: Run) -> int:
    """How many bytes of the journal the tracker has."""
    return min((one.offset for one in cursor.cursors(run.path)), default=0)


def write(path: Path, size: int) -> None:
    """A file that no file system can make small."""
    with path.open("wb") as file:
        for start in range(0, size, len(BLOCK)):
            file.write(BLOCK[: size - start])


if __name__ == "__main__":
    main()
