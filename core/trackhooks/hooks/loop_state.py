"""`LoopState`: what a loop is doing, as the callbacks of the other vocabulary see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .lookups import Lookups
from .vocabulary import BY_NAME


class LoopState:
    """What a loop is doing, as far as it is known."""

    def __init__(self) -> None:
        self.lookups = Lookups()
        """Looks up facts about models, optimizers and other objects of the user."""
        self.loop = "this loop"
        """What error messages call the loop."""
        self.model: Any = None
        self.optimizer: Any = None
        self.params: dict[str, Any] = {}
        """The `params` of Keras callbacks: `verbose`, `epochs`, `steps`."""
        self.args: dict[str, Any] = {}
        """The hyper-parameters of the run."""
        self.epoch = 0
        self.batch = 0
        self.metrics: dict[str, Any] = {}
        """The latest metrics of the epoch, by the names under which they are recorded."""
        self.batch_metrics: Mapping[str, Any] = {}
        self.inputs: Any = None
        """The batch that is being predicted."""
        self.results: Any = None
        """The outputs of that batch."""
        self.seen = 0
        self.training = False
        self.stop = False
        self.save_dir: Any = None
        self.file: Any = None
        """The latest checkpoint or export."""
        self.data: Any = None
        """The training data."""
        self.val_data: Any = None
        self._in_batch = False
        self._next_epoch = 0

    def update(
        self, hook: str, metrics: Mapping[str, Any], epoch: int | None = None, batch: int | None = None
    ) -> None:
        """Update the state from a hook. Epochs are counted if the loop does not pass them."""
        if hook in _BATCH_HOOKS:
            self.update_batch(hook, metrics, batch)
            return
        if hook == "on_train_epoch_start":
            self.epoch = self._next_epoch if epoch is None else epoch
            self._next_epoch = self.epoch + 1
            self.metrics = {}
        elif epoch is not None:
            self.epoch = epoch
        if metrics:
            self.metrics = {**self.metrics, **metrics}
        for name, value in _FROM_THEN_ON.get(hook, {}).items():
            setattr(self, name, value)

    def update_batch(self, hook: str, metrics: Mapping[str, Any], batch: int | None) -> None:
        """Update the state from a hook of a batch. Batches are counted if the loop does not pass their index."""
        starts = hook in _BATCH_STARTS
        if batch is not None:
            self.batch = batch
        elif starts or not self._in_batch:
            self.batch += 1
        self._in_batch = starts or hook == "on_predict_postprocess_end"
        if hook == "on_train_batch_end":
            self.batch_metrics = metrics

    def end_batch(self, metrics: Mapping[str, Any], batch: int) -> None:
        """Update the state from `on_train_batch_end`: the hot path."""
        self.batch, self.batch_metrics, self._in_batch = batch, metrics, False


_BATCH_STARTS = frozenset(name for name in BY_NAME if name.endswith("_batch_start"))
_BATCH_HOOKS = _BATCH_STARTS | {
    "on_train_batch_end", "on_val_batch_end", "on_predict_postprocess_end", "on_predict_batch_end",
}  # fmt: skip
_FROM_THEN_ON: Mapping[str, Mapping[str, Any]] = {
    "on_pretrain_routine_start": {"stop": False},  # set by an earlier training
    "on_train_start": {"training": True, "stop": False, "_next_epoch": 0},
    "on_train_epoch_start": {"batch": -1},
    "on_val_start": {"batch": -1, "seen": 0},
    "on_predict_start": {"batch": -1, "seen": 0},
    "on_train_end": {"training": False},
    "teardown": {"training": False},
}
"""Hook → what it changes in the state."""
