"""A tracker for the tests of delivery: one line of JSON for each thing that it takes, each exactly once."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackhooks.errors import StateLostError
from trackhooks.event import Event, RunInfo, Scalar
from trackhooks.tracker import Axis, State, Tracker


class Forgetful(Tracker):
    """Refuses to continue if the file `<run>/lost` exists: its backend does not have what the state says."""

    seen: list[tuple[str, int]]

    def __init__(self) -> None:
        self.seen = []

    def start(self, run: RunInfo, state: State) -> None:
        if Path(run.path, "lost").exists() and (state or Path(run.path, "lost").read_text()):
            raise StateLostError("the backend is empty")

    def handle(self, event: Event) -> None:
        self.seen.append((event.hook, event.index))

    def flush(self) -> State:
        return {"delivered": len(self.seen)}


class Lines(Tracker):
    """Writes `<run>/lines.jsonl`.

    Args:
        down: while a file of this path exists, every flush raises as an outage does.
        poison: the metric that it cannot take.
        slow: how long each event takes it, in seconds.
    """

    def __init__(self, down: str = "", poison: str = "", slow: float = 0.0, token: str = "") -> None:
        self._down, self._poison, self._slow = down, poison, slow

    def start(self, run: RunInfo, state: State) -> None:
        self._file = Path(run.path, "lines.jsonl").open("ab")  # noqa: SIM115 — closed by finish
        self._file.truncate(state.get("end", 0))
        self._file.seek(0, os.SEEK_END)
        self._write(start=run.name, pid=os.getpid(), resumed=bool(state))

    def log_params(self, params: Mapping[str, Scalar], event: Event) -> None:
        self._write(params=dict(params))

    def log_metrics(self, metrics: Mapping[str, float], axis: Axis, event: Event) -> None:
        if self._poison in metrics:
            raise ValueError(f"{self._poison} cannot be taken")
        time.sleep(self._slow)
        if all(name.startswith("system/") for name in metrics):
            self._write(system=dict(metrics), number=event.step, time=event.time)
        else:
            self._write(
                metrics=dict(metrics), axis=axis, step=event.step, epoch=event.epoch, index=event.index
            )

    def flush(self) -> State:
        if self._down and Path(self._down).exists():
            raise ConnectionError(f"{self._down} is down")
        self._file.flush()
        return {"end": self._file.tell()}

    def finish(self, status: str, reason: str) -> None:
        self._write(finish=status, reason=reason)
        self._file.close()

    def abort(self) -> None:
        self._file.close()

    def _write(self, **what: Any) -> None:
        self._file.write(json.dumps(what).encode() + b"\n")


def read(run: Path | str) -> list[dict[str, Any]]:
    """What was delivered, line by line."""
    path = Path(run, "lines.jsonl")
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def steps(run: Path | str) -> list[int]:
    """The steps whose batch metrics were delivered, in order."""
    return [line["step"] for line in read(run) if line.get("axis") == "step"]


def samples(run: Path | str) -> list[int]:
    """The numbers of the measurements that were delivered, in order."""
    return [line["number"] for line in read(run) if "system" in line]


class OnlyLater(Lines):
    """Takes no metrics of earlier batches after those of later ones."""

    takes_earlier = False
