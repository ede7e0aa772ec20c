"""What a short script costs from its start to the prompt: two Keras fits, logged by trackhooks and by its peers.

Run: python benchmarks/to_the_prompt.py [--rounds 3] [--epochs 10] [--only "without,trackhooks at a prompt"]

Whole processes take turns: without logging; trackhooks with MLflow and W&B, at a prompt, where the end of the program
does not wait for them and their delivery continues in the background; the same with the wait of a batch job, until
everything is delivered; `mlflow.keras.autolog`; and a callback that calls `wandb.log` after each epoch, as W&B's own
does, which needs TensorFlow. MLflow writes to a SQLite file, and W&B is offline. Processor time is that of the script
and of all processes that ended with it, so that of a delivery in the background is not in it.

Promised: at a prompt, at most a third of what their own clients add to the time of the script.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measuring import Figures, by_turns, ratio, show, spread

if TYPE_CHECKING:
    from collections.abc import Iterator

WITHOUT, AT_PROMPT, WAITING = "without", "trackhooks at a prompt", "trackhooks in a job"
AUTOLOG, WANDB = "mlflow.autolog", "wandb.log"
CANDIDATES = (WITHOUT, AT_PROMPT, WAITING, AUTOLOG, WANDB)

SHELL = """
import fcntl, json, os, pty, resource, subprocess, sys, termios, time
ours, terminal = pty.openpty()
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
for name in ("CI", "SLURM_JOB_ID", "KUBERNETES_SERVICE_HOST"):
    os.environ.pop(name, None)
since = time.perf_counter()
ended = subprocess.run(sys.argv[1:], stdin=terminal, stdout=subprocess.DEVNULL, preexec_fn=os.setpgrp)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({"wall_s": time.perf_counter() - since, "cpu_s": used.ru_utime + used.ru_stime}))
sys.exit(ended.returncode)
"""
"""It leads the session of a terminal and gives the script a separate process group, as a shell does at its prompt."""


def main() -> None:
    """Measures and prints; with `--one` it is one of the scripts that are measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="processes of each candidate")
    parser.add_argument("--epochs", type=int, default=10, help="of each of the two fits")
    parser.add_argument("--only", default=",".join(CANDIDATES), help="which candidates, besides the first")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        with LOGGERS[chosen.one]() as callbacks:
            train_twice(chosen.epochs, callbacks)
        return
    names = [name for name in CANDIDATES if name == WITHOUT or name in chosen.only.split(",")]
    taken = by_turns({name: functools.partial(measure, name, chosen.epochs) for name in names}, chosen.rounds)
    base = taken[WITHOUT]
    rows = [
        (
            name,
            spread(found["wall_s"], 1),
            ratio(found["wall_s"], base["wall_s"]),
            spread(found["cpu_s"], 1),
            ratio(found["cpu_s"], base["cpu_s"]),
            f"{added(found, base):+.1f}",
        )
        for name, found in taken.items()
    ]
    show("to the prompt", ("", "wall, s", "×", "processor, s", "×", "s more"), rows)


def added(found: dict[str, list[float]], base: dict[str, list[float]]) -> float:
    """How many seconds later the prompt comes."""
    return statistics.median(found["wall_s"]) - statistics.median(base["wall_s"])


def measure(candidate: str, epochs: int) -> Figures:
    """One script, in a separate folder and at a separate terminal.

    Raises:
        CalledProcessError: it failed.
    """
    env = os.environ | {"KERAS_BACKEND": "torch", "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    with tempfile.TemporaryDirectory(
        ignore_cleanup_errors=True
    ) as folder:  # a delivery may still write there
        script = [sys.executable, str(Path(__file__).resolve()), "--one", candidate, "--epochs", str(epochs)]
        shell = [sys.executable, "-c", SHELL, *script]
        env["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        done = subprocess.run(
            shell, cwd=folder, env=env, start_new_session=True, stdout=subprocess.PIPE, check=True
        )
        wait_for_deliveries(folder)
    taken: Figures = json.loads(done.stdout)
    return taken


def wait_for_deliveries(folder: str) -> None:
    """Waits for what continues in the background, so that it does not disturb the next candidate."""
    import psutil

    left = [process for process in psutil.process_iter() if is_in(process, folder)]
    psutil.wait_procs(left, timeout=120)


def is_in(process: Any, folder: str) -> bool:
    """Whether the process works in this folder."""
    import psutil

    try:
        return bool(process.cwd() == os.path.realpath(folder))
    except psutil.Error:
        return False


def train_twice(epochs: int, callbacks: Sequence[Any]) -> None:
    """Two fits of scikit-learn's digits."""
    import keras
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    for lr in (0.01, 0.1):
        layers = [keras.Input((64,)), keras.layers.Dense(64, "relu"), keras.layers.Dense(10, "softmax")]
        model = keras.Sequential(layers)
        model.compile(keras.optimizers.SGD(lr), "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(
            pixels / 16, labels, epochs=epochs, validation_split=0.2, verbose=0, callbacks=list(callbacks)
        )


def trackhooks_enabled(wait: float | None) -> Any:
    """One line above the fits."""
    import trackhooks

    trackhooks.enable("mlflow", wandb={"mode": "offline"}, wait=wait)
    return nullcontext(())


def autolog() -> Any:
    """One line above the fits."""
    import mlflow

    mlflow.keras.autolog(log_models=False, log_datasets=False)
    return nullcontext(())


@contextmanager
def wandb_callback() -> Iterator[Sequence[Any]]:
    """One run of W&B for both fits."""
    import keras
    import wandb

    with wandb.init(project="digits") as run:
        yield [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: run.log(logs))]


LOGGERS: dict[str, Callable[[], Any]] = {
    WITHOUT: lambda: nullcontext(()),
    AT_PROMPT: functools.partial(trackhooks_enabled, None),
    WAITING: functools.partial(trackhooks_enabled, 120),
    AUTOLOG: autolog,
    WANDB: wandb_callback,
}


if __name__ == "__main__":
    main()
