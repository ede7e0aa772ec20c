"""From what users pass to names, numbers and safe parameters.

A number may be a Python, NumPy, torch, JAX, Keras or TensorFlow scalar of any real dtype, 0-d or of one element.
What lies on the CPU becomes a float at once. What lies on an accelerator is snapshotted there, without waiting for
the device, and becomes a float later, many in one transfer (`to_host`).

A parameter may be anything. What has fields (a mapping, a dataclass, an `argparse.Namespace`) is flattened; what is
no scalar becomes a text that people compare by.
"""

from __future__ import annotations

import enum
import functools
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from itertools import islice
from numbers import Real
from types import SimpleNamespace
from typing import Any

from .errors import InvalidValueError, warn
from .event import Scalar
from .lookups import attempt
from .redaction import is_secret_name, redact, redact_text

_SHOWN = 60
"""Characters of a value that a message shows."""
_DEEPEST = 20
"""Levels of nesting that are followed."""
_MOST_PARTS = 10_000
"""Pieces that the text of a container is made of, at most."""
_HUGE_BITS = 1024
"""The digits of a larger integer are not written out."""

# What torch and JAX raise for what a device cannot give.
_FAILURES = (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)

_PLAIN = frozenset({float, int, bool, str, type(None)})
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


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
    if kind is int or kind is bool:
        return _float(value)
    found, error = attempt(_converted, value)
    if error is not None:
        raise _refused(value) from error
    return found  # type: ignore[return-value] # it is what was converted


def _float(value: int) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise _refused(value) from error


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


def _refused(value: Any) -> InvalidValueError:
    shape = _attribute(value, "shape")
    if isinstance(shape, tuple) and any(size != 1 for size in shape):
        return InvalidValueError(f"of shape {tuple(shape)}, not one number")
    if isinstance(value, int):
        return InvalidValueError(f"an integer of {value.bit_length()} bits, too large for a float")
    return InvalidValueError(f"{_shown(value)}, not a number")


def _attribute(value: Any, name: str) -> Any:
    return attempt(getattr, value, name, None)[0]  # of a tensor that has no memory yet


