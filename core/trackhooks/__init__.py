"""trackhooks records what a training or inference loop does, once, and delivers it to all your trackers.

import trackhooks

with trackhooks.run("csv", "tensorboard", params={"lr": 0.1}) as run:
    for epoch in run.epochs(10):
        for x, y in run.train(train_loader):
            ...
            run.log(loss=loss)
"""

import typing as _typing

from .errors import (
    InvalidValueError,
    JournalError,
    MissingPackageError,
    TrackerError,
    TrackhooksError,
    TrackhooksWarning,
    UnknownNameError,
)
from .event import Event
from .hooks.callback import Callback
from .hooks.callback_list import CallbackList
from .session.enable import disable, enable, keras_callback
from .session.run import Run, run
from .storage import journal
from .tracker import Tracker

__all__ = [
    "Callback",
    "CallbackList",
    "Event",
    "InvalidValueError",
    "JournalError",
    "MissingPackageError",
    "Run",
    "Tracker",
    "TrackerError",
    "TrackhooksError",
    "TrackhooksWarning",
    "UnknownNameError",
    "compare",
    "disable",
    "enable",
    "history",
    "journal",
    "keras_callback",
    "ranks",
    "run",
    "runs",
]

if _typing.TYPE_CHECKING:
    from .reading.comparison import compare
    from .reading.history import history
    from .reading.listing import runs
    from .reading.ranks import ranks
else:  # what reads runs is imported when it is first used, not by each training
    _READING = {"compare": "comparison", "history": "history", "ranks": "ranks", "runs": "listing"}

    def __getattr__(name: str) -> object:
        if name not in _READING:
            from .session.other_names import MODULE, missing

            raise missing("trackhooks", name, MODULE, __all__)
        from importlib import import_module

        found = globals()[name] = getattr(import_module(f".reading.{_READING[name]}", __name__), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
