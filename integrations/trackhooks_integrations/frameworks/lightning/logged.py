"""What a module has given to `self.log`, with the names under which it is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from trackhooks.frameworks.helpers import prefixed

_VAL = ("val", "valid", "validation")
_STAGES = {"train_batch": ("train",), "train": ("train",), "val": _VAL, "test": ("test", *_VAL)}
"""How people name a part of the loop in the names of its metrics."""


def of_loop(trainer: Any, part: str) -> dict[str, Any]:
    """Return the values of the epoch, or of the evaluation, that ends now.

    `trainer.callback_metrics` has values of earlier epochs too, and some of them by two names.

    Args:
        trainer: the Trainer.
        part: "train", "val" or "test".
    """
    results = trainer._results
    values = ((metric, results._get_cache(metric, False)) for metric in _metrics(results))
    return {_recorded(part, metric): value for metric, value in values if value is not None}


class BatchValues:
    """Reads the values of each batch once: Lightning keeps those of earlier batches."""

    def __init__(self) -> None:
        self._read: dict[str, Any] = {}

    def of_batch(self, trainer: Any) -> dict[str, Any]:
        """Return the values of the batch that ends now, which may be on an accelerator."""
        new = {}
        for metric in _metrics(trainer._results):
            if metric.meta.on_step:
                name, value = _recorded("train_batch", metric), metric._forward_cache
                if value is not None and value is not self._read.get(name):
                    new[name] = self._read[name] = value
        return new


def _metrics(results: Any) -> Iterator[Any]:
    return (metric for metric in results.values() if metric.meta.logger and not metric.has_reset)


def _recorded(part: str, metric: Any) -> str:
    """Return the recorded name of a metric: in a validation, `val_loss`, `val/loss` and `loss` are all `val/loss`."""
    meta = metric.meta
    starts = (f"{stage}{separator}" for stage in _STAGES[part] for separator in "_/")
    name = next((meta.name[len(start) :] for start in starts if meta.name.startswith(start)), "") or meta.name
    loader = f"/dataloader_idx_{meta.dataloader_idx}"
    return prefixed(f"{part}/", name + (loader if meta.dataloader_idx is not None else ""))
