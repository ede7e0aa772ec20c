"""Convert tables, arrays and paths, as users pass them, to the media and files of an event."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InvalidValueError, is_exhausted
from ..errors.foreign import Failure, attempt, plain_text, shown
from ..event import File, Histogram, Scalar, Table
from . import checks
from .arrays import as_array, numpy_for
from .checks import bounded
from .params import scalar

_MOST_BINS = 100_000
_MOST_COLUMNS = 10_000
_MOST_ROWS = 1_000_000
_MOST_NUMBERS = 1_000_000
"""How much of an iterable is read, because it may never end."""


def file(path: str | os.PathLike[str], kind: str, **more: Any) -> File:
    """Return the description of a file or folder.

    Raises:
        InvalidValueError: It does not exist, `path` is not a path, or it is relative and the working directory has
            been deleted.
        OSError: The machine lacks resources, such as file descriptors.
    """
    given, found = checks.path("file", path), checks.absolute("file", path)
    if not str.__len__(os.fspath(path)):
        raise InvalidValueError("file must be the path of a file or folder, got ''.")
    try:
        stat = found.stat()
        size, mtime = _of_folder(found) if found.is_dir() else (stat.st_size, stat.st_mtime)
    except OSError as error:
        if is_exhausted(error):
            raise
        raise InvalidValueError(
            f"{str(given)!r}: {error.strerror or error}. Save it first, then log it."
        ) from Failure(error).cause
    more.setdefault("name", found.name)
    more["format"] = more.get("format") or found.suffix.lstrip(".")
    return File(path=str(found), kind=kind, size=size, mtime=mtime, inode=stat.st_ino, **more)


def _of_folder(folder: Path) -> tuple[int, float]:
    stats = [path.stat() for path in folder.rglob("*")]
    return sum(stat.st_size for stat in stats), max(
        (stat.st_mtime for stat in stats), default=folder.stat().st_mtime
    )


def table(name: str, data: Any, columns: Sequence[str] | None = None) -> Table:
    """Make a table from rows with `columns`, a list of dicts, a dict of columns, or a pandas or polars DataFrame.

    Raises:
        InvalidValueError: The rows and the columns do not match.
    """
    found = attempt(_names_and_cells, data, columns)
    if isinstance(found, Failure):
        why = str(found.error) if type(found.error) in (TypeError, InvalidValueError) else found.why
        raise InvalidValueError(
            f"table {name!r}: {why.rstrip('.')}. Pass a list of rows and columns=[…]."
        ) from found.cause
    names, cells = found
    if not names:
        raise InvalidValueError(f"table {name!r}: the columns are not known. Pass columns=[…].")
    for number, row in enumerate(cells):
        if len(row) != len(names):
            raise InvalidValueError(
                f"table {name!r}: row {number} has {len(row)} cells for {len(names)} columns."
            )
    return Table(name, names, cells)


def _names_and_cells(data: Any, columns: Sequence[str] | None) -> tuple[list[str], list[list[Scalar]]]:
    names, rows = _columns_and_rows(data, columns)
    cells = [[scalar(cell) for cell in _row(row)] for row in rows]
    return [plain_text(str(column)) for column in names], cells


def _columns_and_rows(data: Any, columns: Sequence[str] | None) -> tuple[Sequence[Any], Iterable[Any]]:
    if hasattr(data, "to_frame") and not hasattr(data, "columns"):
        data = data.to_frame()  # a Series
    if hasattr(data, "itertuples"):
        return _of_pandas(data)
    if hasattr(data, "to_dict") and hasattr(data, "columns"):
        return list(data.columns), data.to_numpy().tolist()
    if isinstance(data, Mapping):
        lengths = {str(name): len(values) for name, values in data.items()}
        if len(set(lengths.values())) > 1:
            raise TypeError(f"the columns have different lengths: {lengths}")
        return list(data), zip(*data.values(), strict=True)
    rows = bounded("rows", data, _MOST_ROWS)
    given = bounded("columns", columns or (), _MOST_COLUMNS)
    if rows and all(isinstance(row, Mapping) for row in rows):
        names = given or list(
            dict.fromkeys(name for row in rows for name in bounded("a row", row, _MOST_COLUMNS))
        )
        return names, [[row.get(name) for name in names] for row in rows]
    return given, rows


def _of_pandas(frame: Any) -> tuple[list[Any], Iterable[Any]]:
    """Return columns and rows. An index other than the default one, which only counts the rows, comes first."""
    columns, index = list(frame.columns), frame.index
    if type(index).__name__ == "RangeIndex" and (index.start, index.step, index.name) == (0, 1, None):
        return columns, frame.itertuples(index=False, name=None)
    levels = ["index"] if index.nlevels == 1 else [f"level_{level}" for level in range(index.nlevels)]
    names = [unnamed if name is None else name for name, unnamed in zip(index.names, levels, strict=True)]
    keys = ((key if index.nlevels > 1 else (key,)) for key in index)
    rows = frame.itertuples(index=False, name=None)
    return [*(f"{name} (index)" if name in columns else name for name in names), *columns], (
        (*key, *row) for key, row in zip(keys, rows, strict=True)
    )


def _row(row: Any) -> Iterable[Any]:
    if isinstance(row, (str, bytes, Mapping)):
        raise TypeError(f"a row must be a list of cells, got {shown(row)}")
    return bounded("a row", row, _MOST_COLUMNS)


def histogram(name: str, values: Any, bins: int = 64) -> Histogram:
    """Make a histogram of the finite values.

    Args:
        name: The name of the histogram.
        values: An array or tensor of any shape, or an iterable of numbers.
        bins: The number of bins, which all have the same width.

    Raises:
        InvalidValueError: No value is finite, or `bins` is not a positive integer.
    """
    count = None if type(bins) is bool else attempt(operator.index, bins)
    if not isinstance(count, int) or not 1 <= count <= _MOST_BINS:
        raise InvalidValueError(
            f"histogram {name!r}: bins must be a positive integer up to {_MOST_BINS}, got {shown(bins)}."
        )
    numpy = numpy_for("a histogram")
    found = attempt(_counted, numpy, values, count)
    if isinstance(found, Failure):
        why = str(found.error) if type(found.error) in (TypeError, ValueError) else found.why
        raise InvalidValueError(
            f"histogram {name!r}: {why}. Pass an array or a list of numbers."
        ) from found.cause
    if found is None:
        raise InvalidValueError(f"histogram {name!r}: no value is finite.")
    counts, edges = found
    return Histogram(name, edges.tolist(), counts.astype(float).tolist())


def _counted(numpy: Any, values: Any, bins: int) -> Any:
    numbers = _finite(numpy, values)
    with numpy.errstate(over="ignore", invalid="ignore"):  # if the range is too wide, an error follows
        return numpy.histogram(numbers, bins=bins) if numbers.size else None


def _finite(numpy: Any, values: Any) -> Any:
    if isinstance(values, (str, bytes)):
        raise TypeError(f"the values must be numbers, got {shown(values)}")
    array = as_array(numpy, values if hasattr(values, "shape") else bounded("values", values, _MOST_NUMBERS))
    if array.dtype.kind == "c":
        raise TypeError("complex numbers have no order")
    flat = array.astype("float64").ravel()
    return flat[numpy.isfinite(flat)]
