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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from numbers import Real
from types import SimpleNamespace
from typing import Any

from .errors import InvalidValueError, warn
from .event import Scalar
from .foreign import Failure, attempt, described, is_a, items, plain_text, shown
from .redaction import is_secret_name, redact

_DEEPEST = 20
"""Levels of nesting that are followed."""
_MOST_PARTS = 10_000
"""Pieces that the text of a container is made of, at most."""
_MOST_LEAVES = 100_000
"""Values that are taken from one object, at most: a mapping may never end."""
_MOST_NAMED = 5
"""Names that a message lists."""
_HUGE_BITS = 1024
"""The digits of a larger integer are not written out."""

_PLAIN = frozenset({float, int, bool, str, type(None), Failure})
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


def numbers(values: Mapping[Any, Any]) -> tuple[dict[str, float | Snapshot], dict[str, str]]:
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


# Names


def flatten(values: Any) -> Iterator[tuple[str, Any]]:
    """The leaves of what has fields, their names joined with `/`; empty ones have none, and the last of a name counts.

    What contains itself is a leaf where it does so. What cannot be read is a `Failure`.
    """
    leaves = _flatten(_entries(values), "", (values,))
    yield from islice(leaves, _MOST_LEAVES)
    if next(leaves, None) is not None:
        yield "…", Failure(OverflowError(f"more than {_MOST_LEAVES} values"))


def _entries(values: Any) -> Entries:
    found = fields(values)
    return [("…", found)] if isinstance(found, Failure) else found or []


def _flatten(entries: Entries, prefix: str, around: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    for key, value in entries:
        name = attempt(_text_of_key, key)
        if isinstance(name, Failure):
            yield prefix + name.placeholder, name
            continue
        inner = None if type(value) in _PLAIN else fields(value)
        if inner is None or len(around) > _DEEPEST or any(value is outer for outer in around):
            yield prefix + name, value
        elif isinstance(inner, Failure):
            yield prefix + name, inner
        else:
            yield from _flatten(inner, f"{prefix}{name}/", (*around, value))


def _text_of_key(key: Any) -> str:
    if isinstance(key, str):
        return plain_text(key)
    return plain_text(str(_fitting(key) if type(key) is int else key))


# What has fields

Entries = list[tuple[Any, Any]]
"""Keys and values."""


def fields(value: Any) -> Entries | Failure | None:
    """The fields of a mapping, a namespace, a dataclass, or an object of pydantic, attrs or msgspec; None of others.

    Fields that their class hides (`repr=False`, in pydantic `exclude=True`) are left out. A field that cannot be read
    is a `Failure`.
    """
    read = attempt(_reader_of, type(value))
    if read is None or isinstance(read, Failure):
        return None
    return attempt(read, value)


@functools.lru_cache(maxsize=256)
def _reader_of(kind: type) -> Callable[[Any], Entries] | None:
    if issubclass(kind, Mapping):
        return _of_mapping
    if issubclass(kind, _namespaces()):
        return lambda value: list(vars(value).items())
    names = _names_of_fields(kind)
    return None if names is None else functools.partial(_of_object, names)


def _namespaces() -> tuple[type, ...]:
    argparse = sys.modules.get("argparse")
    return (SimpleNamespace, argparse.Namespace) if argparse else (SimpleNamespace,)


def _names_of_fields(kind: Any) -> list[str] | None:
    if hasattr(kind, "__dataclass_fields__"):
        import dataclasses

        return [field.name for field in dataclasses.fields(kind) if field.repr]
    if hasattr(kind, "__pydantic_fields__"):
        return [name for name, field in kind.__pydantic_fields__.items() if field.repr and not field.exclude]
    if hasattr(kind, "__attrs_attrs__"):
        return [field.name for field in kind.__attrs_attrs__ if field.repr]
    if hasattr(kind, "__struct_fields__"):
        return list(kind.__struct_fields__)
    return None


def _of_object(names: list[str], value: Any) -> Entries:
    found = [(name, attempt(getattr, value, name)) for name in names]
    extra = attempt(lambda: list(value.__pydantic_extra__.items()))
    return [(name, item) for name, item in found if not _is_missing(item)] + (
        extra if isinstance(extra, list) else []
    )


def _is_missing(item: Any) -> bool:
    return isinstance(item, Failure) and isinstance(item.error, AttributeError)


def _of_mapping(mapping: Mapping[Any, Any]) -> Entries:
    found = items(mapping, _MOST_LEAVES + 1)
    if isinstance(found, Failure):
        raise found.error
    return found


# Parameters


def params(values: Any, report: Callable[[str], None] = warn) -> dict[str, Scalar]:
    """Hyper-parameters as they are recorded: flattened with `/`, each one a scalar, secrets redacted.

    Args:
        values: whatever has `fields`.
        report: gets one message about all that could not be read, for which a placeholder is recorded.

    Raises:
        InvalidValueError: it has no fields.
    """
    checked_fields("parameters", values)
    flat: dict[str, Scalar] = {}
    unread: dict[str, Failure] = {}
    for name, value in flatten(values):
        failures: list[Failure] = []
        flat[name] = redact(name, scalar(value, failures))
        if failures:
            unread[name] = failures[0]
    if unread:
        report(_about_unread(unread))
    return flat


def _about_unread(unread: Mapping[str, Failure]) -> str:
    names = [repr(redact("", name)) for name in islice(unread, _MOST_NAMED)]
    more = f" and {len(unread) - _MOST_NAMED} more" if len(unread) > _MOST_NAMED else ""
    name, failure = next(iter(unread.items()))
    why = failure.placeholder if is_secret_name(name) else failure.why
    return f"params {', '.join(names)}{more} could not be read: {why}. The others are kept."


def checked_fields(what: str, values: Any) -> Entries:
    """The fields of what is passed as parameters.

    Raises:
        InvalidValueError: it has none.
    """
    found = fields(values)
    if found is None:
        raise InvalidValueError(
            f"{what} must be a mapping, a dataclass, a namespace or an object of pydantic, attrs or msgspec, got"
            f" {shown(values)}. Pass vars(…) of other objects."
        )
    return [("…", found)] if isinstance(found, Failure) else found


def scalar(value: Any, failures: list[Failure] | None = None) -> Scalar:
    """The value itself where it is a scalar; else what a person would compare it by.

    An integer beyond 64 bits becomes a text. A container's text ends with `…` where it is too large or too deep.
    What cannot be read becomes a placeholder.

    Args:
        value: anything.
        failures: gets what could not be read.
    """
    failures = [] if failures is None else failures
    found = value if type(value) is Failure else attempt(_scalar, value, failures)
    if isinstance(found, Failure):
        failures.append(found)
        return found.placeholder
    return found


def _scalar(value: Any, failures: list[Failure]) -> Scalar:
    if value is None or type(value) is bool or type(value) is float:
        return value
    if isinstance(value, enum.Enum):
        return scalar(value.value, failures) if isinstance(value.value, (str, int, float)) else value.name
    if isinstance(value, (str, os.PathLike)):
        return plain_text(value if isinstance(value, str) else os.fsdecode(value))
    if isinstance(value, int):
        return _fitting(value)
    if isinstance(value, _containers()):
        return _container(value, failures)
    return _object(value)


def _fitting(value: int) -> int | str:
    plain = int.__int__(value)  # of a subclass, the integer itself
    if -(2**63) <= plain < 2**64:
        return plain
    return str(plain) if plain.bit_length() <= _HUGE_BITS else f"an integer of {plain.bit_length()} bits"


def _containers() -> tuple[type, ...]:
    omegaconf: Any = sys.modules.get("omegaconf")
    lists = (omegaconf.ListConfig,) if hasattr(omegaconf, "ListConfig") else ()
    return (list, tuple, set, frozenset, Mapping, *lists)


def _container(value: Any, failures: list[Failure]) -> str:
    parts = _parts(value, _DEEPEST, failures)
    text = "".join(islice(parts, _MOST_PARTS))
    return text if next(parts, None) is None else f"{text}…"


def _parts(value: Any, levels: int, failures: list[Failure]) -> Iterator[str]:
    if type(value) is Failure or not is_a(value, _containers()):
        yield repr(scalar(value, failures))
    elif not levels:
        yield "…"
    elif isinstance(value, Mapping):
        yield from _parts_of_mapping(value, levels, failures)
    else:
        yield "["
        for position, item in enumerate(_items(value)):
            yield ", " * bool(position)
            yield from _parts(item, levels - 1, failures)
        yield "]"


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=_order)
    found = attempt(lambda: list(islice(value, _MOST_PARTS)))
    if isinstance(found, Failure) and isinstance(
        value, Sequence
    ):  # one of them, perhaps: each is read by itself
        return (attempt(value.__getitem__, position) for position in range(len(value)))
    return [found] if isinstance(found, Failure) else found


