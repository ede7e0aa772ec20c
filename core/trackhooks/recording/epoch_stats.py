"""Metrics that the recorder adds itself: the best value of each metric, and how fast the training runs."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

from ..event import Event
from ..hooks.metric_goals import better

_OF_VALIDATION = ("val/", "metrics/")
"""Prefixes of the metrics of a validation; `metrics/` is that of Ultralytics."""


class EpochStats:
    """Follows the epochs of one run."""

    def __init__(self) -> None:
        self._started = 0.0
        self._best: dict[str, float] = {}
        """The best value so far of each metric of the epochs."""
        self._shown: set[str] = set()
        """The metrics whose best values are recorded."""
        self._updates = 0

    def add(self, hook: str, metrics: Mapping[str, Any], batches: int, rated: bool) -> Mapping[str, Any]:
        """Return the metrics of a hook together with those that are computed here.

        Args:
            hook: its canonical name.
            metrics: what the loop measured.
            batches: the number of batches in this epoch so far.
            rated: whether these values may be the best ones; all of them must then be floats.
        """
        if rated:
            self._note_best(metrics)
        if hook == "on_train_epoch_start":
            self._started = time.monotonic()
        elif hook == "on_train_epoch_end":
            return {**metrics, **self._speed(batches)}
        elif hook == "on_params_update":
            self._updates += 1
            return {**metrics, "model/updates": self._updates}
        elif hook == "on_train_end":
            return {f"best/{name}": value for name, value in self.best().items()} | dict(metrics)
        return metrics

    def replay(self, event: Event) -> None:
        """Take an event that is in the journal already."""
        if event.hook == "on_fit_epoch_end" or (event.hook == "on_val_end" and event.batch >= 0):
            self._note_best(event.metrics)
            self._shown |= event.best.keys()
        elif event.hook == "on_params_update":
            self._updates += 1

    def _speed(self, batches: int) -> dict[str, float]:
        seconds = time.monotonic() - self._started
        rate = {"speed/steps_per_s": batches / seconds} if batches and seconds else {}
        return {"speed/train_s": seconds, **rate}

    def best(self) -> dict[str, float]:
        """Return the best values so far: those of validation metrics, if there are any.

        A value that was recorded before the first validation is kept up to date.
        """
        validated = {name for name in self._best if name.startswith(_OF_VALIDATION)}
        self._shown |= validated or self._best.keys()
        return {name: value for name, value in self._best.items() if name in self._shown}

    def _note_best(self, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            if better(name, value, self._best.get(name, math.nan)):
                self._best[name] = value
