"""`WeakIdentityDict`: a mapping from objects to values that does not keep the objects alive."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class WeakIdentityDict(Generic[Value]):
    """A mapping from objects to values that neither compares nor hashes the objects, and does not keep them alive.

    `weakref.WeakKeyDictionary` calls the `__hash__` and `__eq__` of an object, which a user's model may not have, or
    may define differently. An object that cannot be referenced weakly is kept alive.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[Callable[[], Any], Value]] = {}

    def __setitem__(self, key: Any, value: Value) -> None:
        self._entries[id(key)] = self._reference(key), value

    def _reference(self, key: Any) -> Callable[[], Any]:
        identity, entries = id(key), self._entries

        def forget(gone: object) -> None:
            if identity in entries and entries[identity][0] is gone:
                del entries[identity]

        try:
            return weakref.ref(key, forget)
        except TypeError:
            return lambda: key

    def get(self, key: Any) -> Value | None:
        """Return the value of an object, or None."""
        found = self._entries.get(id(key))
        return found[1] if found is not None and found[0]() is key else None

    def setdefault(self, key: Any, default: Value) -> Value:
        """Return the value of an object. If it does not have one, that becomes `default`."""
        found = self.get(key)
        if found is None:
            self[key] = found = default
        return found

    def __delitem__(self, key: Any) -> None:
        del self._entries[id(key)]

    def items(self) -> Iterator[tuple[Any, Value]]:
        """Iterate over the objects that still exist, with their values."""
        for reference, value in list(self._entries.values()):
            key = reference()
            if key is not None:
                yield key, value

    def values(self) -> list[Value]:
        """Return the values of the objects that still exist."""
        return [value for _, value in self.items()]

    def __len__(self) -> int:
        return sum(1 for _ in self.items())
