"""Whole trainings with the same four dashboards, by trackhooks and by the loggers that their frameworks come with.

Run: python benchmarks/next_to_clients.py [--rounds 2] [--epochs 40] [--loops torch,keras,lightning,yolo] [--json]

Whole scripts take turns, each at a terminal's prompt: without logging, with trackhooks to CSV, TensorBoard, MLflow
(SQLite) and W&B (offline), and with what people use today for the same four, in the loop:

- PyTorch, 1 to 1.5 ms a batch: `csv.writer`, torch's SummaryWriter, `mlflow.log_metrics`, W&B's `run.log`;
- Keras' fit: CSVLogger, TensorBoard, MLflow's callback, and W&B's;
- Lightning: CSVLogger, TensorBoardLogger, MLFlowLogger, WandbLogger;
- YOLO nano on drawn images: Ultralytics' own integrations; results.csv is written in every case, and `--epochs` is
  divided by 4.

All log every batch and every epoch, so that all dashboards have the same points; Ultralytics' own and Keras' CSVLogger
log epochs only. Keras' and W&B's callbacks need TensorFlow: all of Keras' scripts run in an environment with it,
which `make bench` makes.

Measured of each script: the loop (wall and processor time of the training process), its memory at the end of the loop,
the start (import of the loggers, until they are open), and from the end of the loop to everything delivered and to the
prompt.

Promised: at most a third of the time that the clients add to the loop, and at most a third of the time that they add
until the prompt.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sqlite3
import sys
import time
from argparse import SUPPRESS
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from measuring import (
    Figures,
    arguments,
    at_a_prompt,
    by_turns,
    hand_over,
    median,
    python_of,
    ratio,
    spread,
    trackers,
)
from results import Results, Taken
from trainings import Clock, Loop, keras_fit, lightning_fit, torch_loop, yolo_training

WITHOUT, OURS, CLIENTS = "without", "trackhooks", "clients"
CANDIDATES = (WITHOUT, OURS, CLIENTS)
BATCHES = 23
LABELS = {"torch": "PyTorch", "keras": "Keras", "lightning": "Lightning", "yolo": "YOLO"}
ENVIRONMENT = {
    "GIT_PYTHON_REFRESH": "quiet",
    "KERAS_BACKEND": "torch",
    "MLFLOW_TRACKING_URI": "sqlite:///{folder}/mlflow.db",
    "OMP_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "YOLO_CONFIG_DIR": "{folder}/settings",
    "YOLO_OFFLINE": "1",
}


def main() -> None:
    """Measures and prints; with `--one` it is one of the scripts that are measured."""
    parser = arguments(__doc__, 2)
    parser.add_argument("--epochs", type=int, default=40, help="of 23 batches; YOLO: a quarter, of 2 batches")
    parser.add_argument("--loops", default=",".join(LABELS), help="which trainings")
    parser.add_argument("--environments", default=sys.prefix, help="the folder with those of `make bench`")
    parser.add_argument("--one", help=SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        train(chosen.loops, chosen.one, chosen.epochs)
        return
    results = Results("next_to_clients", chosen.json)
    loops = chosen.loops.split(",")
    candidates = {
        f"{LABELS[loop]}, {one}": functools.partial(measure, loop, one, chosen)
        for loop in loops
        for one in CANDIDATES
    }
    taken = by_turns(candidates, chosen.rounds, chosen.seconds, results.failed)
    for loop in loops:
        show(
            results,
            LABELS[loop],
            {name: found for name, found in taken.items() if name.startswith(LABELS[loop])},
        )
    results.end()


def measure(loop: str, candidate: str, chosen: Any) -> Figures:
    """One script."""
    epochs = chosen.epochs if loop != "yolo" else max(1, chosen.epochs // 4)
    command = (os.path.realpath(__file__), "--loops", loop, "--epochs", str(epochs), "--one", candidate)
    python = python_of(chosen.environments, "tensorflow") if loop == "keras" else sys.executable
    rows = epochs if loop == "yolo" else epochs * BATCHES
    check = None if candidate == WITHOUT else functools.partial(check_stored, rows=rows)
    return at_a_prompt(*command, env=ENVIRONMENT, python=python, check=check)


def check_stored(folder: Path, rows: int) -> None:
    """All four have their files, and MLflow at least so many values; a delivery of trackhooks is complete.

    Raises:
        RuntimeError: something is missing.
    """
    from trackhooks.delivery import cursor
    from trackhooks.storage import journal, run_folder

    patterns = ("**/*.csv", "**/events.out*", "mlflow.db", "**/*.wandb")
    missing = [pattern for pattern in patterns if not list(folder.glob(pattern))]
    if missing:
        raise RuntimeError(f"nothing was logged to {', '.join(missing)}")
    with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as database:
        (found,) = database.execute("select count(*) from metrics").fetchone()
    if found < rows:
        raise RuntimeError(f"MLflow has {found} values instead of at least {rows}")
    for path in run_folder.paths(folder / "runs"):
        offsets = [one.offset for one in cursor.cursors(path)]
        if len(offsets) != len(trackers("")) or min(offsets) < journal.path_of(path).stat().st_size:
            raise RuntimeError(f"not everything was delivered: {offsets}")


def show(results: Results, loop: str, taken: Taken) -> None:
    """A table of one training, with its promises."""
    if f"{loop}, {WITHOUT}" not in taken:
        return
    base = taken[f"{loop}, {WITHOUT}"]
    rows = [
        (
            name.partition(", ")[2],
            spread(found["loop_s"], 1),
            ratio(found["loop_s"], base["loop_s"]),
            ratio(found["loop_cpu_s"], base["loop_cpu_s"]),
            spread(found["rss_mib"], 0),
            spread(found["start_s"], 1),
            spread(found["delivered_s"], 1),
            spread(found["prompt_s"], 1),
            spread(found["wall_s"], 1),
        )
        for name, found in taken.items()
    ]
    columns = (
        "logged by",
        "loop, s",
        "×",
        "processor time, ×",
        "memory, MiB",
        "start, s",
        "loop's end to delivered, s",
        "to the prompt, s",
        "script, s",
    )
    results.table(f"A training with four dashboards: {loop}", columns, rows, taken)
    for figure, what in (("loop_s", "loop"), ("wall_s", "script, to the prompt")):
        ours, theirs = (
            median(taken, f"{loop}, {one}", figure) - median(taken, f"{loop}, {WITHOUT}", figure)
            for one in (OURS, CLIENTS)
        )
        share = max(ours, 0.0) / theirs if theirs > 0 else math.nan  # NaN, if one was not measured
        claim = f"{loop}: what is added to the {what}, next to the clients"
        results.promise("Next to the peers", claim, share, at_most=1 / 3, unit="×")


# The script that is measured


class Logging(NamedTuple):
    """How a training is logged: what its loop takes, and what is called after it."""

    given: dict[str, Any]
    close: Callable[[], Any] = lambda: None


def train(loop: str, candidate: str, epochs: int) -> None:
    """Trains, hands over what it took, and closes the loggers."""
    clock = Clock()
    import_framework(loop)
    since = time.perf_counter()
    logging = start(loop, candidate)
    start_s = time.perf_counter() - since
    run_loop = LOOPS[loop](clock, **logging.given)
    wall, cpu = time.perf_counter(), time.process_time()
    run_loop(epochs)
    figures = {
        "start_s": start_s,
        "loop_s": time.perf_counter() - wall,
        "loop_cpu_s": time.process_time() - cpu,
        "loop_ended": time.time(),
        "rss_mib": rss_mib(),
    }
    logging.close()
    hand_over(figures)


def import_framework(loop: str) -> None:
    """What the script would import without any logger; Ultralytics' own integrations are switched off."""
    __import__({"torch": "torch", "lightning": "lightning.pytorch", "yolo": "ultralytics"}.get(loop, loop))
    if loop == "yolo":
        from ultralytics import settings

        settings.update(dict.fromkeys(("mlflow", "raytune", "tensorboard", "wandb"), False))


