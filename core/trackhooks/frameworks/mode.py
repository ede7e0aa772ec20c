"""The modes of a run: what begins and ends with one call of a framework."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, cast

from ..errors import TrackhooksError, warn
from ..event import FINAL
from ..hooks.callback_list import CallbackList
from ..recording.recorder import Recorder
from ..recording.status import status_of
from .interface import Kind, RunHooks

Reason = BaseException | str | None


class Hooks(RunHooks, Protocol):
    """The hooks of a run, and what only the core may touch of it."""

    recording: Recorder
    callbacks: CallbackList
    torn_down: bool
    """Whether the framework has fired `teardown` with the status of the training."""


class _Mode:
    """What the modes share: `with`, and an end that comes once."""

    def __init__(self) -> None:
        self._ended = False

    def begin(self) -> RunHooks:
        raise NotImplementedError

    def _end(self, error: Reason) -> None:
        raise NotImplementedError

    def end(self, error: Reason = None) -> None:
        """Leave the mode."""
        if not self._ended:
            self._ended = True
            self._end(error)

    def __enter__(self) -> RunHooks:
        return self.begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)


class RunMode(_Mode):
    """A training, evaluation, prediction or export of one run.

    Args:
        hooks: of the run.
        model: what is trained or used.
        kind: which of them it is.
        settles: a training that succeeds gives the run its status; else its owner does, who may train again.
    """

    def __init__(self, hooks: Hooks, model: Any, kind: Kind, *, settles: bool) -> None:
        super().__init__()
        self._hooks = hooks
        self._model = model
        self._kind = kind
        self._settles = settles
        self._trained_around = False

    def begin(self) -> RunHooks:
        """Enter the mode. An evaluation inside a training is not the validation of its epoch."""
        state = self._hooks.callbacks.state
        if self._model is not None:
            self._hooks.recording.adopt(self._model)
            self._model = None  # the run knows it, and a mode must not keep it alive
        if self._kind == "val":
            self._trained_around = state.training
            state.set_training(False)
        elif self._kind == "train":
            self._hooks.torn_down = False
        return self._hooks

    def _end(self, error: Reason) -> None:
        hooks = self._hooks
        try:
            if self._kind == "val":
                hooks.callbacks.state.set_training(self._trained_around)
            elif self._kind == "train":
                self._end_training(error)
        finally:
            if self._forgets and not hooks.training:
                hooks.callbacks.forget_model()

    @property
    def _forgets(self) -> bool:
        """Whether the callbacks lose their model: a run that no user holds must not keep it alive."""
        return self._hooks.recording.automatic or (self._settles and self._kind == "train")

    def _end_training(self, error: Reason) -> None:
        hooks = self._hooks
        if not (self._ended_elsewhere() or hooks.torn_down) and (self._settles or error is not None):
            hooks.recording.settle(*_status(error))

    def _ended_elsewhere(self) -> bool:
        """Take the journal back from the processes of this training; whether they have set the status."""
        recording = self._hooks.recording
        try:
            return recording.reacquire_journal() and recording.status in FINAL
        except TrackhooksError as error:
            warn(f"run {recording.name!r}: nothing more of it is recorded. {error}")
            return False


class PartMode(_Mode):
    """A training that is a child run of another run.

    Args:
        parent: the hooks of the other run.
        heard: makes the hooks of the new run, with the callbacks of the parent.
        name: of the new run.
    """

    def __init__(self, parent: Hooks, heard: Callable[[Recorder], Hooks], name: str) -> None:
        super().__init__()
        self._parent = parent
        self._heard = heard
        self._name = name
        self._hooks: Hooks | None = None

    def begin(self) -> RunHooks:
        """Open the run."""
        self._hooks = self._heard(cast(_Parent, self._parent.recording).child(self._name))
        return self._hooks

    def _end(self, error: Reason) -> None:
        if self._hooks is not None:
            recording = self._hooks.recording
            status = (
                (recording.status, recording.info.reason or "") if self._hooks.torn_down else _status(error)
            )
            recording.close(*status)


class _Parent(Protocol):
    def child(self, name: str) -> Recorder: ...


def _status(error: Reason) -> tuple[str, str]:
    return ("failed", error) if isinstance(error, str) else status_of(error)
