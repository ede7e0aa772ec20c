"""`LoopState`: what a loop is doing, as the callbacks of the other vocabulary see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .lookups import Lookups
from .vocabulary import BY_NAME


class LoopState:
    """What a loop is doing, as far as it is known.

    Others read the attributes, and change them only by the methods.
    """

    def __init__(self) -> None:
        self.lookups = Lookups()
        """Looks up facts about models, optimizers and other objects of the user."""
        self.loop = "this loop"
        """What error messages call the loop."""
        self.model: Any = None
        self.optimizers: Mapping[str, Any] = {}
        """What trains it, by name; the name of the only one may be empty."""
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

    # What a hook does not carry

    def of_run(self, save_dir: Any, strict: bool) -> None:
        """Set the folder of the run, and whether what cannot be looked up is raised."""
        self.save_dir = save_dir
        self.lookups.strict = strict

    def set_loop(self, loop: str) -> None:
        """Set what error messages call the loop."""
        self.loop = loop

    def set_model(self, model: Any) -> None:
        """Set what is trained."""
        self.model = model

    def set_optimizers(self, optimizers: Mapping[str, Any]) -> None:
        """Set what trains it, by name."""
        self.optimizers = optimizers

    def set_data(self, batches: Any) -> None:
        """Set the training data."""
        self.data = batches

    def set_val_data(self, batches: Any) -> None:
        """Set the validation data."""
        self.val_data = batches

    def set_inputs(self, batch: Any) -> None:
        """Set the batch that the loop has now."""
        self.inputs = batch

    def set_batch_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Set the metrics of the last batch, which the loop may change."""
        self.batch_metrics = metrics

    def set_results(self, outputs: Any) -> None:
        """Set the outputs for that batch."""
        self.results = outputs

    def set_file(self, path: Any) -> None:
        """Set the latest checkpoint or export."""
        self.file = path

    def set_params(self, params: dict[str, Any]) -> None:
        """Set the `params` of Keras callbacks."""
        self.params = params

    def set_stop(self, stop: bool) -> None:
        """Set whether the training ends after this epoch."""
        self.stop = stop

    def set_training(self, training: bool) -> None:
        """Set whether a training is running."""
        self.training = training

    def add_args(self, params: Mapping[str, Any]) -> None:
        """Add hyper-parameters of the run."""
        self.args.update(params)

    def add_samples(self, number: int) -> None:
        """Count samples of the batch that ends."""
        self.seen += number

    def forget(self) -> None:
        """Drop the model and everything that belongs to it."""
        self.model = self.data = self.val_data = self.inputs = self.results = None
        self.optimizers = {}

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
