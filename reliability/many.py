"""Forks, threads, pools, and 48 runs at once: every run has its own records, once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from trackhooks.delivery.catch_up import deliver
from trackhooks.storage import journal
from trackhooks.storage.run_folder import paths, read_info

from .result import Found, Result, measured
from .runs import place, wait_for

CSV = {"csv": {"every": 1}}
START = "import os, sys, threading, trackhooks\nhome = sys.argv[1]\n"
FORKS = """
with trackhooks.run("csv", dir=home, name="r", system=None) as run:
    for epoch in run.epochs(10):
        for batch in run.train(range(10)):
            run.log(loss=(epoch * 10 + batch + 1) / 8)
            if batch % 3 == 0:
                child = os.fork()
                if not child:
                    run.log(loss=-1.0)  # the run belongs to the parent
                    os._exit(0)
                os.waitpid(child, 0)
"""
THREADS = """
with trackhooks.run("csv", dir=home, name="r", system=None) as run:
    def log(number):
        for step in range(50):
            run.log({f"x{number}": step})
    threads = [threading.Thread(target=log, args=[number]) for number in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""
ONE = """
    with trackhooks.run("csv", dir=home, name="r", system=None) as run:
        for epoch in run.epochs(2):
            for batch in run.train(range(10)):
                run.log(loss=(epoch * 10 + batch + 1) / 8)
"""
POOL = f"""
import multiprocessing
def one(number):{ONE}
if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[2]).Pool(4) as pool:
        pool.map(one, range(12))
        pool.close(); pool.join()
"""
ALONE = f"if True:{ONE}"
IN_THREADS = f"""
def one(number):{ONE}
threads = [threading.Thread(target=one, args=[number]) for number in range(48)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def many(short: bool, scale: float, seed: int) -> Iterator[Result]:
    """Yield a result of each kind; `tried` counts runs."""
    yield _tried("forks within a run", FORKS, 1, 100)
    yield _tried("8 threads that log to one run", THREADS, 1, 400)
    if short:
        return
    yield _tried("a pool of 4 forked processes", POOL, 12, 20, "fork")
    yield _tried("a pool of 4 new processes", POOL, 12, 20, "spawn")
    yield _tried("48 runs at once in one process", IN_THREADS, 48, 20)
    yield _tried("48 processes at once, with one run each", ALONE, 48, 20, processes=48)


def _tried(kind: str, source: str, runs: int, points: int, *arguments: str, processes: int = 1) -> Result:
    with measured("Bad input", kind) as result, place() as folder:
        script = folder / "program.py"
        script.write_text(START + source)
        command = [sys.executable, str(script), str(folder / "runs"), *arguments]
        started = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for _ in range(processes)
        ]
        errors = [one.communicate(timeout=500)[1] for one in started]
        failed = [error for one, error in zip(started, errors, strict=True) if one.returncode]
        found = sorted(paths(folder / "runs"))
        for path in found:
            result.add(_audited(path, points))
        for _ in range(runs - len(found)):
            result.add(Found(survived=False, why=f"a run is missing: {failed[:1]}"))
    return result


def _audited(path: Path, points: int) -> Found:
    if not wait_for(path, CSV):
        failed = deliver(path)
        if failed:
            return Found(survived=False, why=str(failed))
    events = [
        event for event in journal.read(path) if event.metrics and event.hook in ("on_train_batch_end", "log")
    ]
    table = path / ("batches.csv" if (path / "batches.csv").exists() else "metrics.csv")
    rows = table.read_text().splitlines()[1:]
    indices = [event.index for event in journal.read(path)]
    wrong = (read_info(path).status != "finished") + (sorted(set(indices)) != list(range(len(indices))))
    found = Found(
        lost=max(points - len(events), 0) + max(points - len(rows), 0),
        doubled=max(len(rows) - points, 0),
        wrong=wrong,
    )
    found.why = f"{len(events)} records and {len(rows)} rows instead of {points}; {read_info(path).status}"
    return found
