"""Convert hyper-parameters of any type to scalars that can be stored and compared."""

from __future__ import annotations

import enum
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ..errors import InvalidValueError, warn
from ..errors.foreign import Failure, attempt, is_a, plain_text, shown
from ..errors.secrets import is_secret_name, redact
from ..event import Scalar
from .fields import _DEEPEST, Entries, _entries, _fitting, _text_of_key, fields, flatten
from .numbers import number, to_host

_MOST_PARTS = 10_000
"""How many pieces the string of a container has at most."""
_MOST_NAMED = 5
"""How many names a message lists."""
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


# Parameters


def flat_params(values: Any, report: Callable[[str], None] = warn) -> dict[str, Scalar]:
    """Return hyper-parameters as they are recorded: names joined with `/`, scalars, secrets redacted.

    Args:
        values: An object with fields: see `fields`.
        report: Called with one message about all values that could not be read and are recorded as placeholders.

    Raises:
        InvalidValueError: `values` does not have fields.
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
    """Return the fields of an object that is passed as parameters.

    Raises:
        InvalidValueError: It does not have fields.
    """
    found = fields(values)
    if found is None:
        raise InvalidValueError(
            f"{what} must be a mapping, a dataclass, a namespace or an object of pydantic, attrs or msgspec, got"
            f" {shown(values)}. Pass vars(…) of other objects."
        )
    return [("…", found)] if isinstance(found, Failure) else found


def scalar(value: Any, failures: list[Failure] | None = None) -> Scalar:
    """Return the value if it is a scalar, and otherwise a string by which values can be compared.

    Integers beyond 64 bits become strings. The string of a container that is too large or too deep is cut with `…`.
    Values that cannot be read become placeholders.

    Args:
        value: A value of any type.
        failures: A list to which the errors of values that could not be read are added.
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
    if isinstance(found, Failure) and isinstance(value, Sequence):  # maybe of one item: read each by itself
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
