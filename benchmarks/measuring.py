"""What the benchmarks of whole processes share: they run by turns, and their medians are set against each other.

A machine with other work on it is fast at one moment and slow at the next. So the candidates take turns, each in a
separate process, and every figure is a median over the rounds beside its smallest and largest.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results import Taken

if TYPE_CHECKING:
    import psutil

Figures = dict[str, float]
"""What one process measured, by name; the names end in their units."""
_LOOK_S = 0.1
LIMIT_S = 240.0
"""How long one process may take before it is ended, and its candidate given up."""
_HANDED_OVER = "figures.json"


def arguments(
    doc: str | None, rounds: int, of: str = "processes of each candidate"
) -> argparse.ArgumentParser:
    """The parser of a benchmark, with what all of them take."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=rounds, help=of)
    parser.add_argument("--seconds", type=float, default=math.inf, help="start no round that would end later")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def trackers(folder: str) -> dict[str, Any]:
    """All four, with their options: local, and none of them needs an account."""
    return {
        "csv": {},
        "tensorboard": {},
        "mlflow": {"tracking_uri": f"sqlite:///{folder}/mlflow.db"},
        "wandb": {"mode": "offline"},
    }


def python_of(environments: str, name: str) -> str:
    """The Python of an environment that `make bench` makes for packages that do not agree with all others.

    Raises:
        RuntimeError: it does not exist.
    """
    python = Path(environments, name, "bin", "python").absolute()
    if not python.exists():
        raise RuntimeError(f"the environment {name!r} does not exist: `make bench` makes it")
    return str(python)


def report(figures: Figures) -> None:
    """In the process that is measured: hands the figures over, and continues when they have been taken."""
    print(json.dumps(figures), flush=True)
    sys.stdin.readline()


def measured(
    *command: str,
    env: Mapping[str, str] | None = None,
    to_its_end: bool = True,
    watch: bool = False,
    python: str = sys.executable,
) -> Figures:
    """Runs a Python process that reports once.

    Args:
        *command: what follows `python`.
        env: what is set besides this process's own environment.
        to_its_end: whether it may end by itself, or is killed with its children when it has reported.
        watch: look at the memory of its children all the time, which costs some processor time.
        python: which Python runs it.

    Returns:
        What it reported, `rss_mib` at that moment, `end_s`: how long it took to end from there, and with `watch`
        `children_mib`: what its children took together at most, files that they map left out.

    Raises:
        RuntimeError: it failed, or took longer than `LIMIT_S`.
    """
    import psutil

    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [python, *command],
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
        _limited(process),
    ):
        assert process.stdout is not None
        reporter = psutil.Process(process.pid)
        peak = _Peak(reporter) if watch else None
        said = next((line for line in process.stdout if line.startswith("{")), "")
        rss = reporter.memory_info().rss if said else 0
        if not to_its_end:
            _kill(process)
        since = time.perf_counter()
        process.communicate("\n")
        figures = {"rss_mib": rss / 2**20, "end_s": time.perf_counter() - since}
        if peak is not None:
            figures["children_mib"] = peak.end()
        if not said or (to_its_end and process.returncode):
            errors.seek(0)
            raise RuntimeError(
                f"python {' '.join(command)} ended with {process.returncode}:\n{errors.read()}"
            )
    return {**json.loads(said), **figures}


@contextlib.contextmanager
def _limited(process: subprocess.Popen[str]) -> Iterator[None]:
    """Kills the process with its children when its time is over.

    Raises:
        RuntimeError: it was.
    """
    timer = threading.Timer(LIMIT_S, _kill, [process])
    timer.start()
    try:
        yield
    except RuntimeError as error:
        if timer.finished.is_set():
            raise RuntimeError(f"it took more than {LIMIT_S:.0f} s") from error
        raise
    finally:
        timer.cancel()


