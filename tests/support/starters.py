"""Trackers whose clients do not bear to be started by two threads at once, or at all in some process."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from lines import Lines

from trackhooks.event import Event, RunInfo
from trackhooks.tracker import Axis, State, Tracker


class Alone(Tracker):
    """Notes in `<run>/starts` whether another tracker of this kind is being started at the same time."""

    def start(self, run: RunInfo, state: State) -> None:
        try:
            Path(run.path, "starting").mkdir()
        except FileExistsError:
            note(run, "together")
            return
        time.sleep(0.05)
        Path(run.path, "starting").rmdir()
        note(run, f"{self.name} alone")


class Other(Alone):
    """Another class, with another client."""


class Requiring(Alone):
    """One that says that it imports a package."""

    requires = {"msgspec": "msgspec"}


class Sparing(Tracker):
    """Notes whether it can import a package that it does not need: while it starts, and later."""

    unneeded = frozenset({"modulefinder"})  # a module that nothing imports by itself

    def start(self, run: RunInfo, state: State) -> None:
        note(run, f"start {can_import('modulefinder')}")

    def log_metrics(self, metrics: Mapping[str, float], axis: Axis, event: Event) -> None:
        note(self.run, f"later {can_import('modulefinder')}")


def can_import(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return False
    return True


def note(run: RunInfo, text: str) -> None:
    with Path(run.path, "starts").open("a") as file:
        file.write(text + "\n")


class Stuck(Lines):
    """Cannot be started by the first process that tries, as after a broken import."""

    def start(self, run: RunInfo, state: State) -> None:
        note(run, str(os.getpid()))
        if Path(run.path, "starts").read_text().split()[0] == str(os.getpid()):
            raise AttributeError("'LazyModule' object has no attribute 'ndarray'")
        super().start(run, state)

    def abort(self) -> None:
        if hasattr(self, "_file"):
            super().abort()


class NeverStarts(Stuck):
    """Cannot be started by any process."""

    def start(self, run: RunInfo, state: State) -> None:
        note(run, str(os.getpid()))
        raise AttributeError("'Client' object has no attribute 'connect'")
