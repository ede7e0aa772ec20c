"""`Training`: the trainings of a custom loop, with their epochs.

A loop may be left early. After a `break` or a `return` the training ends there, as if it had been the last epoch.
After an exception only `teardown` fires, as in Ultralytics. If the program catches the exception and continues, the
training has ended too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from ..errors import warn
from ..hooks.builtin import ProgressBar
from ..recording.recorder import Recorder
from ..values import checks
from ..values.params import flat_params
from .batches import Pass
from .early_exit import left_by_exception
from .means import Scope, TrainScope
from .watching import Watching


class Training:
    """Fires the hooks of trainings and epochs.

    Args:
        recorder: the run of the loop.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.running = False
        """Whether a `for` loop over `epochs` is running."""
        self.epoch: Scope | None = None
        """The current epoch."""
        self._recorder = recorder
        self._callbacks = recorder.callbacks
        self._state = recorder.callbacks.state
        self._collector = recorder.collector
        self._watching = Watching(self._fire, recorder)
        self._pretrained = False
        self._bar: ProgressBar | None = None
        self._started = False
        """Whether a training has started and not ended."""
        self._broken = False
        """Whether an exception left the loop, as far as is known."""
        self._has_inner = False
        """Whether a loop over epochs inside another one has been reported."""
        self._train_part: TrainScope | None = None
        self._in_train_part = False
        self._metrics: dict[str, float] = {}
        """The metrics of the epoch so far."""
        self._validated: dict[str, int] = {}
        """The metrics of the epoch's validations → the last step at which they were validated."""
        self._told_of_again = False

    # The model

    def watch(self, model: Any, optimizer: Any, gradient_norm: bool, histograms: int) -> None:
        """See `Run.watch`."""
        summary = self._watching.add(model, optimizer, gradient_norm, histograms)
        self._callbacks.set_model(self._watching.model)
        self._state.set_optimizers(self._watching.optimizers)
        self._pretrain(summary)

    def _pretrain(self, summary: Mapping[str, Any]) -> None:
        """Fire the two hooks before a training, once for each model."""
        self._pretrained = True
        self._fire("on_pretrain_routine_start", params=flat_params(self._state.args, _reported_before))
        self._fire("on_pretrain_routine_end", **summary)

    # Trainings

    def epochs(self, count: int, start: int | None, progress: bool) -> Iterable[int]:
        """See `Run.epochs`."""
        count = checks.index("run.epochs(…): count", count)
        if start is None:
            done = self._recorder.place.epochs_done
            epochs = range(done, done + count)
        else:
            epochs = range(checks.index("run.epochs(…): start", start), count)
        return Pass(partial(self._epochs, progress=progress), epochs)

    def _epochs(self, epochs: Iterable[int], progress: bool) -> Iterator[int]:
        assert isinstance(epochs, range)
        if self.running:
            yield from self._inner(epochs)
            return
        self._start(epochs.stop, epochs.start, progress)
        self.running = True
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
            self.running = False
            self._remove_bar()
        self._end()

    def _inner(self, epochs: Iterable[int]) -> Iterator[int]:
        """Iterate inside another loop over epochs: what is logged belongs to the outer epoch."""
        if not self._has_inner:
            self._has_inner = True
            self._recorder.report(
                f"run {self._recorder.name!r}: run.epochs inside run.epochs. The outer epoch is not finished, so what"
                " is logged belongs to it. For a separate training, use run.child(name).epochs(…)."
            )
        for epoch in epochs:
            yield epoch
            if self._callbacks.stop_training:
                break

    def _start(self, epochs: int | None, first: int, progress: bool) -> None:
        self.settle()
        if not self._pretrained:
            self._pretrain({})
        if progress:
            self._add_bar()
        self._callbacks.set_params(
            {"verbose": int(progress), "epochs": epochs, "steps": None, "initial_epoch": first}
        )
        self._started, self._broken = True, False
        self._fire("on_train_start")

    def _end(self) -> None:
        self._end_epoch()
        self._started = self._broken = False
        self._fire("on_train_end", self._metrics)

    def settle(self) -> None:
        """End a training that was left early: the program continued after it, so it ended well."""
        if self._started and not self.running:
            self._end()

    def settle_at_exit(self) -> None:
        """As `settle`, unless an exception left the training, such as that of `sys.exit`."""
        if not self._broken:
            self.settle()

    def break_off(self) -> None:
        """Note that an exception left a loop over batches."""
        self._broken = not self.running

    def abandon(self) -> None:
        """Stop without firing hooks, after an exception, and let go of the model."""
        self._collector.collect_in(None)
        self.epoch = self._train_part = None
        self._started = self.running = self._broken = False
        self._remove_bar()
        self._watching.release()

    def _add_bar(self) -> None:
        if not any(isinstance(callback, ProgressBar) for callback in self._callbacks):
            self._bar = ProgressBar()
            self._callbacks.append(self._bar)

    def _remove_bar(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.on_train_end()  # otherwise an exception would leave the terminal without a cursor
            self._callbacks.remove(bar)

    # Epochs

    def start_lone_epoch(self) -> None:
        """Start an epoch for `run.train` outside `run.epochs`: each call is an epoch."""
        if self._broken:
            self.settle()
        if not self._started:
            self._start(None, self._recorder.place.epochs_done, progress=False)
        self._end_epoch()
        self._start_epoch(self._recorder.place.epochs_done)

    def in_epoch(self) -> bool:
        """Whether an epoch is running; ends a training that was left early."""
        if self._broken or self.epoch is None:
            self.settle()
        return self.epoch is not None

    def _start_epoch(self, epoch: int) -> None:
        self.epoch, self._train_part = Scope("", self._recorder.numbers), None
        self._metrics, self._validated = {}, {}
        self._collector.collect_in(self.epoch)
        self._fire("on_train_epoch_start", epoch=epoch)

    def _end_epoch(self) -> None:
        epoch, self.epoch = self.epoch, None
        if epoch is None:
            return
        self.end_train_part()
        self._collector.collect_in(None)
        self._metrics.update(epoch.means())
        self._fire("on_fit_epoch_end", self._metrics, epoch=self._state.epoch)

    def train_part(self) -> TrainScope:
        """Return the training part of the epoch. It starts with the first batch, and continues after a validation."""
        if self._train_part is None:
            self._train_part = TrainScope(self._recorder.numbers)
        self._in_train_part = True
        return self._train_part

    def end_train_part(self) -> None:
        """Fire `on_train_epoch_end`, after the training batches of an epoch."""
        part, running, self._in_train_part = self._train_part, self._in_train_part, False
        if part is None or not running:
            return
        metrics = part.means() | self._watching.learning_rates()
        self._metrics.update(metrics)
        self._fire("on_train_epoch_end", metrics | part.speed(), epoch=self._state.epoch)

    def add_validation(self, metrics: Mapping[str, float]) -> None:
        """Add the metrics of a validation to those of the epoch, if one is running. The epoch keeps the last value."""
        if self.epoch is None:
            return
        step = self._recorder.place.current
        again = [name for name in metrics if self._validated.get(name) == step]
        self._validated.update(dict.fromkeys(metrics, step))
        self._metrics.update(metrics)
        if again and not self._told_of_again:
            self._told_of_again = True
            warn(_SAME_NAME.format(run=self._recorder.name, name=again[0], own=again[0].removeprefix("val/")))

    def _fire(self, hook: str, metrics: Mapping[str, Any] | None = None, **more: Any) -> None:
        self._callbacks.run_callbacks(hook, None, metrics, **more)


_SAME_NAME = (
    "run {run!r}: two validations of the same step return {name!r}. The epoch keeps the last value, and the earlier one"
    " is a point over the steps. For two curves, give them two names, as in run.log({{'other/{own}': …}})."
)


def _reported_before(message: str) -> None:
    """Drop a warning: parameters that cannot be read were reported when they were logged."""
