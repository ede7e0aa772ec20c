"""Flatten mappings, dataclasses and namespaces to names joined with `/`."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from types import SimpleNamespace
from typing import Any

from ..errors.foreign import Failure, attempt, items, plain_text

_DEEPEST = 20
"""How many levels of nesting are flattened."""
_MOST_LEAVES = 100_000
"""How many values are taken from one object at most: a mapping may never end."""
_HUGE_BITS = 1024
"""The digits of a larger integer are not written out."""

_PLAIN = frozenset({float, int, bool, str, type(None), Failure})


# Names


def flatten(values: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values of all nested mappings, with their names joined with `/`.

    A name may occur twice: then the last value counts. An object that contains itself is a value there, and a value
    that cannot be read is a `Failure`.
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


# Objects with fields

Entries = list[tuple[Any, Any]]
"""Keys and values."""


def fields(value: Any) -> Entries | Failure | None:
    """Return the fields of a mapping, namespace, dataclass, or object of pydantic, attrs or msgspec; None for others.

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


def _fitting(value: int) -> int | str:
    plain = int.__int__(value)  # of a subclass, the integer itself
    if -(2**63) <= plain < 2**64:
        return plain
    return str(plain) if plain.bit_length() <= _HUGE_BITS else f"an integer of {plain.bit_length()} bits"
