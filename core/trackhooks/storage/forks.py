"""Reset in a forked child what belongs to its parent: locks, open files, and runs."""

from __future__ import annotations

import os
from collections.abc import Callable


def after_fork_in_child(callback: Callable[[], None]) -> None:
    """Call `callback` in every child that this process forks; without effect on platforms that cannot fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=callback)
