"""Many trainings at once: what their delivery processes take, and whether each tracker has everything exactly once.

Run: python benchmarks/many_at_once.py [--trainings 8,16,32] [--trackers csv,wandb] [--how programs] [--json]

All start together, log for some seconds, and end without waiting for delivery. They share one MLflow store: a SQLite
file, or the one that `--store` names, such as a server's address. `programs` are trainings that were started
separately; `workers` are the processes of a `multiprocessing.Pool` in one program. Then every tracker is read back: the
steps of each run must be there, once each, and no delivery log may have a warning.

The processor time and the memory (PSS: shared pages are divided between the processes that share them) are those of all
processes that deliver, those that the clients start included.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring import Figures
from measuring import trackers as local_trackers
from results import Results

if TYPE_CHECKING:
    import psutil

LOOK_S = 0.25
DEADLINE_S = 1800
STEP_S = 0.05
METRIC = "loss"


def main() -> None:
    """Measures and prints; with `--one` it is a program with one training or with many workers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trainings", default="8,16,32", help="how many, one setting after another")
    parser.add_argument("--trackers", default="csv,tensorboard,mlflow,wandb", help="which of the four")
    parser.add_argument("--how", default="programs,workers", help="which of the two")
    parser.add_argument("--steps", type=int, default=100, help="of each training, 20 a second")
    parser.add_argument("--store", default="", help="MLflow's tracking URI, instead of a SQLite file")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--one", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    options = trackers(chosen.trackers.split(","), chosen.folder, chosen.store)
    if chosen.one:
        HOW[chosen.how](chosen.one, chosen.steps, chosen.folder, options)
        return
    rows, taken = [], {}
    for how in chosen.how.split(","):
        for count in map(int, chosen.trainings.split(",")):
            found = measured(how, count, chosen)
            taken[f"{count} {how}"] = {figure: [value] for figure, value in found.items()}
            rows.append((f"{count} {how}", *(f"{value:.0f}" for value in found.values())))
    results = Results("many_at_once", chosen.json)
    results.table(f"{chosen.trackers}, {chosen.steps} steps", ("", *found), rows, taken)
    results.end()


def trackers(names: list[str], folder: str, store: str) -> dict[str, Any]:
    """The options of the trackers, which all get every step."""
    found = {name: {**local_trackers(folder)[name], "every": 1} for name in names}
    if store and "mlflow" in found:
        found["mlflow"]["tracking_uri"] = store
    return found


# The trainings


def train(number: int, steps: int, folder: str, options: dict[str, Any]) -> None:
    """One training."""
    import trackhooks

    with trackhooks.run(dir=Path(folder, "runs"), name=f"r{number}", wait=0, **options) as run:
        for step in range(steps):
            run.log({METRIC: 1 / (step + 1)}, step=step)
            time.sleep(STEP_S)


def workers(count: int, steps: int, folder: str, options: dict[str, Any]) -> None:
    """Trainings in the worker processes of one program, which records a run itself."""
    import trackhooks

    with trackhooks.run(dir=Path(folder, "runs"), name="search", wait=0, **options) as run:
        run.log({METRIC: 1.0}, step=0)
        with multiprocessing.get_context("spawn").Pool(count) as pool:
            pool.starmap(train, [(number, steps, folder, options) for number in range(count)], chunksize=1)
            pool.close()
            pool.join()


HOW: dict[str, Callable[[int, int, str, dict[str, Any]], None]] = {"programs": train, "workers": workers}


# The measuring


def measured(how: str, count: int, chosen: argparse.Namespace) -> Figures:
    """Starts all trainings, and follows their delivery until every tracker has every run."""
    arguments = [
        __file__,
        "--trackers",
        chosen.trackers,
        "--steps",
        str(chosen.steps),
        "--store",
        chosen.store,
    ]
    with tempfile.TemporaryDirectory(prefix="many-at-once-", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, *arguments, "--how", how, "--folder", folder, "--one"]
        ones = [str(number + 1) for number in range(count)] if how == "programs" else [str(count)]
        since = time.monotonic()
        programs = [subprocess.Popen([*command, one], cwd=folder, stderr=subprocess.DEVNULL) for one in ones]
        watch = _Watch(Path(folder))
        while any(program.poll() is None for program in programs) or watch.delivering:
            watch.look()
            if time.monotonic() - since > DEADLINE_S:
                raise TimeoutError(f"{watch.delivering} processes still deliver after {DEADLINE_S} s")
            time.sleep(LOOK_S)
        took = time.monotonic() - since
        expected = {f"r{number + (how == 'programs')}": chosen.steps for number in range(count)}
        if how == "workers":
            expected["search"] = 1
        lost, doubled = differences(Path(folder), expected, chosen)
        return {
            "delivery CPU, s": watch.cpu_s,
            "delivery PSS at most, MiB": watch.pss_mib,
            "delivery processes at most": watch.most,
            "all delivered after, s": took,
            "lost": lost,
            "doubled": doubled,
            "log lines with a warning": len(list(warnings(Path(folder)))),
        }


