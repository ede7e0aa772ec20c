"""Write histories to files: Parquet, Arrow, CSV or JSON Lines.

The rows of one run after the other are written, so that many runs need no more memory than the largest of them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from ..errors import InvalidValueError, nearest
from ..storage.new_file import new_file
from ..values import checks
from . import formats, packages
from .columns import Column, Columns, length_of
from .conversions import to_arrow, to_list

_ROWS = 10_000
"""How many rows are converted to text at a time."""

Write = Callable[[Iterable[Columns], Columns, IO[bytes]], None]
"""Writes the rows of the runs. All have the columns of the second argument, which has no rows."""


def _csv(parts: Iterable[Columns], header: Columns, file: IO[bytes]) -> None:
    text = io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="", write_through=True)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for part in parts:
        for rows in _chunks(part):
            writer.writerows(rows)
    text.detach()  # the file stays open


def _jsonl(parts: Iterable[Columns], header: Columns, file: IO[bytes]) -> None:
    encoder = msgspec.json.Encoder()
    names = list(header)
    for part in parts:
        for rows in _chunks({name: _finite(column) for name, column in part.items()}):
            file.write(encoder.encode_lines([dict(zip(names, row, strict=True)) for row in rows]))


def _chunks(part: Columns) -> Iterator[Iterator[tuple[Any, ...]]]:
    """Yield the rows as tuples, a limited number at a time. Missing values are None."""
    for start in range(0, length_of(part), _ROWS):
        chunk = slice(start, start + _ROWS)
        yield zip(*(to_list(column, chunk) for column in part.values()), strict=True)


def _finite(column: Column) -> Column:
    """Replace NaN and infinities as `formats.as_json` does."""
    np = packages.numpy()
    if column.values.dtype.kind != "f" or np.isfinite(column.values).all():
        return column
    values = column.values.astype(object)
    odd = ~np.isfinite(column.values)
    values[odd] = [formats.finite(value) for value in column.values[odd].tolist()]
    return column._replace(values=values)


def _parquet(parts: Iterable[Columns], header: Columns, file: IO[bytes]) -> None:
    parquet = packages.pyarrow("pyarrow.parquet")
    schema = to_arrow(header).schema
    texts = [field.name for field in schema if str(field.type) == "string"]
    with parquet.ParquetWriter(file, schema, compression="zstd", use_dictionary=texts) as writer:
        for part in parts:
            writer.write_table(to_arrow(part))


def _arrow(parts: Iterable[Columns], header: Columns, file: IO[bytes]) -> None:
    ipc = packages.pyarrow("pyarrow.ipc")
    options = ipc.IpcWriteOptions(compression="zstd")
    with ipc.new_file(file, to_arrow(header).schema, options=options) as writer:
        for part in parts:
            writer.write_table(to_arrow(part))


FORMATS: Final[dict[str, Write]] = {"parquet": _parquet, "arrow": _arrow, "csv": _csv, "jsonl": _jsonl}
TEXT: Final = ("csv", "jsonl")
"""The formats that a terminal or a pipe can take."""


def format_of(path: Path) -> str:
    """Return the format that the suffix of a file names.

    Raises:
        InvalidValueError: if it names none.
    """
    found = path.suffix[1:].lower()
    if found in FORMATS:
        return found
    close = nearest(found, FORMATS) if found else None
    hint = f" Did you mean {str(path.with_suffix(f'.{close}'))!r}?" if close is not None else ""
    known = ", ".join(f".{name}" for name in FORMATS)
    raise InvalidValueError(f"the file must end in one of {known}, got {str(path)!r}.{hint}")


def check(path: Any, overwrite: Any) -> Path:
    """Check where a file is written, before anything is read.

    Raises:
        InvalidValueError: if the file cannot be written there.
    """
    found = checks.path("the file", path)
    format_of(found)
    if found.is_dir():
        raise InvalidValueError(f"{found} is a directory. Name a file in it.")
    if not found.parent.is_dir():
        raise InvalidValueError(f"there is no directory {found.parent}. Create it first.")
    if not checks.switch("overwrite", overwrite) and found.exists():
        raise _exists(found)
    return found


def _exists(path: Path) -> InvalidValueError:
    return InvalidValueError(
        f"{path} exists. Choose another file, or overwrite it with overwrite=True (--force)."
    )


def write(parts: Iterable[Columns], header: Columns, path: Path, *, overwrite: bool) -> None:
    """Write a file in the format of its suffix. It appears when it is complete.

    Args:
        parts: the rows.
        header: the columns of every part, without rows.
        path: the file, which was checked.
        overwrite: whether an existing file is replaced.

    Raises:
        InvalidValueError: if the file exists and must not be replaced.
        MissingPackageError: if the format needs a package that is not installed.
        OSError: if the file cannot be written.
    """
    try:
        with new_file(path, overwrite=overwrite) as file:
            FORMATS[format_of(path)](parts, header, file)
    except FileExistsError:
        raise _exists(path) from None
