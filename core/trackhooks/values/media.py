"""Convert pictures, figures, tables, arrays and paths, as users pass them, to the media and files of an event."""

from __future__ import annotations

import io
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ..errors import InvalidValueError, MissingPackageError, TrackhooksError, is_exhausted
from ..errors.foreign import Failure, attempt, plain_text, shown
from ..event import File, Histogram, Scalar, Table
from .params import scalar

_CHANNELS = (1, 3, 4)
_MOST_BINS = 100_000
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
"""The modes of Pillow that PNG supports."""


def file(path: str | os.PathLike[str], kind: str, **more: Any) -> File:
    """Return the description of a file or folder.

    Raises:
        InvalidValueError: It does not exist, or `path` is not a path.
        OSError: The machine lacks resources, such as file descriptors.
    """
    name = attempt(os.fspath, path)
    if not isinstance(name, str) or isinstance(attempt(os.fsencode, name), Failure) or "\0" in name:
        raise InvalidValueError(f"path must be a str or os.PathLike, got {shown(path)}.")
    name = str.__str__(name)
    found = Path(name).absolute()
    try:
        stat = found.stat()
        size, mtime = _of_folder(found) if found.is_dir() else (stat.st_size, stat.st_mtime)
    except OSError as error:
        if is_exhausted(error):
            raise
        raise InvalidValueError(
            f"{name!r}: {error.strerror or error}. Save it first, then log it."
        ) from error
    more.setdefault("name", found.name)
    more["format"] = more.get("format") or found.suffix.lstrip(".")
    return File(path=str(found), kind=kind, size=size, mtime=mtime, inode=stat.st_ino, **more)


def _of_folder(folder: Path) -> tuple[int, float]:
    stats = [path.stat() for path in folder.rglob("*")]
    return sum(stat.st_size for stat in stats), max(
        (stat.st_mtime for stat in stats), default=folder.stat().st_mtime
    )


def png(image: Any) -> bytes:
    """Return a picture in PNG format.

    Args:
        image: The path of an image file, a PIL image, a matplotlib figure, or an array of shape H×W, H×W×C or C×H×W,
            with C one of 1, 3, 4. The array has integers from 0 to 255, or floats from 0 to 1.

    Raises:
        InvalidValueError: `image` is something else, or cannot be read.
        MissingPackageError: Pillow is required, but not installed.
        OSError: The machine lacks resources, such as file descriptors.
    """
    found = attempt(_png, image)
    if not isinstance(found, Failure):
        return found
    if isinstance(found.error, TrackhooksError) or is_exhausted(found.error):
        raise found.error
    path = attempt(os.fspath, image)  # not a picture, a truncated one, or an unsupported format
    what = repr(str.__str__(path)) if isinstance(path, str) else shown(image)
    raise InvalidValueError(f"{what} is not a picture that can be read: {found.why}") from found.error


def _png(image: Any) -> bytes:
    if hasattr(image, "savefig"):
        return figure_png(image)
    path = Path(image) if isinstance(image, (str, os.PathLike)) else None
    if path is not None and (own := _own_png(path)):
        return own
    pillow = _pillow()
    if path is None and not isinstance(image, pillow.Image):
        return _saved(pillow.fromarray(_pixels(image)))
    with nullcontext(image) if path is None else pillow.open(path) as picture:
        return _saved(picture)


def _own_png(path: Path) -> bytes:
    """Return the content of a file if it is a PNG already, which does not require Pillow, and nothing otherwise."""
    try:
        data = path.read_bytes() if path.suffix.lower() == ".png" else b""
    except OSError:
        return b""  # reported when Pillow opens it
    return data if data.startswith(_SIGNATURE) else b""


def _saved(picture: Any) -> bytes:
    buffer = io.BytesIO()
    (picture if picture.mode in _MODES else picture.convert("RGB")).save(buffer, "PNG")
    return buffer.getvalue()


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingPackageError(
            "Pictures require the package 'pillow', which is not installed. Run: pip install 'trackhooks[images]'"
        ) from error
    return Image


