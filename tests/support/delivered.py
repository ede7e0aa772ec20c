"""One run of each kind of loop, delivered to all four trackers during the training, and what its journal says of it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NamedTuple

import backends

import trackhooks
from trackhooks.event import Event
from trackhooks.storage.checkpoints import DeliveredFiles
from trackhooks.storage.run_folder import read_info

DEADLINE_S = 300
SAVED = "delivered.pickle"


class Delivered(NamedTuple):
    """A run, and the folder with its files."""

    path: Path
    folder: Path
    events: list[Event]
    """With what became of their files."""
    options: dict[str, dict[str, Any]]
    amid: dict[str, str]
    """The status of the run in each tracker during the training."""


def deliver(loop: str, folder: Path, store: str) -> None:
    """Record a run in `folder`, deliver it to all four trackers, and save what became of it."""
    from every_loop import LOOPS, PARAMS, log_by_hand

    options: dict[str, Any] = {
        "csv": {},
        "tensorboard": {},
        "mlflow": {"tracking_uri": store},
        "wandb": {"mode": "offline"},
    }
    amid: dict[str, str] = {}

    def look(trainer: Any) -> None:
        if not amid:
            assert run.wait(DEADLINE_S)
            amid.update({name: statuses(run.path, name, options[name]) for name in options})

    with trackhooks.run(dir=folder / "runs", params=PARAMS, every=1, keep="all", **options) as run:
        run.add_callback("on_fit_epoch_end", look)
        LOOPS[loop](run, folder)
        log_by_hand(run, folder)
    assert run.wait(DEADLINE_S)
    made = Delivered(run.path, folder, with_files(run.path), options, amid)
    (folder / SAVED).write_bytes(pickle.dumps(made))


def load(folder: Path) -> Delivered:
    """Return the run that `deliver` saved in `folder`, perhaps in another process."""
    made: Delivered = pickle.loads((folder / SAVED).read_bytes())
    return made


def statuses(path: Path, tracker: str, options: dict[str, Any]) -> str:
    return backends.BACKENDS[tracker].read(read_info(path), options).status


def with_files(path: Path) -> list[Event]:
    """The events of a run; those of its files that could be delivered have their hash."""
    events = list(trackhooks.journal.read(path))
    keeper = DeliveredFiles(read_info(path))
    for event in events:
        if event.files:
            keeper.resolve(event)
    return events
