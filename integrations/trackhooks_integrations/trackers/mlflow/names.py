"""Names as MLflow takes them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

from trackhooks.errors import log

LONGEST = 250


class Names(dict[str, str]):
    """Name → the name in MLflow: `legal(name)`, unless another name has that one.

    Args:
        known: the names so far, in the order in which they came.
    """

    def __init__(self, known: Iterable[str]) -> None:
        super().__init__()
        self._taken: set[str] = set()
        for name in known:
            self._add(name)

    def __missing__(self, name: str) -> str:
        found = self._add(name)
        if found != name:
            log.warning("mlflow: %r is called %r there, which takes no such name.", name, found)
        return found

    def _add(self, name: str) -> str:
        found = legal(name)
        if found in self._taken:
            found = _with_checksum(found, name)
        self._taken.add(found)
        self[name] = found
        return found


def legal(name: str) -> str:
    """The name with `_` for what MLflow does not take: `metrics/mAP50(B)` → `metrics/mAP50_B_`.

    It takes letters, digits, `_ - . : /` and spaces, 250 in all, and no part between slashes that is empty or dots
    (`mlflow.utils.validation`). The end of a longer name is a checksum of all of it.
    """
    parts = re.sub(r"[^\w\-.:/ ]", "_", name).split("/")
    clean = "/".join("_" if part in ("", ".", "..") else part for part in parts)
    return clean if len(clean) <= LONGEST else _with_checksum(clean, name)


def shortened(name: str) -> str:
    """The name, or its start with a checksum of all of it."""
    return name if len(name) <= LONGEST else _with_checksum(name, name)


def storable(text: str) -> str:
    """The text without zero characters, which PostgreSQL does not take."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def legal_file(name: str) -> str:
    """The name of a file as an artifact: MLflow takes `#`, `?`, `%` for parts of an address (`mlflow.utils.uri`)."""
    return re.sub(r"[#?%\x00-\x1f]", "_", name)


def _with_checksum(clean: str, name: str) -> str:
    return f"{clean[: LONGEST - 9]}-{zlib.crc32(name.encode()):08x}"
