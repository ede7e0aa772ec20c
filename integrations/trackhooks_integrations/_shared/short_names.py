"""`NameRule`: turn any name into one that a backend accepts.

Characters that the backend does not allow are replaced. A name that is too long is cut, and ends in a checksum of the
whole name, so that two long names with the same start remain two names.
"""

from __future__ import annotations

import re
import zlib

import msgspec


class NameRule(msgspec.Struct, frozen=True):
    """The limits of a backend for one kind of name."""

    longest: int
    """The most characters, or bytes of UTF-8 if `in_bytes` is set."""
    in_bytes: bool = False
    forbidden: str = ""
    """A regular expression for the characters to replace; empty if every character is allowed."""
    substitute: str = "_"
    is_path: bool = False
    """Whether slashes separate parts, of which none may be empty or consist of dots: these become `_`."""
    mark_changes: bool = False
    """Whether every changed name ends in a checksum, not only one that is too long."""

    def apply(self, name: str) -> str:
        """Return the name, changed as little as the limits require."""
        return self.shorten(self._clean(name), name)

    def shorten(self, clean: str, name: str) -> str:
        """Return `clean`, which was made from `name`, with a checksum if the rule requires one."""
        if self._fits(clean) and (clean == name or not self.mark_changes):
            return clean
        return self.with_checksum(clean, name)

    def with_checksum(self, clean: str, name: str) -> str:
        """Return the start of `clean` and the checksum of `name`, as long as the rule allows at most."""
        mark = f"-{checksum(name)}"
        room = self.longest - len(mark)
        start = clean.encode()[:room].decode(errors="ignore") if self.in_bytes else clean[:room]
        return start + mark

    def _clean(self, name: str) -> str:
        if self.forbidden:
            name = re.sub(self.forbidden, self.substitute, name)
        if self.is_path:
            name = "/".join("_" if part in ("", ".", "..") else part for part in name.split("/"))
        return name

    def _fits(self, name: str) -> bool:
        return len(name.encode() if self.in_bytes else name) <= self.longest


def checksum(name: str) -> str:
    """Return the CRC-32 of a name, as 8 hexadecimal digits."""
    return f"{zlib.crc32(name.encode()):08x}"
