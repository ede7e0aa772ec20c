"""What hands events to a tracker, as the delivery does, for the tests of the trackers that have a backend."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trackhooks.event import Event, File, RunInfo
from trackhooks.tracker import State, Tracker

CREATED = 1_700_000_000.0
"""When the runs of the tests begin, in seconds since 1970."""


def run_info(folder: Path, **fields: Any) -> RunInfo:
    """A run in this folder, which is made; its id is the folder's name."""
    folder.mkdir(parents=True, exist_ok=True)
    own: dict[str, Any] = {
        "id": f"{zlib.crc32(str(folder).encode()):08x}",
        "name": folder.name,
        "created": CREATED,
    }
    return RunInfo(**own | fields, path=str(folder))


class Feeding:
    """Gives one run to a tracker; `crash` forgets the tracker and continues with the last state that was saved."""

    def __init__(self, make: Callable[[], Tracker], run: RunInfo) -> None:
        self.make, self.run, self.state = make, run, State()
        self.start()

    def start(self) -> Feeding:
        self.tracker = self.make()
        self.tracker.run = self.run
        self.tracker.start(self.run, json.loads(json.dumps(self.state, allow_nan=False)))
        return self

    crash = start

    def give(self, *events: Event) -> Feeding:
        for event in events:
            event.run = self.run
            self.tracker.handle(event)
        return self

    def flush(self) -> Feeding:
        self.state = self.tracker.flush()
        return self

    def finish(self, status: str = "finished", reason: str = "") -> Feeding:
        self.flush().tracker.finish(status, reason)
        return self


def batch(index: int, step: int, epoch: int = 0, /, **metrics: float) -> Event:
    """A training batch; `loss=…` becomes `train_batch/loss`."""
    named = {f"train_batch/{name}": value for name, value in metrics.items()}
    return Event("on_train_batch_end", index, CREATED + index, step, epoch, step, metrics=named)


def at_epoch(
    hook: str, index: int, epoch: int, /, metrics: dict[str, float] | None = None, **more: Any
) -> Event:
    """A hook of an epoch of ten steps."""
    return Event(hook, index, CREATED + index, epoch * 10 + 9, epoch, metrics=metrics or {}, **more)


def outside(index: int, /, **fields: Any) -> Event:
    """What is logged before any epoch or step."""
    return Event("on_pretrain_routine_end", index, CREATED + index, **fields)


def kept(run: RunInfo, event: int, original: str, content: bytes, **fields: Any) -> File:
    """A file of which the run's folder has a copy, as the delivery hands it to a tracker."""
    copy = Path(run.path, "files", f"{event}-0-{original}")
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(content)
    path = str(Path(run.path).parent / "weights" / original)
    stored: dict[str, Any] = {
        "kind": "model",
        "name": original,
        "format": Path(original).suffix[1:],
        "size": len(content),
    }
    return File(path, **stored | fields, kept=f"files/{copy.name}", sha256=f"sha-of-{content.decode()}")
