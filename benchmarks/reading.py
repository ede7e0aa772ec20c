"""What it costs to list runs, to compare two, and to read one of many steps.

Run: python benchmarks/reading.py [--runs 200] [--steps 1000] [--long 200000] [--rounds 3] [--peers mlflow]

Every reading is a separate process, and the processes take turns. What is measured is processor time, without the
imports. One run is recorded and copied, and the peers get the copies by delivery: MLflow into a SQLite file, read with
`search_runs`, TensorBoard as event files, read with `EventAccumulator`, which keeps up to 10,000 values of a metric
(here all of the long run). trackio, if it is installed (`pip install trackio`), gets the same values by its own
`bulk_log`, and lists names and parameters without metrics. "first reader" means that no run has a file `summary` yet.

Promised: 10,000 runs are listed in ≤ 1 s, and 1,000 in ≤ 3 s by the first reader:
`--runs 10000 --steps 20 --peers ""` and `--runs 1000 --peers ""`.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import statistics
import tempfile
import time
from argparse import SUPPRESS
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from measuring import Figures, arguments, by_turns, measured, ratio, report, spread
from results import Results

import trackhooks
from trackhooks.delivery.catch_up import deliver
from trackhooks.delivery.cursor import Spec
from trackhooks.storage import run_folder, summary_file

EPOCHS = 10
LOGS = {"loss": 0.5, "accuracy": 0.75}
VALIDATION = {f"val_{name}": 0.5 for name in ("loss", "accuracy", "precision", "recall", "f1", "auc", "mae")}
PARAMS = {
    "lr": 0.1,
    "batch_size": 32,
    "optimizer": "adam",
    **{f"layer{index}/units": 64 for index in range(12)},
}
PEERS = {
    "mlflow": "MLflow search_runs",
    "tensorboard": "TensorBoard EventAccumulator",
    "trackio": "trackio SQLiteStorage",
}
RUNS, LONG = "runs", "long"
PROMISED_RUNS = 10_000
PARTS = 4
"""Making the runs, and three readings: each may take a part of the time."""


def main() -> None:
    """Measures and prints; with `--one` it is one of the processes that are measured."""
    parser = arguments(__doc__, 3, "processes of each reading")
    parser.add_argument("--runs", type=int, default=200, help="how many runs are listed")
    parser.add_argument("--steps", type=int, default=1000, help="training batches of each")
    parser.add_argument("--long", type=int, default=200_000, help="training batches of the long run")
    parser.add_argument("--peers", default=",".join(PEERS), help="which of these are measured, too")
    parser.add_argument("--one", help=SUPPRESS)
    parser.add_argument("--folder", default="", help=SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        time_reading(chosen.one, Path(chosen.folder))
        return
    asked = [peer for peer in chosen.peers.split(",") if peer]
    peers = [peer for peer in asked if importlib.util.find_spec(peer) is not None]
    results = Results("reading", chosen.json)
    for peer in asked:
        if peer not in peers:
            results.failed(peer, "not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_runs(folder, chosen.runs, chosen.steps, chosen.long)
        deliver_to(peers, folder)
        runs = f"{chosen.runs:,} runs of {chosen.steps:,} steps, listed"
        titles = {
            "list": runs,
            "compare": "Two of them, compared",
            "read": f"One run of {chosen.long:,} steps, read",
        }
        for what, title in titles.items():
            table(results, title, what, folder, peers, chosen)
    results.end()


def table(results: Results, title: str, what: str, folder: Path, peers: Iterable[str], chosen: Any) -> None:
    """Measures all ways of one reading, and puts them below each other."""
    names = [name for name in READINGS if name.startswith(f"{what}: ") and peer_of(name) in (None, *peers)]
    candidates = {name: functools.partial(measure, name, folder) for name in names}
    taken = by_turns(candidates, chosen.rounds, chosen.seconds / PARTS, results.failed)
    base = taken.get(f"{what}: trackhooks", taken[names[0]])["cpu_s"]
    rows = []
    for name, found in taken.items():
        memory, count = (statistics.median(found[figure]) for figure in ("rss_mib", "count"))
        cpu = found["cpu_s"]
        a_second = f"{count / statistics.median(cpu):,.0f}"
        rows.append((name.partition(": ")[2], spread(cpu, 3), ratio(cpu, base), a_second, f"{memory:.0f}"))
    columns = ("", "processor time, s", "×", "runs or steps a second", "process, MiB")
    results.table(title, columns, rows, taken)
    if what == "list" and chosen.runs == PROMISED_RUNS:
        claim = f"{PROMISED_RUNS:,} runs are listed, processor time"
        results.promise("Reading", claim, statistics.median(base), at_most=1, unit="s")


def peer_of(name: str) -> str | None:
    """The peer whose reading this is; None if it is ours."""
    return next((peer for peer, label in PEERS.items() if name.endswith(label)), None)


def measure(name: str, folder: Path) -> Figures:
    """One reading, in a separate process."""
    if name.endswith("first reader"):
        for path in folder.glob(f"*/*/{summary_file.FILE_NAME}"):
            path.unlink()
    return measured(__file__, "--one", name, "--folder", str(folder))


# The runs


def make_runs(folder: Path, runs: int, steps: int, long: int) -> None:
    """Records one run, and copies it; and a long one."""
    template = record(folder / "template", steps)
    for number in range(runs):
        copied = folder / RUNS / f"run-{number}"
        shutil.copytree(template, copied)
        info = run_folder.read_info(copied)
        info.id, info.name, info.created = f"{number:012x}", copied.name, info.created + number
        info.ended = info.created + 60
        run_folder.write_info(copied, info)
    record(folder / LONG, long)


def record(folder: Path, steps: int) -> Path:
    """A training with validations, which is not delivered."""
    with trackhooks.run(dir=folder, name="run", params=PARAMS, delivery="off", system=None) as run:
        hooks = run.callbacks
        hooks.on_train_begin()
        for epoch in range(EPOCHS):
            hooks.on_epoch_begin(epoch)
            for batch in range(steps // EPOCHS):
                hooks.on_train_batch_begin(batch)
                hooks.on_train_batch_end(batch, dict(LOGS))
            hooks.on_epoch_end(epoch, {**LOGS, **VALIDATION})
        hooks.on_train_end()
    return run.path


def deliver_to(peers: Iterable[str], folder: Path) -> None:
    """Gives the peers what they are asked for: MLflow the short runs, TensorBoard all."""
    options = {"mlflow": {"tracking_uri": uri(folder)}, "tensorboard": {}}
    for peer in peers:
        if peer == "trackio":
            store_in_trackio(folder)
            continue
        spec = Spec(peer, options[peer])
        places = [folder / RUNS] if peer == "mlflow" else [folder / RUNS, folder / LONG]
        for path in (path for place in places for path in run_folder.paths(place)):
            failed = deliver(path, [spec])
            if failed:
                raise RuntimeError(f"{path} was not delivered: {failed}")


def store_in_trackio(folder: Path) -> None:
    """Logs all runs to trackio."""
    storage = trackio_storage(folder)
    for project in (RUNS, LONG):
        for path in run_folder.paths(folder / project):
            events = [event for event in trackhooks.journal.read(path) if event.metrics]
            metrics, steps = [event.metrics for event in events], [event.step for event in events]
            storage.bulk_log(project, path.name, metrics, steps, config=PARAMS)


def trackio_storage(folder: Path) -> Any:
    """What trackio's dashboard and its command read: one SQLite file for each project."""
    os.environ["TRACKIO_DIR"] = str(folder / "trackio")
    from trackio.sqlite_storage import SQLiteStorage

    return SQLiteStorage


