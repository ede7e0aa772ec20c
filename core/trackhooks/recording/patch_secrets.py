"""Redact the secrets of a patch: in each hunk, without the signs in front of its lines."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from ..errors.secrets import REDACTED, is_secret_name, redact_text
from ..storage.patches import DIFF

_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")
_SECRET_FILES = frozenset(
    {".env", ".netrc", "_netrc", ".pgpass", ".npmrc", ".pypirc", "id_rsa", "id_ed25519", "id_ecdsa"}
)
_SECRET_SUFFIXES = frozenset({".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".kdbx"})
_DATA_SUFFIXES = frozenset(
    {"", ".txt", ".json", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".csv", ".xml"}
)
"""Suffixes of files that contain secrets if their name says so; `token.py` is code."""


def without_secrets(patch: str) -> str:
    """Return a patch with `<redacted>` in place of its secrets, and of the content of files that hold secrets.

    A secret over several lines becomes one line, so that the patch of its file cannot be applied any more.
    """
    return "\n".join(_lines(patch.split("\n")))


def _lines(lines: Sequence[str]) -> Iterator[str]:
    position, is_secret = 0, False
    while position < len(lines):
        line = lines[position]
        position += 1
        if line.startswith(DIFF):
            is_secret = holds_secrets(line.rsplit("/", 1)[-1].strip('"'))
        yield redact_text(line)
        hunk = _HUNK.match(line)
        if hunk:
            end = _end_of(lines, position, int(hunk[1] or 1), int(hunk[2] or 1))
            yield from [f" {REDACTED}"] if is_secret else _redacted(lines[position:end])
            position = end


def holds_secrets(name: str) -> bool:
    """Return whether a file holds secrets, by its name."""
    path = PurePosixPath(name)
    known = name in _SECRET_FILES or name.startswith(".env.") or path.suffix in _SECRET_SUFFIXES
    return known or (path.suffix in _DATA_SUFFIXES and is_secret_name(path.stem.lstrip(".")))


def _end_of(lines: Sequence[str], start: int, before: int, after: int) -> int:
    """Return the end of the hunk that starts here and has this many lines before and after the change."""
    position = start
    while position < len(lines) and (before > 0 or after > 0):
        mark = lines[position][:1]
        before -= mark in ("-", " ")
        after -= mark in ("+", " ")
        position += 1
    return position + (position < len(lines) and lines[position].startswith("\\"))


def _redacted(lines: Sequence[str]) -> list[str]:
    """Redact the code before and after the change separately: each is a whole, and secrets may have several lines."""
    found: list[str | None] = list(lines)
    for mark in "-+":
        side = [number for number, line in enumerate(lines) if line[:1] in (mark, " ")]
        texts = [lines[number][1:] for number in side]
        for number, text, clean in zip(side, texts, _clean(texts), strict=True):
            if clean != text:
                found[number] = None if clean is None else lines[number][:1] + clean
    return [line for line in found if line is not None]


def _clean(texts: Sequence[str]) -> Sequence[str | None]:
    """Redact lines. Of a secret over several lines, the first becomes `<redacted>`, and the others None."""
    text = "\n".join(texts)
    redacted = redact_text(text)
    if redacted == text:
        return texts
    clean = redacted.split("\n")
    if len(clean) == len(texts):
        return clean
    if len(clean) > len(texts):  # the end of a line was part of a secret
        return [REDACTED, *[None] * (len(texts) - 1)]
    start = _shared(texts, clean)
    end = _shared(texts[start:][::-1], clean[start:][::-1])
    between = len(texts) - start - end - 1
    return [*texts[:start], REDACTED, *[None] * between, *texts[len(texts) - end :]]


def _shared(one: Sequence[str], other: Sequence[str]) -> int:
    """Return how many of the first lines are the same."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
