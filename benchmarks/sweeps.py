"""Searches: what it costs to record their trials, and whether each tracker has everything exactly once.

Run: python benchmarks/sweeps.py [--trials 20] [--trackers csv,tensorboard,mlflow,wandb] [--only optuna,ray,train]

Each search trains its trials two at once, once without trackhooks and once with it: Optuna in threads, Ray Tune in
processes. A trial reports a loss 20 times and computes for 10 ms between two reports. `train` is one training of Ray
Train with two workers, which must be one run. The program ends when everything is delivered. Then every tracker is read
back.

The processor time is that of the program and everything that it starts: Ray's processes and the delivery included.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from many_at_once import METRIC, differences
from measuring import trackers as local_trackers
from results import Results

LOOK_S = 0.2
WAIT_S = 600.0
REPORTS = 20
WORK_S = 0.01


def main() -> None:
    """Measures and prints; with `--search` it is the program with the search."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20, help="of each search")
    parser.add_argument("--trackers", default="csv,tensorboard,mlflow,wandb", help="which of the four")
    parser.add_argument("--only", default="optuna,ray,train", help="which of the three")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--store", default="", help=argparse.SUPPRESS)
    parser.add_argument("--search", default="", help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.search:
        SEARCHES[chosen.search](chosen.trials, None if chosen.plain else _trackers(chosen.trackers))
        return
    rows = [_row(search, chosen) for search in chosen.only.split(",")]
    columns = ("", "s without", "s with", "CPU s without", "CPU s with", "runs", "lost", "doubled")
    results = Results("sweeps", chosen.json)
    results.table(f"{chosen.trials} trials, {REPORTS} reports each, {chosen.trackers}", columns, rows)
    results.end()


def _trackers(names: str) -> dict[str, Any]:
    found = local_trackers(str(Path.cwd()))
    return {name: {**found[name], "every": 1} for name in names.split(",")}


# The searches


def work() -> None:
    """Compute between two reports."""
    until = time.thread_time() + WORK_S
    while time.thread_time() < until:
        pass


def optuna(trials: int, options: dict[str, Any] | None) -> None:
    """Two trials at once, in threads."""
    import optuna

    from trackhooks_integrations.sweeps.optuna import record_trials

    def objective(trial: optuna.Trial, run: Any = None) -> float:
        rate = trial.suggest_float("lr", 0.01, 0.3)
        for report in range(REPORTS):
            work()
            if run is not None:
                run.log({METRIC: (1 - rate) ** report})
        return (1 - rate) ** REPORTS

    recorded = objective if options is None else record_trials(wait=WAIT_S, **options)(objective)
    study = optuna.create_study(study_name="digits")
    study.optimize(recorded, n_trials=trials, n_jobs=2)


def ray(trials: int, options: dict[str, Any] | None) -> None:
    """Two trials at once, in processes that are used again."""
    import ray
    from ray import tune

    from trackhooks_integrations.sweeps.ray import record_trials

    def objective(config: dict[str, float]) -> None:
        for report in range(REPORTS):
            work()
            tune.report({METRIC: (1 - config["lr"]) ** report})

    _start_ray()
    callbacks = [] if options is None else [record_trials(wait=WAIT_S, **options)]
    place = tune.RunConfig(
        name="digits", storage_path=str(Path("ray").resolve()), callbacks=callbacks, verbose=0
    )
    how = tune.TuneConfig(num_samples=trials, max_concurrent_trials=2, reuse_actors=True)
    tune.Tuner(
        objective, param_space={"lr": tune.uniform(0.01, 0.3)}, tune_config=how, run_config=place
    ).fit()
    ray.shutdown()


def train(trials: int, options: dict[str, Any] | None) -> None:
    """One training with two workers."""
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    def worker(config: dict[str, str]) -> None:
        import trackhooks

        with trackhooks.run(
            dir=config["dir"], delivery="off" if options is None else None, **(options or {})
        ) as run:
            for report in range(REPORTS):
                work()
                run.log({METRIC: 1 / (1 + report)})
        assert run.wait(WAIT_S)

    _start_ray()
    where = str(Path("plain" if options is None else "runs").resolve())
    place = RunConfig(name="train", storage_path=str(Path("ray").resolve()))
    scaling = ScalingConfig(num_workers=2)
    TorchTrainer(worker, train_loop_config={"dir": where}, scaling_config=scaling, run_config=place).fit()
    ray.shutdown()


def _start_ray() -> None:
    import ray

    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False)


SEARCHES: dict[str, Callable[[int, dict[str, Any] | None], None]] = {
    "optuna": optuna,
    "ray": ray,
    "train": train,
}


# The measuring


def _row(search: str, chosen: argparse.Namespace) -> tuple[str, ...]:
    with tempfile.TemporaryDirectory(prefix="sweeps-", ignore_cleanup_errors=True) as folder:
        plain = _measured(search, chosen, Path(folder), "--plain")
        ours = _measured(search, chosen, Path(folder))
        runs = [path.parent.name for path in Path(folder, "runs").glob("*/run.json")]
        lost, doubled = differences(Path(folder), dict.fromkeys(runs, REPORTS), chosen)
    times = (f"{value:.1f}" for pair in zip(plain, ours, strict=True) for value in pair)
    return (search, *times, str(len(runs)), str(lost), str(doubled))


def _measured(search: str, chosen: argparse.Namespace, folder: Path, *more: str) -> tuple[float, float]:
    """Runs the program with the search. Returns its seconds, and the processor seconds of all its processes."""
    import psutil

    arguments = ["--search", search, "--trials", str(chosen.trials), "--trackers", chosen.trackers, *more]
    cpu: dict[psutil.Process, float] = {}
    since = time.monotonic()
    with Path(folder, "output").open("wb") as output:
        program = psutil.Popen(
            [sys.executable, __file__, *arguments], cwd=folder, stdout=output, stderr=output
        )
        while program.poll() is None:
            with contextlib.suppress(psutil.Error):
                for process in (program, *program.children(recursive=True)):
                    with contextlib.suppress(psutil.Error):
                        times = process.cpu_times()
                        cpu[process] = times.user + times.system
            time.sleep(LOOK_S)
    if program.returncode:
        raise RuntimeError(f"{json.dumps(arguments)} failed:\n{Path(folder, 'output').read_text()}")
    return time.monotonic() - since, sum(cpu.values())


if __name__ == "__main__":
    main()
