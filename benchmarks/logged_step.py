"""What one logged step costs the thread that trains: trackhooks next to everything that people log with today.

Run: python benchmarks/logged_step.py [--rounds 3] [--steps 2000] [--only trackio,aim] [--json]

Each candidate is a separate process, and the processes take turns. It logs so many steps with 3 metrics and then with
30, in a row, for at most a second each; a figure is the median step or the one that 99 of 100 steps do not exceed.
Then it closes its logger, which is timed too, and reads back with the logger's own reader how many steps were stored:
a candidate that has not stored all of them is not measured. MLflow writes to a SQLite file and W&B is offline.
Ultralytics' callbacks and Keras' CSVLogger log epochs: here they are called once a step. trackhooks gives every step to
each tracker. Keras' TensorBoard callback needs TensorFlow; it, trackio, aim and dvclive run in other environments,
which `make bench` makes.

Promised: see hot_path.py, which measures trackhooks and its floor in one process.
"""

from __future__ import annotations

import functools
import os
import sys
import tempfile
import time
from argparse import SUPPRESS
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from measuring import Figures, arguments, by_turns, measured, median, python_of, report, spread, trackers
from results import Results

Metrics = dict[str, float]
SIZES = (3, 30)
WARM_UP = 20
ENOUGH_S = 1.0
ENVIRONMENT = {
    "GIT_PYTHON_REFRESH": "quiet",
    "KERAS_BACKEND": "torch",
    "OMP_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "YOLO_OFFLINE": "1",
}


class Logger(NamedTuple):
    """A way to log a step.

    log: what is timed.
    close: until everything is stored.
    stored: how many steps of the 3 metrics, and of the 30, its own reader finds afterwards.
    before: what a framework would have done before it logs; not timed.
    """

    log: Callable[[int, Metrics], Any]
    close: Callable[[], Any]
    stored: Callable[[], tuple[int, int]]
    before: Callable[[int], Any] = lambda step: None


def metrics_of(size: int) -> Metrics:
    """So many metrics; no name is in both sizes."""
    return {f"of{size}_{number}": 0.5 + number for number in range(size)}


FIRST = tuple(next(iter(metrics_of(size))) for size in SIZES)
"""A metric of each size: so often as it is stored, a step is."""