class _Watch:
    """The processes that deliver: those that work in the folder, except the programs."""

    def __init__(self, folder: Path) -> None:
        self.pss_mib, self.most, self.delivering = 0.0, 0.0, 1
        self._folder = str(folder)
        self._cpu_s: dict[psutil.Process, float] = {}

    @property
    def cpu_s(self) -> float:
        return sum(self._cpu_s.values())

    def look(self) -> None:
        import psutil

        pss, found = 0, 0
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.cwd() != self._folder or self._is_training(process):
                    continue
                times = process.cpu_times()
                self._cpu_s[process] = times.user + times.system
                pss += process.memory_full_info().pss
                found += any("trackhooks.delivery" in part for part in process.cmdline())
        self.pss_mib, self.most = max(self.pss_mib, pss / 2**20), max(self.most, found)
        self.delivering = found

    def _is_training(self, process: psutil.Process) -> bool:
        command = " ".join(process.cmdline())
        return "many_at_once.py" in command or "multiprocessing" in command


# What the trackers have


def differences(folder: Path, expected: dict[str, int], chosen: argparse.Namespace) -> tuple[int, int]:
    """How many points are missing, and how many are there more than once, in all trackers and runs."""
    lost = doubled = 0
    for name in chosen.trackers.split(","):
        for run, steps in READ[name](folder, expected, chosen.store):
            counted = Counter(steps)
            lost += len(set(range(expected[run])) - set(counted))
            doubled += sum(counted.values()) - len(counted)
    return lost, doubled


def csv_steps(folder: Path, expected: dict[str, int], store: str) -> Iterator[tuple[str, list[int]]]:
    """The steps that each run has."""
    import csv

    for run in expected:
        with Path(folder, "runs", run, "metrics.csv").open(newline="") as file:
            yield run, [int(row["step"]) for row in csv.DictReader(file) if row.get(METRIC)]


def tensorboard_steps(folder: Path, expected: dict[str, int], store: str) -> Iterator[tuple[str, list[int]]]:
    """The steps that each run has."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for run in expected:
        held = EventAccumulator(str(folder / "runs" / run), size_guidance={"scalars": 0}).Reload()
        yield run, [event.step for event in held.Scalars(METRIC)]


def mlflow_steps(folder: Path, expected: dict[str, int], store: str) -> Iterator[tuple[str, list[int]]]:
    """The steps that each run has. A run that is there twice has each step twice."""
    from mlflow import MlflowClient

    client = MlflowClient(store or f"sqlite:///{folder}/mlflow.db")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    for run in expected:
        held = client.search_runs(experiments, f"tags.`trackhooks.id` = '{run_id(folder, run)}'")
        yield (
            run,
            [point.step for one in held for point in client.get_metric_history(one.info.run_id, METRIC)],
        )


def run_id(folder: Path, run: str) -> str:
    """The id of a run, by which MLflow knows it."""
    from trackhooks.storage.run_folder import read_info

    return read_info(folder / "runs" / run).id


def wandb_steps(folder: Path, expected: dict[str, int], store: str) -> Iterator[tuple[str, list[int]]]:
    """The steps that each run has."""
    import json

    for run in expected:
        steps = []
        for log in Path(folder, "runs", run).glob("wandb/offline-run-*/*.wandb"):
            command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(log)]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            records = [json.loads(line) for line in printed.splitlines()]
            items = [record["history"]["item"] for record in records if record["type"] == "history"]
            steps += [int(item["step"]) for item in items if METRIC in item]
        yield run, steps


READ: dict[str, Callable[[Path, dict[str, int], str], Iterator[tuple[str, list[int]]]]] = {
    "csv": csv_steps,
    "tensorboard": tensorboard_steps,
    "mlflow": mlflow_steps,
    "wandb": wandb_steps,
}


def warnings(folder: Path) -> Iterator[str]:
    """The lines of delivery logs that are warnings or errors, or that name a lock."""
    for log in folder.glob("runs/*/delivery/log"):
        for line in log.read_text(errors="replace").splitlines():
            if any(word in line for word in (" WARNING ", " ERROR ", "Error", "locked")):
                print(f"{log.parent.parent.name}: {line}", file=sys.stderr)
                yield line


if __name__ == "__main__":
    main()
