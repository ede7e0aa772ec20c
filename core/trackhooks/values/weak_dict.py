"""`WeakIdentityDict`: what is known about objects, for as long as they exist."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


class WeakIdentityDict(Generic[Value]):
    """A mapping from objects to values that neither compares nor hashes the objects, and does not keep them alive.

    `weakref.WeakKeyDictionary` calls an object's own `__hash__` and `__eq__`, which a user's model may not have, or
    may mean otherwise. An object that cannot be referenced weakly is kept alive.
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
        """The object's value; None if it has none."""
        found = self._entries.get(id(key))
        return found[1] if found is not None and found[0]() is key else None

    def setdefault(self, key: Any, default: Value) -> Value:
        """The object's value, which becomes `default` if it has none."""
        found = self.get(key)
        if found is None:
            self[key] = found = default
        return found

    def __delitem__(self, key: Any) -> None:
        del self._entries[id(key)]

    def items(self) -> Iterator[tuple[Any, Value]]:
        """The objects that still exist, each with its value."""
        for reference, value in list(self._entries.values()):
            key = reference()
            if key is not None:
                yield key, value

    def values(self) -> list[Value]:
        """The values of the objects that still exist."""
        return [value for _, value in self.items()]

    def __len__(self) -> int:
        return sum(1 for _ in self.items())
