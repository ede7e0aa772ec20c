"""`OwnLoop`: a custom training loop, in PyTorch or any other library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from ..event import Scalar
from ..recording.event_writer import Number, on_host
from ..recording.recorder import Recorder
from ..values import checks
from ..values.data_facts import loader_facts
from .batches import Item, Pass, known_types, length, samples
from .early_exit import left_by_exception
from .means import Scope, TrainScope
from .training import Training


class _Part(NamedTuple):
    """The hooks of the batches in one part of the loop."""

    start: str
    end: str
    before_end: str | None = None


_TRAIN = _Part("on_train_batch_start", "on_train_batch_end")
_VAL = _Part("on_val_batch_start", "on_val_batch_end")
_PREDICT = _Part("on_predict_batch_start", "on_predict_batch_end", "on_predict_postprocess_end")
_NO_METRICS: Mapping[str, Number] = {}


class OwnLoop:
    """Fires the hooks of the loop around the batches that the user iterates over.

    A batch that is left early, by `break` or an exception, is recorded if something was logged in it.

    Args:
        recorder: the run of the loop.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._callbacks = recorder.callbacks
        self._state = recorder.callbacks.state
        self._state.set_loop("a custom loop")
        self._collector = recorder.collector
        self._data: dict[str, dict[str, Scalar]] = {}
        """The facts that are recorded of each split of the data."""
        self._training = Training(recorder)
        self.watch = self._training.watch
        self.epochs = self._training.epochs
        self.settle = self._training.settle
        self.settle_at_exit = self._training.settle_at_exit
        self.abandon = self._training.abandon

    # Parts of an epoch

    def train(self, batches: Iterable[Item]) -> Iterable[Item]:
        """See `Run.train`."""
        return Pass(self._train, batches)

    def _train(self, batches: Iterable[Item]) -> Iterator[Item]:
        if not self._training.running:
            self._training.start_lone_epoch()
        self._callbacks.set_params({**(self._callbacks.params or {}), "steps": length(batches)})
        if self._state.data is not batches:
            self._record_data("train", batches)
        self._state.set_data(batches)
        return self._train_batches(batches, self._training.train_part(), self._recorder.place.batches)

    def validate(self, batches: Iterable[Item]) -> Iterable[Item]:
        """See `Run.validate`."""
        return Pass(self._validate, batches)

    def _validate(self, batches: Iterable[Item]) -> Iterator[Item]:
        training = self._training
        inside = training.in_epoch()
        amid = inside and self._collector.scope is not training.epoch
        if inside and not amid:
            training.end_train_part()
        if self._state.val_data is not batches:
            self._record_data("val" if inside else "test", batches)
        self._state.set_val_data(batches)
        self._fire("on_val_start")
        end = partial(self._end_validation, batch=self._recorder.place.batches if amid else None)
        return self._batches(batches, _VAL, Scope("val/" if inside else "test/", self._recorder.numbers), end)

    def _end_validation(self, scope: Scope, batch: int | None) -> None:
        """End a validation. One between two training batches has the index of the first of them."""
        metrics = scope.means()
        self._training.add_validation(metrics)
        self._fire("on_val_end", metrics | scope.speed(), batch=batch)

    def _record_data(self, split: str, batches: Iterable[Any]) -> None:
        """Record what is known about the data, unless it is the same as before."""
        facts = loader_facts(split, batches)
        if facts and facts != self._data.get(split):
            self._data[split] = facts
            self._recorder.record({}, facts=facts)

    def predict(self, batches: Iterable[Item]) -> Iterable[Item]:
        """See `Run.predict`."""
        return Pass(self._predict, batches)

    def _predict(self, batches: Iterable[Item]) -> Iterator[Item]:
        self._training.in_epoch()
        self._fire("on_predict_start")
        return self._batches(
            batches, _PREDICT, Scope("predict/", self._recorder.numbers), self._end_prediction
        )

    def _end_prediction(self, scope: Scope) -> None:
        seconds, count = scope.seconds, scope.samples
        counted = {"predict/samples": float(count)} if count else {}
        if count and seconds:
            counted |= {
                "predict/samples_per_s": count / seconds,
                "predict/ms_per_sample": 1000 * seconds / count,
            }
        self._fire("on_predict_end", counted | scope.means())

    # Batches

    def _train_batches(self, batches: Iterable[Any], scope: TrainScope, first: int) -> Iterator[Any]:
        """Yield each training batch between its two hooks: `_batches`, with a shortcut.

        Between the batches of a model the caches are cold, so each function and each object that is touched counts:
        `benchmarks/between_batches.py` measures it. While no callback listens to the two hooks, and no value is on an
        accelerator, `_fire_batch` and `_end_batch` are not called, but what they do then is done here.
        """
        callbacks, place = self._callbacks, self._recorder.place
        end_clean_batch = self._recorder.end_clean_batch
        starts_unrecorded, is_short = _TRAIN.start not in self._recorder.extra_hooks, False
        outer, index = self._collector.scope, first
        self._collector.collect_in(scope)
        try:
            for index, batch in enumerate(checks.iterator("the batches", batches), first):
                if is_short:
                    place.in_batch = True
                else:
                    self._fire_batch(_TRAIN.start, index)
                    self._state.set_batch_metrics(scope.last)
                    kind, array = known_types(batch)
                yield batch
                is_short = callbacks.quiet_batches and starts_unrecorded and scope.on_host
                if not is_short:
                    self._end_batch(_TRAIN, scope, batch, index)
                    continue
                try:
                    alike = type(batch) is kind and type(batch[0]) is array
                    scope.samples += batch[0].shape[0] if alike else self._size(batch)
                except IndexError:  # no items, or no dimensions
                    scope.samples += self._size(batch)
                scope.ended = metrics = scope.metrics
                scope.metrics = {}
                end_clean_batch(metrics, index)
        except GeneratorExit:
            if scope.metrics:
                self._end_batch(_TRAIN, scope, batch, index)
            if left_by_exception():
                self._training.break_off()
                raise
        finally:
            self._collector.collect_in(outer)

    def _batches(
        self, batches: Iterable[Item], part: _Part, scope: Scope, end: Callable[[Scope], None]
    ) -> Iterator[Item]:
        """Yield each batch of a validation or prediction between its two hooks."""
        outer, index = self._collector.scope, 0
        self._collector.collect_in(scope)
        try:
            for index, batch in enumerate(checks.iterator("the batches", batches)):
                self._state.set_inputs(batch)
                self._fire_batch(part.start, index)
                yield batch
                self._end_batch(part, scope, batch, index)
        except GeneratorExit:
            if scope.metrics:
                self._end_batch(part, scope, batch, index)
            if left_by_exception():
                self._training.break_off()
                raise
        finally:
            self._collector.collect_in(outer)
        end(scope)

    def _end_batch(self, part: _Part, scope: Scope, batch: Any, index: int) -> None:
        size = self._size(batch)
        scope.samples += size
        self._state.add_samples(size)
        metrics = scope.end_batch()
        if part.before_end is not None:
            self._fire_batch(part.before_end, index)
        self._fire_batch(part.end, index, metrics)

    def _size(self, batch: Any) -> int:
        return self._state.lookups.find("the size of a batch", 0, samples, batch)

    # Hooks

    def _fire(self, hook: str, metrics: Mapping[str, Any] | None = None, **more: Any) -> None:
        self._callbacks.run_callbacks(hook, None, metrics, **more)

    def _fire_batch(self, hook: str, batch: int, metrics: Mapping[str, Number] = _NO_METRICS) -> None:
        if metrics and self._callbacks.hears(hook):
            metrics = on_host(metrics)
        self._callbacks.fire_batch(hook, metrics, batch)
