"""Collect what is logged in a custom loop: the metrics of a batch, and weighted means over a part of the epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..errors.foreign import key_text
from ..hooks.metric_names import CleanNames, Prefixed, prefixed
from ..recording.event_writer import Number, all_floats, filled, snapshots
from ..values.numbers import floats_of_cpu, to_host

_MOST_WAITING = 128
"""How often something is logged until it is added up: less than one batch in a hundred takes the time for that."""

Numbers = Callable[[Mapping[str, Any]], Mapping[str, Number]]
"""Returns the metrics that are numbers, and reports the others."""
Logged = tuple[Mapping[str, Number], float]
"""Metrics by the names that were logged, and their weight."""


class Scope:
    """A part of the loop in which metrics are collected, such as a validation, and their weighted means.

    Values are added up many at a time, in double precision: those on an accelerator are then fetched together, and a
    batch touches fewer objects.

    Args:
        prefix: the prefix of the names of the means.
        numbers: returns the metrics that are numbers.
    """

    def __init__(self, prefix: str, numbers: Numbers) -> None:
        self.samples = 0
        self.metrics: dict[str, Any] = {}
        """What has been logged in the current batch."""
        self._started = time.monotonic()
        self._part = prefix.rstrip("/")
        self._names: Mapping[Any, str | None] = Prefixed(prefix)
        """The name of the mean, by the name that was logged; None if there is none."""
        self._numbers = numbers
        self._waiting: list[Logged] = []
        """What is not part of the sums yet."""
        self._fetches = False
        """Whether some of it may be on an accelerator."""
        self._sums: dict[str, tuple[float, float]] = {}

    def collect(self, metrics: dict[str, Any], weight: float) -> None:
        """Add metrics of the current batch. They are kept: the caller must not change them."""
        numbers = metrics if all_floats(metrics) else self._numbers(metrics)
        self.metrics.update(numbers)
        self._wait(numbers, weight)

    def _wait(self, numbers: Mapping[str, Number], weight: float) -> None:
        self._fetches = self._fetches or not all_floats(numbers)
        self._waiting.append((numbers, weight))
        if len(self._waiting) >= _MOST_WAITING:
            self._add_up()

    def _add_up(self) -> None:
        waiting: Iterable[Any] = _fetched(self._waiting) if self._fetches else self._waiting
        self._waiting, self._fetches = [], False
        for numbers, weight in waiting:
            for name, value in numbers.items():
                mean = self._names[name]
                if mean is not None:
                    total, weights = self._sums.get(mean, (0.0, 0.0))
                    self._sums[mean] = (total + value * weight, weights + weight)

    def means(self) -> dict[str, float]:
        """Return the means, after fetching values from the accelerator. The mean is NaN if all weights were 0."""
        self._add_up()
        return {name: total / weight if weight else math.nan for name, (total, weight) in self._sums.items()}

    def end_batch(self) -> dict[str, Any]:
        """End a batch, and return its metrics, if they are recorded."""
        self.metrics = {}
        return {}

    @property
    def seconds(self) -> float:
        """The time since the start, in seconds."""
        return time.monotonic() - self._started

    def speed(self) -> dict[str, float]:
        """Return the samples per second, if their number is known."""
        seconds = self.seconds
        return (
            {f"speed/{self._part}_samples_per_s": self.samples / seconds} if self.samples and seconds else {}
        )


class TrainScope(Scope):
    """The training part of an epoch: what is logged is a metric of the batch, and its mean is one of the epoch."""

    def __init__(self, numbers: Numbers) -> None:
        super().__init__("train/", numbers)
        self._names = _MeanNames()
        self._batch_names = _BatchNames("train_batch/")
        self.on_host = True
        """Whether none of the metrics of the current batch is on an accelerator."""
        self.ended: dict[str, Any] = {}
        """The metrics of the last batch that has ended."""
        self.last = LastMetrics(self)

    def collect(self, metrics: dict[str, Any], weight: float) -> None:
        """Add metrics of the current batch: the hot path, which calls next to nothing."""
        batch, names = self.metrics, self._batch_names
        for name, value in metrics.items():
            if type(value) is not float:
                floats = floats_of_cpu(metrics)
                if floats is None:
                    self._collect_others(metrics, weight)
                    return
                metrics = floats
                for known, number in floats.items():
                    batch[names[known]] = number
                break
            batch[names[name]] = value
        waiting = self._waiting
        waiting.append((metrics, weight))
        if len(waiting) >= _MOST_WAITING:
            self._add_up()

    def _collect_others(self, metrics: dict[str, Any], weight: float) -> None:
        numbers = self._numbers(metrics)
        self.metrics.update((self._batch_names[name], value) for name, value in numbers.items())
        self.on_host = self.on_host and all_floats(numbers)
        self._wait(numbers, weight)

    def end_batch(self) -> dict[str, Any]:
        """End a batch, and return its metrics."""
        self.ended, self.metrics, self.on_host = self.metrics, {}, True
        return self.ended


class LastMetrics(Mapping[str, Any]):
    """The metrics of the last batch that has ended when they are read."""

    def __init__(self, scope: TrainScope) -> None:
        self._scope = scope

    def __getitem__(self, name: str) -> Any:
        return self._scope.ended[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._scope.ended)

    def __len__(self) -> int:
        return len(self._scope.ended)


class _BatchNames(CleanNames):
    """The name of the metric of a batch, by the name that was logged: `train/loss` is the same as `loss`."""

    def __missing__(self, name: Any) -> str:
        found = self[name] = super().__missing__(_plain(name))
        return found


class _MeanNames(dict[Any, "str | None"]):
    """The name of the mean, by the name that was logged.

    Names with a known prefix, such as `lr/0`, are kept, and have no mean, since both would have the same name.
    """

    def __missing__(self, name: Any) -> str | None:
        plain = _plain(name)
        mean = prefixed("train/", plain)
        found = self[name] = None if mean == prefixed("train_batch/", plain) else mean
        return found


def _plain(name: Any) -> str:
    return key_text(name).removeprefix("train/").removeprefix("train_batch/")


def _fetched(waiting: Sequence[Logged]) -> Iterator[tuple[dict[str, float], float]]:
    """Yield the same with values instead of snapshots. Those on an accelerator are fetched together."""
    values = iter(to_host(snapshots(*(numbers for numbers, _ in waiting))))
    for numbers, weight in waiting:
        yield filled(numbers, values), weight
