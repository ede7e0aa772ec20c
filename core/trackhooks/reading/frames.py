"""Rows of values as DataFrames of pandas and polars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from . import formats
from .packages import package

if TYPE_CHECKING:
    import pandas
    import polars

_MOMENTS = ("created",)
"""Columns of seconds since 1970, which become time stamps."""


def to_pandas(rows: Sequence[Mapping[str, Any]]) -> pandas.DataFrame:
    """Return rows as a DataFrame of pandas, with one column per name. Missing values are those of pandas.

    Raises:
        MissingPackageError: if pandas is not installed.
    """
    frame: pandas.DataFrame = package("pandas").DataFrame(_columns(rows))
    return frame


def to_polars(rows: Sequence[Mapping[str, Any]]) -> polars.DataFrame:
    """Return rows as a DataFrame of polars, with one column per name. A column of mixed types becomes text.

    Raises:
        MissingPackageError: if polars is not installed.
    """
    columns = {name: of_one_type(values) for name, values in _columns(rows).items()}
    frame: polars.DataFrame = package("polars").DataFrame(columns)
    return frame


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = formats.unique(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    return columns | {name: list(map(_moment, columns[name])) for name in _MOMENTS if name in columns}


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)


def of_one_type(values: list[Any]) -> list[Any]:
    """Convert values of several types to text, which polars would refuse, except for integers among floats."""
    types = {type(value) for value in values if value is not None}
    if len(types) < 2 and not _are_too_large(values):
        return values
    if types <= {int, float}:
        return [None if value is None else float(value) for value in values]
    return [None if value is None else formats.parameter(value) for value in values]


def _are_too_large(values: list[Any]) -> bool:
    """Return whether there are integers that do not fit into 64 bits."""
    return any(type(value) is int and not -(2**63) <= value < 2**63 for value in values)
