"""Convert columns to lists, and to tables of pandas, polars and Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from . import packages
from .columns import Column, Columns

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from .packages import Array

TIME = "time"
"""The column of seconds since 1970, which become time stamps."""


def to_list(column: Column, rows: slice = slice(None)) -> list[Any]:
    """Return values as objects of Python. Missing values are None."""
    values: list[Any] = column.values[rows].tolist()
    if column.filled is None:
        return values
    return [
        value if there else None for value, there in zip(values, column.filled[rows].tolist(), strict=True)
    ]


def to_pandas(columns: Columns) -> pandas.DataFrame:
    """Return a DataFrame of pandas.

    Raises:
        MissingPackageError: if pandas is not installed.
    """
    pd = packages.package("pandas")
    found = {name: column.values for name, column in columns.items()}
    found[TIME] = pd.to_datetime(_microseconds(found[TIME]), unit="us", utc=True)
    frame: pandas.DataFrame = pd.DataFrame(found)
    return frame


def to_polars(columns: Columns) -> polars.DataFrame:
    """Return a DataFrame of polars.

    Raises:
        MissingPackageError: if polars is not installed.
    """
    pl = packages.package("polars")
    frame: polars.DataFrame = pl.DataFrame([_series(pl, name, column) for name, column in columns.items()])
    return frame


def _series(pl: Any, name: str, column: Column) -> Any:
    if name == TIME:
        return pl.Series(name, _microseconds(column.values)).cast(pl.Datetime("us", "UTC"))
    if column.values.dtype == object:
        return pl.Series(name, to_list(column), pl.String)
    found = pl.Series(name, column.values)
    if column.filled is None:
        return found
    return pl.select(pl.when(pl.Series(column.filled)).then(found).alias(name)).to_series()


def to_arrow(columns: Columns) -> pyarrow.Table:
    """Return a table of Arrow.

    Raises:
        MissingPackageError: if pyarrow is not installed.
    """
    pa = packages.pyarrow()
    table: pyarrow.Table = pa.table({name: _array(pa, name, column) for name, column in columns.items()})
    return table


def _array(pa: Any, name: str, column: Column) -> Any:
    if name == TIME:
        return pa.array(_microseconds(column.values)).cast(pa.timestamp("us", "UTC"))
    if column.values.dtype == object:
        return pa.array(to_list(column), pa.string())
    return pa.array(column.values, mask=None if column.filled is None else ~column.filled)


def _microseconds(seconds: Array) -> Array:
    np = packages.numpy()
    return cast("Array", np.round(seconds * 1e6).astype(np.int64))
