"""Your own loop, in PyTorch or in anything else: `epochs`, `train`, `validate` and `predict` fire the hooks around it.

`watch` adds what only the model and its optimizer can tell: the summary, the learning rates, `optimizer_step`,
`on_before_zero_grad` and `on_params_update`.

A loop may be left early. After a `break` or a `return` the training ends there, as if it had been the last epoch.
After an exception only `teardown` fires, as in Ultralytics, and before it the end of the batch, if something was
logged in it. Where the program catches the exception and goes on, the training has ended all the same.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from ..hooks.builtin import ProgressBar
from ..recording.event_writer import Number, all_floats, on_host
from ..recording.recorder import Recording
from ..values import checks
from ..values.params import flat_params
from .batches import Item, Pass, length, samples
from .early_exit import left_by_exception
from .means import Scope, TrainScope
from .torch_model import Watched


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
    """Fires the hooks of one run's loop, and collects what is logged inside of it."""

    def __init__(self, recording: Recording) -> None:
        self.thread = 0
        """The thread that the loop is on: what others log does not belong to its batches."""
        self._recording = recording
        self._callbacks = recording.callbacks
        self._state = recording.callbacks.state
        self._state.loop = "a loop of your own"
        self._watched: Watched | None = None
        self._bar: ProgressBar | None = None
        self._pretrained = False
        self._training = False
        """A training has started, and not ended."""
        self._running = False
        """`epochs` is being gone through."""
        self._broken = False
        """An exception left the loop, as far as is known by now."""
        self._epoch: Scope | None = None
        self._train_part: TrainScope | None = None
        self._scope: Scope | None = None
        """Where `run.log` collects now: in a part of the epoch, or in the epoch itself."""
        self._metrics: dict[str, float] = {}
        """Those of the epoch, so far."""

    # What the model and the optimizer tell

    def watch(self, model: Any, optimizer: Any, gradient_norm: bool, histograms: int) -> None:
        """See `Run.watch`."""
        watched = Watched(model, optimizer, self._fire, self._recording, gradient_norm, histograms)
        self.release()
        self._watched = watched.listen()
        self._state.optimizer = optimizer
        self._callbacks.set_model(model)
        self._pretrained = False
        self._pretrain()

    def release(self) -> None:
        """Lets go of the model and the optimizer."""
        if self._watched is not None:
            self._watched.release()
            self._watched = None

    def _pretrain(self) -> None:
        if self._pretrained:
            return
        self._pretrained = True
        self._fire("on_pretrain_routine_start", params=flat_params(self._state.args, _reported_before))
        summary = self._watched.summary() if self._watched is not None else {}
        self._fire("on_pretrain_routine_end", **summary)

    # Trainings

    def epochs(self, count: int, start: int | None, progress: bool) -> Iterable[int]:
        """See `Run.epochs`."""
        count = checks.index("run.epochs(…): count", count)
        if start is None:
            epochs = range(self._recording.place.epochs_done, self._recording.place.epochs_done + count)
        else:
            epochs = range(checks.index("run.epochs(…): start", start), count)
        return Pass(partial(self._epochs, progress=progress), epochs)

    def _epochs(self, epochs: Iterable[int], progress: bool) -> Iterator[int]:
        assert isinstance(epochs, range)
        self._start_training(epochs.stop, epochs.start, progress)
        self._running = True
        try:
            for epoch in epochs:
                self._start_epoch(epoch)
                yield epoch
                self._end_epoch()
                if self._callbacks.stop_training:
                    break
        except GeneratorExit:
            self._broken = left_by_exception()
            if self._broken:
                raise
        finally:
            self._running = False
            self._remove_bar()
        self._end_training()

    def _start_training(self, epochs: int | None, first: int, progress: bool) -> None:
        self.settle()
        self._pretrain()
        if progress:
            self._add_bar()
        self._callbacks.set_params(
            {"verbose": int(progress), "epochs": epochs, "steps": None, "initial_epoch": first}
        )
        self._training, self._broken = True, False
        self._fire("on_train_start")

    def _end_training(self) -> None:
        self._end_epoch()
        self._training = self._broken = False
        self._fire("on_train_end", self._metrics)

    def settle(self) -> None:
        """The program went on behind a training that was left early: so it has ended, and well."""
        if self._training and not self._running:
            self._end_training()

    def settle_at_exit(self) -> None:
        """As `settle`, unless an exception left the training, such as that of `sys.exit`."""
        if not self._broken:
            self.settle()

    def abandon(self) -> None:
        """An exception ended the run: what stands open stays so, and only the collecting ends."""
        self._collect_in(None)
        self._epoch = self._train_part = None
        self._training = self._running = self._broken = False
        self._remove_bar()

    def _add_bar(self) -> None:
        if not any(isinstance(callback, ProgressBar) for callback in self._callbacks):
            self._bar = ProgressBar()
            self._callbacks.append(self._bar)

    def _remove_bar(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.on_train_end()  # after an exception nothing else closes it, and the terminal would stay without cursor
            self._callbacks.remove(bar)

    # Epochs

    def _start_epoch(self, epoch: int) -> None:
        self._epoch, self._train_part, self._metrics = Scope(""), None, {}
        self._collect_in(self._epoch)
        self._fire("on_train_epoch_start", epoch=epoch)

    def _start_lone_epoch(self) -> None:
        """`run.train` without `run.epochs`: each call is an epoch."""
        if self._broken:
            self.settle()
        if not self._training:
            self._start_training(None, self._recording.place.epochs_done, progress=False)
        self._end_epoch()
        self._start_epoch(self._recording.place.epochs_done)

    def _end_epoch(self) -> None:
        epoch, self._epoch = self._epoch, None
        if epoch is None:
            return
        self._end_train_part()
        self._collect_in(None)
        self._metrics.update(epoch.means.result())
        self._fire("on_fit_epoch_end", self._metrics, epoch=self._state.epoch)

    def _end_train_part(self) -> None:
        part, self._train_part = self._train_part, None
        if part is None:
            return
        rates = self._watched.learning_rates() if self._watched is not None else {}
        metrics = part.means.result() | rates
        self._metrics.update(metrics)
        self._fire("on_train_epoch_end", metrics | part.speed(), epoch=self._state.epoch)

    # Parts of an epoch

    def train(self, batches: Iterable[Item]) -> Iterable[Item]:
        """See `Run.train`."""
        return Pass(self._train, batches)

    def _train(self, batches: Iterable[Item]) -> Iterator[Item]:
        if not self._running:
            self._start_lone_epoch()
        self._train_part = self._train_part or TrainScope()
        self._callbacks.set_params({**(self._callbacks.params or {}), "steps": length(batches)})
        self._state.data = batches
        return self._batches(batches, _TRAIN, self._train_part, first=self._recording.place.batches)

    def validate(self, batches: Iterable[Item]) -> Iterable[Item]:
        """See `Run.validate`."""
        return Pass(self._validate, batches)

    def _validate(self, batches: Iterable[Item]) -> Iterator[Item]:
        inside = self._is_inside_epoch()
        if inside and self._scope is self._epoch:  # amid the training batches the training part goes on
            self._end_train_part()
        self._state.val_data = batches
        self._fire("on_val_start")
        return self._batches(batches, _VAL, Scope("val/" if inside else "test/"), self._end_validation)

    def _end_validation(self, scope: Scope) -> None:
        metrics = scope.means.result()
        if self._epoch is not None:
            self._metrics.update(metrics)
        self._fire("on_val_end", metrics | scope.speed())

    def predict(self, batches: Iterable[Item]) -> Iterable[Item]:
        """See `Run.predict`."""
        return Pass(self._predict, batches)

    def _predict(self, batches: Iterable[Item]) -> Iterator[Item]:
        self._is_inside_epoch()
        self._fire("on_predict_start")
        return self._batches(batches, _PREDICT, Scope("predict/"), self._end_prediction)

    def _end_prediction(self, scope: Scope) -> None:
        seconds, count = scope.seconds, scope.samples
        counted = {"predict/samples": float(count)} if count else {}
        if count and seconds:
            counted |= {
                "predict/samples_per_s": count / seconds,
                "predict/ms_per_sample": 1000 * seconds / count,
            }
        self._fire("on_predict_end", counted | scope.means.result())

    def _is_inside_epoch(self) -> bool:
        if self._broken or self._epoch is None:
            self.settle()
        return self._epoch is not None

    # Batches

    def _batches(
        self,
        batches: Iterable[Item],
        part: _Part,
        scope: Scope,
        end: Callable[[Scope], None] | None = None,
        first: int = 0,
    ) -> Iterator[Item]:
        """Each batch between its two hooks; a batch that is left early counts if something was logged in it."""
        outer, index = self._scope, first
        self._collect_in(scope)
        try:
            for index, batch in enumerate(batches, first):
                self._state.inputs = batch
                self._fire_batch(part.start, index)
                yield batch
                self._end_batch(part, scope, batch, index)
        except GeneratorExit:
            if scope.touched:
                self._end_batch(part, scope, batch, index)
            if left_by_exception():
                self._broken = not self._running
                raise
        finally:
            self._collect_in(outer)
        if end is not None:
            end(scope)

    def _end_batch(self, part: _Part, scope: Scope, batch: Any, index: int) -> None:
        size = self._state.lookups.find("the size of a batch", 0, samples, batch)
        self._state.seen += size
        metrics = scope.end_batch(size)
        if part.before_end is not None:
            self._fire_batch(part.before_end, index)
        self._fire_batch(part.end, index, metrics)

    # Collecting and firing

    def _collect_in(self, scope: Scope | None) -> None:
        self._scope, self.thread = scope, threading.get_ident()
        self._recording.collector = None if scope is None else self

    def collect(self, metrics: Mapping[str, Any], weight: Any) -> None:
        """Takes what `run.log` got inside of the loop."""
        assert self._scope is not None
        if type(weight) is not float or not 0 <= weight < math.inf:
            weight = checks.number("run.log(…): weight", weight)
        numbers = metrics if all_floats(metrics) else self._recording.numbers(metrics)
        self._scope.collect(numbers, weight)

    def _fire(self, hook: str, metrics: Mapping[str, Any] | None = None, **more: Any) -> None:
        self._callbacks.run_callbacks(hook, None, metrics, **more)

    def _fire_batch(self, hook: str, batch: int, metrics: Mapping[str, Number] = _NO_METRICS) -> None:
        if metrics and self._callbacks.hears(hook):
            metrics = on_host(metrics)
        self._callbacks.fire_batch(hook, metrics, batch)


def _reported_before(message: str) -> None:
    """What cannot be read in the run's parameters was reported when they were logged."""
