"""`Evaluation`: a call of `validate` or `test`."""

from __future__ import annotations

from typing import Any

from . import logged
from .loop import Loop


class Evaluation(Loop):
    """Records an evaluation that is not a part of a training."""

    _batch = -1

    def on_validation_start(self, trainer: Any, module: Any) -> None:
        """Start the evaluation."""
        batches = trainer.num_test_batches if trainer.testing else trainer.num_val_batches
        self._introduce_to_callbacks(module, None, sum(batches))
        self.run.fire("on_val_start")

    def on_validation_batch_start(self, *_: Any) -> None:
        """Count the batch: Lightning's own index starts again with each data loader."""
        self._batch += 1
        if self.run.takes("on_val_batch_start"):
            self.run.fire_batch("on_val_batch_start", {}, self._batch)

    def on_validation_batch_end(self, *_: Any) -> None:
        """Fire the end of a batch, if anyone hears it."""
        if self.run.takes("on_val_batch_end"):
            self.run.fire_batch("on_val_batch_end", {}, self._batch)

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """Record the metrics."""
        metrics = self._lookups.find("what was logged", {}, logged.of_loop, trainer, "test")
        self.run.fire("on_val_end", None, metrics)

    on_test_start = on_validation_start
    on_test_batch_start = on_validation_batch_start
    on_test_batch_end = on_validation_batch_end
    on_test_end = on_validation_end
