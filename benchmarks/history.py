"""How fast all points of a run are read, next to EventAccumulator, get_metric_history and trackio.

Run: python benchmarks/history.py [--steps 1000000] [--peer-steps 5000] [--metrics 25] [--rounds 3] [--json]

Each candidate is a separate process that reads a run once; imports are not counted. First all read the same values of
a shorter run, then trackhooks reads a long one: from its journal, which stores the columns; from the columns, also
as DataFrames; and one metric. trackio is measured if it is installed (`pip install trackio`).

Promised: a million steps with 25 metrics of a finished run in at most 3 s, from the stored columns.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measuring import Figures, arguments, by_turns, measured, median, ratio, report, spread
from results import Results

import trackhooks
from trackhooks.event import Event, RunInfo
from trackhooks.reading.points_file import FILE_NAME
from trackhooks.storage import journal, run_folder

_BLOCK = 10_000
_IN_A_CALL = 1000
EXPERIMENT = "bench"
PROMISED = (1_000_000, 25)
PARTS = 3
"""Writing, and the readings of all and of the long run: each may take a part of the time."""


# What is read: noisy curves, every other one with the precision of a tensor of 32 bits.


def events(steps: int, metrics: int) -> Iterator[Event]:
    """The records of the training batches."""
    noise = np.random.default_rng(0)
    names = [f"train_batch/metric_{number}" for number in range(metrics)]
    start = time.time()
    for first in range(0, steps, _BLOCK):
        block = np.arange(first, min(first + _BLOCK, steps))
        curves = 2 * np.exp(-4 * block / steps)[:, None] + noise.normal(0, 0.05, (len(block), metrics))
        curves[:, 1::2] = curves[:, 1::2].astype(np.float32)
        for step, row in zip(block.tolist(), curves.tolist(), strict=True):
            values = dict(zip(names, row, strict=True))
            yield Event("on_train_batch_end", step, start + step / 100, step, 0, step, metrics=values)


def write_run(folder: Path, steps: int, metrics: int) -> None:
    """Write a finished run."""
    folder.mkdir()
    writer = journal.Writer(folder)
    for event in events(steps, metrics):
        writer.append(event)
    writer.append(Event("teardown", steps, time.time(), steps - 1, status="finished"))
    writer.close()
    run_folder.write_info(folder, RunInfo("bench", folder.name, status="finished", records=steps + 1))


def write_event_file(folder: Path, steps: int, metrics: int) -> None:
    """Write an event file of TensorBoard."""
    from trackhooks_integrations.trackers.tensorboard.tracker import TensorBoard

    tracker = TensorBoard()
    tracker.run = RunInfo("bench", "bench", str(folder), created=time.time())
    folder.mkdir()
    tracker.start(tracker.run, {})
    for event in events(steps, metrics):
        tracker.handle(event)
    tracker.flush()


def write_database(folder: Path, steps: int, metrics: int) -> None:
    """Write a database of MLflow."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric

    folder.mkdir()
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    run = client.create_run(client.create_experiment(EXPERIMENT)).info.run_id
    rows = [
        Metric(name, value, int(event.time * 1000), event.step)
        for event in events(steps, metrics)
        for name, value in event.metrics.items()
    ]
    for start in range(0, len(rows), _IN_A_CALL):
        client.log_batch(run, metrics=rows[start : start + _IN_A_CALL])


def write_trackio(folder: Path, steps: int, metrics: int) -> None:
    """Write a database of trackio."""
    storage = trackio_storage(folder)
    found = list(events(steps, metrics))
    storage.bulk_log(EXPERIMENT, "bench", [event.metrics for event in found], [event.step for event in found])


def trackio_storage(folder: Path) -> Any:
    """What trackio's dashboard and its command read."""
    os.environ["TRACKIO_DIR"] = str(folder)
    from trackio.sqlite_storage import SQLiteStorage

    return SQLiteStorage


# How it is read


def read_run(folder: str, metrics: str = "*", to: str = "") -> Callable[[], int]:
    """The history of a run, or its DataFrame."""
    np.empty(0)
    if to:
        __import__(to)

    def read() -> int:
        found = trackhooks.history(folder, metrics)
        return len(getattr(found, f"to_{to}")()) if to else found.rows

    return read


def read_event_file(folder: str) -> Callable[[], int]:
    """All scalars, not a sample, as arrays."""
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    def read() -> int:
        found = EventAccumulator(folder, size_guidance={SCALARS: 0}).Reload()
        columns = {
            tag: np.array([point.value for point in found.Scalars(tag)]) for tag in found.Tags()[SCALARS]
        }
        return max(map(len, columns.values()))

    return read


