"""`Prediction`: a call of `predict`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from .loop import Loop


class Prediction(Loop):
    """Records a prediction."""

    _batch = -1
    _samples = 0
    _started = 0.0

    def on_predict_start(self, trainer: Any, module: Any) -> None:
        """Start the prediction."""
        self._introduce_to_callbacks(module, None, sum(trainer.num_predict_batches))
        self._started = time.monotonic()
        self.run.fire("on_predict_start")

    def on_predict_batch_start(self, *_: Any) -> None:
        """Count the batch."""
        self._batch += 1
        if self.run.takes("on_predict_batch_start"):
            self.run.fire_batch("on_predict_batch_start", {}, self._batch)

    def on_predict_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        """Count the samples of the batch."""
        count = self._lookups.find("the size of a batch", 0, _samples, batch)
        self._samples += count
        self.run.saw(count)
        if self.run.takes("on_predict_batch_end"):
            self.run.fire_batch("on_predict_batch_end", {}, self._batch)

    def on_predict_end(self, *_: Any) -> None:
        """Record how many samples were predicted, and how fast."""
        seconds = time.monotonic() - self._started
        counted = {"predict/samples": float(self._samples)}
        if self._samples and seconds:
            counted["predict/samples_per_s"] = self._samples / seconds
            counted["predict/ms_per_sample"] = 1000 * seconds / self._samples
        self.run.fire("on_predict_end", None, counted)


def _samples(batch: Any) -> int:
    """Return the length of the first array in a batch; 0 if there is none."""
    if hasattr(batch, "shape"):
        return int(batch.shape[0]) if len(batch.shape) else 1
    parts = (
        batch.values() if isinstance(batch, Mapping) else batch if isinstance(batch, (list, tuple)) else ()
    )
    return next((count for part in parts if (count := _samples(part))), 0)
