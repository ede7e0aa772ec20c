"""`Patches`: methods of a framework's classes that are replaced while someone needs it, and then put back."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
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
        self._cls, self._name = cls, name
        self._own = vars(cls).get(name)
        original = getattr(cls, name)

        @functools.wraps(original)
        def method(self_: Any, /, *args: Any, **kwargs: Any) -> Any:
            if self._active:
                return around(original, self_, args, kwargs)
            return original(self_, *args, **kwargs)

        self._active = True
        self._method = method
        setattr(cls, name, method)

    def remove(self) -> None:
        """Where someone else has replaced the method since, theirs stays, and what they call here only passes on."""
        self._active = False
        if vars(self._cls).get(self._name) is not self._method:
            return
        if self._own is None:
            delattr(self._cls, self._name)
        else:
            setattr(self._cls, self._name, self._own)
