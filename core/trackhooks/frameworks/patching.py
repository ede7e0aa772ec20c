"""`Patches`: methods of a framework's classes that are replaced while someone needs it, and then put back."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from types import CellType
from typing import Any

Around = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""Called instead of a method: with the method, its object, its positional and its named arguments."""


class Patches:
    """Replaces methods from the first holder's `hold` to the last one's `release`. Safe with threads."""

    def __init__(self) -> None:
        self._holders: set[object] = set()
        self._patches: list[_Patch] = []
        self._mutex = threading.RLock()

    def hold(self, holder: object, cls: type, methods: Mapping[str, Around]) -> None:
        """Replaces the methods, where no one else holds them already.

        Args:
            holder: who needs it.
            cls: the class.
            methods: name → what is called instead; names that the class does not have are left out.
        """
        with self._mutex:
            if not self._holders:
                found = {name: around for name, around in methods.items() if hasattr(cls, name)}
                self._patches = [_Patch(cls, name, around) for name, around in found.items()]
            self._holders.add(holder)

    def release(self, holder: object) -> None:
        """Puts the methods back, unless someone else still holds them."""
        with self._mutex:
            self._holders.discard(holder)
            if not self._holders:
                for patch in self._patches:
                    patch.remove()
                self._patches = []


class _Patch:
    """One method of one class, replaced."""

    def __init__(self, cls: type, name: str, around: Around) -> None:
        place = _within_decorator(getattr(cls, name))
        self._place: _Cell | _Attribute = place or _Attribute(cls, name)
        original = self._place.get()

        @functools.wraps(original)
        def method(self_: Any, /, *args: Any, **kwargs: Any) -> Any:
            if self._active and isinstance(self_, cls):
                return around(original, self_, args, kwargs)
            return original(self_, *args, **kwargs)

        self._active = True
        self._original, self._method = original, method
        self._place.put(method)

    def remove(self) -> None:
        """Where someone else has replaced the method since, theirs stays, and what they call here only passes on."""
        self._active = False
        if self._place.get() is self._method:
            self._place.restore(self._original)


class _Attribute:
    """Where a method stands: an attribute of its class, or of a base of it."""

    def __init__(self, cls: type, name: str) -> None:
        self._cls, self._name = cls, name
        self._inherited = name not in vars(cls)

    def get(self) -> Any:
        return getattr(self._cls, self._name)

    def put(self, method: Any) -> None:
        setattr(self._cls, self._name, method)

    def restore(self, method: Any) -> None:
        if self._inherited:
            delattr(self._cls, self._name)
        else:
            self.put(method)


class _Cell:
    """Where a decorated method stands: inside of its decorator.

    The method of the class stays the same object. So one that has been looked up before is replaced as well, as in
    `model.fit(callbacks=[run.keras])`, where `model.fit` is looked up first; and it does not matter who else replaces
    the attribute, or when.
    """

    def __init__(self, cell: CellType) -> None:
        self._cell = cell

    def get(self) -> Any:
        return self._cell.cell_contents

    def put(self, method: Any) -> None:
        self._cell.cell_contents = method

    restore = put


def _within_decorator(method: Any) -> _Cell | None:
    """The innermost decorator's place for what it decorates; None where there is no decorator that `wraps`."""
    found = None
    while hasattr(method, "__wrapped__"):
        inner = method.__wrapped__
        cells = getattr(method, "__closure__", None) or ()
        found = next((_Cell(cell) for cell in cells if _Cell(cell).get() is inner), None)
        method = inner
    return found
