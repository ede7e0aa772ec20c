"""What the benchmarks of whole processes share: they run by turns, and their medians are set against each other.

A machine with other work on it is fast at one moment and slow at the next. So the candidates take turns, each in a
separate process, and every figure is a median over the rounds beside its smallest and largest.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psutil

Figures = dict[str, float]
"""What one process measured, by name; the names end in their units."""
_LOOK_S = 0.1


def trackers(folder: str) -> dict[str, Any]:
    """All four, with their options: local, and none of them needs an account."""
    return {
        "csv": {},
        "tensorboard": {},
        "mlflow": {"tracking_uri": f"sqlite:///{folder}/mlflow.db"},
        "wandb": {"mode": "offline"},
    }


def report(figures: Figures) -> None:
    """In the process that is measured: hands the figures over, and goes on when they have been taken."""
    print(json.dumps(figures), flush=True)
    sys.stdin.readline()


def measured(
    *command: str, env: Mapping[str, str] | None = None, to_its_end: bool = True, watch: bool = False
) -> Figures:
    """Runs a Python process that reports once.

    Args:
        *command: what follows `python`.
        env: what is set besides this process's own environment.
        to_its_end: whether it may end by itself, or is killed with its children when it has reported.
        watch: look at the memory of its children all the time, which costs some processor time.

    Returns:
        What it reported, `rss_mib` at that moment, `end_s`: how long it took to end from there, and with `watch`
        `children_mib`: what its children took together at most, files that they map left out.

    Raises:
        RuntimeError: it failed.
    """
    import psutil

    with subprocess.Popen(
        [sys.executable, *command],
        env={**os.environ, **(env or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        reporter = psutil.Process(process.pid)
        peak = _Peak(reporter) if watch else None
        said = next((line for line in process.stdout if line.startswith("{")), "")
        rss = reporter.memory_info().rss if said else 0
        for one in () if to_its_end else (reporter, *reporter.children(recursive=True)):
            one.kill()
        since = time.perf_counter()
        _, errors = process.communicate("\n")
        figures = {"rss_mib": rss / 2**20, "end_s": time.perf_counter() - since}
    if not said or (to_its_end and process.returncode):
        raise RuntimeError(f"python {' '.join(command)} failed with {process.returncode}:\n{errors}")
    if peak is not None:
        figures["children_mib"] = peak.end()
    return {**json.loads(said), **figures}


def _own(memory: Any) -> int:
    """Without the pages of mapped files, where the system tells them apart: it takes these back as it likes."""
    return int(memory.rss - getattr(memory, "shared", 0))


class _Peak:
    """What the children of a process take together, at most."""

    def __init__(self, parent: psutil.Process) -> None:
        self._parent, self._most, self._over = parent, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        import psutil

        while not self._over.wait(_LOOK_S):
            with contextlib.suppress(psutil.NoSuchProcess):  # one that ends while it is looked at
                children = self._parent.children(recursive=True)
                self._most = max(self._most, sum(_own(child.memory_info()) for child in children))

    def end(self) -> float:
        """In MiB."""
        self._over.set()
        self._thread.join()
        return self._most / 2**20


def by_turns(
    candidates: Mapping[str, Callable[[], Figures]], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """The figures of each candidate, a value a round: candidate → figure → values."""
    taken: dict[str, list[Figures]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, measure in candidates.items():
            taken[name].append(measure())
    return {
        name: {figure: [one[figure] for one in found] for figure in found[0]} for name, found in taken.items()
    }


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, and in brackets the smallest and the largest."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def ratio(ours: Sequence[float], base: Sequence[float]) -> str:
    """The ratio of the medians, and in brackets the smallest and the largest of the single rounds."""
    rounds = [one / other for one, other in zip(ours, base, strict=True)]
    return f"{statistics.median(ours) / statistics.median(base):.3f} ({min(rounds):.2f}–{max(rounds):.2f})"


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table, with what the machine is and how much else runs on it."""
    from rich.console import Console
    from rich.table import Table

    load = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end"
    table = Table()
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.width = max(console.width, 120)
    console.print(f"{title} — {load}", table, sep="\n")
