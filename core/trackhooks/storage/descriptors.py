"""Descriptors of files that stay open."""

from __future__ import annotations

import os

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_STDERR = 2


def above_the_streams(fd: int) -> int:
    """Move a file away from the descriptors 0 to 2: if stderr is closed, C libraries would write into the file."""
    if fd > _STDERR or fcntl is None:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _STDERR + 1)
    finally:
        os.close(fd)