def _order(item: Any) -> str:
    found = attempt(repr, item)
    return found if isinstance(found, str) else ""


def _parts_of_mapping(value: Mapping[Any, Any], levels: int, failures: list[Failure]) -> Iterator[str]:
    yield "{"
    for position, (key, item) in enumerate(_entries(value)):
        found = attempt(_text_of_key, key)
        name = found.placeholder if isinstance(found, Failure) else found
        yield f"{', ' * bool(position)}{name!r}: "
        if is_secret_name(name):
            yield repr(redact(name, scalar(item, failures)))
        else:
            yield from _parts(item, levels - 1, failures)
    yield "}"


def _object(value: Any) -> Scalar:
    found = attempt(number, value)
    if isinstance(found, Failure):
        return plain_text(_described(value))
    real = found if isinstance(found, float) else to_host([found])[0]
    dtype = str(attempt(getattr, value, "dtype", None))
    if "bool" in dtype:
        return bool(real)
    if "int" in dtype:
        return _fitting(int(value.item() if hasattr(value, "item") else real))
    return real


def _described(value: Any) -> str:
    name = attempt(getattr, value, "__qualname__", None)
    if isinstance(name, str):  # a class or a function
        return _qualified(attempt(getattr, value, "__module__", None), name)
    kind: Any = type(value)
    if kind.__str__ is object.__str__ and kind.__repr__ is object.__repr__:
        return _qualified(kind.__module__, kind.__qualname__)
    text = attempt(str, value)
    return _ADDRESS.sub("", text) if isinstance(text, str) else _qualified(kind.__module__, kind.__qualname__)


def _qualified(module: Any, name: str) -> str:
    return name if not isinstance(module, str) or module == "builtins" else f"{module}.{name}"
