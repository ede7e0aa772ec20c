"""Your own loop, in PyTorch or in anything else: `epochs`, `train`, `validate` and `predict` fire the hooks around it.

`watch` adds what only the model and its optimizer can tell: the summary, the learning rates, `optimizer_step`,
`on_before_zero_grad` and `on_params_update`.

A loop may be left early. After a `break` or a `return` the training ends there, as if it had been the last epoch;
after an exception only `teardown` fires, as in Ultralytics.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from .. import values
from ..callback import ProgressBar
from ..errors import InvalidValueError
from ..names import Prefixed
from ..recording import Recording
from ..values import Snapshot
from ..writing import Number, on_host
from .leaving import left_by_exception
from .modules import Watched

Batch = TypeVar("Batch")


class Means:
    """Weighted running means by name; what lies on an accelerator is summed up there."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Any, float]] = {}

    def add(self, name: str, value: Number, weight: float) -> None:
        """Counts one value."""
        term = value.tensor * weight if isinstance(value, Snapshot) else value * weight
        total, weights = self._sums.get(name, (0.0, 0.0))
        self._sums[name] = (total + term, weights + weight)

    def result(self) -> dict[str, float]:
        """The means; waits for the accelerator where some lie there."""
        means = {name: total / weight if weight else math.nan for name, (total, weight) in self._sums.items()}
        return on_host(
            {name: mean if isinstance(mean, float) else Snapshot(mean) for name, mean in means.items()}
        )


class _Scope:
    """A part of the loop in which `run.log` collects: the names of a batch, and of the mean over all batches."""

    def __init__(self, batch: str | None, mean: str) -> None:
        self.means = Means()
        self.samples = 0
        self.started = time.monotonic()
        self.batch_metrics: dict[str, Number] = {}
        self._batch_names = None if batch is None else Prefixed(batch)
        self._mean_names = Prefixed(mean) if mean else None

    def collect(self, numbers: Mapping[str, Number], weight: float) -> None:
        """Takes numbers of the present batch."""
        for name, value in numbers.items():
            self.means.add(name if self._mean_names is None else self._mean_names[name], value, weight)
            if self._batch_names is not None:
                self.batch_metrics[self._batch_names[name]] = value

    def speed(self, part: str) -> dict[str, float]:
        """Samples a second, where the batches tell how many they hold."""
        seconds = time.monotonic() - self.started
        return {f"speed/{part}_samples_per_s": self.samples / seconds} if self.samples and seconds else {}