def rss_mib() -> float:
    """What this process takes now."""
    import psutil

    return float(psutil.Process().memory_info().rss / 2**20)


def start(loop: str, candidate: str) -> Logging:
    """The loggers, open."""
    if candidate == WITHOUT:
        return Logging({})
    if candidate == CLIENTS:
        return CLIENTS_OF[loop]()
    return ours(loop)


def ours(loop: str) -> Logging:
    """trackhooks, with every batch in every tracker."""
    import trackhooks

    options: dict[str, Any] = {name: {**options, "every": 1} for name, options in trackers(".").items()}
    options["mlflow"]["tracking_uri"] = os.environ["MLFLOW_TRACKING_URI"]
    if loop == "torch":
        run = trackhooks.run(**options)
        return Logging({"run": run}, run.close)
    trackhooks.enable(**options)
    return Logging({})


def clients_of_torch() -> Logging:
    """What is called in a custom loop."""
    import csv

    import mlflow
    import wandb
    from torch.utils.tensorboard import SummaryWriter

    file = Path("metrics.csv").open("w", newline="")  # noqa: SIM115 - as long as the training
    rows, writer = csv.writer(file), SummaryWriter("tensorboard")
    mlflow.start_run()
    run = wandb.init(settings=wandb.Settings(console="off"))

    def log(metrics: dict[str, float], step: int) -> None:
        rows.writerow([step, *metrics.items()])
        for name, value in metrics.items():
            writer.add_scalar(name, value, step)
        mlflow.log_metrics(metrics, step)
        run.log(metrics)

    def close() -> None:
        file.close()
        writer.close()
        mlflow.end_run()
        run.finish()

    return Logging({"log": log}, close)


