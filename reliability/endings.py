"""The status of a run in every backend, for each way in which each framework's training may end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import backends
from folders import ROOT, SUPPORT, importing

from trackhooks.storage.run_folder import paths, read_info
from trackhooks.testing.trial import Trial

from .ending import ENDS, FRAMEWORKS
from .result import Found, Result, tried
from .runs import Trackers, all_four, light, place, sync, wait_for

STATUS = {
    "return": "finished", "exception": "failed", "sys.exit(3)": "failed", "raise SystemExit(3)": "failed",
    "Ctrl-C": "killed", "SIGTERM": "killed", "SIGKILL": "killed", "pruned": "pruned",
}  # fmt: skip
MAY_BE = {"pruned": ("pruned", "killed")}
"""What backends may show that have no such status."""
WITH_ALL = ("pytorch",)
"""The frameworks whose runs go to all four trackers: trackers get the status from the journal, whatever the loop is."""


def endings(short: bool, scale: float, seed: int) -> Iterator[Result]:
    """Yield a result for each framework."""
    for framework in WITH_ALL if short else FRAMEWORKS:
        ends = ("exception", "sys.exit(3)", "SIGKILL") if short else ENDS
        few = short or framework not in WITH_ALL
        items = [(framework, how, few) for how in ends]
        note = "read back from " + ("CSV and TensorBoard" if few else "CSV, TensorBoard, MLflow and W&B")
        yield tried("Status", f"{framework}: {', '.join(ends)}", _ending, items, note)


def _ending(item: tuple[str, str, bool]) -> Found:
    framework, how, few = item
    with place() as folder:
        trackers = light() if few else all_four(folder)
        command = [
            sys.executable,
            "-m",
            "reliability.ending",
            framework,
            how,
            str(folder),
            json.dumps(trackers),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False,
                              cwd=folder, env=importing(ROOT, SUPPORT))  # fmt: skip
        runs = list(paths(folder / "runs"))
        if len(runs) != 1:
            return Found(survived=False, why=f"{how}: {len(runs)} runs: {done.stderr[-400:]}")
        if not wait_for(runs[0], trackers):
            sync(runs[0])
        return _compared(runs[0], trackers, how)


def _compared(run: Path, trackers: Trackers, how: str) -> Found:
    expected = STATUS[how]
    seen = {"run.json": read_info(run).status} | {
        name: _status_in(run, name, {key: value for key, value in options.items() if key != "every"})
        for name, options in trackers.items()
    }
    wrong = {name: status for name, status in seen.items() if status not in MAY_BE.get(expected, (expected,))}
    return Found(wrong=len(wrong), why=f"{how}: {wrong} instead of {expected}")


def _status_in(run: Path, tracker: str, options: dict[str, object]) -> str:
    backend = backends.BACKENDS[tracker]
    return Trial(tracker, options, run.parent, backend.read, backend.called).read(run).status