def _shown(value: Any) -> str:
    """What a message shows: no more of a foreign object than its type, since its text may be long or slow."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if not isinstance(value, (str, bytes)):
        dtype = _attribute(value, "dtype")
        return f"a value of type {type(value).__name__}" + (
            f" and dtype {dtype}" if dtype is not None else ""
        )
    text = redact_text(repr(value[: 4 * _SHOWN]))
    shown = text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
    return f"{shown} ({type(value).__name__})"


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
    try:
        return _from_jax(tensors) if device == "jax" else _from_torch(tensors)
    except _FAILURES:  # one of them, or a device that cannot put them together
        return [_fetch_one(tensor, device) for tensor in tensors]


def _fetch_one(tensor: Any, device: str) -> float:
    try:
        return float(tensor.item())
    except _FAILURES as error:
        warn(f"a value on {device} could not be read: {_first_line(error)}. It is recorded as NaN.")
        return math.nan


def _from_torch(tensors: list[Any]) -> list[float]:
    """As raw bytes, so that one transfer serves all dtypes without converting any."""
    torch = sys.modules["torch"]
    raw = torch.cat([tensor.reshape(1).view(torch.uint8) for tensor in tensors]).cpu()
    parts = raw.split([tensor.element_size() for tensor in tensors])
    return [float(part.clone().view(tensor.dtype)) for part, tensor in zip(parts, tensors, strict=True)]


def _from_jax(arrays: list[Any]) -> list[float]:
    return [float(array.item()) for array in sys.modules["jax"].device_get(arrays)]


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


# Names


def flatten(values: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    """The leaves of what has fields, their names joined with `/`; empty ones have none, and the last of a name counts.

    What contains itself is a leaf where it does so.
    """
    return _flatten(values, "", (values,))


def _flatten(values: Mapping[Any, Any], prefix: str, around: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = prefix + _text_of_key(key)
        inner = None if type(value) in _PLAIN else fields(value)
        if inner is None or len(around) > _DEEPEST or any(value is outer for outer in around):
            yield name, value
        else:
            yield from _flatten(inner, f"{name}/", (*around, value))


def _text_of_key(key: Any) -> str:
    if type(key) is str and key.isascii():
        return key
    return _storable(str.__str__(key) if isinstance(key, str) else str(key))


def _storable(text: str) -> str:
    """Half a surrogate pair, from undecodable paths or cut texts, is written as its escape: UTF-8 has none."""
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def fields(value: Any) -> Mapping[Any, Any] | None:
    """The fields of a mapping, dataclass, `argparse.Namespace` or `SimpleNamespace`; None of anything else.

    A dataclass' fields with `repr=False` are left out, since their class asks for it.
    """
    kind: type = type(value)
    if not _has_fields(kind):
        return None
    if isinstance(value, Mapping):
        return value
    if not hasattr(value, "__dataclass_fields__"):
        return dict(vars(value))
    import dataclasses

    shown = [field.name for field in dataclasses.fields(value) if field.repr]
    return {name: getattr(value, name) for name in shown if hasattr(value, name)}


@functools.lru_cache(maxsize=256)
def _has_fields(kind: type) -> bool:
    argparse = sys.modules.get("argparse")
    namespaces = (SimpleNamespace, argparse.Namespace) if argparse else (SimpleNamespace,)
    return issubclass(kind, (Mapping, *namespaces)) or hasattr(kind, "__dataclass_fields__")


# Parameters


def params(values: Any) -> dict[str, Scalar]:
    """Hyper-parameters as they are recorded: flattened with `/`, each one a scalar, secrets redacted.

    Args:
        values: a mapping, a dataclass, an `argparse.Namespace` or a `SimpleNamespace`.

    Raises:
        InvalidValueError: it is none of these.
    """
    found = fields(values)
    if found is None:
        raise InvalidValueError(
            f"parameters are {_shown(values)}; a mapping, a dataclass or an argparse.Namespace is needed."
        )
    flat = {name: scalar(value) for name, value in flatten(found)}
    return {name: redact(name, value) for name, value in flat.items()}


def scalar(value: Any) -> Scalar:
    """The value itself where it is a scalar; else what a person would compare it by.

    An integer beyond 64 bits becomes a text. A container's text ends with `…` where it is too large or too deep.
    """
    if value is None or isinstance(value, bool) or type(value) is float:
        return value
    if isinstance(value, enum.Enum):
        return scalar(value.value) if isinstance(value.value, (str, int, float)) else value.name
    if isinstance(value, (str, os.PathLike)):
        return _storable(str.__str__(value) if isinstance(value, str) else os.fsdecode(value))
    if isinstance(value, int):
        return _fitting(value)
    if isinstance(value, (list, tuple, set, frozenset, Mapping)):
        return _container(value)
    return _object(value)


def _fitting(value: int) -> int | str:
    if -(2**63) <= value < 2**64:
        return int(value)
    return str(int(value)) if value.bit_length() <= _HUGE_BITS else f"an integer of {value.bit_length()} bits"


def _container(value: Any) -> str:
    parts = _parts(value, _DEEPEST)
    text = "".join(islice(parts, _MOST_PARTS))
    return text if next(parts, None) is None else f"{text}…"


def _parts(value: Any, levels: int) -> Iterator[str]:
    if not isinstance(value, (list, tuple, set, frozenset, Mapping)):
        yield repr(scalar(value))
    elif not levels:
        yield "…"
    elif isinstance(value, Mapping):
        yield from _parts_of_mapping(value, levels)
    else:
        yield "["
        items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        for position, item in enumerate(items):
            yield ", " * bool(position)
            yield from _parts(item, levels - 1)
        yield "]"


def _parts_of_mapping(value: Mapping[Any, Any], levels: int) -> Iterator[str]:
    yield "{"
    for position, (key, item) in enumerate(value.items()):
        name = _text_of_key(key)
        yield f"{', ' * bool(position)}{name!r}: "
        if is_secret_name(name):
            yield repr(redact(name, scalar(item)))
        else:
            yield from _parts(item, levels - 1)
    yield "}"


def _object(value: Any) -> Scalar:
    try:
        found = number(value)
    except InvalidValueError:
        return _storable(_described(value))
    real = found if isinstance(found, float) else to_host([found])[0]
    dtype = str(_attribute(value, "dtype") or "")
    if "bool" in dtype:
        return bool(real)
    if "int" in dtype:
        return _fitting(int(value.item() if hasattr(value, "item") else real))
    return real


def _described(value: Any) -> str:
    name = _attribute(value, "__qualname__")
    if isinstance(name, str):  # a class or a function
        return _qualified(_attribute(value, "__module__"), name)
    kind: Any = type(value)
    if kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
        return _qualified(kind.__module__, kind.__qualname__)
    text, error = attempt(str, value)
    return _qualified(kind.__module__, kind.__qualname__) if error or text is None else _ADDRESS.sub("", text)


def _qualified(module: str | None, name: str) -> str:
    return name if module in (None, "builtins") else f"{module}.{name}"
