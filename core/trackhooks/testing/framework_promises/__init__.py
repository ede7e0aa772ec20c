"""The promises of a framework integration as tests, one file a topic."""

from __future__ import annotations

from .base import ABILITIES
from .callbacks import CallbackPromises
from .costs import CostPromises
from .enabling import EnablingPromises
from .ending import EndingPromises
from .hooks import HookPromises
from .other_modes import OtherModePromises
from .processes import ProcessPromises

__all__ = ["ABILITIES", "FrameworkPromises"]


class FrameworkPromises(
    HookPromises,
    OtherModePromises,
    EndingPromises,
    CallbackPromises,
    EnablingPromises,
    ProcessPromises,
    CostPromises,
):
    """The promises of a framework integration, each a test.

    Inherit it, say which framework it is, and how to train, evaluate and save with it (see `FrameworkTrial`)::

        class TestMine(FrameworkPromises):
            framework = "mine"  # the name of the entry point
            batches = 4
            params = {"lr": 0.1}

            def make(self):
                return mine.Model(lr=0.1, seed=0)

            def train(self, model, epochs, *, run=None, in_batch=None, resume=False):
                ...

    `ABILITIES` lists what a framework may be unable to do; name those in `cannot`, each with the reason. Their tests
    are expected to fail, are shown with the reason (`pytest -rx`), and count as failures if they pass.
    """
