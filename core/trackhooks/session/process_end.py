"""The delivery of this process, and what happens when the process ends."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import ExitStack

from ..delivery.manager import DeliveryManager
from ..errors import say
from ..recording import open_runs
from ..recording.recorder import Recording

_EXIT_WAIT_S = 60.0
"""How long the end of the process waits for delivery, in seconds."""


# The end of the process

_deliverers: list[DeliveryManager] = []


def _deliverer() -> DeliveryManager:
    """Of this process; a forked child gets one of its own."""
    if not _deliverers:
        _deliverers.append(DeliveryManager())
        atexit.register(_at_exit, os.getpid())
    return _deliverers[0]


def _forget_in_fork() -> None:
    for deliverer in _deliverers:
        deliverer.abandon()
    _deliverers.clear()
    open_runs.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_fork)


def _at_exit(pid: int) -> None:
    if pid != os.getpid() or not _deliverers:
        return
    with ExitStack() as ends:  # each is done, whatever the callbacks of an earlier run raise
        ends.callback(_wait_for_delivery)
        for made in reversed(open_runs.every()):
            ends.callback(_close_at_exit, made)


def _close_at_exit(made: Recording) -> None:
    # In an interactive session any earlier line may have raised the last exception.
    error = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
    made.close(*made.status_at_exit(error))


def _wait_for_delivery() -> None:
    deliverer = _deliverers[0]
    try:
        done = deliverer.finish(_EXIT_WAIT_S)
    except KeyboardInterrupt:
        done = False
    if not done:
        _say_what_is_left(deliverer)


def _say_what_is_left(deliverer: DeliveryManager) -> None:
    for made, tracker, why, continues in deliverer.unfinished():
        because = f" ({why})" if why else ""
        if continues:
            say(
                f"run {made.name} is not all delivered to {tracker} yet{because}. It goes on in the background;"
                f" if that is stopped: trackhooks sync {made.path}"
            )
        else:
            say(
                f"run {made.name} is not all delivered to {tracker}{because}. Deliver it: trackhooks sync {made.path}"
            )
