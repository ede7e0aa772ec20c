"""What a `for` of the loop goes through, and how many samples a batch holds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from ..values.foreign import Failure, attempt

Item = TypeVar("Item")


class Pass(Generic[Item]):
    """Goes through the items, anew with each `for`; it is as long as they are.

    Args:
        begin: called where a `for` begins; it yields the items, and fires the hooks around them.
    """

    def __init__(self, begin: Callable[[Iterable[Item]], Iterator[Item]], items: Iterable[Item]) -> None:
        self._begin = begin
        self._items = items

    def __iter__(self) -> Iterator[Item]:
        return self._begin(self._items)

    def __len__(self) -> int:
        return len(self._items)  # type: ignore[arg-type] # raises where they have no length, as it should


def length(items: Iterable[Any]) -> int | None:
    """How many there are, where that is known."""
    found = attempt(len, items)
    return None if isinstance(found, Failure) else found


def samples(batch: Any) -> int:
    """How many samples a batch holds; 0 where that cannot be told.

    An array says so by its first dimension, and so does the first array among the fields of a tuple or mapping. Where
    there is none, the first list among them does: one of pictures of different sizes, or of texts.
    """
    fields = _fields(batch)
    for field in fields:
        size = _first_dimension(field) or (samples(field) if isinstance(field, Mapping) else 0)
        if size:
            return size
    return next((len(field) for field in fields if isinstance(field, (list, tuple))), 0)


def _fields(batch: Any) -> Collection[Any]:
    if isinstance(batch, (list, tuple)):
        return batch
    return batch.values() if isinstance(batch, Mapping) else (batch,)


def _first_dimension(array: Any) -> int:
    shape: Any = getattr(array, "shape", None)
    return int(shape[0]) if hasattr(shape, "__len__") and len(shape) else 0
