"""The iterables that a custom loop returns, and the number of samples in a batch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from ..errors.foreign import attempt

Item = TypeVar("Item")


class Pass(Generic[Item]):
    """An iterable that begins again with each `for`, and has the length of the items.

    Args:
        begin: called at the start of each `for`; yields the items, and fires the hooks around them.
        items: what to iterate over.
    """

    def __init__(self, begin: Callable[[Iterable[Item]], Iterator[Item]], items: Iterable[Item]) -> None:
        self._begin = begin
        self._items = items

    def __iter__(self) -> Iterator[Item]:
        return self._begin(self._items)

    def __len__(self) -> int:
        return len(self._items)  # type: ignore[arg-type] # raises if they have no length, as it should


def length(items: Iterable[Any]) -> int | None:
    """Return the number of items, or None if it is not known."""
    found = attempt(len, items)
    return found if isinstance(found, int) else None


def samples(batch: Any) -> int:
    """Return the number of samples in a batch, or 0 if it is not known.

    It is the first dimension of an array, or of the first array in a tuple or mapping. Without an array, it is the
    length of the first list in it, such as a list of images of different sizes, or of strings.
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


def known_types(batch: Any) -> tuple[Any, Any]:
    """Return the types of a batch and of its first item, if the size of such batches is `batch[0].shape[0]`.

    That is so for a list or tuple that begins with an array or tensor, of which reading raises nothing but IndexError.
    Otherwise both are None.
    """
    if type(batch) not in (list, tuple) or not batch or not _is_plain_array(batch[0]):
        return None, None
    return type(batch), type(batch[0])


def _is_plain_array(value: Any) -> bool:
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    kinds = (getattr(torch, "Tensor", None), getattr(numpy, "ndarray", None))
    return any(type(value) is kind for kind in kinds)
