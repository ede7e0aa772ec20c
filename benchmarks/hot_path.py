"""What one training-batch hook costs on the calling thread, beside its floor and beside other loggers.

Run: python benchmarks/hot_path.py [--rounds 40] [--json]

Every figure is of one call with three Python floats, in microseconds. The candidates take turns, round by round, so
that a machine that slows down slows all of them; ratios are what to compare between machines. The floor is what no
durable record can do without: encode, checksum, one `os.write`. Trackers run in the delivery process meanwhile.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

import trackhooks
from trackhooks.recording import open_runs

CALLS_A_ROUND = 2000
LOGS = {"loss": 0.5, "accuracy": 0.25, "grad_norm": 1.5}

Call = Callable[[int], None]


def floor(folder: Path) -> Call:
    """Encode, checksum, one write."""
    encode = msgspec.msgpack.Encoder().encode
    file = os.open(folder / "floor", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    metrics = {f"train_batch/{name}": value for name, value in LOGS.items()}

    def call(step: int) -> None:
        record = {
            "hook": "on_train_batch_end",
            "index": step,
            "time": time.time(),
            "step": step,
            "metrics": metrics,
        }
        payload = encode(record)
        os.write(file, zlib.crc32(payload).to_bytes(4, "little") + payload)

    return call


def hook(folder: Path, *trackers: str) -> Call:
    """The hook of a run with these trackers; none only records."""
    run = trackhooks.run(
        *trackers, dir=folder, name="-".join(trackers) or "none", delivery=None if trackers else "off"
    )
    run.callbacks.on_train_begin()
    run.callbacks.on_epoch_begin(0)
    on_train_batch_end = run.callbacks.on_train_batch_end

    def call(step: int) -> None:
        on_train_batch_end(step, dict(LOGS))

    return call


def summary_writer(folder: Path) -> Call:
    """Torch's SummaryWriter, three scalars."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder / "torch"))

    def call(step: int) -> None:
        for name, value in LOGS.items():
            writer.add_scalar(name, value, step)

    return call


def csv_writer(folder: Path) -> Call:
    """Python's csv.writer into a buffered file: nothing survives a kill."""
    file = (folder / "plain.csv").open("w", newline="")
    writer = csv.writer(file)

    def call(step: int) -> None:
        writer.writerow([step, time.time(), *LOGS.values()])

    return call


def take_turns(candidates: dict[str, Call], rounds: int) -> dict[str, list[int]]:
    """Nanoseconds of every call, by candidate."""
    spent: dict[str, list[int]] = {name: [] for name in candidates}
    for done in range(rounds + 1):
        for name, call in candidates.items():
            times = [timed(call, done * CALLS_A_ROUND + i) for i in range(CALLS_A_ROUND)]
            if done:  # the first round only warms up
                spent[name] += times
    return spent


def timed(call: Call, step: int) -> int:
    """Nanoseconds of one call."""
    start = time.perf_counter_ns()
    call(step)
    return time.perf_counter_ns() - start


def figures(spent: dict[str, list[int]]) -> list[dict[str, str | float]]:
    """Median and 99th percentile in microseconds, and the median beside the floor's."""
    medians = {name: sorted(times)[len(times) // 2] / 1000 for name, times in spent.items()}
    return [
        {
            "what": name,
            "median_us": medians[name],
            "p99_us": sorted(times)[len(times) * 99 // 100] / 1000,
            "x_floor": medians[name] / medians["floor: encode + crc + write"],
        }
        for name, times in spent.items()
    ]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, default=40, help=f"rounds of {CALLS_A_ROUND} calls of each candidate"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--trackers", default="csv,tensorboard", help="which trackers the hooks are measured with"
    )
    chosen = parser.parse_args()
    names = chosen.trackers.split(",")
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        candidates = {"floor: encode + crc + write": floor(folder), "hook, no tracker": hook(folder)}
        for count in range(1, len(names) + 1):
            candidates[f"hook, {', '.join(names[:count])}"] = hook(folder, *names[:count])
        candidates |= {
            "torch SummaryWriter": summary_writer(folder),
            "csv.writer, buffered": csv_writer(folder),
        }
        rows = figures(take_turns(candidates, chosen.rounds))
        show(rows, chosen.json)
        for recorder in open_runs.every():
            recorder.close()
            recorder.owner.wait(recorder, None)  # its folder is removed


def show(rows: list[dict[str, str | float]], as_json: bool) -> None:
    """Prints the figures."""
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(
        title=f"one training-batch hook, 3 floats — Python {platform.python_version()}, {os.cpu_count()} cores"
    )
    for column in ("what", "median µs", "p99 µs", "× floor"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for row in rows:
        table.add_row(
            str(row["what"]), f"{row['median_us']:.2f}", f"{row['p99_us']:.1f}", f"{row['x_floor']:.2f}"
        )
    Console().print(table)


if __name__ == "__main__":
    main()
