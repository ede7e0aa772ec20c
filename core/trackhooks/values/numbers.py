"""From what users pass to names, numbers and safe parameters.

A number may be a Python, NumPy, torch, JAX, Keras or TensorFlow scalar of any real dtype, 0-d or of one element.
What lies on the CPU becomes a float at once. What lies on an accelerator is snapshotted there, without waiting for
the device, and becomes a float later, many in one transfer (`to_host`).

A parameter may be anything. What has fields (a mapping, a dataclass, an `argparse.Namespace`) is flattened; what is
no scalar becomes a text that people compare by.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from decimal import Decimal
from numbers import Real
from typing import Any

from ..errors import InvalidValueError, warn
from .fields import flatten
from .foreign import Failure, attempt, described, is_a

# Numbers


class Snapshot:
    """A scalar on an accelerator, as it was when it was passed: later in-place changes do not reach it."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor


def number(value: Any) -> float | Snapshot:
    """The value as a float, or as a `Snapshot` where it lies on an accelerator.

    Raises:
        InvalidValueError: the value is no real number, or has more than one element.
    """
    kind = type(value)
    if kind is float or kind is Snapshot:
        return value  # type: ignore[no-any-return]
    found = attempt(_converted, value)
    if isinstance(found, Failure):
        raise InvalidValueError(_why_refused(value)) from found.error
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
    """NumPy and JAX have `item`; a Keras variable holds its tensor in `value`; TensorFlow has `numpy`."""
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
    """NumPy gives 0.0 for its `masked`, and an int for dates and durations in nanoseconds."""
    if getattr(value, "_mask", False) or (type(found) is int and getattr(value.dtype, "kind", "") in "mM"):
        raise TypeError
    return found


def _on_jax_accelerator(value: Any) -> bool:
    devices = getattr(value, "devices", None)
    return devices is not None and any(device.platform != "cpu" for device in devices())


def _jax_snapshot(array: Any) -> Snapshot:
    """A copy: an array does not change, but its memory is gone when it is donated to a later step."""
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
    """The numbers among the values, nested mappings flattened, and for what is none: name → why."""
    accepted: dict[str, float | Snapshot] = {}
    refused: dict[str, str] = {}
    for name, value in flatten(values):
        if type(value) is Failure:
            refused[name] = f"not readable ({value.why})"
            continue
        try:
            accepted[name] = number(value)
        except InvalidValueError as error:
            refused[name] = str(error)
    return accepted, refused


def to_host(snapshots: Iterable[Snapshot]) -> list[float]:
    """The snapshots as floats, in order, with one transfer for each device that they lie on.

    What a device refuses to give is NaN, with a warning.
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
    if isinstance(found, Failure):  # one of them, or a device that cannot put them together
        return [_fetch_one(tensor, device) for tensor in tensors]
    return found


def _fetch_one(tensor: Any, device: str) -> float:
    found = attempt(lambda: float(tensor.item()))
    if isinstance(found, Failure):
        warn(f"a value on {device} could not be read: {found.why}. It is recorded as NaN.")
        return math.nan
    return found


def _from_torch(tensors: list[Any]) -> list[float]:
    """As raw bytes, so that one transfer serves all dtypes without converting any."""
    torch = sys.modules["torch"]
    raw = torch.cat([tensor.reshape(1).view(torch.uint8) for tensor in tensors]).cpu()
    parts = raw.split([tensor.element_size() for tensor in tensors])
    return [float(part.clone().view(tensor.dtype)) for part, tensor in zip(parts, tensors, strict=True)]


def _from_jax(arrays: list[Any]) -> list[float]:
    return [float(array.item()) for array in sys.modules["jax"].device_get(arrays)]
