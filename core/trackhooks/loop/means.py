"""Collect what is logged in a custom loop: the metrics of a batch, and weighted means over a part of the epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from ..errors.foreign import key_text
from ..hooks.metric_names import Prefixed, prefixed
from ..recording.event_writer import Number
from ..values.numbers import Snapshot, to_host

_MOST_WAITING = 256
"""The largest number of values on an accelerator before they are fetched together."""


class Means:
    """Weighted means by name, in double precision, also of values on an accelerator."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}
        self._waiting: list[tuple[str, Snapshot, float]] = []

    def add(self, name: str, value: Number, weight: float) -> None:
        """Add one value."""
        if isinstance(value, Snapshot):
            self._waiting.append((name, value, weight))
            if len(self._waiting) >= _MOST_WAITING:
                self._fetch()
        else:
            total, weights = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = (total + value * weight, weights + weight)

    def _fetch(self) -> None:
        waiting, self._waiting = self._waiting, []
        fetched = to_host(snapshot for _, snapshot, _ in waiting)
        for (name, _, weight), value in zip(waiting, fetched, strict=True):
            self.add(name, value, weight)

    def result(self) -> dict[str, float]:
        """Return the means, after fetching values from the accelerator. The mean is NaN if all weights were 0."""
        self._fetch()
        return {name: total / weight if weight else math.nan for name, (total, weight) in self._sums.items()}


class Scope:
    """A part of the loop in which metrics are collected, such as a validation.

    Args:
        prefix: the prefix of the names of the means.
    """

    def __init__(self, prefix: str) -> None:
        self.means = Means()
        self.samples = 0
        self.started = time.monotonic()
        self.touched = False
        """Whether something has been logged in the current batch."""
        self._part = prefix.rstrip("/")
        self._names = Prefixed(prefix)

    def collect(self, numbers: Mapping[Any, Number], weight: float) -> None:
        """Add metrics of the current batch."""
        self.touched = True
        for name, value in numbers.items():
            self.means.add(self._names[name], value, weight)

    def end_batch(self, samples: int) -> dict[str, Number]:
        """End a batch, and return its metrics."""
        self.samples += samples
        self.touched = False
        return {}

    @property
    def seconds(self) -> float:
        """The time since the start, in seconds."""
        return time.monotonic() - self.started

    def speed(self) -> dict[str, float]:
        """Return the samples per second, if their number is known."""
        seconds = self.seconds
        return (
            {f"speed/{self._part}_samples_per_s": self.samples / seconds} if self.samples and seconds else {}
        )


class TrainScope(Scope):
    """The training part of an epoch: what is logged is a metric of the batch, and its mean is one of the epoch."""

    def __init__(self) -> None:
        super().__init__("train/")
        self._batch: dict[str, Number] = {}
        self._batch_names = _BatchNames()

    def collect(self, numbers: Mapping[Any, Number], weight: float) -> None:
        """Add metrics of the current batch."""
        self.touched = True
        for name, value in numbers.items():
            batch, mean = self._batch_names[name]
            self._batch[batch] = value
            if mean is not None:
                self.means.add(mean, value, weight)

    def end_batch(self, samples: int) -> dict[str, Number]:
        """End a batch, and return its metrics."""
        super().end_batch(samples)
        metrics, self._batch = self._batch, {}
        return metrics


class _BatchNames(dict[Any, tuple[str, str | None]]):
    """The names of the metric of a batch and of its mean, by the name that was logged.

    `train/loss` and `train_batch/loss` are the same as `loss`. Names with another known prefix, such as `lr/0`, are
    kept, and have no mean, since both would have the same name.
    """

    def __missing__(self, name: Any) -> tuple[str, str | None]:
        plain = key_text(name).removeprefix("train/").removeprefix("train_batch/")
        batch, mean = prefixed("train_batch/", plain), prefixed("train/", plain)
        self[name] = found = (batch, None if batch == mean else mean)
        return found
