"""Convert pictures and figures, as users pass them, to PNG.

The range of an array says how it is shown:

| values | shown |
|---|---|
| bool | black and white |
| integers from 0 to 255 | as they are |
| integers of 16 bits that use their range | 0 is black, 65535 is white |
| floats from 0 to 1 | 0 is black, 1 is white |
| floats from −1 to 1 | −1 is black, 1 is white |
| floats from 0 to 255 | as integers |
| anything else | from the smallest to the largest value, with a warning that has the range |

NaN is black. The 16-bit, 32-bit and float pictures of Pillow are treated as arrays.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ..errors import InvalidValueError, MissingPackageError, TrackhooksError, is_exhausted, warn
from ..errors.foreign import Failure, attempt, is_a, shown
from . import checks
from .arrays import as_array, numpy_for

_CHANNELS = (1, 3, 4)
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA"})
"""The modes of Pillow that are saved as they are."""
_NEAREST_MODES = {"PA": "RGBA", "RGBa": "RGBA", "La": "LA"}
"""Modes of Pillow with a mode that has the same content; others become RGB."""
_ROUNDING = 0.01
"""Resizing and arithmetic exceed a range by this much."""

Report = Callable[[str], None]


def png(image: Any, report: Report = warn) -> bytes:
    """Return a picture in PNG format.

    Args:
        image: The path of an image file, a PIL image, a matplotlib figure, or an array of shape H×W, H×W×C or C×H×W,
            with C one of 1, 3, 4.
        report: Called with a message if the range of the values does not say how they are meant.

    Raises:
        InvalidValueError: `image` is something else, or cannot be read.
        MissingPackageError: Pillow is required, but not installed.
        OSError: The machine lacks resources, such as file descriptors.
    """
    path = checks.path("image", image) if is_a(image, (str, os.PathLike)) else None
    found = attempt(_png, image, path, report)
    if not isinstance(found, Failure):
        return found
    if isinstance(found.error, (TrackhooksError, Warning)) or is_exhausted(found.error):
        raise found.error
    what = (
        shown(image) if path is None else repr(str(path))
    )  # not a picture, a truncated one, an unsupported format
    raise InvalidValueError(f"{what} is not a picture that can be read: {found.why}") from found.cause


def _png(image: Any, path: Path | None, report: Report) -> bytes:
    if hasattr(image, "savefig"):
        return figure_png(image)
    if path is not None and (own := _own_png(path)):
        return own
    pillow = _pillow()
    if path is None and not isinstance(image, pillow.Image):
        return _saved(pillow.fromarray(_pixels(image, report)))
    with nullcontext(image) if path is None else pillow.open(path) as picture:
        if picture.mode == "F" or picture.mode.startswith("I"):
            return _saved(pillow.fromarray(_pixels(picture, report)))
        return _saved(picture)


def _own_png(path: Path) -> bytes:
    """Return the content of a file if it is a PNG already, which does not require Pillow, and nothing otherwise."""
    try:
        data = path.read_bytes() if path.suffix.lower() == ".png" else b""
    except OSError:
        return b""  # reported when Pillow opens it
    return data if data.startswith(_SIGNATURE) else b""


def _saved(picture: Any) -> bytes:
    buffer, mode = io.BytesIO(), picture.mode
    (picture if mode in _MODES else picture.convert(_NEAREST_MODES.get(mode, "RGB"))).save(buffer, "PNG")
    return buffer.getvalue()


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingPackageError(
            "Pictures require the package 'pillow', which is not installed. Run: pip install 'trackhooks[images]'"
        ) from error
    return Image


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


# Arrays


def _pixels(image: Any, report: Report) -> Any:
    """Return an array in the form that Pillow accepts: uint8, H×W or H×W×C."""
    numpy = numpy_for("a picture")
    try:
        array = as_array(numpy, image)
    except ValueError as error:  # rows of different lengths
        raise InvalidValueError(
            f"A {type(image).__name__} cannot be converted to a picture: {error}"
        ) from error
    array = _channels_last(array, is_tensor=hasattr(image, "detach"))
    if array.dtype.kind not in "buif":
        raise InvalidValueError(
            f"A picture must have integers from 0 to 255 or floats from 0 to 1, got an array of {array.dtype}."
        )
    return _as_bytes(numpy, array, report)


def _channels_last(array: Any, is_tensor: bool) -> Any:
    """Return the array as H×W or H×W×C. If both ends may be the channels, those of a torch tensor come first."""
    shape = array.shape
    if array.ndim == 4 and shape[0] == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[0] in _CHANNELS and (is_tensor or array.shape[2] not in _CHANNELS):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in _CHANNELS) or not array.size:
        batch = " Log the pictures of a batch one by one." if array.ndim == 4 else ""
        raise InvalidValueError(
            f"The shape of a picture must be H×W, H×W×C or C×H×W with C = 1, 3, 4, got {shape}.{batch}"
        )
    return array


def _as_bytes(numpy: Any, array: Any, report: Report) -> Any:
    if array.dtype.kind == "b":
        return array.astype("uint8") * 255
    if array.dtype == "uint8":
        return array
    wide = array.astype("float64")
    finite = wide[numpy.isfinite(wide)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    black, white = _range(array.dtype, low, high, report)
    scaled = numpy.nan_to_num((wide - black) / (white - black), nan=0.0, posinf=1.0, neginf=0.0)
    return (scaled.clip(0, 1) * 255 + 0.5).astype("uint8")


_FLOAT_RANGES: tuple[tuple[float, float, Callable[[float, float], bool]], ...] = (
    (0.0, 1.0, lambda low, high: True),
    (-1.0, 1.0, lambda low, high: low < -0.5),
    (0.0, 255.0, lambda low, high: high > 2),
)
"""The values that may mean black and white, and whether the smallest and largest value of a picture suit them."""


def _range(dtype: Any, low: float, high: float, report: Report) -> tuple[float, float]:
    """Return the values that are shown as black and as white."""
    if dtype.kind == "f":
        for black, white, plausible in _FLOAT_RANGES:
            if black - _ROUNDING <= low and high <= white + _ROUNDING and plausible(low, high):
                return black, white
    elif low >= 0 and high <= 255:
        return 0.0, 255.0
    elif dtype.kind == "u" and dtype.itemsize == 2 and high > 0x7FFF:
        return 0.0, 65535.0
    report(
        f"a picture of {dtype} has values from {low:g} to {high:g}: {low:g} is shown as black and {high:g} as white."
        " To choose the range, pass integers from 0 to 255 or floats from 0 to 1."
    )
    return low, high if high > low else low + 1
