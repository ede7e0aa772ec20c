"""`Meter`: measures the resources that a process and its children use.

| metric | meaning |
|---|---|
| `system/cpu_percent` | processor time; 100 means one full core |
| `system/memory_mib` | resident memory; memory that processes share is counted for each |
| `system/threads` | number of threads |
| `system/disk_read_mib_per_s`, `system/disk_written_mib_per_s` | disk traffic; not on macOS |
| `system/network_received_mib_per_s`, `system/network_sent_mib_per_s` | of the whole machine, without loopback |
| `system/gpu0_percent` | share of time in which the first GPU was busy, for all processes |
| `system/gpu0_memory_mib`, `system/gpu0_power_w`, `system/gpu0_temperature_c` | of the first GPU |

GPUs are numbered as in NVML; measuring them requires `pip install 'trackhooks[gpu]'`. Metrics that the platform does
not provide are left out.
"""

from __future__ import annotations

import functools
import os
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator
from contextlib import suppress
from typing import Any

import psutil

from ..storage.processes import is_alive

_MIB = 1 << 20
_SHORTEST_S = 0.1
"""The shortest time over which a rate is meaningful: processor time is counted in steps of 10 ms."""
_LOOPBACK = ("lo", "lo0", "Loopback Pseudo-Interface 1")

_Counters = dict[tuple[str, Hashable], float]
"""Counters that only increase, by metric and source."""


class Meter:
    """Measures a process and its descendants, without the measuring process if that is one of them.

    Args:
        pid: the pid of the process.
        created: its creation time, which distinguishes it from a later process with this pid: see `processes.created`.

    Raises:
        psutil.Error: the process does not exist.
    """

    def __init__(self, pid: int, created: float) -> None:
        self._pid, self._created = pid, created
        self._time, self._counters = time.monotonic(), self._count(self._processes())

    def measure(self) -> dict[str, float]:
        """Return the metrics by name. Rates are averages since the last call, or since the meter was made.

        Raises:
            psutil.Error: the process has ended.
        """
        processes = self._processes()
        return _levels(processes) | self._rates(processes) | _gpus()

    def _processes(self) -> list[psutil.Process]:
        if not is_alive(self._pid, self._created):
            raise psutil.NoSuchProcess(self._pid)
        root = psutil.Process(
            self._pid
        )  # a new one: its children are those created later, by the present clock
        found = [root, *root.children(recursive=True)]
        if self._pid == os.getpid():
            return found
        me = psutil.Process()
        own = {me, *me.children(recursive=True)}
        return [process for process in found if process not in own]

    def _count(self, processes: list[psutil.Process]) -> _Counters:
        return {(name, source): count for name, source, count in (*_used(processes), *_network())}

    def _rates(self, processes: list[psutil.Process]) -> dict[str, float]:
        """Return the increases per second since the last call. New processes are counted from zero."""
        now, counters = time.monotonic(), self._count(processes)
        if now - self._time < _SHORTEST_S:
            return {}
        rates: dict[str, float] = defaultdict(float)
        for (name, source), count in counters.items():
            rates[name] += max(count - self._counters.get((name, source), 0.0), 0.0) / (now - self._time)
        self._time, self._counters = now, counters
        return dict(rates)


def _levels(processes: list[psutil.Process]) -> dict[str, float]:
    memory = threads = 0.0
    for process in processes:
        with suppress(psutil.Error), process.oneshot():  # the process may have ended in the meantime
            memory += process.memory_info().rss / _MIB
            threads += process.num_threads()
    return {"system/memory_mib": memory, "system/threads": threads}


def _used(processes: list[psutil.Process]) -> Iterator[tuple[str, Hashable, float]]:
    for process in processes:
        with suppress(psutil.Error):
            times = process.cpu_times()
            yield "system/cpu_percent", process, 100 * (times.user + times.system)
        with suppress(psutil.Error, AttributeError):  # macOS does not have these counters
            disk = process.io_counters()
            yield "system/disk_read_mib_per_s", process, disk.read_bytes / _MIB
            yield "system/disk_written_mib_per_s", process, disk.write_bytes / _MIB


def _network() -> Iterator[tuple[str, Hashable, float]]:
    with suppress(OSError):  # a container may hide the interfaces
        for card, counted in psutil.net_io_counters(pernic=True).items():
            if card not in _LOOPBACK:
                yield "system/network_received_mib_per_s", card, counted.bytes_recv / _MIB
                yield "system/network_sent_mib_per_s", card, counted.bytes_sent / _MIB


_GPU: dict[str, Callable[[Any, Any], float]] = {
    "percent": lambda nvml, gpu: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
    "memory_mib": lambda nvml, gpu: nvml.nvmlDeviceGetMemoryInfo(gpu).used / _MIB,
    "power_w": lambda nvml, gpu: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
    "temperature_c": lambda nvml, gpu: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
}


def _gpus() -> dict[str, float]:
    nvml = _nvml()
    if nvml is None:
        return {}
    found: dict[str, float] = {}
    with suppress(nvml.NVMLError):  # a GPU may have failed
        for number in range(nvml.nvmlDeviceGetCount()):
            gpu = nvml.nvmlDeviceGetHandleByIndex(number)
            for name, ask in _GPU.items():
                with suppress(nvml.NVMLError):  # not every GPU provides every metric
                    found[f"system/gpu{number}_{name}"] = float(ask(nvml, gpu))
    return found


@functools.cache
def _nvml() -> Any:
    """Return NVML, initialized; None without its package or a driver."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml
