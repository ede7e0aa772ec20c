"""`Recorder`: receives everything that happens in a run, and records it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ..event import File, RunInfo
from ..hooks.callback_list import CallbackList
from ..hooks.vocabulary import BY_NAME
from ..storage.journal import Writer
from ..values import checks
from ..values.weak_dict import WeakIdentityDict
from . import record_checks
from .collector import Collector
from .event_writer import Number
from .late_records import LateRecords, report
from .one_process import refuse_to_copy
from .status import ending, status_of
from .timeline import Timeline

_ALWAYS_JOURNALED = frozenset(hook.name for hook in BY_NAME.values() if hook.journaled)
_EDGES = frozenset({"on_train_start", "teardown"})


class CustomLoop(Protocol):
    """A loop that the user writes, as the recorder sees it."""

    def settle(self) -> None:
        """End a training that was left early."""

    def settle_at_exit(self) -> None:
        """As `settle`, unless an exception left the training."""

    def abandon(self) -> None:
        """Stop collecting, and let go of the model."""


class Owner:
    """What opened a run and follows it. The methods of this base do nothing."""

    def recorded(self, recorder: Recorder) -> None:
        """Something has been written to the journal. Not called for every training batch."""

    def epoch_recorded(self, recorder: Recorder) -> None:
        """An epoch has been written to the journal."""

    def settling(self, recorder: Recorder) -> None:
        """The run is about to get its final status: the last moment for what its owner records."""

    def closed(self, recorder: Recorder, recorded: bool) -> None:
        """The run has been closed; `recorded` says whether its journal was open until then."""

    def wait(self, recorder: Recorder, timeout: float | None) -> bool:
        """Wait until every tracker has all that was recorded: see `Run.wait`."""
        return True

    def url(self, recorder: Recorder, tracker: str, timeout: float) -> str | None:
        """Return the address of the run in a tracker: see `Run.url`."""
        return None

    def child(self, recorder: Recorder, name: str) -> Recorder:
        """Open a run that is part of this one: see `Run.child`."""
        raise NotImplementedError


class Recorder:
    """Records one run: receives every hook after the callbacks, and what the user logs, and keeps the run's status.

    Safe with threads. In a forked child it records nothing.

    Args:
        info: the identity of the run; `info.path` is its folder.
        writer: the journal of the run; with None nothing is recorded, and only the callbacks are called.
        callbacks: the callbacks of the run.
        extra_hooks: hooks to record besides those that always are.
        strict: raise errors instead of warnings.
        owner: what opened the run.
    """

    def __init__(
        self,
        info: RunInfo,
        writer: Writer | None,
        callbacks: CallbackList,
        extra_hooks: frozenset[str] = frozenset(),
        strict: bool = False,
        owner: Owner | None = None,
    ) -> None:
        self.info = info
        self.callbacks = callbacks
        self.extra_hooks = extra_hooks
        """Hooks that are recorded besides those that always are."""
        self.strict = strict
        self.owner = owner or Owner()
        self.custom_loop: CustomLoop | None = None
        self.collector = Collector()
        """Takes what is logged in a custom loop."""
        self.loops: dict[type, Any] = {}
        """What feeds this run, one object of each framework; `release` of each is called when the run is closed."""
        self.models: WeakIdentityDict[int] = WeakIdentityDict()
        """The models that were used in this run, each with its thread."""
        self.automatic = False
        """Whether the run was opened for a loop, not by the user: it then ends with the training."""
        self.trained = False
        """Whether a training has started."""
        self.trains_since = 0.0
        self.closed = False
        self._late = LateRecords(writer is not None, strict)
        self._timeline = Timeline(info, writer, strict, self._on_batch)
        self.end_clean_batch = self._timeline.end_clean_batch
        """Records `on_train_batch_end` with less work, if all metrics are floats and no name contains a secret."""
        self.place = self._timeline.place
        """The step and epoch of the run. Only the recorder changes it."""
        self._journaled = _ALWAYS_JOURNALED | extra_hooks
        self._to_tear_down = False
        self._training_thread = 0
        callbacks.recorder = self
        callbacks.state.of_run(self.path, strict)

    __reduce_ex__ = refuse_to_copy

    # The run

    @property
    def id(self) -> str:
        """The id of the run."""
        return self.info.id

    @property
    def name(self) -> str:
        """The name of the run, and of its folder."""
        return self.info.name

    @property
    def path(self) -> Path:
        """The folder of the run."""
        return Path(self.info.path)

    @property
    def status(self) -> str:
        """The status of the run: see `Run.status`."""
        return self.info.status

    @property
    def records(self) -> bool:
        """Whether anything is written: not on ranks above 0, when disabled, when closed, or in a forked child."""
        return self._timeline.open

    def is_open(self) -> bool:
        """Whether something is written now. If it is lost because the run has ended, that is reported once.

        Raises:
            InvalidValueError: the run has ended, and is strict.
        """
        if not self.records:
            self._late.report(self.info, self.closed, self._timeline.in_fork)
        return self.records

    def report(self, message: str) -> None:
        """Warn.

        Raises:
            InvalidValueError: the run is strict.
        """
        report(message, self.strict)

    @property
    def has_journal(self) -> bool:
        """Whether the run has a journal, open or closed; without one nothing is ever recorded."""
        return self._timeline.has_journal

    @property
    def trains_here(self) -> bool:
        """Whether a training of this run is running on this thread."""
        return self.callbacks.state.training and self._training_thread == threading.get_ident()

    def adopt(self, model: Any) -> None:
        """Remember that this run uses the model: its evaluations, saves and exports belong to the run."""
        self.models[model] = threading.get_ident()

    def child(self, name: str) -> Recorder:
        """Open a run that is part of this one."""
        return self.owner.child(self, name)

    # Hooks

    def takes(self, hook: str) -> bool:
        """Whether a callback listens to this hook or it is recorded: otherwise a loop need not fire it."""
        return self.callbacks.hears(hook) or (hook in self._journaled and self.records)

    def may_take(self, hook: str) -> bool:
        """Whether `takes` is true, or may become true before a callback is added."""
        return self.callbacks.may_hear(hook) or hook in self._journaled

    def on_hook(
        self,
        hook: str,
        metrics: Mapping[str, Any],
        epoch: int | None = None,
        batch: int | None = None,
        **more: Any,
    ) -> None:
        """Record a hook. The callback list calls this after its callbacks.

        Args:
            hook: its canonical name.
            metrics: by the names that are recorded.
            epoch: from 0, if the hook has one.
            batch: from 0 in each epoch, if the hook has one.
            **more: further fields of the event: `params`, `defaults`, `facts`, `files`, `media`,
                `status`, `reason`.
        """
        if hook == "on_train_batch_end":
            self._timeline.end_batch(metrics, batch, more)
            return
        if hook not in self._journaled:
            if hook == "on_train_batch_start":
                self.place.start_batch()
            return
        if hook in _EDGES:
            more |= self._cross_edge(hook)
        if not self.is_open():
            return
        self._timeline.add_hook(hook, metrics, epoch, batch, self.callbacks.state.training, more)
        if hook == "on_fit_epoch_end":
            self._timeline.sync_if_due()
            self.owner.epoch_recorded(self)
        else:
            self.owner.recorded(self)

    def _on_batch(self, written: bool) -> None:
        if written:
            self.owner.recorded(self)
        else:
            self.is_open()

    def checked(self, hook: str, more: dict[str, Any]) -> dict[str, Any]:
        """Return what else a hook records, in the form in which it is recorded.

        Raises:
            InvalidValueError: a value cannot be recorded.
        """
        return record_checks.record(hook, more)

    def _cross_edge(self, hook: str) -> dict[str, str]:
        """Note that a training starts or is torn down; a run that had ended is then running again."""
        self._to_tear_down = hook == "on_train_start"
        if not self._to_tear_down:
            return {}
        self.trained = True
        self.trains_since, self._training_thread = time.monotonic(), threading.get_ident()
        self.place.training_starts()
        return {"status": "running"} if self._timeline.status.final else {}

    def jump(self, step: int) -> None:
        """Continue after this step.

        Raises:
            InvalidValueError: it is not a whole number from −1.
        """
        self.place.jump(checks.index("run.step", step, least=-1))

    def expect(self, epoch: int, step: int) -> None:
        """Set the last step before an epoch, unless it is known already: after a resume."""
        self.place.expect(epoch, step)

    def overshoot(self, batches: int) -> None:
        """Correct for a loop whose batch index is this much higher than the number of batches that it ran."""
        self.place.overshoot(batches)

    # Records other than hooks

    def record(self, metrics: Mapping[str, Any], **more: Any) -> None:
        """Record what was logged directly, at the current step.

        Args:
            metrics: name → number.
            **more: further fields of the event: `params`, `files`, `media`, `step`, `epoch`, …
        """
        if self.is_open():
            self._timeline.add_log(metrics, self.callbacks.state.training, more)
            self.owner.recorded(self)

    def note_files(self, files: Sequence[File]) -> None:
        """Record files that a loop found."""
        if files:
            self.record({}, files=list(files))

    def numbers(self, metrics: Mapping[str, Any]) -> Mapping[str, Number]:
        """Return the metrics that are numbers; warn once for each of the others."""
        return self._timeline.numbers(metrics)

    def next_file_number(self) -> int:
        """Return a number for the name of a new file of the run."""
        return self._timeline.next_file_number()

    # Status

    def settle(self, status: str, reason: str = "") -> None:
        """Give the run its final status, in the journal and in `run.json`. Later records still belong to the run.

        Fires `teardown` if a training has started.

        Raises:
            InvalidValueError: `status` is not the status of a run that has ended, or `reason` is not a string.
        """
        status, reason = ending(status, reason)
        if self.records:
            self.owner.settling(self)
        if self._to_tear_down:
            self.callbacks.run_callbacks("teardown", status=status, reason=reason)
        else:
            self.record_status(status, reason)

    def record_status(self, status: str, reason: str = "") -> None:
        """Record a status of the run, in the journal and in `run.json`."""
        self.record({}, status=status, reason=reason)

    def status_at_exit(self, error: BaseException | None) -> tuple[str, str]:
        """Return the status and reason for a run that is still open when the process ends.

        Args:
            error: the exception that ends the process, if it is known.
        """
        if error is None and self.custom_loop is not None:
            self.custom_loop.settle_at_exit()
        return self._timeline.status.at_exit(error, self.callbacks.state.training)

    # The journal

    def flush(self) -> None:
        """Write everything that is held back, and sync the journal to disk."""
        self._timeline.flush()

    def release_journal(self) -> None:
        """Close the journal, so that another process can continue the run, until `reacquire_journal`."""
        if self.records:
            self._timeline.close()

    def reacquire_journal(self) -> bool:
        """Reopen the journal after another process wrote to it. Returns whether one did.

        Raises:
            TrackhooksError: another process still writes to it, or the folder was removed.
        """
        return not self.closed and self._timeline.reopen()

    # The end

    def close(self, status: str = "finished", reason: str = "") -> None:
        """End the run: see `Run.close`."""
        status, reason = ending(status, reason)
        try:
            if status == "finished" and self.custom_loop is not None:
                self.custom_loop.settle()
        except BaseException as error:  # raised by a callback of the user
            status, reason = status_of(error)
            raise
        finally:
            self._release_loops()
            self._end(status, reason)

    def _release_loops(self) -> None:
        if self.custom_loop is not None:
            self.custom_loop.abandon()
        for loop in self.loops.values():
            loop.release()

    def _end(self, status: str, reason: str) -> None:
        recorded = self.records
        if recorded:
            self.owner.settling(self)
        known = self._timeline.status.equals(status, reason) and not self._to_tear_down
        try:
            if not known and (recorded or not self.has_journal):
                self.settle(status, reason)
        finally:
            self.closed = True
            self._timeline.close()
            self.owner.closed(self, recorded)
