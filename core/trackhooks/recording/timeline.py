"""`Timeline`: writes the events of a run to its journal, each at its step and epoch."""

from __future__ import annotations

import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ..event import Event, RunInfo
from ..hooks.vocabulary import LOG
from ..storage import journal
from ..storage.checkpoints import TrainingCopies
from ..storage.forks import after_fork_in_child
from ..values.numbers import split_numbers
from .epoch_stats import EpochStats
from .event_writer import EventWriter, Number, on_host
from .status import RunStatus
from .steps import StepCounter

_EVALUATIONS = frozenset({"on_val_end", "on_predict_end"})
_SOME_BATCHES = 63
"""`on_batch` is called after every batch whose step has none of these bits."""
_SYNC_S = 10.0
"""The shortest time between two syncs of the journal during a training: a sync takes some ms, on some disks many."""


class Timeline:
    """Counts the steps of a run, adds the metrics that follow from them, and writes its events. Safe with threads.

    Args:
        info: the identity of the run.
        writer: the journal of the run; with None nothing is written.
        strict: raise errors instead of warnings.
        on_batch: called with True after some of the batches, and with False after each batch that is not written,
            because the journal is closed or this is a forked child.
    """

    def __init__(
        self, info: RunInfo, writer: journal.Writer | None, strict: bool, on_batch: Callable[[bool], None]
    ) -> None:
        self.place = StepCounter()
        self.status = RunStatus(info)
        self._info = info
        self._on_batch = on_batch
        self._events = None if writer is None else EventWriter(writer, info.name, strict)
        self._stats = EpochStats()
        self._copies = TrainingCopies(info)
        self._file_numbers = itertools.count()
        self._signed = False
        """Whether the journal has the identity of the run, from which a damaged `run.json` is rebuilt."""
        self._renew_mutex()
        self._pid = os.getpid()
        self._synced_at = time.monotonic()
        if writer is not None and writer.last is not None:
            self._catch_up()
        _timelines.add(self)

    def _renew_mutex(self) -> None:
        self._mutex = threading.RLock()
        self._acquire, self._release = self._mutex.acquire, self._mutex.release

    @property
    def has_journal(self) -> bool:
        """Whether there is a journal, open or closed."""
        return self._events is not None

    @property
    def open(self) -> bool:
        """Whether the journal is open, in this process."""
        return self._events is not None and self._events.journal.open

    @property
    def in_fork(self) -> bool:
        """Whether this is a forked child of the process that opened the run."""
        return self._pid != os.getpid()

    # Events

    def end_batch(self, metrics: Mapping[str, Any], batch: int | None, more: Mapping[str, Any]) -> None:
        """Write the end of a training batch."""
        if self._events is None:
            return
        with self._mutex:
            step, epoch = self.place.end_batch(batch), self.place.epoch
            batch = -1 if batch is None else batch
            written = self._events.write("on_train_batch_end", metrics, step, epoch, batch, more)
        if not written or not step & _SOME_BATCHES:
            self._on_batch(written)

    def end_clean_batch(self, metrics: dict[str, float], batch: int) -> None:
        """Write the end of a training batch whose metrics are floats, and whose names contain no secrets.

        This is `end_batch` without its calls, for the most frequent case. Between the batches of a model the caches are
        cold: a line of Python takes about half a microsecond then, and a call another one.
        """
        events, place = self._events, self.place
        if events is None:
            return
        written = True
        try:  # a `with` takes longer; around acquire as well, since a signal handler may raise as soon as it returns
            self._acquire()
            place.in_batch = False
            step = place.before_epoch + 1 + batch
            if step > place.step:
                place.step = step
            index = next(events.indexes)
            event = Event("on_train_batch_end", index, time.time(), step, place.epoch, batch, metrics)
            if events.held:
                events.hold(event)
            else:
                written = events.journal.write(event)
        except OSError as error:
            events.lose(event, error)
        finally:
            self._release()
        if not written or not step & _SOME_BATCHES:
            self._on_batch(written)

    def add_hook(
        self,
        hook: str,
        metrics: Mapping[str, Any],
        epoch: int | None,
        batch: int | None,
        training: bool,
        more: dict[str, Any],
    ) -> None:
        """Write a hook other than the end of a training batch.

        Args:
            hook: its canonical name.
            metrics: by the names that are recorded.
            epoch: from 0, if the hook has one.
            batch: from 0 in each epoch, if the hook has one; at `on_val_end`, if the validation is between batches.
            training: whether a training is running.
            more: further fields of the event.
        """
        if "files" in more:
            self._copies.take(more["files"])
            self._copies.take_hidden(more["files"], self.next_file_number)
        with self._mutex:
            self.place.follow(hook, epoch)
            if hook in _EVALUATIONS and not training:
                more = {**more, "step": self.place.evaluate(hook), "epoch": -1}
            amid = hook == "on_val_end" and batch is not None
            rated = amid or hook == "on_fit_epoch_end"
            known = on_host(self.numbers(metrics)) if rated else metrics
            complete = self._stats.add(hook, known, self.place.batches, rated)
            if hook == "on_fit_epoch_end":
                more = {**more, "best": self._stats.best()}
            step = self.place.current if amid else self.place.step
            self._append(hook, complete, step, -1 if batch is None else batch, more)

    def add_log(self, metrics: Mapping[str, Any], training: bool, more: Mapping[str, Any]) -> None:
        """Write what was logged directly, at the current step.

        Args:
            metrics: name → number.
            training: whether a training is running.
            more: further fields of the event; `step` and `epoch` replace the current ones.
        """
        self._copies.take_hidden(more.get("files", ()), self.next_file_number)
        with self._mutex:
            counts = metrics and "step" not in more
            step = self.place.log(training) if counts else self.place.current
            self._append(LOG, metrics, step, -1, more)

    def _append(
        self, hook: str, metrics: Mapping[str, Any], step: int, batch: int, more: Mapping[str, Any]
    ) -> None:
        assert self._events is not None
        if not self._signed:
            self._signed = True
            more = {**more, "run": msgspec.structs.replace(self._info, path="")}
        self._events.write(hook, metrics, step, self.place.epoch, batch, more)
        if "status" in more:
            self.flush()
            self._info.records = self._events.records
            self.status.set(more["status"], more.get("reason", ""))

    def numbers(self, metrics: Mapping[str, Any]) -> Mapping[str, Number]:
        """Return the metrics that are numbers; warn once for each of the others."""
        return split_numbers(metrics)[0] if self._events is None else self._events.numbers(metrics)

    def next_file_number(self) -> int:
        """Return a number that is in no earlier file name of the run: neither from this process nor before a resume."""
        return next(self._file_numbers)

    # The journal

    def flush(self) -> None:
        """Write everything that is held back, and sync the journal to disk."""
        if self._events is not None:
            with self._mutex:
                self._events.fetch()
            self._events.sync()

    def sync_if_due(self) -> None:
        """Sync the journal to disk if the last time was long enough ago."""
        if self._events is not None and time.monotonic() - self._synced_at > _SYNC_S:
            self._events.sync()
            self._synced_at = time.monotonic()

    def close(self) -> None:
        """Write everything that is held back, and close the journal."""
        if self._events is not None:
            with self._mutex:
                self._events.fetch()
                self._events.close()

    def reopen(self) -> bool:
        """Open the journal again after another process wrote to it. Returns whether one did.

        Raises:
            TrackhooksError: another process still writes to it, or the folder was removed.
        """
        if self._events is None or self.open or self.in_fork:
            return False
        path = Path(self._info.path)
        self._events.journal = journal.Writer(path)
        self._catch_up()
        self.status.reload()
        return True

    def _catch_up(self) -> None:
        """Continue where the journal ends."""
        assert self._events is not None
        index, models, self._stats = -1, 0, EpochStats()
        with journal.Reader(self._info.path) as events:
            for event in events:
                index = max(index, event.index)
                models += sum(file.kind == "model" for file in event.files)
                self.place.replay(event)
                self._stats.replay(event)
        self._events.continue_from(max(index + 1, self._info.records))  # lost records leave a gap
        self._file_numbers = itertools.count(index + 1)
        self._copies = TrainingCopies(self._info, models)


_timelines: weakref.WeakSet[Timeline] = weakref.WeakSet()


def _renew_mutexes() -> None:
    """Replace the locks in a forked child, where the thread that holds one does not exist."""
    for timeline in list(_timelines):
        timeline._renew_mutex()


after_fork_in_child(_renew_mutexes)
