"""`History` and `ProgressBar`: the callbacks that a `CallbackList` adds on request."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from .callback import _BROKEN, Callback, Logs


class History(Callback):
    """Collects the logs of every epoch: `epoch` has the indices, and `history` a list of values for each name."""

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[Any]] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget an earlier training."""
        self.epoch = []
        self.history = {}

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Append the logs of the epoch."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)


class ProgressBar(Callback):
    """Shows a progress bar for each epoch, followed by the latest logs."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Open the bar of the epoch. Its length is `params["steps"]`."""
        self._epoch = epoch
        self._open()

    def _open(self) -> None:
        self._close()
        params = self.params or {}
        epochs = params.get("epochs")
        title = f"epoch {self._epoch + 1}" + (f"/{epochs}" if epochs else "")
        with suppress(ImportError, *_BROKEN):  # or no file can be opened any more
            from rich.errors import LiveError

            bar = _new_bar()
            self._task = bar.add_task(title, total=params.get("steps"), logs="")
            with suppress(LiveError):  # another bar is shown, and this version of rich shows one at a time
                bar.start()
                self._bar = bar

    def _close(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            with suppress(*_BROKEN):
                bar.stop()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Advance the bar."""
        if self._bar is not None:
            steps = (self.params or {}).get("steps")  # a custom loop knows them only when its batches start
            with suppress(*_BROKEN):
                self._bar.update(self._task, completed=batch + 1, total=steps, logs=_shown(logs))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Show the metrics of the epoch and close its bar."""
        if self._bar is not None:
            with suppress(*_BROKEN):
                self._bar.update(self._task, logs=_shown(logs))
        self._close()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the bar of an epoch that was left early."""
        self._close()


def _new_bar() -> Any:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    logs = TextColumn("{task.fields[logs]}", markup=False)  # a metric may be called `mAP[50]`
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), logs
    )


def _shown(logs: Logs | None) -> str:
    return "  ".join(
        f"{name} {value:.4g}" for name, value in (logs or {}).items() if isinstance(value, (int, float))
    )