def _pixels(image: Any) -> Any:
    """Return an array in the form that Pillow accepts: uint8, H×W or H×W×C."""
    numpy = _numpy("a picture")
    try:
        array = numpy.asarray(_on_host(image))
    except ValueError as error:  # rows of different lengths
        raise InvalidValueError(
            f"A {type(image).__name__} cannot be converted to a picture: {error}"
        ) from error
    if array.ndim == 3 and array.shape[0] in _CHANNELS and array.shape[2] not in _CHANNELS:
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _CHANNELS) or not array.size:
        raise InvalidValueError(
            f"The shape of a picture must be H×W, H×W×C or C×H×W with C = 1, 3, 4, got {array.shape}."
        )
    if array.dtype.kind == "f":
        array = numpy.nan_to_num(array.astype("float64")).clip(0, 1) * 255 + 0.5
    elif array.dtype.kind == "b":
        array = array * 255
    elif array.dtype.kind not in "ui":
        raise InvalidValueError(
            f"A picture must have integers from 0 to 255 or floats from 0 to 1, got an array of {array.dtype}."
        )
    return array.clip(0, 255).astype("uint8")


def _on_host(array: Any) -> Any:
    """Return a tensor in a form that NumPy can read."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        return array.float().numpy() if array.is_floating_point() else array.numpy()
    return array


def figure_png(figure: Any) -> bytes:
    """Return a matplotlib figure in PNG format.

    Raises:
        InvalidValueError: `figure` does not have `savefig`.
    """
    if not hasattr(figure, "savefig"):
        raise InvalidValueError(
            f"figure must be a matplotlib figure, got a {type(figure).__name__} without savefig."
        )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return buffer.getvalue()


def table(name: str, data: Any, columns: Sequence[str] | None = None) -> Table:
    """Make a table from rows with `columns`, a list of dicts, a dict of columns, or a pandas or polars DataFrame.

    Raises:
        InvalidValueError: The rows and the columns do not match.
    """
    found = attempt(_names_and_cells, data, columns)
    if isinstance(found, Failure):
        why = str(found.error) if type(found.error) is TypeError else found.why
        raise InvalidValueError(
            f"table {name!r}: {why}. Pass a list of rows and columns=[…]."
        ) from found.error
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
    if hasattr(data, "to_dict") and hasattr(data, "columns"):
        return list(data.columns), data.to_numpy().tolist()
    if isinstance(data, Mapping):
        lengths = {str(name): len(values) for name, values in data.items()}
        if len(set(lengths.values())) > 1:
            raise TypeError(f"the columns have different lengths: {lengths}")
        return list(data), zip(*data.values(), strict=True)
    rows = list(data)
    if rows and all(isinstance(row, Mapping) for row in rows):
        names = list(columns or dict.fromkeys(name for row in rows for name in row))
        return names, [[row.get(name) for name in names] for row in rows]
    return list(columns or ()), rows


def _row(row: Any) -> Iterable[Any]:
    if isinstance(row, (str, bytes, Mapping)):
        raise TypeError(f"a row must be a list of cells, got {shown(row)}")
    cells: Iterable[Any] = iter(row)
    return cells


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
    numpy = _numpy("a histogram")
    found = attempt(_counted, numpy, values, count)
    if isinstance(found, Failure):
        why = str(found.error) if type(found.error) in (TypeError, ValueError) else found.why
        raise InvalidValueError(
            f"histogram {name!r}: {why}. Pass an array or a list of numbers."
        ) from found.error
    if found is None:
        raise InvalidValueError(f"histogram {name!r}: no value is finite.")
    counts, edges = found
    return Histogram(name, edges.tolist(), counts.astype(float).tolist())


def _counted(numpy: Any, values: Any, bins: int) -> Any:
    numbers = _finite(numpy, values)
    with numpy.errstate(over="ignore", invalid="ignore"):  # if the range is too wide, an error follows
        return numpy.histogram(numbers, bins=bins) if numbers.size else None


def _numpy(needed_for: str) -> Any:
    try:
        import numpy
    except ImportError as error:
        raise MissingPackageError(
            f"{needed_for} requires numpy, which is not installed. Run: pip install numpy"
        ) from error
    return numpy


def _finite(numpy: Any, values: Any) -> Any:
    if isinstance(values, (str, bytes)):
        raise TypeError(f"the values must be numbers, got {shown(values)}")
    given = _on_host(values)
    array = numpy.asarray(given if hasattr(given, "shape") else list(given))
    if array.dtype.kind == "c":
        raise TypeError("complex numbers have no order")
    flat = array.astype("float64").ravel()
    return flat[numpy.isfinite(flat)]
