"""`KerasEvents`: the methods of a callback list that a Keras loop calls."""

from __future__ import annotations

from ..errors.foreign import key_text
from .callback import Logs
from .dispatch import Dispatcher, checked_logs
from .indices import LARGEST
from .metric_names import BATCH


class KerasEvents(Dispatcher):
    """The 14 events of `keras.callbacks.CallbackList` and their two aliases, each of which fires its hook."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Alias of `on_train_batch_begin`."""
        self._fire_batch("on_train_batch_start", batch, logs)

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Alias of `on_train_batch_end`."""
        self.on_train_batch_end(batch, logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Fire the start of an epoch."""
        self._validated = set()
        self.fire("on_train_epoch_start", logs, epoch)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Fire the end of an epoch and its validation."""
        self.fire("on_fit_epoch_end", logs, epoch)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Fire the start of a training batch."""
        self._fire_batch("on_train_batch_start", batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Fire the end of a training batch."""
        if (
            type(batch) is not int
            or type(logs) is not dict
            or self._calls["on_train_batch_end"]
            or not 0 <= batch <= LARGEST
        ):
            self._fire_batch("on_train_batch_end", batch, logs)
            return
        metrics, floats = {}, True  # the hot path: no callback to call
        for name, value in logs.items():  # faster than a comprehension, before Python 3.12
            metrics[BATCH[name]] = value
            if type(value) is not float:
                floats = False
        self.state.end_batch(metrics, batch)
        if self.recorder is None:
            return
        if floats:
            self.recorder.end_clean_batch(metrics, batch)
        else:
            self.recorder.on_hook("on_train_batch_end", metrics, None, batch)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Fire the start of a validation batch."""
        self._fire_batch("on_val_batch_start", batch, logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Fire the end of a validation batch."""
        self._fire_batch("on_val_batch_end", batch, logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Fire the start of a prediction batch."""
        self._fire_batch("on_predict_batch_start", batch, logs)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Fire the end of a prediction batch, whose outputs are in `logs["outputs"]`."""
        self.state.set_results(checked_logs("on_predict_batch_end", logs).get("outputs"))
        self._fire_batch("on_predict_batch_end", batch, logs)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Fire the start of a training."""
        self.fire("on_train_start", logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Fire the end of a training."""
        self.fire("on_train_end", logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Fire the start of a validation or an evaluation."""
        self.fire("on_val_start", logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Fire the end of a validation or an evaluation."""
        self.fire("on_val_end", logs)
        if self.state.training:  # the names of a separate evaluation say nothing about the logs of an epoch
            self._validated = set(map(key_text, logs or ()))

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Fire the start of a prediction."""
        self.fire("on_predict_start", logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Fire the end of a prediction."""
        self.fire("on_predict_end", logs)
