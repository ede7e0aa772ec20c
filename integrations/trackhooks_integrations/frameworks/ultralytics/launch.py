"""A training on several GPUs: Ultralytics launches a process for each, and hands its callbacks over to them.

The first process (rank 0) goes on with the run, in the same folder; the one that launched it has let go of the
journal meanwhile. Every process calls the run's own callbacks, as it calls those of the model.
Ultralytics does so from 8.4.140 on; before, its processes have no callbacks but its own.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

from trackhooks.errors import JournalError, warn
from trackhooks.hooks.callback_list import CallbackList
from trackhooks.recording.recorder import Recorder
from trackhooks.storage import journal, run_folder

Baggage = tuple[str, bool, frozenset[str], list[tuple[str | None, bytes]]]
"""The run's folder; whether it is strict; the hooks that it wants; and its callbacks, pickled one by one."""


def baggage(run: Recorder) -> Baggage:
    """What another process needs to go on with a run."""
    packed = [(hook, _packed(hook, listener)) for hook, listener in run.callbacks.registered]
    return (
        str(run.path.absolute()),
        run.strict,
        run.extra_hooks,
        [(hook, data) for hook, data in packed if data is not None],
    )


def _packed(hook: str | None, listener: Any) -> bytes | None:
    import cloudpickle  # Ultralytics pickles with it, so it is there

    try:
        return cloudpickle.dumps(listener)  # type: ignore[no-any-return]
    except (pickle.PicklingError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        where = "" if hook is None else f" at {hook}"
        warn(f"{listener!r}{where} is not called in the processes of this training: {error}")
        return None


def unpacked(
    path: str, strict: bool, extra_hooks: frozenset[str], packed: list[tuple[str | None, bytes]]
) -> Recorder:
    """The run as this process goes on with it."""
    callbacks = CallbackList()
    for hook, data in packed:
        listener = pickle.loads(data)
        if hook is None:
            callbacks.append(listener)
        else:
            callbacks.add_callback(hook, listener)
    return Recorder(run_folder.read_info(path), _writer(path), callbacks, extra_hooks, strict)


def _writer(path: str) -> journal.Writer | None:
    if os.environ.get("RANK", "0") not in ("0", "-1"):
        return None
    try:
        return journal.Writer(Path(path))
    except JournalError as error:
        warn(f"nothing of this training is recorded. {error}")
        return None
