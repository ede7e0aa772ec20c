"""`FollowedRun`: the summary and the curves of a run, kept up to date while the run is recorded."""

from __future__ import annotations

import os
from collections import defaultdict

import msgspec

from ..errors import JournalError
from ..event import Event
from ..hooks.vocabulary import axis_of
from ..storage import run_folder
from ..storage.journal import Reader
from ..storage.totals import Totals
from .curve import Curve
from .selection import HIDDEN
from .summary import RunSummary, summary_of


class FollowedRun:
    """Reads the journal of a run once, and continues where it stopped at each update.

    Args:
        path: the folder of the run.

    Raises:
        TrackhooksError: if the folder contains no run.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._found = _WithCurves()
        self._reader: Reader | None = None
        self.update()

    def update(self) -> None:
        """Read what was recorded since the last update."""
        try:
            self._reader = self._reader or Reader(self._path)
            self._found.read(self._reader)
        except (JournalError, OSError) as error:
            self._found.journal.error = str(error)

    def close(self) -> None:
        """Close the journal."""
        if self._reader is not None:
            self._reader.close()

    @property
    def curves(self) -> dict[str, Curve]:
        """The curves of the metrics, over steps or over epochs."""
        return self._found.curves

    def summary(self) -> RunSummary:
        """Return the summary.

        Raises:
            TrackhooksError: if the run was removed.
        """
        return summary_of(self._found, run_folder.read_info(self._path))


class _WithCurves(Totals):
    """Collects the curve of each metric as well. The stored summary has no curves, so it cannot be used."""

    curves: dict[str, Curve] = msgspec.field(default_factory=lambda: defaultdict(Curve))

    def take(self, event: Event) -> None:
        """Add an event."""
        super().take(event)
        place = event.epoch if axis_of(event) == "epoch" else event.step
        for name, value in event.metrics.items():
            if not name.startswith(HIDDEN):
                self.curves[name].add(place, value)
