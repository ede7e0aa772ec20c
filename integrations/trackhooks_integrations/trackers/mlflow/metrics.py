"""`Metrics`: the metrics of a run as rows of MLflow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from trackhooks.event import Event, File
from trackhooks.tracker import Axis, State, axis_of

from .names import Names

_MOST_ROWS = 1000
"""The most metrics that one request may have (`MAX_METRICS_PER_BATCH`)."""

_BEST = "best/"
"""Best values are at step 0, where MLflow draws bars over the runs. They are sent first: its pages open on the metrics
that were sent first."""
_SYSTEM = "system/"
_OF_BATCHES = "train_batch/"

Rename = Callable[[str], str]


class Metrics:
    """The metrics of one run. They are sent a thousand at a time, and the rest by `send`.

    Args:
        client: the `MlflowClient`.
        run: the id of the run in MLflow.
        state: the return value of `state`, to continue from it.
        rename: gives the metrics the names of another logger.
    """

    def __init__(self, client: Any, run: str, state: State, rename: Rename = str) -> None:
        self._client = client
        self._rename = rename
        self._run = run
        self._names = Names(state.get("metrics", ()))
        self._last: dict[str, dict[Axis, list[Any]]] = state.get("last", {})
        """Name → axis → step, value and time of the last row. The first axis gets the plain name."""
        self._rows: list[Any] = []
        self._waiting: list[list[Any]] | None = state.get("waiting", [])
        """Rows of `system/…` that are kept back until there is a metric to open the pages on; then None."""

    def add(self, metrics: Mapping[str, float], axis: Axis, event: Event) -> None:
        """Add the metrics of an event."""
        made = {name: self._row(name, value, axis, event) for name, value in metrics.items()}
        for kind in (_BEST, "", _SYSTEM):
            self._take(kind, [row for name, row in made.items() if _kind(name) == kind])
        if not all(name.startswith((_SYSTEM, _OF_BATCHES)) for name in made):
            self.release()
        while len(self._rows) >= _MOST_ROWS:
            self._send_some()

    def _take(self, kind: str, rows: list[Any]) -> None:
        """Add rows of one kind; those of the system are kept back, but not for ever."""
        if kind != _SYSTEM or self._waiting is None:
            self._rows += rows
            return
        self._waiting += [[row.key, repr(row.value), row.timestamp, row.step] for row in rows]
        if len(self._waiting) >= _MOST_ROWS:
            self.release()

    def release(self) -> None:
        """Add the rows that were kept back."""
        from mlflow.entities import Metric

        waiting, self._waiting = self._waiting or [], None
        self._rows += [Metric(name, float(value), time, step) for name, value, time, step in waiting]

    def add_of_model(self, file: File, event: Event, model: str) -> None:
        """Link the metrics of a checkpoint to its LoggedModel: the rows of the run that have these values."""
        self._rows += self._rows_of(file, event, model)

    def _rows_of(self, file: File, event: Event, model: str) -> Iterator[Any]:
        for name, value in file.metrics.items():
            if math.isfinite(value):
                known = self._last.get(name, {})
                same = next((axis for axis, row in known.items() if row[1] == repr(value)), None)
                axis = next(iter(known), axis_of(event)) if same is None else same
                yield self._row(name, value, axis, event, model, again=same is not None)

    def _row(
        self, name: str, value: float, axis: Axis, event: Event, model: str | None = None, again: bool = False
    ) -> Any:
        """Return the row of a metric. A metric that comes `again`, or twice in one epoch, gets the same row."""
        from mlflow.entities import Metric

        of_name = self._last.setdefault(name, {})
        step = 0 if name.startswith(_BEST) else max(event.step, 0) if axis == "step" else event.epoch
        row, known = [step, repr(value), int(event.time * 1000)], of_name.get(axis)
        if known is not None and (again or (axis == "epoch" and known[:2] == row[:2])):
            row = known
        of_name[axis] = row
        return Metric(self._column(name, axis), value, row[2], row[0], model_id=model)

    def _column(self, name: str, axis: Axis) -> str:
        first = next(iter(self._last[name]))
        called = self._rename(name)
        return self._names[called if axis == first else f"{called} {axis}"]

    def send(self) -> None:
        """Send all pending rows."""
        while self._rows:
            self._send_some()

    def _send_some(self) -> None:
        self._client.log_batch(self._run, metrics=self._rows[:_MOST_ROWS])
        del self._rows[:_MOST_ROWS]

    def state(self) -> State:
        """Return the state as plain JSON values."""
        return {"metrics": list(self._names), "last": self._last, "waiting": self._waiting}


def _kind(name: str) -> str:
    return next((kind for kind in (_BEST, _SYSTEM) if name.startswith(kind)), "")
