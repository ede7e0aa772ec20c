"""`Metrics`: the metrics of a run as rows of MLflow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from trackhooks.event import Event, File
from trackhooks.tracker import Axis, State, axis_of

from .names import Names

_MOST_ROWS = 1000
"""The most metrics that one request may have (`MAX_METRICS_PER_BATCH`)."""

BEST = "best/"
"""Best values are at step 0, where MLflow draws bars over the runs."""
_BATCHES, _SYSTEM = "train_batch/", "system/"
_ORDER = (BEST, "val/", "", _BATCHES, _SYSTEM)
"""How the names begin, in the order in which a run's metrics are first sent: SQLite returns them in this order, and
MLflow's pages open on the first."""
_LONGEST_WAIT_MS = 60_000

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
        self._waiting: list[Any] | None = _stored_rows(state.get("waiting", []))
        """Rows that are kept back until the first epoch ends; then None. Only its end brings the best values."""

    def add(self, metrics: Mapping[str, float], axis: Axis, event: Event) -> None:
        """Add the metrics of an event. Those of the first epoch are kept back until its end, a minute at most."""
        rows = [self._row(name, value, axis, event) for name, value in metrics.items()]
        self._take(rows)
        if self._waiting is not None and (_ends_wait(event, rows) or self._is_too_much(event)):
            self.release()
        while len(self._rows) >= _MOST_ROWS:
            self._send_some()

    def _take(self, rows: Iterable[Any]) -> None:
        pending = self._rows if self._waiting is None else self._waiting
        pending += rows

    def _is_too_much(self, event: Event) -> bool:
        """Return whether no more rows are kept back. System metrics may come long before the training."""
        waiting = self._waiting or []
        since = next((row.timestamp for row in waiting if not row.key.startswith(_SYSTEM)), math.inf)
        return len(waiting) >= _MOST_ROWS or event.time * 1000 - since >= _LONGEST_WAIT_MS

    def release(self) -> None:
        """Add the rows that were kept back."""
        self._rows += sorted(self._waiting or [], key=_place)
        self._waiting = None

    def add_of_model(self, file: File, event: Event, model: str) -> None:
        """Link the metrics of a checkpoint to its LoggedModel: the rows of the run that have these values."""
        self._take(self._rows_of(file, event, model))

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
        step = 0 if name.startswith(BEST) else max(event.step, 0) if axis == "step" else event.epoch
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
        waiting = self._waiting
        kept = waiting and [
            [row.key, repr(row.value), row.timestamp, row.step, row.model_id] for row in waiting
        ]
        return {"metrics": list(self._names), "last": self._last, "waiting": kept}


def _stored_rows(stored: list[list[Any]] | None) -> list[Any] | None:
    from mlflow.entities import Metric

    return stored and [Metric(name, float(value), *more) for name, value, *more in stored]


def _place(row: Any) -> int:
    """Return the place of a row in `_ORDER`."""
    name = str(row.key)
    kind = next((kind for kind in _ORDER if kind and name.startswith(kind)), "")
    return _ORDER.index(kind)


def _ends_wait(event: Event, rows: list[Any]) -> bool:
    """Return whether an event is the end of an epoch, or belongs to no epoch, such as a standalone evaluation."""
    if event.epoch >= 0:
        return event.hook == "on_fit_epoch_end"
    return not all(row.key.startswith((_BATCHES, _SYSTEM)) for row in rows)
