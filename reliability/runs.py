"""Runs for the trials: their training in a separate process, their delivery, and how they are read back."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import backends
from mlflow_server import make_tables

from trackhooks.delivery.cursor import cursors, is_delivered
from trackhooks.errors import TrackhooksError
from trackhooks.storage import journal
from trackhooks.testing.trial import Trial

from .result import Found

Trackers = Mapping[str, Mapping[str, Any]]
SYNC = [sys.executable, "-c", "from trackhooks.cli.main import main; main()", "sync"]
LOSS = "train_batch/loss"
_PATIENCE_S = 240.0
_making_tables = threading.Lock()


def light() -> Trackers:
    """The trackers that import little."""
    return {"csv": {"every": 1}, "tensorboard": {"every": 1}}


def all_four(folder: Path) -> Trackers:
    """All bundled trackers, with an MLflow database of their own in this folder."""
    return {
        **light(),
        "mlflow": {"tracking_uri": new_store(folder), "every": 1},
        "wandb": {"mode": "offline", "every": 1},
    }


def new_store(folder: Path) -> str:
    """Return the address of a new MLflow database. Its tables are copied: MLflow takes seconds to make them."""
    with _making_tables:
        shutil.copyfile(_tables(), folder / "mlflow.db")
    return f"sqlite:///{folder}/mlflow.db"


@functools.cache
def _tables() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="reliability-"))
    make_tables(folder)
    return folder / "mlflow.db"


@contextmanager
def place() -> Iterator[Path]:
    """A folder for one trial."""
    with tempfile.TemporaryDirectory(prefix="reliability-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


class Training:
    """A training in a separate process: see `training`.

    Args:
        folder: the folder of the trial; the run is `runs/r` in it.
        trackers: with their options.
        **settings: of `training.train`.
    """

    def __init__(self, folder: Path, trackers: Trackers, **settings: Any) -> None:
        self.path = folder / "runs" / "r"
        self._acknowledged = folder / "acknowledged"
        given = {"home": str(folder / "runs"), "acknowledged": str(self._acknowledged), "trackers": trackers}
        self._errors = (folder / "errors").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reliability.training", json.dumps(given | settings)],
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )

    def wait_until_open(self) -> None:
        """Wait until the run has its folder."""
        while not (self.path / "run.json").exists() and self.process.poll() is None:
            time.sleep(0.005)

    def wait(self) -> int:
        """Wait for the end; return the exit code."""
        code = self.process.wait(_PATIENCE_S)
        self._errors.close()
        return code

    def acknowledged(self) -> int:
        """The number of batches whose hooks have returned."""
        return self._acknowledged.stat().st_size if self._acknowledged.exists() else 0


def sync(path: Path) -> str:
    """Deliver a run with `trackhooks sync`. Returns what it prints if it fails."""
    done = subprocess.run(
        [*SYNC, str(path)], capture_output=True, text=True, timeout=_PATIENCE_S, check=False
    )
    return done.stderr[-500:] if done.returncode else ""


def wait_for(path: Path, trackers: Trackers) -> bool:
    """Wait until a delivery process has delivered the run, or seems to have died."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        if all(any(is_delivered(path, known) for known in cursors(path, name)) for name in trackers):
            return True
        time.sleep(0.05)
    return False


def audit(path: Path, trackers: Trackers, acknowledged: int, status: str) -> Found:
    """Read a delivered run back, from its journal and from every backend."""
    try:
        events = list(journal.read(path))
    except TrackhooksError as error:
        return Found(survived=False, why=str(error))
    recorded = {event.step: event.metrics[LOSS] for event in events if LOSS in event.metrics}
    found = Found(lost=max(acknowledged - len(recorded), 0))
    reasons = [f"{found.lost} of {acknowledged} records are not in the journal"] * bool(found.lost)
    for tracker, options in trackers.items():
        reasons += _audit_tracker(path, tracker, options, recorded, status, found)
    found.why = "; ".join(reasons)
    return found


def _audit_tracker(
    path: Path, tracker: str, options: Mapping[str, Any], recorded: Mapping[int, float], status: str, found: Found
) -> list[str]:  # fmt: skip
    backend = backends.BACKENDS[tracker]
    given = {name: value for name, value in options.items() if name != "every"}
    seen = Trial(tracker, given, path.parent, backend.read, backend.called).read(path)
    points = seen.metrics.get(LOSS, [])
    held = dict(points)
    lost, doubled = len(recorded.keys() - held.keys()), len(points) - len(held)
    wrong = sum(held[step] != value for step, value in recorded.items() if step in held)
    wrong += seen.status not in (status, {"pruned": "killed", "lost": "killed"}.get(status))
    found.lost, found.doubled, found.wrong = found.lost + lost, found.doubled + doubled, found.wrong + wrong
    if not (lost or doubled or wrong):
        return []
    return [
        f"{tracker}: {lost} lost, {doubled} doubled, {wrong} wrong, status {seen.status!r} for {status!r}"
    ]


def final_status(path: Path) -> str:
    """Return `finished` if the run had recorded that before it was killed, else `killed`."""
    return "finished" if any(event.status == "finished" for event in journal.read(path)) else "killed"
