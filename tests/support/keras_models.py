"""What the tests of Keras train: models of some dozen parameters, on numbers drawn at random."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

import trackhooks
from trackhooks.event import Event, RunInfo
from trackhooks.storage.run_folder import read_info

_random = np.random.default_rng(0)
X = _random.random((20, 4), dtype="float32")
Y = _random.random((20, 1), dtype="float32")
LABELS = _random.integers(0, 3, 20)


def compiled(model: Any, **more: Any) -> Any:
    """The model, ready to train."""
    model.compile(**{"optimizer": "sgd", "loss": "mse", "metrics": ["mae"], **more})
    return model


def sequential(**more: Any) -> Any:
    """Two layers, one after the other."""
    layers = [keras.Input((4,)), keras.layers.Dense(3, activation="relu"), keras.layers.Dense(1)]
    return compiled(keras.Sequential(layers), **more)


def two_headed(**more: Any) -> Any:
    """Two outputs, by name."""
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(3, name="hidden")(inputs)
    outputs = {name: keras.layers.Dense(1, name=name)(hidden) for name in ("left", "right")}
    return compiled(keras.Model(inputs, outputs), **{"metrics": None, **more})


class Recorder(keras.callbacks.Callback):  # type: ignore[misc] # Keras has no types
    """Notes every hook that it hears, as (name, index, sorted keys of the logs)."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, int | None, list[str]]] = []

    def _note(self, name: str, index: int | None, logs: Any) -> None:
        assert logs is not None, "Keras gives {} where there are no logs"
        self.heard.append((name, index, sorted(logs)))

    def names(self) -> list[str]:
        return [name for name, _, _ in self.heard]


def _with_index(name: str) -> Any:
    def method(self: Recorder, index: int, logs: Any = None) -> None:
        self._note(name, index, logs)

    return method


def _without_index(name: str) -> Any:
    def method(self: Recorder, logs: Any = None) -> None:
        self._note(name, None, logs)

    return method


for _part in ("train", "test", "predict"):
    for _edge in ("begin", "end"):
        setattr(Recorder, f"on_{_part}_{_edge}", _without_index(f"on_{_part}_{_edge}"))
        setattr(Recorder, f"on_{_part}_batch_{_edge}", _with_index(f"on_{_part}_batch_{_edge}"))
for _edge in ("begin", "end"):
    setattr(Recorder, f"on_epoch_{_edge}", _with_index(f"on_epoch_{_edge}"))


def batches(count: int, size: int = 4) -> Iterator[tuple[Any, Any]]:
    """A generator, whose length is unknown before its end."""
    for _ in range(count):
        yield X[:size], Y[:size]


def events(run: trackhooks.Run | Path, *hooks: str) -> list[Event]:
    """The run's events, or those of these hooks."""
    found = trackhooks.journal.read(run if isinstance(run, Path) else run.path)
    return [event for event in found if not hooks or event.hook in hooks]


def names(run: trackhooks.Run | Path) -> list[str]:
    """The hooks of the run, in order."""
    return [event.hook for event in events(run)]


def infos(folder: Path) -> list[RunInfo]:
    """The runs of a folder, in the order in which they were made."""
    found = [read_info(path.parent) for path in folder.glob("*/run.json")]
    return sorted(found, key=lambda info: info.created)


def runs(folder: Path) -> list[Path]:
    """Their folders."""
    return [Path(info.path) for info in infos(folder)]