def uri(folder: Path) -> str:
    """The store of MLflow."""
    return f"sqlite:///{folder}/mlflow.db"


# The readings. Each returns the function to time, after its imports; that returns how many runs or steps it has read.


def time_reading(name: str, folder: Path) -> None:
    """Reads, and hands over how long it took."""
    read = READINGS[name](folder)
    since = time.process_time()
    count = read()
    report({"cpu_s": time.process_time() - since, "count": float(count)})


def list_ours(folder: Path) -> Callable[[], int]:
    """`trackhooks.runs`."""
    return lambda: len(trackhooks.runs(folder / RUNS))


def list_again(folder: Path) -> Callable[[], int]:
    """`trackhooks.runs`, a second time in the same process."""
    trackhooks.runs(folder / RUNS)
    return list_ours(folder)


def list_mlflow(folder: Path) -> Callable[[], int]:
    """All runs, with their parameters and last metrics, as a DataFrame."""
    import mlflow
    import pandas as pd

    mlflow.set_tracking_uri(uri(folder))
    experiments = [found.experiment_id for found in mlflow.search_experiments()]

    def search() -> int:
        found = mlflow.search_runs(experiments)
        assert isinstance(found, pd.DataFrame)
        return len(found)

    return search


def list_tensorboard(folder: Path) -> Callable[[], int]:
    """All values of all runs: event files have no summary."""
    accumulated = accumulator()
    return lambda: sum(1 for path in run_folder.paths(folder / RUNS) if accumulated(path).Tags()["scalars"])


