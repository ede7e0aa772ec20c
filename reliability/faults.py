"""A kill between any two file operations of a program, and in the middle of each write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from warm import WarmProgram, WarmPython, start_server

from .result import Found, Result, tried
from .runs import SYNC, Trackers, audit, final_status, light, new_store, place, sync

SOURCE = Path(__file__).with_name("faults.c")
NAMES = {
    "w": "writes", "o": "opens", "r": "renames", "l": "links", "u": "removals", "m": "new folders", "t": "truncations",
    "s": "syncs",
}  # fmt: skip
DELIVERED_TO = (("csv",), ("csv", "tensorboard"), ("mlflow",), ("wandb",))
HEAVY = ("mlflow", "mlflow.tracking.client", "mlflow.store.tracking.sqlalchemy_store", "wandb")
"""What the programs import before they are forked. The client of W&B and its service start in each of them."""
_TRAIN = f"""
import json, sys
sys.path.insert(0, {str(SOURCE.parents[1])!r})
from reliability.training import train
train(**json.loads(sys.argv[1]))
"""
_PATIENCE_S = 240.0


class Layer:
    """The library that ends programs, and a Python that starts them with it; None if there is no C compiler."""

    def __init__(self) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        self.python: WarmPython | None = None
        if compiler is None or not sys.platform.startswith("linux"):
            return
        folder = Path(tempfile.mkdtemp(prefix="reliability-"))
        library = folder / "faults.so"
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl", "-lpthread"]
        subprocess.run(command, check=True)
        self._code = folder / "code"
        _make_repository(self._code)
        self._delivery, self._training = self._code / "sync.py", self._code / "train.py"
        self._delivery.write_text(SYNC[2])
        self._training.write_text(_TRAIN)
        output = folder / "output"
        output.mkdir()
        start_server(output, HEAVY, {"LD_PRELOAD": str(library)})
        self.python = WarmPython(output)

    def train(self, folder: Path, at: int, half: bool = False) -> tuple[int, str]:
        """Record a run in `runs`, killed before operation number `at`; returns the exit code and the operations."""
        runs = folder / "runs"
        given = {
            "home": str(runs), "acknowledged": str(folder / "acknowledged"), "trackers": dict(light()),
            "delivery": "off", "epochs": 2, "batches": 4, "pause_s": 0,
        }  # fmt: skip
        return self._run(self._training, [json.dumps(given)], folder, at, half)

    def deliver(self, folder: Path, trackers: Trackers, at: int, half: bool = False) -> tuple[int, str]:
        """Deliver the run, killed before operation number `at`; returns the exit code and the operations."""
        return self._run(self._delivery, _arguments(folder / "runs" / "r", trackers), folder, at, half)

    def repair(self, folder: Path, trackers: Trackers) -> str:
        """Deliver the run; returns what is printed if that fails."""
        done = self._start(self._delivery, _arguments(folder / "runs" / "r", trackers), {})
        return done.errors[-300:] if done.wait(_PATIENCE_S) else ""

    def _run(self, program: Path, arguments: list[str], folder: Path, at: int, half: bool) -> tuple[int, str]:
        log = folder / "operations"
        log.unlink(missing_ok=True)
        given = {"FAULTS_BELOW": f"{folder / 'runs'}/", "FAULTS_LOG": str(log), "FAULTS_AT": str(at)}
        done = self._start(program, arguments, given | ({"FAULTS_HALF": "1"} if half else {}))
        code = done.wait(_PATIENCE_S)
        return code, log.read_text() if log.exists() else ""

    def _start(self, program: Path, arguments: list[str], given: dict[str, str]) -> WarmProgram:
        assert self.python is not None
        return self.python.start(program, *arguments, cwd=self._code, env=os.environ | given)


def _make_repository(folder: Path) -> None:
    """Make a repository with changes that are not committed: a run records them, if there is git."""
    folder.mkdir()
    if shutil.which("git") is not None:
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
        (folder / "notes.txt").write_text("not committed")
        subprocess.run(["git", "add", "notes.txt"], cwd=folder, check=True)


class Fault(NamedTuple):
    """Where a program is killed."""

    layer: Layer
    at: int
    half: bool
    recorded: Path
    """The folder of a recorded run, for a delivery."""
    trackers: tuple[str, ...]


def faults(short: bool, scale: float, seed: int) -> Iterator[Result]:
    """Yield a result for the training, and for a delivery to each of some trackers."""
    layer = Layer()
    if layer.python is None:
        yield Result("Kill", "between two file operations", note="no C compiler here")
        return
    with place() as recorded:
        operations = _whole(layer.train(recorded, 0))
        each = _each(layer, operations, short, recorded)
        yield tried(
            "Kill", "between two file operations of the training", _training, each, _about(operations)
        )
        for trackers in DELIVERED_TO[:1] if short else DELIVERED_TO:
            with place() as folder:
                operations = _whole(layer.deliver(folder, _run_in(folder, recorded, trackers), 0))
            each = _each(layer, operations, short, recorded, trackers)
            kind = f"between two file operations of the delivery to {' and '.join(trackers)}"
            yield tried("Kill", kind, _delivery, each, _about(operations))


def _whole(done: tuple[int, str]) -> str:
    """Return the operations of a program that was not killed."""
    code, operations = done
    if code or not operations:
        raise RuntimeError(
            f"a program ended with {code} without being killed, after {len(operations)} operations"
        )
    return operations


def _each(
    layer: Layer, operations: str, short: bool, recorded: Path, trackers: tuple[str, ...] = ()
) -> list[Fault]:
    """Every place before an operation, and in the middle of a write; in the short form, some."""
    whole = [Fault(layer, number + 1, False, recorded, trackers) for number in range(len(operations))]
    writes = [number for number, kind in enumerate(operations) if kind == "w"]
    halves = [Fault(layer, number + 1, True, recorded, trackers) for number in writes]
    places = sorted(whole + halves, key=lambda fault: (fault.at, fault.half))
    return places[:: max(len(places) // 6, 1)] if short else places


def _about(operations: str) -> str:
    counts = Counter(operations)
    return ", ".join(f"{counts[kind]} {name}" for kind, name in NAMES.items() if counts[kind])


def _training(fault: Fault) -> Found:
    with place() as folder:
        code, _ = fault.layer.train(folder, fault.at, fault.half)
        noted, run = folder / "acknowledged", folder / "runs" / "r"
        acknowledged = noted.stat().st_size if noted.exists() else 0
        if code != -9:
            return Found(survived=False, why=f"it was not killed at {fault.at}: {code}")
        if not (run / "run.json").exists():  # killed before there was a run
            return Found(lost=acknowledged, why="there is no run")
        failed = sync(run)
        if failed:
            return Found(survived=False, why=f"at {fault.at}: {failed}")
        return _audited(fault, run, light(), acknowledged, final_status(run))


def _delivery(fault: Fault) -> Found:
    with place() as folder:
        trackers = _run_in(folder, fault.recorded, fault.trackers)
        code, _ = fault.layer.deliver(folder, trackers, fault.at, fault.half)
        if code == 0:  # this time it had fewer operations
            return Found(reached=False)
        if code != -9:
            return Found(survived=False, why=f"it was not killed at {fault.at}: {code}")
        failed = fault.layer.repair(folder, trackers)
        if failed:
            return Found(survived=False, why=f"at {fault.at}: {failed}")
        return _audited(fault, folder / "runs" / "r", trackers, 8, "finished")


def _audited(fault: Fault, run: Path, trackers: Trackers, acknowledged: int, status: str) -> Found:
    found = audit(run, trackers, acknowledged, status)
    found.why = f"at {fault.at}{' in the middle' if fault.half else ''}: {found.why}"
    return found


def _run_in(folder: Path, recorded: Path, names: tuple[str, ...]) -> Trackers:
    """Copy the recorded run into a folder; returns the trackers, whose data is there, too."""
    shutil.copytree(recorded / "runs", folder / "runs")
    known: Trackers = {**light(), "mlflow": {"every": 1}, "wandb": {"mode": "offline", "every": 1}}
    chosen = {name: dict(known[name]) for name in names}
    if "mlflow" in chosen:
        chosen["mlflow"]["tracking_uri"] = new_store(folder / "runs")
    return chosen


def _arguments(run: Path, trackers: Trackers) -> list[str]:
    options = [
        f"{name}.{option}={value}"
        for name, given in trackers.items()
        for option, value in given.items()
        if option != "every"
    ]
    each = [part for option in options for part in ("--option", option)]
    return ["sync", str(run), "--every", "1", "--to", ",".join(trackers), *each]
