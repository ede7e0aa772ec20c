"""Import a backend without the packages that its tracker does not need, such as pandas (`Tracker.unneeded`)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

from .first_starts import first_starts


class _Finder:
    """Hides these packages from the thread that starts the tracker. Other threads import them as usual."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name in first_starts.unneeded:
            raise ModuleNotFoundError(f"{name} is hidden, because the tracker does not need it", name=name)


def hide_unneeded() -> None:
    """Hide them from now on. Only for a process in which nobody else imports the backends."""
    sys.meta_path.insert(0, _Finder())
