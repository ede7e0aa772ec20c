"""The display of a run in a notebook, which stays up to date while the run is open.

It is imported only in notebooks, where IPython has been imported already.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from ..errors import TrackhooksError
from ..errors.foreign import Failure, attempt
from ..reading.followed_run import FollowedRun
from ..reading.run_card import as_card
from ..recording.recorder import Recorder
from .notebook_cells import in_notebook

_INTERVAL_S = 1.0
_AFTER_END_S = 30.0
"""How long a display is updated after the end of its run: some trackers report their address late."""


def html_of(recorder: Recorder) -> str:
    """Return the present state of a run as HTML.

    Raises:
        TrackhooksError: the folder of the run was removed.
    """
    followed = FollowedRun(recorder.path)
    try:
        return as_card(followed.summary(), followed.curves)
    finally:
        followed.close()


def display(recorder: Recorder, text: str) -> None:
    """Show a run in the output of the cell that is being executed, and keep it up to date while the run is open.

    Args:
        recorder: the run.
        text: what is shown if there is no HTML, as in a terminal or for a run that is not recorded.

    Raises:
        TrackhooksError: the folder of the run was removed.
    """
    show = import_module("IPython.display").display
    if not recorder.has_journal:
        show({"text/plain": text}, raw=True)
        return
    followed = FollowedRun(recorder.path)
    card = as_card(followed.summary(), followed.curves)
    handle = show(_bundle(card, text), raw=True, display_id=True)
    if not in_notebook():
        followed.close()
    else:
        display = _Display(recorder, followed, lambda html: handle.update(_bundle(html, text), raw=True))
        threading.Thread(
            target=display.keep_current, args=(card,), name="trackhooks-display", daemon=True
        ).start()


def _bundle(html: str, text: str) -> dict[str, str]:
    return {"text/html": html, "text/plain": text}


class _Display:
    """Updates the output of a cell."""

    def __init__(self, recorder: Recorder, followed: FollowedRun, show: Callable[[str], Any]) -> None:
        self._recorder = recorder
        self._followed = followed
        self._show = show

    def keep_current(self, shown: str) -> None:
        """Update the output until some time after the end of the run.

        Args:
            shown: what is shown already.
        """
        ended = None
        while ended is None or time.monotonic() < ended + _AFTER_END_S:
            time.sleep(_INTERVAL_S)
            if self._recorder.closed:
                ended = ended or time.monotonic()
            html = self._html()
            if html is None or (html != shown and isinstance(attempt(self._show, html), Failure)):
                break
            shown = html
        self._followed.close()

    def _html(self) -> str | None:
        """Return the present state; None if the run was removed."""
        try:
            self._followed.update()
            return as_card(self._followed.summary(), self._followed.curves)
        except (TrackhooksError, OSError):
            return None
