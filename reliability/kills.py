"""Kill -9 at random moments: of the training, of the delivery, of both, and of `sync`."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from .result import Found, Result, tried
from .runs import SYNC, Trackers, Training, all_four, audit, final_status, light, place, sync, wait_for

EVERY = 10
"""Of so many trials one has all four trackers, whose clients take seconds to import."""
Trial = Callable[[Path, Trackers, random.Random], Found]


def kills(short: bool, scale: float, seed: int) -> Iterator[Result]:
    """Yield a result of each kind."""
    kinds: list[tuple[str, Trial, int]] = [
        ("kill -9 of the training", _training, 200),
        ("kill -9 of the delivery", _delivery, 100),
        ("kill -9 of both", _both, 50),
        ("kill -9 of `sync`", _sync, 50),
    ]
    for kind, trial, count in kinds:
        number = 3 if short else max(round(count * scale), 5)
        heavy = 0 if short else -(-number // EVERY)
        seeds = [(trial, seed * 1000 + n, n < heavy) for n in range(number)]
        note = f"{heavy} with CSV, TensorBoard, MLflow and W&B, {number - heavy} with CSV and TensorBoard"
        yield tried("Kill", kind, _tried, seeds, note)


def _tried(item: tuple[Trial, int, bool]) -> Found:
    trial, seed, heavy = item
    with place() as folder:
        return trial(folder, all_four(folder) if heavy else light(), random.Random(seed))


def _training(folder: Path, trackers: Trackers, chance: random.Random) -> Found:
    """Its delivery survives, and finishes what was recorded."""
    training = Training(folder, trackers)
    training.wait_until_open()
    time.sleep(chance.uniform(0, 0.6))
    training.process.kill()
    training.wait()
    if not wait_for(training.path, trackers):  # killed before it had started its delivery
        failed = sync(training.path)
        if failed:
            return Found(survived=False, why=failed)
    return audit(training.path, trackers, training.acknowledged(), final_status(training.path))


def _delivery(folder: Path, trackers: Trackers, chance: random.Random) -> Found:
    """The training continues, and another delivery finishes."""
    training = Training(folder, trackers, pause_s=0.004)
    training.wait_until_open()
    time.sleep(chance.uniform(0, 1.0 if len(trackers) == 2 else 8.0))
    _kill_children(training.process.pid)
    code = training.wait()
    if code:
        return Found(survived=False, why=f"the training ended with {code}: {_errors(folder)}")
    if not wait_for(training.path, trackers):
        failed = sync(training.path)
        return Found(survived=False, why=f"it was not delivered without `sync` {failed}")
    return audit(training.path, trackers, training.acknowledged(), "finished")


def _both(folder: Path, trackers: Trackers, chance: random.Random) -> Found:
    training = Training(folder, trackers)
    training.wait_until_open()
    time.sleep(chance.uniform(0, 0.6))
    children = psutil.Process(training.process.pid).children(recursive=True)
    training.process.kill()
    for child in children:
        with contextlib.suppress(psutil.Error):
            child.kill()
    psutil.wait_procs(children, 10)
    training.wait()
    failed = sync(training.path)
    if failed:
        return Found(survived=False, why=failed)
    return audit(training.path, trackers, training.acknowledged(), final_status(training.path))


def _sync(folder: Path, trackers: Trackers, chance: random.Random) -> Found:
    training = Training(folder, trackers, delivery="off", pause_s=0, batches=500)
    training.wait()
    heavy = len(trackers) > 2
    with subprocess.Popen(
        [*SYNC, str(training.path)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.3, 12 if heavy else 1.6))
        process.send_signal(signal.SIGKILL)
    failed = sync(training.path)
    if failed:
        return Found(survived=False, why=failed)
    return audit(training.path, trackers, training.acknowledged(), "finished")


def _kill_children(pid: int) -> None:
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(pid).children(recursive=True):
            child.kill()


def _errors(folder: Path) -> str:
    return (folder / "errors").read_text(errors="replace")[-500:]