def main() -> None:
    """Measures and prints; with `--one` it is one of the processes that are measured."""
    parser = arguments(__doc__, 3)
    parser.add_argument("--steps", type=int, default=2000, help="at most, of each size")
    parser.add_argument("--only", default=",".join(LOGGERS), help="which candidates")
    parser.add_argument("--environments", default=sys.prefix, help="the folder with those of `make bench`")
    parser.add_argument("--one", help=SUPPRESS)
    parser.add_argument("--folder", default="", help=SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        time_steps(chosen.one, Path(chosen.folder), chosen.steps)
        return
    results = Results("logged_step", chosen.json)
    candidates = {
        name: functools.partial(measure, name, chosen.steps, chosen.environments)
        for name in chosen.only.split(",")
    }
    taken = by_turns(candidates, chosen.rounds, chosen.seconds, results.failed)
    columns = (
        "logged by",
        "3 metrics, µs",
        "99 %",
        "30 metrics, µs",
        "99 %",
        "close, s",
        "import and open, s",
    )
    rows = [
        (
            name,
            spread(found["of3_us"], 1),
            f"{median(taken, name, 'of3_p99_us'):,.0f}",
            spread(found["of30_us"], 1),
            f"{median(taken, name, 'of30_p99_us'):,.0f}",
            spread(found["close_s"], 1),
            spread(found["open_s"], 1),
        )
        for name, found in taken.items()
    ]
    results.table("A logged step", columns, rows, taken)
    results.end()


def measure(name: str, steps: int, environments: str) -> Figures:
    """One candidate, in a separate process.

    Raises:
        RuntimeError: it failed, or the environment that it needs is missing.
    """
    python = python_of(environments, PEERS[name]) if name in PEERS else sys.executable
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        env = {**ENVIRONMENT, "TRACKIO_DIR": f"{folder}/trackio", "YOLO_CONFIG_DIR": f"{folder}/yolo"}
        command = (os.path.realpath(__file__), "--one", name, "--folder", folder, "--steps", str(steps))
        return measured(*command, env=env, python=python)


def time_steps(name: str, folder: Path, steps: int) -> None:
    """Logs all steps, and hands over what they took.

    Raises:
        RuntimeError: not all of them were stored.
    """
    os.chdir(folder)
    since = time.perf_counter()
    logger = LOGGERS[name](folder)
    figures = {"open_s": time.perf_counter() - since}
    first, done = 1, []
    for size in SIZES:
        times = times_of(logger, first, steps, metrics_of(size))
        ordered = sorted(times[min(WARM_UP, len(times) - 1) :])
        figures[f"of{size}_us"] = ordered[len(ordered) // 2] / 1000
        figures[f"of{size}_p99_us"] = ordered[len(ordered) * 99 // 100] / 1000
        first += len(times)
        done.append(len(times))
    since = time.perf_counter()
    logger.close()
    figures["close_s"] = time.perf_counter() - since
    stored = logger.stored()
    if [*stored] != done:
        raise RuntimeError(f"{name} logged {done} steps and stored {[*stored]}")
    report(figures)


def times_of(logger: Logger, first: int, steps: int, metrics: Metrics) -> list[int]:
    """Nanoseconds of each step, in the order in which they were logged."""
    log, before, clock = logger.log, logger.before, time.perf_counter_ns
    times: list[int] = []
    enough = clock() + int(ENOUGH_S * 1e9)
    for step in range(first, first + steps):
        before(step)
        given = dict(metrics)
        since = clock()
        log(step, given)
        now = clock()
        times.append(now - since)
        if now > enough:
            break
    return times


# trackhooks, and what it cannot be faster than


def floor(folder: Path) -> Logger:
    """Encode, checksum, one `os.write`: what no record that survives a kill can do without."""
    import zlib

    import msgspec

    encode = msgspec.msgpack.Encoder().encode
    path = folder / "floor"
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def log(step: int, metrics: Metrics) -> None:
        now = time.time()
        record = {"hook": "on_train_batch_end", "index": step, "time": now, "step": step, "metrics": metrics}
        payload = encode(record)
        os.write(file, zlib.crc32(payload).to_bytes(4, "little") + payload)

    def stored() -> tuple[int, int]:
        written = path.read_bytes()
        return counted(written.count(name.encode() + b"\xcb") for name in FIRST)

    return Logger(log, lambda: os.close(file), stored)


def trackhooks_to(*names: str) -> Callable[[Path], Logger]:
    """The training-batch hook of a run with these trackers; none only records."""

    def make(folder: Path) -> Logger:
        import trackhooks

        options: dict[str, Any] = {name: {**trackers(str(folder))[name], "every": 1} for name in names}
        run = trackhooks.run(dir=folder, delivery=None if names else "off", **options)
        run.callbacks.on_train_begin()
        run.callbacks.on_epoch_begin(0)
        log = run.callbacks.on_train_batch_end

        def close() -> None:
            run.callbacks.on_train_end()
            run.close()
            if not run.wait(120):
                raise RuntimeError("not everything was delivered in 120 s")

        def stored() -> tuple[int, int]:
            if "mlflow" in names:
                return in_mlflow(folder, prefix="train_batch/")
            events = [event.metrics for event in trackhooks.journal.read(run.path) if event.metrics]
            return counted(sum(f"train_batch/{name}" in metrics for metrics in events) for name in FIRST)

        return Logger(log, close, stored)

    return make


def counted(numbers: Any) -> tuple[int, int]:
    """Two numbers."""
    of_3, of_30 = numbers
    return of_3, of_30


# Files


def csv_writer(folder: Path) -> Logger:
    """Python's csv.writer into a buffered file: nothing survives a kill."""
    import csv

    files = {size: (folder / f"{size}.csv").open("w", newline="") for size in SIZES}
    rows = {size: csv.writer(file) for size, file in files.items()}

    def log(step: int, metrics: Metrics) -> None:
        rows[len(metrics)].writerow([step, time.time(), *metrics.values()])

    def close() -> None:
        for file in files.values():
            file.close()

    return Logger(log, close, lambda: counted(lines(folder / f"{size}.csv") for size in SIZES))


def lines(path: Path) -> int:
    """How many lines a file has."""
    return len(path.read_text().splitlines())


def summary_writer(folder: Path) -> Logger:
    """Torch's SummaryWriter."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))

    def log(step: int, metrics: Metrics) -> None:
        for name, value in metrics.items():
            writer.add_scalar(name, value, step)

    return Logger(log, writer.close, lambda: in_event_files(folder))


def event_file_writer(folder: Path) -> Logger:
    """TensorBoard's own writer of event files, with one event a step."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))

    def log(step: int, metrics: Metrics) -> None:
        values = [Summary.Value(tag=name, simple_value=value) for name, value in metrics.items()]
        writer.add_event(Event(step=step, wall_time=time.time(), summary=Summary(value=values)))

    return Logger(log, writer.close, lambda: in_event_files(folder))


def in_event_files(folder: Path, prefix: str = "") -> tuple[int, int]:
    """How many values of each size TensorBoard's reader finds."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    tags = found.Tags()

    def values(name: str) -> int:
        return len(found.Scalars(name) if name in tags["scalars"] else found.Tensors(name))

    return counted(values(prefix + name) for name in FIRST)


# Clients


def wandb_offline(folder: Path) -> Logger:
    """W&B's `run.log`."""
    import wandb

    run = wandb.init(mode="offline", dir=folder, settings=wandb.Settings(console="off"))
    return Logger(lambda step, metrics: run.log(metrics, step=step), run.finish, lambda: in_wandb(folder))


def in_wandb(folder: Path) -> tuple[int, int]:
    """How many rows with each size the file of a run has, read by W&B's own reader."""
    import json
    import subprocess

    (path,) = folder.glob("**/*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [found["history"]["item"] for found in map(json.loads, printed.splitlines()) if "history" in found]
    return counted(sum(name in row for row in rows) for name in FIRST)


def mlflow_run(folder: Path) -> Any:
    """MLflow's fluent functions, with a run open in a SQLite store."""
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    mlflow.start_run()
    return mlflow


def mlflow_sync(folder: Path) -> Logger:
    """`mlflow.log_metrics`."""
    mlflow = mlflow_run(folder)
    return Logger(
        lambda step, metrics: mlflow.log_metrics(metrics, step), mlflow.end_run, lambda: in_mlflow(folder)
    )


def mlflow_async(folder: Path) -> Logger:
    """`mlflow.log_metrics(…, synchronous=False)`."""
    mlflow = mlflow_run(folder)

    def log(step: int, metrics: Metrics) -> None:
        mlflow.log_metrics(metrics, step, synchronous=False)

    return Logger(log, lambda: mlflow_closed(mlflow), lambda: in_mlflow(folder))


def mlflow_closed(mlflow: Any) -> None:
    """Everything is stored, and the run is ended."""
    mlflow.flush_async_logging()
    mlflow.end_run()


def in_mlflow(folder: Path, prefix: str = "") -> tuple[int, int]:
    """How many values of each size MLflow's client finds in the only run."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiments = [found.experiment_id for found in client.search_experiments()]
    (run,) = client.search_runs(experiments)
    return counted(len(client.get_metric_history(run.info.run_id, prefix + name)) for name in FIRST)


# Lightning's loggers


def lightning_csv(folder: Path) -> Logger:
    """Lightning's CSVLogger, saved every 100 steps, as it does by default."""
    import csv

    from lightning.pytorch.loggers import CSVLogger

    logger = CSVLogger(str(folder), flush_logs_every_n_steps=100)

    def stored() -> tuple[int, int]:
        (path,) = folder.glob("**/metrics.csv")
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        return counted(sum(bool(row.get(name)) for row in rows) for name in FIRST)

    return Logger(
        lambda step, metrics: logger.log_metrics({**metrics}, step),
        lambda: logger.finalize("success"),
        stored,
    )


def lightning_tensorboard(folder: Path) -> Logger:
    """Lightning's TensorBoardLogger."""
    from lightning.pytorch.loggers import TensorBoardLogger

    logger = TensorBoardLogger(str(folder))
    return Logger(
        lambda step, metrics: logger.log_metrics({**metrics}, step),
        lambda: logger.finalize("success"),
        lambda: in_event_files(Path(logger.log_dir)),
    )


# Keras' callbacks


def keras_model() -> Any:
    """A compiled model, which callbacks ask for their parameters."""
    import keras

    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def keras_csv(folder: Path) -> Logger:
    """Keras' CSVLogger: a file for each size, since its columns are those of the first epoch."""
    import keras

    model = keras_model()
    callbacks = {size: keras.callbacks.CSVLogger(str(folder / f"{size}.csv")) for size in SIZES}
    for callback in callbacks.values():
        callback.set_model(model)
        callback.on_train_begin()

    def close() -> None:
        for callback in callbacks.values():
            callback.on_train_end()

    def stored() -> tuple[int, int]:
        return counted(lines(folder / f"{size}.csv") - 1 for size in SIZES)

    return Logger(lambda step, metrics: callbacks[len(metrics)].on_epoch_end(step, metrics), close, stored)


def keras_tensorboard(folder: Path) -> Logger:
    """Keras' TensorBoard with `update_freq="batch"`."""
    import keras

    callback = keras.callbacks.TensorBoard(str(folder), update_freq="batch", write_graph=False)
    callback.set_model(keras_model())
    callback.on_train_begin()
    callback.on_epoch_begin(0)

    def log(step: int, metrics: Metrics) -> None:
        callback.on_train_batch_begin(step)
        callback.on_train_batch_end(step, metrics)

    def stored() -> tuple[int, int]:
        return in_event_files(folder / "train", prefix="batch_")

    return Logger(log, callback.on_train_end, stored)


def keras_mlflow(folder: Path) -> Logger:
    """MLflow's callback for Keras, each batch; it logs asynchronously."""
    mlflow = mlflow_run(folder)
    callback = mlflow.keras.MlflowCallback(log_every_epoch=False, log_every_n_steps=1)
    model = keras_model()
    callback.set_model(model)
    return Logger(
        lambda step, metrics: callback.on_train_batch_end(step, metrics),
        lambda: mlflow_closed(mlflow),
        lambda: in_mlflow(folder),
        before=lambda step: model.optimizer.iterations.assign(step),
    )


# Ultralytics' own: they log epochs


def ultralytics_trainer(folder: Path, **settings: bool) -> Any:
    """A trainer of a small model, before its first epoch."""
    sys.path.append(str(Path(__file__).resolve().parent.parent / "tests" / "support"))
    import ultralytics
    from ultralytics.models.yolo.detect import DetectionTrainer
    from yolo import Shapes

    ultralytics.settings.update(settings)
    trainer = DetectionTrainer(overrides=Shapes(folder).overrides(project="bench"))
    trainer.plots = {}
    trainer.validator = type("NoPlots", (), {"plots": {}})
    trainer.train_time_start = time.time()
    return trainer


def ultralytics_csv(folder: Path) -> Logger:
    """Ultralytics' results.csv."""
    trainer = ultralytics_trainer(folder)
    paths = {size: Path(folder, f"{size}.csv") for size in SIZES}  # its columns are those of the first epoch

    def log(step: int, metrics: Metrics) -> None:
        trainer.epoch, trainer.csv = step, paths[len(metrics)]
        trainer.save_metrics(metrics)

    return Logger(log, lambda: None, lambda: counted(lines(path) - 1 for path in paths.values()))


def ultralytics_hook(trainer: Any, module: Any) -> Callable[[int, Metrics], None]:
    """Its callback for the end of an epoch."""
    on_fit_epoch_end = module.callbacks["on_fit_epoch_end"]

    def log(step: int, metrics: Metrics) -> None:
        trainer.epoch, trainer.metrics = step, metrics
        on_fit_epoch_end(trainer)

    return log


def ultralytics_tensorboard(folder: Path) -> Logger:
    """Ultralytics' callback for TensorBoard."""
    trainer = ultralytics_trainer(folder, tensorboard=True)
    from ultralytics.utils.callbacks import tensorboard

    tensorboard.on_pretrain_routine_start(trainer)
    return Logger(
        ultralytics_hook(trainer, tensorboard),
        lambda: tensorboard.teardown(trainer),
        lambda: in_event_files(trainer.save_dir),
    )


def ultralytics_mlflow(folder: Path) -> Logger:
    """Ultralytics' callback for MLflow."""
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    trainer = ultralytics_trainer(folder, mlflow=True)
    import mlflow as client
    from ultralytics.utils.callbacks import mlflow

    mlflow.on_pretrain_routine_end(trainer)
    return Logger(ultralytics_hook(trainer, mlflow), client.end_run, lambda: in_mlflow(folder))


def ultralytics_wandb(folder: Path) -> Logger:
    """Ultralytics' callback for W&B."""
    trainer = ultralytics_trainer(folder, wandb=True)
    import wandb as client
    from ultralytics.utils.callbacks import wb

    wb.on_pretrain_routine_end(trainer)
    return Logger(ultralytics_hook(trainer, wb), client.finish, lambda: in_wandb(Path(trainer.save_dir)))


# Others, from an environment of `make bench`


def trackio(folder: Path) -> Logger:
    """trackio, into its local database."""
    import trackio

    trackio.init(project="bench", name="bench", embed=False, auto_log_gpu=False, auto_log_cpu=False)

    def stored() -> tuple[int, int]:
        from trackio.sqlite_storage import SQLiteStorage

        logs = SQLiteStorage.get_logs("bench", "bench")
        return counted(sum(name in log for log in logs) for name in FIRST)

    return Logger(lambda step, metrics: trackio.log(metrics, step=step), trackio.finish, stored)


def aim(folder: Path) -> Logger:
    """Aim's `run.track`, into its local repository."""
    from aim import Run

    run = Run(repo=str(folder), system_tracking_interval=None, capture_terminal_logs=False)

    def stored() -> tuple[int, int]:
        found = Run(run.hash, repo=str(folder), system_tracking_interval=None)  # read-only finds no metrics
        metrics = {metric.name: len(metric.values.sparse_list()[0]) for metric in found.metrics()}
        return counted(metrics[name] for name in FIRST)

    return Logger(lambda step, metrics: run.track(metrics, step=step), run.close, stored)


def dvclive(folder: Path) -> Logger:
    """DVCLive, which writes a file for each metric and its summary at each step."""
    from dvclive import Live

    live = Live(str(folder / "live"), save_dvc_exp=False, dvcyaml=None)

    def log(step: int, metrics: Metrics) -> None:
        for name, value in metrics.items():
            live.log_metric(name, value)
        live.next_step()

    def stored() -> tuple[int, int]:
        return counted(lines(folder / "live" / "plots" / "metrics" / f"{name}.tsv") - 1 for name in FIRST)

    return Logger(log, live.end, stored)


ALL = ("csv", "tensorboard", "mlflow", "wandb")
LOGGERS: dict[str, Callable[[Path], Logger]] = {
    "floor: encode + crc + write": floor,
    "trackhooks only recorded": trackhooks_to(),
    "trackhooks → CSV": trackhooks_to("csv"),
    "trackhooks → four trackers": trackhooks_to(*ALL),
    "csv.writer": csv_writer,
    "torch SummaryWriter": summary_writer,
    "TensorBoard EventFileWriter": event_file_writer,
    "W&B offline": wandb_offline,
    "MLflow": mlflow_sync,
    "MLflow asynchronous": mlflow_async,
    "Lightning CSVLogger": lightning_csv,
    "Lightning TensorBoardLogger": lightning_tensorboard,
    "Keras CSVLogger": keras_csv,
    "Keras TensorBoard": keras_tensorboard,
    "MLflow's Keras callback": keras_mlflow,
    "Ultralytics results.csv": ultralytics_csv,
    "Ultralytics TensorBoard": ultralytics_tensorboard,
    "Ultralytics MLflow": ultralytics_mlflow,
    "Ultralytics W&B": ultralytics_wandb,
    "trackio": trackio,
    "aim": aim,
    "dvclive": dvclive,
}
PEERS = {"Keras TensorBoard": "tensorflow", "trackio": "peers", "aim": "peers", "dvclive": "peers"}
"""Those that run in an environment of `make bench`, with its name."""

if __name__ == "__main__":
    main()
