"""Which process a run belongs to, and whether it is still alive: pid, creation time, host, boot."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil


def alive(pid: int, created: float) -> bool:
    """Whether this very process still runs: by its pid and when it was made."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def host() -> str:
    """The name of this machine, as the network knows it."""
    return socket.gethostname()


def boot_id() -> str:
    """Which boot of the host this is; empty where the platform does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
