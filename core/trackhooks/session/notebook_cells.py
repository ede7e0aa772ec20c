"""Cells of a notebook or of IPython that are run again: the runs that they left open are closed.

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


def in_notebook() -> bool:
    """Return whether a notebook executes this code, which can show and update HTML. A terminal cannot."""
    return attempt(hasattr, _shell(), "get_parent") is True


def _shell() -> Any:
    """Return IPython's shell, or None without IPython."""
    ipython: Any = sys.modules.get("IPython")
    return None if ipython is None else attempt(ipython.get_ipython)


def execution() -> Execution | None:
    """Return the execution of a cell that is running; None without IPython."""
    found = attempt(_in_a_notebook if in_notebook() else _in_a_terminal, _shell())
    return None if isinstance(found, Failure) else found


def _in_a_notebook(shell: Any) -> Execution:
    request = shell.get_parent()
    # Without an id of the cell, it is recognized by its code.
    cell = request["metadata"].get("cellId") or request["content"]["code"]
    return Execution(str(cell), str(request["header"]["msg_id"]))


def _in_a_terminal(shell: Any) -> Execution:
    return Execution(str(shell.history_manager.input_hist_raw[-1]), str(shell.execution_count))


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