def list_trackio(folder: Path) -> Callable[[], int]:
    """All names and parameters: the metrics have no summary."""
    storage = trackio_storage(folder)
    return lambda: len(storage.get_all_run_configs(RUNS).keys() & set(storage.get_runs(RUNS)))


def compare_ours(folder: Path) -> Callable[[], int]:
    """`trackhooks.compare`, printed."""
    paths = sorted(run_folder.paths(folder / RUNS))[:2]

    def compare() -> int:
        str(trackhooks.compare(paths))
        return len(paths)

    return compare


def compare_tensorboard(folder: Path) -> Callable[[], int]:
    """All values of two runs."""
    accumulated = accumulator()
    paths = sorted(run_folder.paths(folder / RUNS))[:2]
    return lambda: sum(1 for path in paths if accumulated(path).Tags()["scalars"])


def compare_trackio(folder: Path) -> Callable[[], int]:
    """All values of two runs."""
    storage = trackio_storage(folder)
    names = sorted(storage.get_runs(RUNS))[:2]
    return lambda: sum(1 for name in names if storage.get_logs(RUNS, name))


def read_journal(folder: Path) -> Callable[[], int]:
    """Every record."""
    return lambda: sum(1 for _ in trackhooks.journal.read(folder / LONG / "run"))


def read_summary(folder: Path) -> Callable[[], int]:
    """What `runs` shows of it."""
    return lambda: trackhooks.runs(folder / LONG)[0].steps


def read_tensorboard(folder: Path) -> Callable[[], int]:
    """All values."""
    accumulated = accumulator()

    def read() -> int:
        found = accumulated(folder / LONG / "run", {"scalars": 0})
        return max(len(found.Scalars(tag)) for tag in found.Tags()["scalars"])

    return read


def read_trackio(folder: Path) -> Callable[[], int]:
    """All values."""
    storage = trackio_storage(folder)
    return lambda: len(storage.get_logs(LONG, "run"))


def accumulator() -> Callable[..., Any]:
    """What reads the event files of a run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return lambda path, sizes=None: EventAccumulator(str(path), size_guidance=sizes).Reload()


READINGS: dict[str, Callable[[Path], Callable[[], int]]] = {
    "list: trackhooks, first reader": list_ours,
    "list: trackhooks": list_ours,
    "list: trackhooks, again in this process": list_again,
    f"list: {PEERS['mlflow']}": list_mlflow,
    f"list: {PEERS['tensorboard']}": list_tensorboard,
    f"list: {PEERS['trackio']}": list_trackio,
    "compare: trackhooks": compare_ours,
    f"compare: {PEERS['tensorboard']}": compare_tensorboard,
    f"compare: {PEERS['trackio']}": compare_trackio,
    "read: trackhooks, every record": read_journal,
    "read: trackhooks, listed by the first reader": read_summary,
    "read: trackhooks, listed": read_summary,
    f"read: {PEERS['tensorboard']}": read_tensorboard,
    f"read: {PEERS['trackio']}": read_trackio,
}

if __name__ == "__main__":
    main()
