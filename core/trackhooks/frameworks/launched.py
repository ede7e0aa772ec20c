"""Processes that a framework launches for a training, such as one for each GPU.

The launching process packs the run and lets go of its journal. The first launched process (rank 0) continues to write
it, in the same folder. If all ranks record, each other one writes the journal of its rank. Every process calls the
run's callbacks.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, cast

from ..errors import TrackhooksError, warn
from ..errors.foreign import shown
from ..event import RunInfo
from ..hooks.callback_list import CallbackList
from ..recording import identity, ranks
from ..recording.recorder import Recorder
from ..storage import journal, run_folder
from .interface import RunHooks
from .run_hooks import RecorderHooks, hooks_of

Dumps = Callable[[Any], bytes]
_CANNOT_BE_PICKLED = (pickle.PicklingError, TypeError, AttributeError, ValueError, RuntimeError)


class Packed(NamedTuple):
    """What another process needs to continue a run."""

    path: str
    """The folder of the run."""
    strict: bool
    extra_hooks: frozenset[str]
    callbacks: list[tuple[str | None, bytes]]
    """Each one pickled, with its hook if it is a function."""


def pack(run: RunHooks, dumps: Dumps = pickle.dumps) -> Packed:
    """Pack a run and let go of its journal, until the mode of the training ends."""
    recording = cast(RecorderHooks, run).recording
    recording.release_journal()
    packed = [(hook, _packed(hook, listener, dumps)) for hook, listener in recording.callbacks.registered]
    return Packed(
        str(recording.path.absolute()),
        recording.strict,
        recording.extra_hooks,
        [(hook, data) for hook, data in packed if data is not None],
    )


def _packed(hook: str | None, listener: Any, dumps: Dumps) -> bytes | None:
    try:
        return dumps(listener)
    except _CANNOT_BE_PICKLED as error:
        where = "" if hook is None else f" at {hook}"
        warn(f"{shown(listener)}{where} is not called in the processes of this training: {error}")
        return None


def unpack(packed: Packed) -> RunHooks:
    """The run as this process continues it."""
    callbacks = CallbackList()
    for hook, data in packed.callbacks:
        listener = pickle.loads(data)
        if hook is None:
            callbacks.append(listener)
        else:
            callbacks.add_callback(hook, listener)
    info, writer = _journal(packed.path)
    return hooks_of(Recorder(info, writer, callbacks, packed.extra_hooks, packed.strict))


def _journal(path: str) -> tuple[RunInfo, journal.Writer | None]:
    """Open the journal that this process writes, if it writes one."""
    info = run_folder.read_info(path)
    try:
        if not ranks.silent_rank():
            return info, journal.Writer(Path(path))
        if info.ranks == "all":
            return identity.open_rank(Path(path), _of_rank(info))
    except TrackhooksError as error:
        warn(f"nothing of this training is recorded. {error}")
    return info, None


def _of_rank(info: RunInfo) -> RunInfo:
    """Describe this process as a rank of a run. The delivery process of the run measures it."""
    return identity.new_info(
        name="", project=info.project, group=info.group, keep=info.keep, trackers=info.trackers,
        ranks=info.ranks, rank=ranks.number(), world_size=ranks.world_size(),
    )  # fmt: skip
