"""Read objects of users and frameworks, which may raise anything when they are read.

Examples are an unresolvable `${…}` of OmegaConf, a property, a `__str__`, and a mapping that another thread changes.
`attempt` is the one place that catches these errors.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, TypeVar

from .secrets import redact_text

_SHOWN = 60
"""How many characters of a value a message shows."""
_READ = 4000
"""How many characters of a value are searched for secrets before it is cut."""

_T = TypeVar("_T")


class Failure:
    """The result of reading a value that raised an error."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error

    @property
    def placeholder(self) -> str:
        """The string that is recorded instead of the value."""
        return f"<unreadable: {type(self.error).__name__}>"

    @property
    def cause(self) -> Exception | None:
        """The error, to raise another one from it; None if its message contains a secret."""
        text = attempt(str, self.error)
        return self.error if isinstance(text, str) and redact_text(text) == text else None

    @property
    def why(self) -> str:
        """The error in one line, without secrets."""
        return described_error(self.error)


def described_error(error: BaseException) -> str:
    """Return the type of an error and the first line of its message, for a message: short and without secrets."""
    text = attempt(str, error)
    line = "" if isinstance(text, Failure) else first_line(text)
    return first_line(f"{type(error).__name__}: {line}".rstrip(": "))


def first_line(text: str) -> str:
    """Return the first line of a string, for a message: short and without secrets."""
    line = next(iter(text.strip().splitlines()), "")
    return redact_text(line)[:200].encode(errors="backslashreplace").decode()


def attempt(read: Callable[..., _T], *args: Any) -> _T | Failure:
    """Call a function that reads a foreign object, and return a `Failure` if it raises. Ctrl-C and `sys.exit` pass."""
    try:
        return read(*args)
    except Exception as error:  # noqa: BLE001 — a user's object may raise anything, and must not end the training
        return Failure(error)


def is_a(value: Any, kinds: type | tuple[type, ...]) -> bool:
    """Return `isinstance(value, kinds)`, which reads the `__class__` of a proxy and so may raise: then False."""
    return attempt(isinstance, value, kinds) is True


# Values in messages


def shown(value: Any) -> str:
    """Return a value as error messages show it: short and without secrets. Never raises.

    The content of containers and other objects is not shown, because any part of it may be a secret.
    """
    if type(value) in (float, bool) or (type(value) is int and value.bit_length() <= 2 * _SHOWN):
        return repr(value)
    if is_a(value, (str, bytes)):
        return _cut(_quoted(value))
    if type(value) in _COUNTED:
        return f"a {type(value).__name__} of {len(value)} item{'s' * (len(value) != 1)}"
    return described(value)


def described(value: Any) -> str:
    """Return the type of an object for a message, because its string may be long or slow, or contain a secret."""
    if value is None:
        return "None"
    if type(value) is int:
        return f"an integer of {value.bit_length()} bits"
    if is_a(value, type):
        return f"the class {value.__name__}"
    if is_a(value, _FUNCTIONS):
        return f"the function {value.__name__}"
    if is_a(value, (str, bytes)):
        return f"{_cut(_quoted(value))} ({type(value).__name__})"
    dtype = attempt(lambda: str(value.dtype))
    return f"a value of type {type(value).__name__}" + (
        f" and dtype {dtype}" if isinstance(dtype, str) else ""
    )


_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)
_COUNTED = frozenset({list, tuple, dict, set, frozenset})


def _quoted(value: str | bytes) -> str:
    if isinstance(value, str):
        return repr(redact_text(str.__str__(value)[:_READ]))
    return redact_text(repr(bytes(value)[:_READ]))


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def plain_text(text: str) -> str:
    """Return a plain `str` that UTF-8 can encode: unpaired surrogates, as of undecodable paths, are escaped."""
    plain = str.__str__(text)  # of a subclass, the string itself
    return plain if plain.isascii() else plain.encode(errors="backslashreplace").decode()


def key_text(key: Any) -> str:
    """Return the key of a mapping as a string, or a placeholder if it cannot be read."""
    if type(key) is str and key.isascii():
        return key
    found = attempt(lambda: plain_text(key if is_a(key, str) else str(key)))
    return found.placeholder if isinstance(found, Failure) else found


def items(mapping: Mapping[Any, Any], most: int) -> list[tuple[Any, Any]] | Failure:
    """Return the keys and values of a mapping, each value read by itself if they cannot be read together.

    Args:
        mapping: Any mapping. Another thread may change it meanwhile.
        most: How many items to read at most, because a mapping may never end.
    """
    found = attempt(lambda: [(key, value) for key, value in islice(mapping.items(), most)])
    if isinstance(found, Failure):
        found = attempt(lambda: [(key, attempt(mapping.__getitem__, key)) for key in islice(mapping, most)])
    return found
