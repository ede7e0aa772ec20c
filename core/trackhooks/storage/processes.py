"""Identify processes: whether one is still alive, and on which host, boot and machine."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil

from ..values.digests import sha256

_SAME_S = 1.0
"""Two creation times of a process that differ by less are equal; some platforms round them."""


def created(pid: int) -> float:
    """Return when a process was created, which distinguishes it from a later process with the same pid.

    On Linux, in seconds after the boot: a time of day would change whenever the clock is set. Elsewhere, in seconds
    since 1970.

    Raises:
        psutil.Error: the process does not exist.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return psutil.Process(pid).create_time()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def is_alive(pid: int, created_at: float) -> bool:
    """Whether the process with this pid and creation time is still running. A zombie is not.

    The time is that of `created`, or in seconds since 1970, as earlier versions recorded it.
    """
    try:
        process = psutil.Process(pid)
        same = any(abs(created_at - time) < _SAME_S for time in (created(pid), process.create_time()))
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def host() -> str:
    """Return the name of this machine in the network."""
    return socket.gethostname()


def boot_id() -> str:
    """Return an id that changes when the machine boots; empty if the platform does not provide one."""
    return _content("/proc/sys/kernel/random/boot_id")


def machine() -> str:
    """Return an id of a machine, or of a container with its own pids; empty if the platform does not provide one.

    Machines and containers can have the same host name. The id is a hash, because `/etc/machine-id` is confidential.
    """
    parts = _content("/etc/machine-id") + _pid_namespace()
    return sha256(parts.encode()).hexdigest()[:16] if parts else ""


def _pid_namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _content(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
