"""From what users pass to names, numbers and safe parameters.

A number may be a Python, NumPy, torch, JAX, Keras or TensorFlow scalar of any real dtype, 0-d or of one element.
What lies on the CPU becomes a float at once. What lies on an accelerator is snapshotted there, without waiting for
the device, and becomes a float later, many in one transfer (`to_host`).
"""

from __future__ import annotations

import enum
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from os import PathLike, fspath
from typing import Any

from .errors import InvalidValueError
from .event import Scalar
from .redaction import redact

_TEXT_IN_MESSAGES = 60


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
    if kind is float:
        return value  # type: ignore[no-any-return]
    if kind is int or kind is bool or isinstance(value, (float, int, Decimal)):
        return _as_float(value)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _from_torch(value)
    if isinstance(value, (str, bytes)) or value is None:
        raise _refused(value)
    if _on_jax_accelerator(value):
        return Snapshot(value)
    return _from_array(value)


def _as_float(value: Any) -> float:
    try:
        return float(value)
    except (OverflowError, ValueError, TypeError) as error:
        raise _refused(value) from error


def _from_torch(tensor: Any) -> float | Snapshot:
    if tensor.numel() != 1 or tensor.is_complex() or tensor.device.type == "meta":
        raise _refused(tensor)
    if tensor.device.type == "cpu":
        return float(tensor.item())
    return Snapshot(tensor.detach().clone())


def _on_jax_accelerator(value: Any) -> bool:
    jax = sys.modules.get("jax")
    if jax is None or not isinstance(value, jax.Array) or value.size != 1:
        return False
    return any(device.platform != "cpu" for device in value.devices())


def _from_array(value: Any) -> float | Snapshot:
    """NumPy, JAX and TensorFlow have `item` or `numpy`; a Keras variable holds its tensor in `value`."""
    for name in ("item", "numpy"):
        method = getattr(value, name, None)
        if callable(method):
            try:
                scalar = method()
            except (TypeError, ValueError, RuntimeError) as error:
                raise _refused(value) from error
            return number(scalar) if name == "numpy" else _real(scalar, value)
    inner = getattr(value, "value", None)
    if inner is not None and not callable(inner) and hasattr(inner, "dtype"):
        return number(inner)
    if hasattr(value, "__float__"):
        return _as_float(value)
    raise _refused(value)


def _real(scalar: Any, value: Any) -> float:
    if isinstance(scalar, (float, int, Decimal)):
        return _as_float(scalar)
    raise _refused(value)


def _refused(value: Any) -> InvalidValueError:
    shape = getattr(value, "shape", None)
    if shape is not None and math.prod(shape) != 1:
        return InvalidValueError(f"of shape {tuple(shape)}, not one number")
    text = repr(value)
    shown = text if len(text) <= _TEXT_IN_MESSAGES else text[:_TEXT_IN_MESSAGES] + "…"
    return InvalidValueError(f"{shown} ({type(value).__name__}), not a number")


def flatten(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, their names joined with `/`; an empty mapping has none."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}/")
        else:
            yield name, value


def numbers(values: Mapping[Any, Any]) -> tuple[dict[str, float | Snapshot], dict[str, str]]:
    """The numbers among the values, nested mappings flattened, and for what is none: name → why."""
    accepted: dict[str, float | Snapshot] = {}
    refused: dict[str, str] = {}
    for name, value in flatten(values):
        try:
            accepted[name] = number(value)
        except InvalidValueError as error:
            refused[name] = str(error)
    return accepted, refused


def to_host(snapshots: Iterable[Snapshot]) -> list[float]:
    """The snapshots as floats, in order, with one transfer for each device that they lie on."""
    tensors = [snapshot.tensor for snapshot in snapshots]
    floats = [math.nan] * len(tensors)
    by_device: dict[str, list[int]] = {}
    for position, tensor in enumerate(tensors):
        device = str(tensor.device) if hasattr(tensor, "detach") else "jax"
        by_device.setdefault(device, []).append(position)
    for device, positions in by_device.items():
        transfer = _jax_to_host if device == "jax" else _torch_to_host
        for position, value in zip(positions, transfer([tensors[i] for i in positions]), strict=True):
            floats[position] = value
    return floats


def _torch_to_host(tensors: list[Any]) -> list[float]:
    torch = sys.modules["torch"]
    wide = torch.float32 if tensors[0].device.type == "mps" else torch.float64  # MPS has no float64
    return torch.stack([tensor.reshape(()).to(wide) for tensor in tensors]).tolist()  # type: ignore[no-any-return]


def _jax_to_host(arrays: list[Any]) -> list[float]:
    return [float(array.item()) for array in sys.modules["jax"].device_get(arrays)]


def params(values: Mapping[Any, Any]) -> dict[str, Scalar]:
    """Hyper-parameters as they are recorded: flattened with `/`, each one a scalar, secrets redacted."""
    flat = {name: scalar(value) for name, value in flatten(values)}
    return {name: redact(name, value) for name, value in flat.items()}  # type: ignore[misc]


def scalar(value: Any) -> Scalar:
    """The value itself where it is a scalar; else what a person would compare it by."""
    if value is None or type(value) in (str, int, float, bool):
        return value  # type: ignore[no-any-return]
    if isinstance(value, enum.Enum):
        return scalar(value.value) if isinstance(value.value, (str, int, float)) else value.name
    if isinstance(value, (str, PathLike)):
        text = fspath(value)
        return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
    if isinstance(value, (bool, int, float, Decimal)):
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, (list, tuple, set, frozenset)):
        items = (
            sorted(map(repr, map(scalar, value)))
            if isinstance(value, (set, frozenset))
            else [repr(scalar(item)) for item in value]
        )
        return f"[{', '.join(items)}]"
    return _other_scalar(value)


def _other_scalar(value: Any) -> Scalar:
    try:
        found = number(value)
        if isinstance(found, Snapshot):
            return to_host([found])[0]
    except InvalidValueError:
        pass
    else:
        return int(found) if _is_integral(value) and math.isfinite(found) else found
    name = getattr(value, "__qualname__", None)
    if name is not None:
        return f"{getattr(value, '__module__', '')}.{name}".lstrip(".")
    text = repr(value)
    return text if " at 0x" not in text else f"{type(value).__module__}.{type(value).__qualname__}"


def _is_integral(value: Any) -> bool:
    return "int" in str(getattr(value, "dtype", ""))
