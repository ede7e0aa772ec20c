"""Identify processes: whether one is still alive, and on which host and boot."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil

_SAME_S = 1.0
"""Two creation times of a process that differ by less are equal; some platforms round them."""


def is_alive(pid: int, created: float) -> bool:
    """Whether the process with this pid and creation time is still running. A zombie is not."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < _SAME_S and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def host() -> str:
    """Return the name of this machine in the network."""
    return socket.gethostname()


def boot_id() -> str:
    """Return an id that changes when the machine boots; empty if the platform does not provide one."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
