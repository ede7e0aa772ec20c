"""A kill between any two file operations of a program, and in the middle of each write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .result import Found, Result, tried
from .runs import SYNC, Trackers, audit, final_status, light, new_store, place, sync

SOURCE = Path(__file__).with_name("faults.c")
NAMES = {
    "w": "writes", "o": "opens", "r": "renames", "l": "links", "u": "removals", "m": "new folders", "t": "truncations",
    "s": "syncs",
}  # fmt: skip
TRAIN = [sys.executable, "-m", "reliability.training"]


class Layer:
    """The library that ends programs; None if there is no C compiler."""

    def __init__(self) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        self.path: Path | None = None
        if compiler is not None and sys.platform.startswith("linux"):
            self.path = Path(tempfile.mkdtemp(prefix="reliability-"), "faults.so")
            command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(self.path), str(SOURCE), "-ldl"]
            subprocess.run(command, check=True)

    def run(
        self, command: Sequence[str], folder: Path, below: Path, at: int, half: bool = False
    ) -> tuple[int, str]:
        """Run a program that is killed before its operation number `at`; returns the exit code and its operations."""
        log = folder / "operations"
        log.unlink(missing_ok=True)
        given = {"FAULTS_BELOW": f"{below}/", "FAULTS_LOG": str(log), "FAULTS_AT": str(at)}
        environment = (
            os.environ | given | {"LD_PRELOAD": str(self.path)} | ({"FAULTS_HALF": "1"} if half else {})
        )
        done = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=240)
        return done.returncode, log.read_text() if log.exists() else ""


class Fault(NamedTuple):
    """Where a program is killed."""

    layer: Layer
    at: int
    half: bool
    trackers: tuple[str, ...]


def faults(short: bool, scale: float, seed: int) -> Iterator[Result]:
    """Yield a result for the training, for a delivery, and for one to MLflow."""
    layer = Layer()
    if layer.path is None:
        yield Result("Kill", "between two file operations", note="no C compiler here")
        return
    with place() as folder:
        operations = _train(layer, folder, 0)[1]
    yield tried("Kill", "between two file operations of the training", _training, _each(layer, operations, short),
                _about(operations))  # fmt: skip
    for trackers, most in ((("csv",), 0), (("csv", "tensorboard"), 0), (("mlflow",), 30)):
        if short and trackers != ("csv",):
            continue
        with place() as folder:
            _train(layer, folder, 0)
            operations = _deliver(layer, folder, _trackers(folder, trackers), 0)[1]
        each = _each(layer, operations, short, trackers)
        chosen = each if not most else each[:: max(len(each) // most, 1)]
        part = f" ({len(chosen)} of {len(each)} places)" if len(chosen) < len(each) else ""
        kind = f"between two file operations of the delivery to {' and '.join(trackers)}"
        yield tried("Kill", kind, _delivery, chosen, _about(operations) + part)


def _each(layer: Layer, operations: str, short: bool, trackers: tuple[str, ...] = ()) -> list[Fault]:
    """Every place before an operation, and in the middle of a write; in the short form, some."""
    whole = [Fault(layer, number + 1, False, trackers) for number in range(len(operations))]
    halves = [Fault(layer, n + 1, True, trackers) for n, kind in enumerate(operations) if kind == "w"]
    places = sorted(whole + halves, key=lambda fault: (fault.at, fault.half))
    return places[:: max(len(places) // 6, 1)] if short else places


def _about(operations: str) -> str:
    counts = Counter(operations)
    return ", ".join(f"{counts[kind]} {name}" for kind, name in NAMES.items() if counts[kind])


def _train(layer: Layer, folder: Path, at: int, half: bool = False) -> tuple[int, str]:
    runs = folder / "runs"
    given = {
        "home": str(runs), "acknowledged": str(folder / "acknowledged"), "trackers": dict(light()), "delivery": "off",
        "epochs": 2, "batches": 4, "pause_s": 0,
    }  # fmt: skip
    return layer.run([*TRAIN, json.dumps(given)], folder, runs, at, half)


def _training(fault: Fault) -> Found:
    with place() as folder:
        code, _ = _train(fault.layer, folder, fault.at, fault.half)
        noted, run = folder / "acknowledged", folder / "runs" / "r"
        acknowledged = noted.stat().st_size if noted.exists() else 0
        if code != -9:
            return Found(survived=False, why=f"it was not killed at {fault.at}: {code}")
        if not (run / "run.json").exists():  # killed before there was a run
            return Found(lost=acknowledged, why="there is no run")
        failed = sync(run)
        if failed:
            return Found(survived=False, why=f"at {fault.at}: {failed}")
        found = audit(run, light(), acknowledged, final_status(run))
        found.why = f"at {fault.at}{' in the middle' if fault.half else ''}: {found.why}"
        return found


def _trackers(folder: Path, names: tuple[str, ...]) -> Trackers:
    known = {**light(), "mlflow": {"every": 1}}
    chosen = {name: dict(known[name]) for name in names}
    if "mlflow" in chosen:
        (folder / "runs").mkdir(exist_ok=True)
        chosen["mlflow"]["tracking_uri"] = new_store(folder / "runs")
    return chosen


def _deliver(layer: Layer, folder: Path, trackers: Trackers, at: int, half: bool = False) -> tuple[int, str]:
    runs = folder / "runs"
    return layer.run(_command(runs / "r", trackers), folder, runs, at, half)


def _command(run: Path, trackers: Trackers) -> list[str]:
    options = [
        f"{name}.{option}={value}"
        for name, given in trackers.items()
        for option, value in given.items()
        if option != "every"
    ]
    each = [part for option in options for part in ("--option", option)]
    return [*SYNC, str(run), "--every", "1", "--to", ",".join(trackers), *each]


def _delivery(fault: Fault) -> Found:
    with place() as folder:
        _train(fault.layer, folder, 0)
        trackers = _trackers(folder, fault.trackers)
        code, _ = _deliver(fault.layer, folder, trackers, fault.at, fault.half)
        if code not in (-9, 0):  # 0: this time it had one operation less, and came to its end
            return Found(survived=False, why=f"it was not killed at {fault.at}: {code}")
        done = subprocess.run(
            _command(folder / "runs" / "r", trackers), capture_output=True, text=True, check=False
        )
        where = f"at {fault.at}{' in the middle' if fault.half else ''}: "
        if done.returncode:
            return Found(survived=False, why=where + done.stderr[-300:])
        found = audit(folder / "runs" / "r", trackers, 8, "finished")
        found.why = where + found.why
        return found
