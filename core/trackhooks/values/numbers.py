"""Convert the numbers that users pass to floats.

A number may be a Python, NumPy, torch, JAX, Keras or TensorFlow scalar of any real dtype, or an array of one element.
Values on the CPU become floats at once. Values on an accelerator are copied there, without waiting for the device,
and become floats later, many in one transfer (`to_host`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

from ..errors import InvalidValueError, warn
from ..errors.foreign import Failure, attempt, described, is_a
from ..errors.secrets import is_secret_name
from .fields import flatten

# Numbers


class Snapshot:
    """A copy of a scalar on an accelerator, which later in-place changes do not affect."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor


def number(value: Any) -> float | Snapshot:
    """Return the value as a float, or as a `Snapshot` if it is on an accelerator.

    Raises:
        InvalidValueError: The value is not a real number, or has more than one element.
    """
    kind = type(value)
    if kind is float or kind is Snapshot:
        return value  # type: ignore[no-any-return]
    found = attempt(_converted, value)
    if isinstance(found, Failure):
        raise InvalidValueError(_why_refused(value)) from found.cause
    return found


def _converted(value: Any) -> float | Snapshot:
    if isinstance(value, (float, int)):
        return float(value)
    on_cpu = getattr(value, "is_cpu", None)  # a torch tensor knows
    if on_cpu:
        return _real(value.item())
    return _from_array(value) if on_cpu is None else _torch_snapshot(value)


def _real(found: Any) -> float:
    if type(found) is float:
        return found
    if isinstance(found, (float, int, Real, Decimal)):
        return float(found)
    raise TypeError


def _torch_snapshot(tensor: Any) -> Snapshot:
    if tensor.numel() != 1 or tensor.is_complex() or tensor.is_meta:
        raise TypeError
    return Snapshot(tensor.detach().clone())


def _from_array(value: Any) -> float | Snapshot:
    """Convert an array: NumPy and JAX have `item`, Keras variables have `value`, and TensorFlow has `numpy`."""
    if _on_jax_accelerator(value):
        return _jax_snapshot(value)
    item = getattr(value, "item", None)
    if item is not None:
        return _real(_unless_missing_or_date(value, item()))
    inner = getattr(value, "value", None)
    if hasattr(inner, "dtype"):
        return number(inner)
    to_numpy = getattr(value, "numpy", None)
    if to_numpy is not None:
        return number(to_numpy())
    if hasattr(value, "__float__"):
        return float(value)
    raise TypeError


def _unless_missing_or_date(value: Any, found: Any) -> Any:
    """Refuse the 0.0 that NumPy returns for `masked`, and the integers that it returns for dates and durations."""
    if getattr(value, "_mask", False) or (type(found) is int and getattr(value.dtype, "kind", "") in "mM"):
        raise TypeError
    return found


def _on_jax_accelerator(value: Any) -> bool:
    devices = getattr(value, "devices", None)
    return devices is not None and any(device.platform != "cpu" for device in devices())


def _jax_snapshot(array: Any) -> Snapshot:
    """Copy an array, because its memory is reused if it is donated to a later step."""
    if array.size != 1 or array.dtype.kind == "c":
        raise TypeError
    return Snapshot(array.copy())


def _why_refused(value: Any) -> str:
    shape = attempt(lambda: tuple(value.shape))
    if isinstance(shape, tuple) and attempt(lambda: any(size != 1 for size in shape)) is True:
        return f"of shape {shape}, not one number"
    if is_a(value, int):
        return f"an integer of {int.bit_length(value)} bits, too large for a float"
    return f"{described(value)}, not a number"


def split_numbers(values: Mapping[Any, Any]) -> tuple[dict[str, float | Snapshot], dict[str, str]]:
    """Return the numbers of a mapping, flattened, and for every other value its name and why it is not a number."""
    floats = floats_of_cpu(values)
    if floats is not None:
        return floats, {}
    accepted: dict[str, float | Snapshot] = {}
    refused: dict[str, str] = {}
    for name, value in flatten(values):
        if type(value) is Failure:
            refused[name] = f"not readable ({value.why})"
            continue
        try:
            accepted[name] = number(value)
        except InvalidValueError as error:
            refused[name] = "a secret, not a number" if is_secret_name(name) else str(error)
    return accepted, refused


def floats_of_cpu(values: Mapping[Any, Any]) -> dict[str, float | Snapshot] | None:
    """Return a plain dict of floats and torch tensors on the CPU, with plain names, as floats: the frequent case.

    Returns None if anything is different.
    """
    torch = sys.modules.get("torch")
    if torch is None or type(values) is not dict:
        return None
    tensor = torch.Tensor
    found: dict[str, float | Snapshot] = {}
    for name, value in values.items():
        if type(name) is not str or not name.isascii():
            return None
        if type(value) is float:
            found[name] = value
        elif type(value) is tensor and value.is_cpu:
            try:
                found[name] = float(value.item())
            except (RuntimeError, TypeError):  # it has several elements, or no memory, or is complex
                return None
        else:
            return None
    return found


def to_host(snapshots: Iterable[Snapshot]) -> list[float]:
    """Return the snapshots as floats, in order, with one transfer per device.

    A value that cannot be read from its device becomes NaN, with a warning.
    """
    tensors = [snapshot.tensor for snapshot in snapshots]
    floats = [math.nan] * len(tensors)
    by_device: dict[str, list[int]] = {}
    for position, tensor in enumerate(tensors):
        device = str(tensor.device) if hasattr(tensor, "detach") else "jax"
        by_device.setdefault(device, []).append(position)
    for device, positions in by_device.items():
        found = _fetch([tensors[position] for position in positions], device)
        for position, value in zip(positions, found, strict=True):
            floats[position] = value
    return floats


def _fetch(tensors: list[Any], device: str) -> list[float]:
    found = attempt(_from_jax if device == "jax" else _from_torch, tensors)
    if isinstance(found, Failure):  # of one of them, or of putting them together
        return [_fetch_one(tensor, device) for tensor in tensors]
    return found


def _fetch_one(tensor: Any, device: str) -> float:
    found = attempt(lambda: float(tensor.item()))
    if isinstance(found, Failure):
        warn(f"a value on {device} could not be read: {found.why}. It is recorded as NaN.")
        return math.nan
    return found


def _from_torch(tensors: list[Any]) -> list[float]:
    """Transfer the raw bytes, so that all dtypes come in one transfer and without conversion."""
    torch = sys.modules["torch"]
    raw = torch.cat([tensor.reshape(1).view(torch.uint8) for tensor in tensors]).cpu()
    parts = raw.split([tensor.element_size() for tensor in tensors])
    return [float(part.clone().view(tensor.dtype)) for part, tensor in zip(parts, tensors, strict=True)]


def _from_jax(arrays: list[Any]) -> list[float]:
    return [float(array.item()) for array in sys.modules["jax"].device_get(arrays)]
