"""The columns of a history: wide, with one column per metric, or long, with one row per point."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, cast

from . import packages
from .points import Points

if TYPE_CHECKING:
    from .packages import Array

Form = Literal["wide", "long"]
Over = Literal["step", "epoch", "time"]

POSITIONS: Final = ("step", "epoch", "time")
RUN: Final = "run"
"""The column with the names of the runs."""

PARAM: Final = "param/"
"""The prefix of the columns of parameters."""


class Column(NamedTuple):
    """One column. Missing values are NaN, or None in a column of objects."""

    values: Array
    filled: Array | None = None
    """Which rows have a value; None if all do."""


Columns = dict[str, Column]
"""Columns of the same length, by name."""


def column_name(metric: str) -> str:
    """Return the name of the column of a metric: its own, unless other columns are named like it."""
    return f"metric/{metric}" if metric in (RUN, *POSITIONS) or metric.startswith(PARAM) else metric


def wide(found: Mapping[str, Points], names: Sequence[str], over: Over) -> Columns:
    """Return one row per step, epoch or time, with one column per metric.

    If a metric has several values in a row, the last one is used. The other positions of a row are those of its last
    record.
    """
    # Metrics that were recorded together share the arrays of their positions, which are placed once.
    records = {id(points.step): points for points in found.values()}
    axes = [getattr(points, over) for points in records.values()]
    keys = _distinct(axes)
    rows = {key: _rows(keys, axis) for key, axis in zip(records, axes, strict=True)}
    columns = _positions(records.values(), list(rows.values()), len(keys))
    if records:
        columns[over] = Column(keys)
    for name in names:
        points = found.get(name)
        columns[column_name(name)] = (
            nothing(len(keys)) if points is None else _placed(points.value, rows[id(points.step)], len(keys))
        )
    return columns


def _distinct(axes: Sequence[Array]) -> Array:
    """Return the values of all axes in ascending order, without duplicates."""
    np = packages.numpy()
    if not axes:
        return cast("Array", np.empty(0, np.int64))
    values = axes[0] if len(axes) == 1 else np.concatenate(axes)
    if not (values[1:] > values[:-1]).all():
        values = np.sort(values, kind="stable")
        values = values[np.concatenate([[True], values[1:] != values[:-1]])]
    return cast("Array", values)


def _rows(keys: Array, axis: Array) -> Array | None:
    """Return the row of each record; None if every row has one record, in the same order."""
    np = packages.numpy()
    in_order = len(keys) == len(axis) and np.array_equal(keys, axis, equal_nan=True)
    return None if in_order else cast("Array", np.searchsorted(keys, axis))


def _placed(values: Array, rows: Array | None, length: int) -> Column:
    if rows is None:
        return Column(values)
    np = packages.numpy()
    placed, filled = np.full(length, np.nan), np.zeros(length, bool)
    placed[rows] = values  # NumPy assigns in order: the last of several values stays
    filled[rows] = True
    return Column(placed, None if filled.all() else filled)


def nothing(length: int) -> Column:
    """Return a column without values."""
    np = packages.numpy()
    return Column(np.full(length, np.nan), np.zeros(length, bool))


def _positions(records: Iterable[Points], rows: Sequence[Array | None], length: int) -> Columns:
    """Return the positions of the last record of each row."""
    np = packages.numpy()
    records = list(records)
    if not records:
        return {name: Column(np.empty(0, float if name == "time" else np.int64)) for name in POSITIONS}
    if len(records) == 1 and rows[0] is None:
        return {name: Column(getattr(records[0], name)) for name in POSITIONS}
    row = np.concatenate([np.arange(length) if some is None else some for some in rows])
    order = np.argsort(np.concatenate([points.time for points in records]), kind="stable")
    found = {}
    for name in POSITIONS:
        given = np.concatenate([getattr(points, name) for points in records])
        placed = np.empty(length, given.dtype)
        placed[row[order]] = given[order]
        found[name] = Column(placed)
    return found


def long(found: Mapping[str, Points], names: Sequence[str]) -> Columns:
    """Return one row per point: the points of each metric in the order in which they were recorded."""
    np = packages.numpy()
    there = [name for name in names if name in found]
    parts = [found[name] for name in there]
    lengths = [len(points.value) for points in parts]
    columns = {"metric": Column(np.repeat(np.array(there, object), lengths))}
    for name in (*POSITIONS, "value"):
        kind = np.int64 if name in ("step", "epoch") else np.float64
        columns[name] = Column(
            np.concatenate([np.empty(0, kind), *(getattr(points, name) for points in parts)])
        )
    return columns


def constant(value: Any, length: int, kind: Any = object) -> Column:
    """Return a column that has the same value in all rows. A value that is None is missing in all of them."""
    np = packages.numpy()
    filled = np.zeros(length, bool) if value is None else None
    return Column(np.full(length, np.nan if value is None and kind is float else value, kind), filled)


def stacked(parts: Sequence[Columns]) -> Columns:
    """Put columns below each other. All parts have the same columns."""
    if len(parts) == 1:
        return parts[0]
    return {name: _stacked([part[name] for part in parts]) for name in parts[0]}


def _stacked(parts: Sequence[Column]) -> Column:
    np = packages.numpy()
    values = np.concatenate([part.values for part in parts])
    if all(part.filled is None for part in parts):
        return Column(values)
    return Column(values, np.concatenate([_filled(part) for part in parts]))


def _filled(column: Column) -> Array:
    return packages.numpy().ones(len(column.values), bool) if column.filled is None else column.filled


def length_of(columns: Columns) -> int:
    """Return the number of rows."""
    return len(next(iter(columns.values())).values)


def without_rows(columns: Columns) -> Columns:
    """Return the same columns with no rows."""
    return {name: Column(column.values[:0]) for name, column in columns.items()}
