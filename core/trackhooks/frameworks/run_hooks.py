"""`RecorderHooks`: one run as framework integrations see it (`RunHooks`), made of its recorder and its callbacks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from ..event import File
from ..hooks.callback_list import CallbackList
from ..hooks.dispatch import Function
from ..hooks.lookups import Lookups
from ..recording.log_verbs import LogVerbs
from ..recording.recorder import Recorder
from ..values.defaults import told_apart
from ..values.weak_dict import WeakIdentityDict
from .interface import Kind, Mode, Own
from .mode import PartMode, RunMode


def hooks_of(recording: Recorder) -> RecorderHooks:
    """The hooks of this run, always the same object."""
    found = recording.loops.get(RecorderHooks)
    if found is None:
        found = recording.loops[RecorderHooks] = RecorderHooks(recording, recording.callbacks)
    return cast(RecorderHooks, found)


class RecorderHooks:
    """Implements `RunHooks`, which documents the members.

    Args:
        recording: what is fired is recorded here.
        callbacks: who hears it: those of the run itself, or those of the run that it is a part of.
    """

    def __init__(self, recording: Recorder, callbacks: CallbackList) -> None:
        self.recording = recording
        self.callbacks = callbacks
        self.torn_down = False
        """Whether the framework has fired `teardown` with the status of the training."""
        self._state = callbacks.state
        self._owned: dict[type, Any] = {}
        self._to_call: list[Callable[[], None]] = []
        self._introduced: WeakIdentityDict[Mapping[str, Any]] = WeakIdentityDict()
        # The list's own methods: what fires a hook must be what calls the functions, since functions look at frames.
        self.fire = callbacks.run_callbacks
        self.fire_batch = callbacks.fire_batch
        self.keras = callbacks
        self.takes = recording.takes
        self.hears = callbacks.hears
        self.without_callbacks = callbacks.without_callbacks
        self._verbs = LogVerbs(recording)
        self.log: Callable[[Mapping[str, Any]], None] = self._verbs.log
        self.log_params: Callable[[Mapping[str, Any]], None] = self._verbs.log_params
        self.log_text = self._verbs.log_text
        self.log_table = self._verbs.log_table

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.recording.name

    @property
    def path(self) -> Path:
        """The folder of the run."""
        return self.recording.path

    @property
    def trackers(self) -> Sequence[str]:
        """The names of its trackers."""
        return self.recording.info.trackers

    @property
    def records(self) -> bool:
        """Whether anything is written."""
        return self.recording.records

    @property
    def strict(self) -> bool:
        """Whether a failure of ours is raised."""
        return self.recording.strict

    @property
    def lookups(self) -> Lookups:
        """Reads what a user's class may have overridden."""
        return self._state.lookups

    @property
    def closed(self) -> bool:
        """Whether the run has been closed."""
        return self.recording.closed

    @property
    def training(self) -> bool:
        """Whether a training of this run is in progress."""
        return self._state.training

    @property
    def model(self) -> Any:
        """The model that the callbacks have."""
        return self._state.model

    @property
    def last_file(self) -> str | None:
        """The path of the newest checkpoint or export."""
        return cast("str | None", self._state.file)

    @property
    def stop(self) -> bool:
        """Whether a callback asked the training to stop."""
        return self.callbacks.stop_training

    def ask_stop(self) -> None:
        """Tell the callbacks that the framework decided to stop."""
        self.callbacks.stop_training = True

    def mode(self, model: Any, kind: Kind) -> Mode:
        """A training, evaluation or prediction of this run."""
        return RunMode(self, model, kind, settles=True)

    # What is trained

    def describe(self, loop: str) -> None:
        """Set what error messages call the loop."""
        if not self._state.training:
            self._state.set_loop(loop)

    def set_model(self, model: Any, params: Mapping[str, Any] | None = None) -> None:
        """Give the callbacks their model and params."""
        if not self._state.training:
            if model is not None:
                self.recording.adopt(model)
            self.callbacks.set_model(model)
            self.callbacks.set_params(params)

    def introduce(
        self,
        model: Any,
        params: Mapping[str, Any],
        details: Callable[[], Mapping[str, Any]] = dict,
        defaults: Collection[str] = (),
    ) -> None:
        """Fire both pretrain hooks, once a model."""
        key = self if model is None else model
        known = self._introduced.get(key)
        self._introduced[key] = params
        apart = told_apart(params, self._state.args, defaults)
        self._state.add_args(params)
        if known is None:
            self.fire("on_pretrain_routine_start", **apart)
            self.fire("on_pretrain_routine_end", **details())
        elif known != params:
            self.log_params({name: value for name, value in params.items() if known.get(name) != value})

    def expect(self, epoch: int, step: int) -> None:
        """Say after which step an epoch begins."""
        self.recording.expect(epoch, step)

    def overshoot(self, batches: int) -> None:
        """Correct the steps by this many batches."""
        self.recording.overshoot(batches)

    def saw(self, samples: int) -> None:
        """Count predicted samples."""
        self._state.add_samples(samples)

    # Hooks

    def calls(
        self,
        hook: str,
        source: Any,
        metrics: dict[str, Any],
        *,
        epoch: int | None = None,
        batch: int | None = None,
        objects: bool = True,
        records: bool = True,
        besides: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Iterator[Function]:
        """Yield each function that hears the hook, then record it, even if one of them raises."""
        for callbacks in {id(made): made for made in (self.callbacks, self.recording.callbacks)}.values():
            callbacks.update_state(hook, metrics, epoch, batch)
        try:
            if self.callbacks.hears(hook):
                yield from self.callbacks.dispatch(hook, source, metrics, objects=objects)
        finally:
            if records:
                self.recording.on_hook(hook, {**metrics, **(besides or {})}, epoch, batch, **more)
            if hook == "teardown":
                self.torn_down = "status" in more

    # What else is recorded

    def record(self, hook: str, metrics: Mapping[str, Any], **more: Any) -> None:
        """Record a hook without calling anyone."""
        self.recording.on_hook(hook, metrics, **more)

    def saved(self, path: Path, aliases: Iterable[str] = ()) -> None:
        """Record a checkpoint."""
        self._verbs.log_model(path, aliases)

    def note_files(self, files: Sequence[File]) -> None:
        """Record files."""
        self.recording.note_files(files)

    # What must outlive a hook

    def part(self, name: str) -> Mode:
        """A training that is a child run."""
        return PartMode(self, lambda child: RecorderHooks(child, self.callbacks), name)

    def own(self, kind: type[Own], make: Callable[[], Own]) -> Own:
        """The integration's object for this run."""
        if kind not in self._owned:
            self._owned[kind] = make()
        return cast("Own", self._owned[kind])

    def on_close(self, call: Callable[[], None]) -> None:
        """Call this when the run is closed."""
        self._to_call.append(call)

    def release(self) -> None:
        """Call what asked for it: the run is being closed."""
        calls, self._to_call = self._to_call, []
        for call in calls:
            call()
