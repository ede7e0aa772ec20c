"""What one training-batch hook costs on the calling thread, beside its floor.

Run: python benchmarks/hot_path.py [--rounds 40] [--trackers csv,tensorboard,mlflow,wandb] [--json]

Every figure is of one call with three Python floats, in microseconds. The candidates take turns, round by round, so
that a machine that slows down slows all of them; ratios are what to compare between machines. The floor is what no
durable record can do without: encode, checksum, one `os.write`. Trackers run in the delivery process meanwhile. Other
loggers are measured by logged_step.py.

Promised: with four trackers ≤ 3 × the floor and ≤ 50 µs in 99 of 100 calls, and no more than with one tracker (here:
≤ 1.1 ×, on a noisy machine).
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
from measuring import arguments, median
from measuring import trackers as local_trackers
from results import Results, Taken

import trackhooks
from trackhooks.recording import open_runs

CALLS_A_ROUND = 2000
FLOOR, RECORDED = "floor: encode + crc + write", "hook, no tracker"
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
    options = local_trackers(str(folder))
    run = trackhooks.run(
        dir=folder,
        name="-".join(trackers) or "none",
        delivery=None if trackers else "off",
        wait=0,
        **{name: options[name] for name in trackers},
    )
    run.callbacks.on_train_begin()
    run.callbacks.on_epoch_begin(0)
    on_train_batch_end = run.callbacks.on_train_batch_end

    def call(step: int) -> None:
        on_train_batch_end(step, dict(LOGS))

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


def figures(spent: dict[str, list[int]]) -> Taken:
    """Median and 99th percentile of each candidate, in microseconds."""
    return {
        name: {
            "median_us": [statistics.median(times) / 1000],
            "p99_us": [sorted(times)[len(times) * 99 // 100] / 1000],
        }
        for name, times in spent.items()
    }


def main() -> None:
    """Measures and prints."""
    parser = arguments(__doc__, 40, f"rounds of {CALLS_A_ROUND} calls of each candidate")
    parser.add_argument(
        "--trackers", default="csv,tensorboard,mlflow,wandb", help="which trackers the hooks have"
    )
    chosen = parser.parse_args()
    names = chosen.trackers.split(",")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as directory:
        folder = Path(directory)
        candidates = {FLOOR: floor(folder), RECORDED: hook(folder)}
        for count in sorted({1, len(names)}):
            candidates[f"hook, {', '.join(names[:count])}"] = hook(folder, *names[:count])
        taken = figures(take_turns(candidates, chosen.rounds))
        show(taken, Results("hot_path", chosen.json))
        for recorder in open_runs.every():
            recorder.close()
        for child in psutil.Process().children(recursive=True):
            child.kill()  # the delivery: nobody reads what it would deliver, and its folder is removed


def show(taken: Taken, results: Results) -> None:
    """Prints the figures and the promises."""
    medians = {name: median(taken, name, "median_us") for name in taken}
    rows = [
        (name, f"{medians[name]:.2f}", f"{found['p99_us'][0]:.1f}", f"{medians[name] / medians[FLOOR]:.2f}")
        for name, found in taken.items()
    ]
    columns = ("called in a row", "median µs", "p99 µs", "× floor")
    results.table("One training-batch hook with 3 floats", columns, rows, taken)
    *_, one, most = [name for name in taken if name != FLOOR]
    results.promise("Hot path", most, medians[most] / medians[FLOOR], at_most=3, unit="×")
    results.promise("Hot path", f"{most}: 99 of 100 calls", taken[most]["p99_us"][0], at_most=50, unit="µs")
    results.promise("Hot path", f"{most} next to {one}", medians[most] / medians[one], at_most=1.1, unit="×")
    results.end()


if __name__ == "__main__":
    main()
