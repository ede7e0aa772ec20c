"""Replace methods of a framework's classes while they are in use (`Patches`), and wait for its modules."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Mapping
from types import CellType, ModuleType
from typing import Any, NamedTuple

Around = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]
"""Called in place of a method, with the method, its object, its positional and its keyword arguments."""


class Instead(NamedTuple):
    """A function that takes the place of a method as it is, with no frame between it and its caller.

    It must do what the method does for objects that are not recorded.
    """

    function: Callable[..., Any]


class InPlaceOf(NamedTuple):
    """What takes the place of a function of a module."""

    call: Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
    """Called with the function, its positional and its keyword arguments."""


def when_imported(module: str, call: Callable[[], object]) -> None:
    """Make a call as soon as a module has been imported, which may be now."""
    if module in sys.modules:
        call()
        return
    from wrapt import register_post_import_hook

    register_post_import_hook(lambda _: call(), module)


class Patches:
    """Replace methods from the first call of `hold` to the last `release`. Thread-safe."""

    def __init__(self) -> None:
        self._holders: set[object] = set()
        self._patches: list[_Patch] = []
        self._mutex = threading.RLock()

    def hold(
        self,
        holder: object,
        owner: type | ModuleType,
        methods: Mapping[str, Around | Instead | InPlaceOf],
    ) -> None:
        """Replace the methods, unless another holder has already done so.

        Args:
            holder: identifies the caller; pass the same object to `release`.
            owner: the class; or a module, whose functions are replaced by `InPlaceOf`.
            methods: name → the function to call instead. Names that the owner does not have are ignored.
        """
        with self._mutex:
            if not self._holders:
                found = {name: new for name, new in methods.items() if hasattr(owner, name)}
                self._patches = [_Patch(owner, name, new) for name, new in found.items()]
            self._holders.add(holder)

    def release(self, holder: object) -> None:
        """Restore the methods, unless another holder still uses them."""
        with self._mutex:
            self._holders.discard(holder)
            if not self._holders:
                for patch in self._patches:
                    patch.remove()
                self._patches = []


class _Patch:
    """One replaced method of one class, or one function of a module."""

    def __init__(self, owner: Any, name: str, new: Around | Instead | InPlaceOf) -> None:
        place = _within_decorator(getattr(owner, name))
        self._place: _Cell | _Attribute = place or _Attribute(owner, name)
        self._original = self._place.get()
        self._active = True
        self._method = self._made(owner, new)
        self._place.put(self._method)

    def _made(self, owner: Any, new: Around | Instead | InPlaceOf) -> Callable[..., Any]:
        if isinstance(new, Instead):
            return new.function
        return self._in_place(new) if isinstance(new, InPlaceOf) else self._around(owner, new)

    def _in_place(self, new: InPlaceOf) -> Callable[..., Any]:
        original = self._original

        @functools.wraps(original)
        def function(*args: Any, **kwargs: Any) -> Any:
            return new.call(original, args, kwargs) if self._active else original(*args, **kwargs)

        return function

    def _around(self, cls: type, around: Around) -> Callable[..., Any]:
        original = self._original

        @functools.wraps(original)
        def method(self_: Any, /, *args: Any, **kwargs: Any) -> Any:
            if self._active and isinstance(self_, cls):
                return around(original, self_, args, kwargs)
            return original(self_, *args, **kwargs)

        return method

    def remove(self) -> None:
        """Restore the original. A newer replacement of someone else stays, and what it calls here only passes on."""
        self._active = False
        if self._place.get() is self._method:
            self._place.restore(self._original)


class _Attribute:
    """The place of a method: an attribute of its class or of a base class; or of its module."""

    def __init__(self, owner: Any, name: str) -> None:
        self._owner, self._name = owner, name
        self._inherited = name not in vars(owner)

    def get(self) -> Any:
        return getattr(self._owner, self._name)

    def put(self, method: Any) -> None:
        setattr(self._owner, self._name, method)

    def restore(self, method: Any) -> None:
        if self._inherited:
            delattr(self._owner, self._name)
        else:
            self.put(method)


class _Cell:
    """The place of a decorated method: the closure of its decorator.

    The attribute of the class stays the same object. So a method that was looked up earlier is replaced as well, as in
    `model.fit(callbacks=[run.keras])`, where Python looks up `model.fit` first; and other packages may replace the
    attribute at any time.
    """

    def __init__(self, cell: CellType) -> None:
        self._cell = cell

    def get(self) -> Any:
        return self._cell.cell_contents

    def put(self, method: Any) -> None:
        self._cell.cell_contents = method

    restore = put


def _within_decorator(method: Any) -> _Cell | None:
    """Return the place in the innermost decorator; None if no decorator uses `functools.wraps`."""
    found = None
    while hasattr(method, "__wrapped__"):
        inner = method.__wrapped__
        cells = getattr(method, "__closure__", None) or ()
        found = next((_Cell(cell) for cell in cells if _Cell(cell).get() is inner), None)
        method = inner
    return found
