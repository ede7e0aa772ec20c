"""Notebook cells that are run again: the runs that they left open are closed.

IPython is not a dependency: in a notebook it has been imported already.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any, NamedTuple

from ..errors import say
from ..errors.foreign import Failure, attempt
from ..recording.recorder import Recorder


class Execution(NamedTuple):
    """One execution of a cell."""

    cell: str
    id: str


def execution() -> Execution | None:
    """Return the execution of a notebook's cell that is running; None outside of notebooks."""
    found = attempt(_execution)
    return None if isinstance(found, Failure) else found


def _execution() -> Execution | None:
    ipython: Any = sys.modules.get("IPython")
    shell: Any = None if ipython is None else ipython.get_ipython()
    if not hasattr(shell, "get_parent"):  # a terminal
        return None
    request = shell.get_parent()
    # Without an id of the cell, it is recognized by its code.
    cell = request["metadata"].get("cellId") or request["content"]["code"]
    return Execution(str(cell), str(request["header"]["msg_id"]))


class Cells:
    """The runs that were opened by the cells of a notebook."""

    def __init__(self) -> None:
        self._opened: dict[str, list[tuple[str, weakref.ref[Recorder]]]] = {}

    def close_earlier(self) -> None:
        """Close the runs that earlier executions of this cell left open, and say so."""
        now = execution()
        if now is None:
            return
        for number, reference in self._opened.pop(now.cell, []):
            recorder = reference()
            if recorder is None or recorder.closed:
                continue
            if number == now.id or recorder.automatic:
                self._add(now.cell, number, recorder)
            else:
                recorder.close(*recorder.status_at_exit(None))
                say(f"run {recorder.name} is closed: the cell that opened it was run again")

    def add(self, recorder: Recorder) -> None:
        """Add a run that this cell has opened."""
        now = execution()
        if now is not None:
            self._add(now.cell, now.id, recorder)

    def _add(self, cell: str, number: str, recorder: Recorder) -> None:
        self._opened.setdefault(cell, []).append((number, weakref.ref(recorder)))


cells = Cells()
