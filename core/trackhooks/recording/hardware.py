"""The processor, the memory and the GPUs of this machine, without touching an accelerator."""

from __future__ import annotations

import os
import re
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil

from ..event import Scalar

_GIB = 1 << 30
_CPU_INFO = Path("/proc/cpuinfo")
_NVIDIA = Path("/proc/driver/nvidia")


def hardware() -> dict[str, Scalar]:
    """Return what is known of `cpu`, `cpus`, `cpus/usable`, `memory_gib`, `gpu` and `gpu/driver`.

    The GPUs are those of NVIDIA whose driver lists them in `/proc`. Neither CUDA nor NVML is initialized: that takes
    time and memory in the training process.
    """
    found = {
        "cpu": cpu_model(_CPU_INFO),
        "cpus": os.cpu_count(),
        "cpus/usable": _usable(),
        "memory_gib": _memory(),
        "gpu": gpus(_NVIDIA),
        "gpu/driver": driver(_NVIDIA),
    }
    return {name: value for name, value in found.items() if value is not None}


def cpu_model(info: Path) -> str | None:
    """Return the model of the processor from the file `/proc/cpuinfo`."""
    with suppress(OSError), info.open(encoding="utf-8", errors="replace") as file:
        found = re.search(r"^model name\s*:\s*(.+)$", file.read(4096), re.MULTILINE)
        return None if found is None else found[1].strip()
    return None


def _usable() -> int | None:
    """Return the number of processors that this process may use, which a job of a cluster may limit."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None


def _memory() -> float | None:
    with suppress(psutil.Error, OSError):
        return round(psutil.virtual_memory().total / _GIB, 1)
    return None


def gpus(folder: Path) -> str | None:
    """Return the models of NVIDIA's GPUs, such as `2 × NVIDIA H100 80GB HBM3`, from the files of their driver."""
    names: list[str] = []
    with suppress(OSError):
        for path in sorted(folder.glob("gpus/*/information")):
            found = re.search(r"^Model:\s*(.+)$", path.read_text(errors="replace"), re.MULTILINE)
            names += [] if found is None else [found[1].strip()]
    counts = Counter(names).items()
    return ", ".join(name if count == 1 else f"{count} × {name}" for name, count in counts) or None


def driver(folder: Path) -> str | None:
    """Return the version of NVIDIA's driver."""
    with suppress(OSError):
        found = re.search(r"\s(\d+\.\d+(?:\.\d+)?)\s", (folder / "version").read_text(errors="replace"))
        return None if found is None else found[1]
    return None
