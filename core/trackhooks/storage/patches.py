"""The uncommitted changes of a run's code, as `files/code.patch`: its form, and how it is read.

The file starts with comments, which `git apply` ignores::

    # Uncommitted changes to the commit 5f2c…. Secrets are redacted. To apply them: git apply code.patch
    #	12	3	train.py
    diff --git a/train.py b/train.py
    …

Each file that was changed has a comment with the number of lines that were added and removed, and its name; `-` for
binary files, whose content is not part of the patch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..values.digests import sha256

NAME = "code.patch"
"""The name of the file in `files/`, and in the trackers."""
DIFF = "diff --git "
"""The start of the first line of the changes of one file."""
_STAT = re.compile(r"#\t(\d+|-)\t(\d+|-)\t(.*)")
_LONGEST = 1 << 22


class Change(NamedTuple):
    """How one file was changed."""

    added: int | None
    """The number of lines; None for a binary file."""
    removed: int | None
    digest: str
    """A hash of the changes, without line numbers and the hashes of git; empty if only the numbers were kept."""

    def __str__(self) -> str:
        return "binary" if self.added is None else f"+{self.added} −{self.removed}"


def stat_line(added: str, removed: str, name: str) -> str:
    """Return the comment about one file."""
    return f"#\t{added}\t{removed}\t{name}"


def read(path: Path) -> dict[str, Change]:
    """Return the changes by file, in the order of the patch; nothing if the patch does not exist."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_LONGEST)
    except OSError:
        return {}
    stats = {found[3]: found for found in map(_STAT.fullmatch, text.split("\n")) if found}
    digests = dict(zip(stats, _digests(text), strict=False))
    return {
        name: Change(_number(found[1]), _number(found[2]), digests.get(name, ""))
        for name, found in stats.items()
    }


def _number(text: str) -> int | None:
    return None if text == "-" else int(text)


def _digests(text: str) -> Iterator[str]:
    """Yield a hash of the changes of each file. git lists the files in the same order as their numbers."""
    for block in re.split(f"^{DIFF}", text, flags=re.MULTILINE)[1:]:
        lines = (line for line in block.split("\n")[1:] if not line.startswith(("index ", "@@ ")))
        yield sha256("\n".join(lines).encode()).hexdigest()
