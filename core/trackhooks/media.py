"""From pictures, figures, tables, arrays and paths, as users pass them, to what an event holds."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import InvalidValueError, MissingPackageError
from .event import File, Histogram, Table
from .values import scalar

_CHANNELS = (1, 3, 4)


def file(path: str | os.PathLike[str], kind: str, **more: Any) -> File:
    """A file or a folder as it is now.

    Raises:
        InvalidValueError: there is no such file.
    """
    found = Path(path).absolute()
    try:
        stat = found.stat()
        size, mtime = _of_folder(found) if found.is_dir() else (stat.st_size, stat.st_mtime)
    except OSError as error:
        raise InvalidValueError(
            f"{os.fspath(path)!r}: {error.strerror or error}. Save it first, then log it."
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
    """A picture as PNG.

    Args:
        image: the path of an image file, a PIL image, a matplotlib figure, or an array of shape H×W, H×W×C or C×H×W
            with C one of 1, 3, 4; integers from 0 to 255, or floats from 0 to 1.

    Raises:
        InvalidValueError: it is none of these.
        MissingPackageError: Pillow is needed and not installed.
    """
    if hasattr(image, "savefig"):
        return figure_png(image)
    path = Path(image) if isinstance(image, (str, os.PathLike)) else None
    if path is not None and path.suffix.lower() == ".png" and path.is_file():
        return path.read_bytes()
    pillow = _pillow()
    if path is not None:
        image = _open(pillow, path)
    elif not isinstance(image, pillow.Image):
        image = pillow.fromarray(_pixels(image))
    buffer = io.BytesIO()
    (image if image.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I") else image.convert("RGB")).save(
        buffer, "PNG"
    )
    return buffer.getvalue()


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingPackageError(
            "a picture needs the package 'pillow', which is not installed. Run: pip install 'trackhooks[images]'"
        ) from error
    return Image


def _open(pillow: Any, path: Path) -> Any:
    try:
        return pillow.open(path)
    except OSError as error:
        raise InvalidValueError(f"{str(path)!r} is no picture that can be read: {error}") from error


def _pixels(image: Any) -> Any:
    """An array as Pillow takes it: uint8, H×W or H×W×C."""
    import numpy

    array = numpy.asarray(_on_host(image))
    if array.ndim == 3 and array.shape[0] in _CHANNELS and array.shape[2] not in _CHANNELS:
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _CHANNELS) or not array.size:
        raise InvalidValueError(
            f"an array of shape {array.shape} is no picture: H×W, H×W×C or C×H×W is, C = 1, 3, 4."
        )
    if array.dtype.kind == "f":
        array = numpy.nan_to_num(array.astype("float64")).clip(0, 1) * 255 + 0.5
    elif array.dtype.kind == "b":
        array = array * 255
    elif array.dtype.kind not in "ui":
        raise InvalidValueError(
            f"an array of {array.dtype} is no picture: integers from 0 to 255 or floats from 0 to 1 are."
        )
    return array.clip(0, 255).astype("uint8")


def _on_host(array: Any) -> Any:
    """A tensor as NumPy can read it."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        return array.float().numpy() if array.is_floating_point() else array.numpy()
    return array


def figure_png(figure: Any) -> bytes:
    """A matplotlib figure as PNG.

    Raises:
        InvalidValueError: it has no `savefig`.
    """
    if not hasattr(figure, "savefig"):
        raise InvalidValueError(f"{type(figure).__name__} is no matplotlib figure: it has no savefig.")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return buffer.getvalue()


def table(name: str, data: Any, columns: Sequence[str] | None = None) -> Table:
    """A table from rows with `columns`, a list of dicts, a dict of columns, or a pandas DataFrame.

    Raises:
        InvalidValueError: the rows and the columns do not fit each other.
    """
    if hasattr(data, "to_dict") and hasattr(data, "columns"):
        columns, data = list(data.columns), data.to_numpy().tolist()
    elif isinstance(data, Mapping):
        lengths = {len(values) for values in data.values()}
        if len(lengths) > 1:
            raise InvalidValueError(f"table {name!r}: its columns have different lengths: {sorted(lengths)}.")
        columns, data = list(data), list(zip(*data.values(), strict=True))
    else:
        data = list(data)
        if data and all(isinstance(row, Mapping) for row in data):
            columns = list(columns) if columns else list(dict.fromkeys(key for row in data for key in row))
            data = [[row.get(column) for column in columns] for row in data]
    if not columns:
        raise InvalidValueError(f"table {name!r}: rows need columns=[…].")
    rows = [[scalar(cell) for cell in row] for row in data]
    wrong = [i for i, row in enumerate(rows) if len(row) != len(columns)]
    if wrong:
        raise InvalidValueError(
            f"table {name!r}: row {wrong[0]} has {len(rows[wrong[0]])} cells for {len(columns)} columns."
        )
    return Table(name, [str(column) for column in columns], rows)


def histogram(name: str, values: Any, bins: int = 64) -> Histogram:
    """A histogram of the finite ones among the values.

    Args:
        values: an array or tensor of any shape, or an iterable of numbers.
        bins: how many, all of one width.

    Raises:
        InvalidValueError: there is no finite value, or `bins` is no positive integer.
    """
    if not isinstance(bins, int) or bins < 1:
        raise InvalidValueError(f"histogram {name!r}: bins={bins!r}; a positive integer is needed.")
    numbers = _finite(values)
    if not numbers.size:
        raise InvalidValueError(f"histogram {name!r}: there is no finite value.")
    import numpy

    counts, edges = numpy.histogram(numbers, bins=bins)
    return Histogram(name, edges.tolist(), counts.astype(float).tolist())


def _finite(values: Any) -> Any:
    try:
        import numpy
    except ImportError as error:
        raise MissingPackageError(
            "a histogram needs numpy, which is not installed. Run: pip install numpy"
        ) from error
    given = _on_host(values)
    array = numpy.asarray(
        given if hasattr(given, "shape") else list(_iterable(given)), dtype="float64"
    ).ravel()
    return array[numpy.isfinite(array)]


def _iterable(values: Any) -> Iterable[Any]:
    if not isinstance(values, Iterable) or isinstance(values, (str, bytes)):
        raise InvalidValueError(
            f"{values!r} are no values for a histogram: an array or a list of numbers is."
        )
    return values
