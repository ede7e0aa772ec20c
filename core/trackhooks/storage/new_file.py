"""`new_file`: write a file that appears when it is complete, or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def new_file(path: Path, *, overwrite: bool) -> Iterator[IO[bytes]]:
    """Open a temporary file next to `path`, and move it there at the end of the block.

    Nothing is left of it if the block raises.

    Args:
        path: the file.
        overwrite: whether an existing file is replaced.

    Raises:
        FileExistsError: if the file exists and must not be replaced, even if it was created meanwhile.
        OSError: if the file cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        temporary.chmod(0o644)  # mkstemp sets 0600, but others in the lab may read it
        if not overwrite:
            _reserve(path)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _reserve(path: Path) -> None:
    """Create an empty file, which fails if there is one."""
    with path.open("xb"):
        pass
