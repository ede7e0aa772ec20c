"""trackhooks records what a training or inference loop does, once, and delivers it to every tracker that you use.

import trackhooks

with trackhooks.run("csv", "tensorboard", params={"lr": 0.1}) as run:
    for epoch in run.epochs(10):
        for x, y in run.train(train_loader):
            ...
            run.log(loss=loss)
"""

from . import journal
from .callback import Callback
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
from .hooks import CallbackList
from .reading.comparison import compare
from .reading.listing import runs
from .session import Run, run
from .switch import disable, enable, keras_callback
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
    "journal",
    "keras_callback",
    "run",
    "runs",
]
