"""`EventWriter`: writes events to a journal, without waiting for an accelerator.

An event whose values are on the CPU is written at once. If values are on an accelerator, the event and those after it
are held back. Their values are fetched together, and the events written in order, after at most 100 ms of hooks or one
epoch.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ..errors import InvalidValueError, say, warn
from ..event import Event
from ..hooks.vocabulary import LOG
from ..storage.journal import Writer, unreadable
from ..values.gate import clean, clean_name
from ..values.numbers import Snapshot, split_numbers, to_host

_HELD_S = 0.1
"""The longest time that events are held back, in seconds."""
_MOST_NAMES = 10_000
"""How many names of metrics are remembered."""
_MAY_WAIT = frozenset({"on_train_batch_end", LOG})

Number = float | Snapshot


class EventWriter:
    """Writes the events of one run, in order. Not safe with threads: the caller holds a lock.

    Args:
        writer: the journal of the run.
        run: the name of the run, for messages.
        strict: raise errors instead of warnings.
    """

    def __init__(self, writer: Writer, run: str, strict: bool = False) -> None:
        self.journal = writer
        self.records = 0
        """The number of events up to the last one with a status, including lost ones."""
        self._lost = 0
        """The number of events that could not be written since the last report."""
        self._run = run
        self._strict = strict
        self.held: list[Event] = []
        """The events whose values, or those of an earlier event, are still on an accelerator."""
        self._held_since = 0.0
        self._left_out: set[str] = set()
        self._clean_names: set[str] = set()
        """Names of metrics that contain no secret."""
        self._failed = False
        self.indexes = itertools.count()
        """The indexes of the next events."""

    def continue_from(self, index: int) -> None:
        """Set the index of the next event."""
        self.indexes = itertools.count(index)

    def write(
        self,
        hook: str,
        metrics: Mapping[str, Any],
        step: int,
        epoch: int,
        batch: int,
        more: Mapping[str, Any],
    ) -> bool:
        """Write an event. Metrics that are not numbers are left out.

        Args:
            hook: its canonical name.
            metrics: by the names that are recorded.
            step: the training step.
            epoch: the epoch; −1 outside of them.
            batch: the index of the batch in its epoch; −1 outside of them.
            more: further fields of the event.

        Returns:
            False if the journal is closed, or this is a forked child.
        """
        # Mostly all metrics are floats already, with names that have been recorded before.
        known, numbers = self._clean_names, metrics
        for name, value in metrics.items():
            if type(value) is not float or name not in known:
                numbers = self._with_clean_names(self.numbers(metrics))
                break
        # A signal handler may log between any two lines: `next` takes an index that no other event gets.
        event = Event(hook, next(self.indexes), time.time(), step, epoch, batch, numbers)  # type: ignore[arg-type]
        if more:
            self._complete(event, more)
        if self.held or (numbers is not metrics and any(snapshots(numbers))):
            self.hold(event)
            return True
        try:
            return self.journal.write(event)
        except (OSError, InvalidValueError) as error:
            self.lose(event, error)
            return True

    def _with_clean_names(self, numbers: Mapping[str, Number]) -> dict[str, Number]:
        found = {clean_name(name): value for name, value in numbers.items()}
        if len(self._clean_names) < _MOST_NAMES:
            self._clean_names.update(found)
        return found

    def _complete(self, event: Event, more: Mapping[str, Any]) -> None:
        """Add further fields, without secrets; a record that no reader could read loses those that are to blame."""
        for field, value in more.items():
            before = getattr(event, field)
            setattr(event, field, clean(value))
            why = unreadable(msgspec.structs.replace(event, metrics={}))
            if why:
                setattr(event, field, before)
                self._leave_out_field(event.hook, field, why)
        if event.status:
            self.records = event.index + 1

    def _leave_out_field(self, hook: str, field: str, why: str) -> None:
        message = f"{field} of {hook} is left out: {why}."
        if self._strict:
            raise InvalidValueError(message)
        warn(f"run {self._run!r}: {message} The rest of the record is kept.")

    def numbers(self, metrics: Mapping[str, Any]) -> dict[str, Number]:
        """Return the metrics that are numbers; warn once for each of the others."""
        accepted, refused = split_numbers(metrics)
        for name, why in refused.items():
            self._leave_out(name, why)
        return accepted

    def _leave_out(self, name: str, why: str) -> None:
        message = f"metric {name!r} is left out: it is {why}."
        if self._strict:
            raise InvalidValueError(message)
        if name not in self._left_out:
            self._left_out.add(name)
            warn(f"{message} The rest of the record is kept.")

    # Values on an accelerator

    def hold(self, event: Event) -> None:
        """Hold an event back, until the values on the accelerator are fetched."""
        now = time.monotonic()
        if not self.held:
            self._held_since = now
        self.held.append(event)
        if event.hook not in _MAY_WAIT or now - self._held_since >= _HELD_S:
            self.fetch()

    def fetch(self) -> None:
        """Write the events that are held back."""
        held, self.held = self.held, []
        fetched = iter(to_host(snapshots(*(event.metrics for event in held))))
        for event in held:
            event.metrics = filled(event.metrics, fetched)
            try:
                self.journal.write(event)
            except (OSError, InvalidValueError) as error:
                self.lose(event, error)

    # The disk

    def lose(self, event: Event, error: OSError | InvalidValueError) -> None:
        """Report that an event was not written, and count it."""
        if isinstance(error, OSError):
            self._lost += not event.status  # a status is also in `run.json`, and written later
            self._warn(error)
        elif self._strict:
            raise error
        else:
            warn(f"run {self._run!r}: {error} It is left out.")

    def sync(self) -> None:
        """Sync the journal to disk, so that it survives a crash of the machine."""
        try:
            self.journal.sync()
        except OSError as error:
            self._warn(error)

    def close(self) -> None:
        """Close the journal, and report how many events could not be written."""
        try:
            self.journal.close()
        except OSError as error:
            self._warn(error)
        lost, self._lost = self._lost, 0
        if lost:
            say(f"run {self._run} has lost {lost} records, which could not be written")

    def _warn(self, error: OSError) -> None:
        if not self._failed:
            self._failed = True
            warn(
                f"run {self._run!r}: its journal could not be written: {error.strerror}. The training continues,"
                " and recording resumes as soon as writing works again."
            )


def on_host(numbers: Mapping[str, Number]) -> dict[str, float]:
    """Return the numbers as floats. Those on an accelerator are fetched together."""
    return filled(numbers, iter(to_host(snapshots(numbers))))


def snapshots(*metrics: Mapping[str, Any]) -> Iterator[Snapshot]:
    """Yield the values that are on an accelerator, in order."""
    return (value for numbers in metrics for value in numbers.values() if isinstance(value, Snapshot))


def filled(numbers: Mapping[str, Any], fetched: Iterator[float]) -> dict[str, float]:
    """Return the numbers with the next fetched value in place of each that is on an accelerator."""
    return {name: next(fetched) if isinstance(value, Snapshot) else value for name, value in numbers.items()}


def all_floats(metrics: Mapping[Any, Any]) -> bool:
    """Whether all metrics are floats already."""
    for value in metrics.values():  # noqa: SIM110 — in the hot path a generator costs more than the check
        if type(value) is not float:
            return False
    return True