class Loop:
    """Fires the hooks of one run's loop, and collects what is logged inside of it."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._callbacks = recording.callbacks
        self._state = recording.callbacks.state
        self._state.loop = "a loop of your own"
        self._watched: Watched | None = None
        self._scope: _Scope | None = None
        self._epoch_scope: _Scope | None = None
        self._train_scope: _Scope | None = None
        self._epoch_metrics: dict[str, float] = {}
        self._set_up = False
        self._in_epochs = False
        self._unfinished = False

    # What the model and the optimizer tell

    def watch(self, model: Any, optimizer: Any, gradient_norm: bool, histograms: int) -> None:
        """See `Run.watch`."""
        if self._watched is not None:
            self._watched.release()
        self._watched = Watched(model, optimizer, self._fire, self._recording, gradient_norm, histograms)
        self._state.optimizer = optimizer
        self._callbacks.set_model(model)
        self._set_up = False
        self._pretrain()

    def _pretrain(self) -> None:
        if self._set_up:
            return
        self._set_up = True
        self._fire("on_pretrain_routine_start", params=values.params(self._state.args))
        summary = self._watched.summary() if self._watched is not None else {}
        self._fire("on_pretrain_routine_end", **summary)

    # Epochs

    def epochs(self, count: int, start: int | None, progress: bool) -> Iterator[int]:
        """See `Run.epochs`."""
        _check_count("run.epochs", count)
        first = self._recording.epoch + 1 if start is None else start
        last = first + count if start is None else count
        self._start_training(last, first, progress)
        try:
            for epoch in range(first, last):
                self._start_epoch(epoch)
                yield epoch
                self._end_epoch()
                if self._callbacks.stop_training:
                    break
        except GeneratorExit:
            self._unfinished = left_by_exception()
            if self._unfinished:
                raise
        self._end_training()

    def _start_training(self, epochs: int, first: int, progress: bool) -> None:
        self.settle()
        self._pretrain()
        if progress and not any(isinstance(callback, ProgressBar) for callback in self._callbacks):
            self._callbacks.append(ProgressBar())
        self._callbacks.set_params(
            {"verbose": int(progress), "epochs": epochs, "steps": None, "initial_epoch": first}
        )
        self._in_epochs = True
        self._fire("on_train_start")

    def _start_epoch(self, epoch: int) -> None:
        self._epoch_scope = self._scope = _Scope(None, "")
        self._epoch_metrics, self._train_scope = {}, None
        self._recording.collector = self
        self._fire("on_train_epoch_start", epoch=epoch)

    def _end_epoch(self) -> None:
        if self._epoch_scope is None:
            return
        self._end_train_part()
        metrics = {**self._epoch_metrics, **self._epoch_scope.means.result()}
        self._scope = self._epoch_scope = self._recording.collector = None
        self._fire("on_fit_epoch_end", metrics, epoch=self._state.epoch)
        self._epoch_metrics = metrics

    def _end_training(self) -> None:
        self._end_epoch()
        self._in_epochs = self._unfinished = False
        self._fire("on_train_end", self._epoch_metrics)

    def settle(self) -> None:
        """The program went on behind a training that was left early: so it has ended, and well."""
        if self._unfinished or (self._epoch_scope is not None and not self._in_epochs):
            self._end_training()

    def abandon(self) -> None:
        """An exception ended the run: what stands open stays so, and only the collecting ends."""
        self._scope = self._epoch_scope = self._recording.collector = None
        self._unfinished = self._in_epochs = False

    def release(self) -> None:
        """Lets go of the model and the optimizer."""
        if self._watched is not None:
            self._watched.release()
            self._watched = None

    # Batches

    def train(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """See `Run.train`."""
        if not self._in_epochs:
            self._start_lone_epoch()
        if self._train_scope is None:
            self._train_scope = _Scope("batch/", "train/")
        self._callbacks.set_params({**(self._callbacks.params or {}), "steps": _length(batches)})
        self._state.data = batches
        before = self._recording.place.batches
        return self._batches(batches, self._train_scope, "train", first=before)

    def _start_lone_epoch(self) -> None:
        """`run.train` without `run.epochs`: each call is an epoch."""
        if self._epoch_scope is not None:
            self._end_epoch()
        else:
            self._start_training(0, self._recording.epoch + 1, progress=False)
            self._in_epochs = False
        self._start_epoch(self._recording.epoch + 1)

    def _end_train_part(self) -> None:
        scope, self._train_scope = self._train_scope, None
        if scope is None:
            return
        rates = self._watched.learning_rates() if self._watched is not None else {}
        metrics = {**scope.means.result(), **rates}
        self._fire("on_train_epoch_end", {**metrics, **scope.speed("train")}, epoch=self._state.epoch)
        self._epoch_metrics.update(metrics)

    def validate(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """See `Run.validate`."""
        inside = self._epoch_scope is not None
        if not inside:
            self.settle()
        elif (
            self._scope is not self._train_scope
        ):  # a validation amid the batches does not end the training part
            self._end_train_part()
        self._fire("on_val_start")
        return self._batches(
            batches, _Scope(None, "val/" if inside else "test/"), "val", self._end_validation
        )

    def _end_validation(self, scope: _Scope) -> None:
        metrics = scope.means.result()
        self._fire("on_val_end", {**metrics, **scope.speed("val")})
        if self._epoch_scope is not None:
            self._epoch_metrics.update(metrics)

    def predict(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """See `Run.predict`."""
        if self._epoch_scope is None:
            self.settle()
        self._state.seen = 0
        self._fire("on_predict_start")
        return self._batches(batches, _Scope(None, "predict/"), "predict", self._end_prediction)

    def _end_prediction(self, scope: _Scope) -> None:
        seconds = time.monotonic() - scope.started
        counted = {"predict/samples": float(scope.samples)} if scope.samples else {}
        if scope.samples and seconds:
            counted["predict/samples_per_s"] = scope.samples / seconds
            counted["predict/ms_per_sample"] = 1000 * seconds / scope.samples
        self._fire("on_predict_end", {**counted, **scope.means.result()})

    def _batches(
        self,
        batches: Iterable[Batch],
        scope: _Scope,
        part: str,
        end: Callable[[_Scope], None] | None = None,
        first: int = 0,
    ) -> Iterator[Batch]:
        """Each batch between its two hooks; a batch that is left early counts if something was logged in it."""
        outer, self._scope, self._recording.collector = self._scope, scope, self
        index = first
        try:
            for index, batch in enumerate(batches, first):
                self._state.inputs = batch
                self._fire(f"on_{part}_batch_start", batch=index)
                yield batch
                self._end_batch(part, scope, batch, index)
        except GeneratorExit:
            if scope.batch_metrics:
                self._end_batch(part, scope, None, index)
            if left_by_exception():
                raise
        finally:
            self._scope = outer
            if outer is None:
                self._recording.collector = None
        if end is not None:
            end(scope)

    def _end_batch(self, part: str, scope: _Scope, batch: Any, index: int) -> None:
        size = _samples(batch)
        scope.samples += size
        self._state.seen += size
        metrics, scope.batch_metrics = scope.batch_metrics, {}
        if part == "predict":
            self._fire("on_predict_postprocess_end", batch=index)
        self._fire(f"on_{part}_batch_end", metrics, batch=index)

    # Collecting

    def collect(self, metrics: Mapping[str, Any], weight: float) -> None:
        """Takes what `run.log` got inside of the loop."""
        if not weight >= 0 or math.isinf(weight):
            raise InvalidValueError(
                f"run.log(…, weight={weight!r}): a number that is not negative is needed."
            )
        assert self._scope is not None
        self._scope.collect(self._recording.numbers(metrics), weight)

    def _fire(self, hook: str, metrics: Mapping[str, Any] | None = None, **more: Any) -> None:
        if metrics and self._callbacks.hears(hook):
            metrics = on_host(metrics)
        self._callbacks.run_callbacks(hook, None, metrics, **more)


def _check_count(call: str, count: Any) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise InvalidValueError(f"{call}({count!r}): a number of epochs is needed.")


def _length(batches: Iterable[Any]) -> int | None:
    try:
        return len(batches)  # type: ignore[arg-type]
    except TypeError:
        return None


def _samples(batch: Any) -> int:
    """The first dimension of the first array in a batch; 0 where there is none."""
    while isinstance(batch, (list, tuple)) and batch:
        batch = batch[0]
    if isinstance(batch, Mapping) and batch:
        return _samples(next(iter(batch.values())))
    shape = getattr(batch, "shape", None)
    return int(shape[0]) if shape is not None and len(shape) else 0