def clients_of_keras() -> Logging:
    """The callbacks of Keras, MLflow and W&B."""
    import keras
    import mlflow
    import wandb
    from wandb.integration.keras import WandbMetricsLogger

    mlflow.start_run()
    run = wandb.init(settings=wandb.Settings(console="off"))
    callbacks = [
        keras.callbacks.CSVLogger("metrics.csv"),
        keras.callbacks.TensorBoard("tensorboard", update_freq="batch"),
        mlflow.keras.MlflowCallback(log_every_epoch=False, log_every_n_steps=1),
        WandbMetricsLogger(log_freq="batch"),
    ]

    def close() -> None:
        mlflow.flush_async_logging()
        mlflow.end_run()
        run.finish()

    return Logging({"callbacks": callbacks}, close)


def clients_of_lightning() -> Logging:
    """The loggers of Lightning."""
    from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger, WandbLogger

    loggers: Sequence[Any] = (
        CSVLogger("."),
        TensorBoardLogger("tensorboard"),
        MLFlowLogger(tracking_uri=os.environ["MLFLOW_TRACKING_URI"]),
        WandbLogger(offline=True),
    )
    for logger in loggers:
        _ = logger.experiment  # opens it

    return Logging({"loggers": loggers}, lambda: __import__("wandb").finish())


def clients_of_yolo() -> Logging:
    """Ultralytics' own integrations: the trainer opens and closes them."""
    from ultralytics import settings

    settings.update({"tensorboard": True, "mlflow": True, "wandb": True})
    return Logging({})


def yolo(clock: Clock) -> Loop:
    """The training; to import its data from the tests switches off MLflow's integration."""
    from ultralytics import settings

    mlflow = settings["mlflow"]
    loop = yolo_training(clock)
    settings.update({"mlflow": mlflow})
    return loop


LOOPS: dict[str, Callable[..., Loop]] = {
    "torch": torch_loop,
    "keras": keras_fit,
    "lightning": lightning_fit,
    "yolo": yolo,
}
CLIENTS_OF: dict[str, Callable[[], Logging]] = {
    "torch": clients_of_torch,
    "keras": clients_of_keras,
    "lightning": clients_of_lightning,
    "yolo": clients_of_yolo,
}


if __name__ == "__main__":
    main()