def read_database(folder: str) -> Callable[[], int]:
    """All metrics as arrays."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment: Any = client.get_experiment_by_name(EXPERIMENT)
    run = client.search_runs([experiment.experiment_id])[0]

    def read() -> int:
        columns = {
            name: np.array([point.value for point in client.get_metric_history(run.info.run_id, name)])
            for name in run.data.metrics
        }
        return max(map(len, columns.values()))

    return read


def read_trackio(folder: str) -> Callable[[], int]:
    """All metrics as arrays."""
    storage = trackio_storage(Path(folder))

    def read() -> int:
        logs = storage.get_logs(EXPERIMENT, "bench")
        columns = {name: np.array([log[name] for log in logs]) for name in logs[0]}
        return max(map(len, columns.values()))

    return read


READERS: dict[str, Callable[[str], Callable[[], int]]] = {
    "journal": read_run,
    "columns": read_run,
    "one metric": partial(read_run, metrics="*_3"),
    "pandas": partial(read_run, to="pandas"),
    "polars": partial(read_run, to="polars"),
    "EventAccumulator": read_event_file,
    "get_metric_history": read_database,
    "trackio get_logs": read_trackio,
}


def read(name: str, folder: str, steps: int) -> None:
    """In a separate process: read once and report."""
    once = READERS[name](folder)
    wall, cpu = time.perf_counter(), time.process_time()
    rows = once()
    figures = {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    assert rows == steps, f"{name}: {rows} rows instead of {steps}"
    report(figures)


def candidate(name: str, folder: Path, steps: int) -> Callable[[], Figures]:
    """Measure a reader in a separate process."""

    def measure() -> Figures:
        if name == "journal":
            (folder / FILE_NAME).unlink(missing_ok=True)
        return measured(__file__, "--read", name, str(folder), str(steps))

    return measure


def compare(results: Results, home: Path, chosen: Any) -> None:
    """Read the same values with all."""
    steps, metrics = chosen.peer_steps, chosen.metrics
    writers = {"run": write_run, "event-files": write_event_file, "mlflow": write_database}
    for name, write in writers.items():
        write(home / name, steps, metrics)
    places = {
        "journal": "run",
        "columns": "run",
        "EventAccumulator": "event-files",
        "get_metric_history": "mlflow",
    }
    if importlib.util.find_spec("trackio") is None:
        results.failed("trackio", "not installed")
    else:
        write_trackio(home / "trackio", steps, metrics)
        places["trackio get_logs"] = "trackio"
    candidates = {name: candidate(name, home / place, steps) for name, place in places.items()}
    found = by_turns(candidates, chosen.rounds, chosen.seconds / PARTS, results.failed)
    base = found["journal"]["cpu_s"]
    rows = [
        [name, spread(one["wall_s"], 3), spread(one["cpu_s"], 3), ratio(one["cpu_s"], base)]
        for name, one in found.items()
    ]
    columns = ("read from", "wall, s", "processor time, s", "× that of the journal")
    results.table(f"All points of {steps:,} steps with {metrics} metrics", columns, rows, found)


def long_run(results: Results, home: Path, chosen: Any) -> None:
    """Read a long run of trackhooks."""
    steps, metrics = chosen.steps, chosen.metrics
    folder = home / "long"
    write_run(folder, steps, metrics)
    names = ("journal", "columns", "one metric", "pandas", "polars")
    found = by_turns(
        {name: candidate(name, folder, steps) for name in names}, chosen.rounds, chosen.seconds / PARTS
    )
    rows = [
        [name, spread(one["wall_s"]), spread(one["cpu_s"]), spread(one["peak_mib"], 0)]
        for name, one in found.items()
    ]
    sizes = (f"{name} {(folder / name).stat().st_size / 1e6:,.0f} MB" for name in ("journal", FILE_NAME))
    title = f"All points of {steps:,} steps with {metrics} metrics ({', '.join(sizes)})"
    columns = ("trackhooks.history", "wall, s", "processor time, s", "peak memory, MiB")
    results.table(title, columns, rows, found)
    if (steps, metrics) == PROMISED:
        claim = "a million rows × 25 columns are read from the stored columns"
        results.promise("Reading", claim, median(found, "columns", "wall_s"), at_most=3, unit="s")


def main() -> None:
    """Measures and prints."""
    if sys.argv[1:2] == ["--read"]:
        read(sys.argv[2], sys.argv[3], int(sys.argv[4]))
        return
    parser = arguments(__doc__, 3, "of all candidates")
    parser.add_argument("--steps", type=int, default=1_000_000, help="of the long run")
    parser.add_argument("--peer-steps", type=int, default=5000, help="of the run that all read")
    parser.add_argument("--metrics", type=int, default=25, help="of each step")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        results = Results("history", chosen.json)
        compare(results, Path(home), chosen)
        long_run(results, Path(home), chosen)
        results.end()


if __name__ == "__main__":
    main()