def _kill(process: subprocess.Popen[str]) -> None:
    """With its children."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        for one in (*parent.children(recursive=True), parent):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


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
    candidates: Mapping[str, Callable[[], Figures]],
    rounds: int,
    seconds: float = math.inf,
    failed: Callable[[str, object], None] | None = None,
) -> Taken:
    """The figures of each candidate, a value a round.

    Args:
        candidates: what measures each of them once.
        rounds: at most so many; the first is always completed.
        seconds: no round begins that would end later, if it takes as long as the longest so far.
        failed: is called with a candidate that raised, and the error; that one is left out from then on. If None, the
            error is raised.
    """
    taken: dict[str, list[Figures]] = {name: [] for name in candidates}
    began, longest = time.monotonic(), 0.0
    try:
        for _ in range(rounds):
            since = time.monotonic()
            if since + longest > began + seconds:
                break
            for name in list(taken):
                try:
                    taken[name].append(candidates[name]())
                except (RuntimeError, OSError) as error:
                    if failed is None:
                        raise
                    failed(name, error)
                    del taken[name]
            longest = max(longest, time.monotonic() - since)
    except KeyboardInterrupt:  # `make bench` has no more time: what was measured counts
        if failed is None:
            raise
        for name in [name for name, found in taken.items() if not found]:
            failed(name, "no time was left")
            del taken[name]
    complete = min(map(len, taken.values()), default=0)
    return {
        name: {figure: [one[figure] for one in found[:complete]] for figure in found[0]}
        for name, found in taken.items()
    }


def median(taken: Taken, candidate: str, figure: str) -> float:
    """The median of a figure; NaN if the candidate was not measured."""
    values = taken.get(candidate, {}).get(figure)
    return statistics.median(values) if values else math.nan


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The median, and in brackets the smallest and the largest, if there are several."""
    median = f"{statistics.median(values):,.{digits}f}"
    return median if len(values) == 1 else f"{median} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def ratio(ours: Sequence[float], base: Sequence[float]) -> str:
    """The ratio of the medians, and in brackets the smallest and the largest of the rounds, if there are several."""
    rounds = [one / other for one, other in zip(ours, base, strict=True)]
    median = f"{statistics.median(ours) / statistics.median(base):.3f}"
    return median if len(rounds) == 1 else f"{median} ({min(rounds):.2f}–{max(rounds):.2f})"


# A script at a prompt

_SHELL = """
import fcntl, json, os, pty, resource, subprocess, sys, termios, time
ours, terminal = pty.openpty()
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
for name in ("CI", "SLURM_JOB_ID", "KUBERNETES_SERVICE_HOST"):
    os.environ.pop(name, None)
since = time.perf_counter()
ended = subprocess.run(sys.argv[1:], stdin=terminal, stdout=subprocess.DEVNULL, preexec_fn=os.setpgrp)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
wall, cpu = time.perf_counter() - since, used.ru_utime + used.ru_stime
print(json.dumps({"wall_s": wall, "cpu_s": cpu, "prompt": time.time()}))
sys.exit(ended.returncode)
"""
"""It leads the session of a terminal and gives the script a separate process group, as a shell does at its prompt."""


def at_a_prompt(
    *command: str,
    env: Mapping[str, str] | None = None,
    python: str = sys.executable,
    kill: bool = False,
    check: Callable[[Path], None] | None = None,
) -> Figures:
    """Runs a Python script as a shell at a terminal does, in a separate folder, its working directory.

    Args:
        *command: what follows `python`.
        env: what is set besides this process's own environment; `{folder}` in a value is the folder.
        python: which Python runs it.
        kill: kill what continues in the background, instead of waiting for it.
        check: is called with the folder when everything has ended; raises RuntimeError if something is missing.

    Returns:
        What the script handed over with `hand_over`; and `wall_s` and `cpu_s` from its start to the prompt: the time of
        the script and of all processes that ended with it. If it handed over `loop_ended`, a time of `time.time`, also
        `prompt_s` and `delivered_s`: from there to the prompt, and to the end of what continued in the background.

    Raises:
        RuntimeError: it failed, or took longer than `LIMIT_S`.
    """
    with tempfile.TemporaryDirectory(
        ignore_cleanup_errors=True
    ) as folder:  # a killed process may still write
        given = {name: value.replace("{folder}", folder) for name, value in (env or {}).items()}
        errors = Path(folder, "stderr")
        with errors.open("w") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-c", _SHELL, python, *command],
                cwd=folder,
                env={**os.environ, **given},
                start_new_session=True,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        with process, _limited(process):
            said, _ = process.communicate()
            if process.returncode:
                raise RuntimeError(
                    f"{' '.join(command)} ended with {process.returncode}:\n{errors.read_text()}"
                )
        ended = _ended(folder, kill)
        if check is not None:
            check(Path(folder))
        figures: Figures = json.loads(said)
        prompt = figures.pop("prompt")
        handed = Path(folder, _HANDED_OVER)
        own: Figures = json.loads(handed.read_text()) if handed.exists() else {}
        if "loop_ended" in own:
            loop = own.pop("loop_ended")
            figures |= {"prompt_s": prompt - loop, "delivered_s": max(ended or prompt, prompt) - loop}
        return {**figures, **own}


def hand_over(figures: Figures) -> None:
    """In a script at a prompt: leaves its figures in its working directory."""
    Path(_HANDED_OVER).write_text(json.dumps(figures))


def _ended(folder: str, kill: bool) -> float | None:
    """Waits for, or kills, what continues in the background. Returns when it had ended; None if nothing did."""
    import psutil

    left = [process for process in psutil.process_iter() if _is_in(process, folder)]
    if not left:
        return None
    for process in left if kill else ():
        process.kill()
    _, late = psutil.wait_procs(left, timeout=LIMIT_S)
    for process in late:
        process.kill()
    return time.time()


def _is_in(process: psutil.Process, folder: str) -> bool:
    """Whether the process works in this folder."""
    import psutil

    try:
        return bool(process.cwd() == os.path.realpath(folder))
    except psutil.Error:
        return False
