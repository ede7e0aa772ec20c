"""What the first lines of a program cost: the import, `enable` and `run`.

Run: python benchmarks/start_up.py [--rounds 10]

Each figure is from a fresh process, and the processes take turns. The import is set beside that of the three packages
that it brings in; `enable` and `run` name all four trackers, and `run` starts the delivery process as well.

Promised: the import brings in no tracker and no framework; `enable` and `run` with all four trackers take ≤ 100 ms.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import time

from measuring import Figures, by_turns, measured, ratio, report, show, spread, trackers

HEAVY = {"keras", "mlflow", "numpy", "tensorboard", "torch", "ultralytics", "wandb"}
DEPENDENCIES, IMPORT = "import msgspec, psutil, wrapt", "import trackhooks"
ENABLE = "trackhooks.enable(**options)"
RUN = "trackhooks.run(**options)"
STATEMENTS = (DEPENDENCIES, IMPORT, ENABLE, RUN)


def main() -> None:
    """Measures and prints; with `--one` it is one of the processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="processes of each statement")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        time_statement(chosen.one, chosen.folder)
        return
    taken = by_turns({one: functools.partial(measure, one) for one in STATEMENTS}, chosen.rounds)
    base = taken[DEPENDENCIES]["ms"]
    rows = [
        (name, spread(found["ms"], 0), ratio(found["ms"], base), f"{max(found['heavy']):.0f}")
        for name, found in taken.items()
    ]
    show("start-up", ("", "ms", "× the dependencies", "trackers and frameworks imported"), rows)


def measure(statement: str) -> Figures:
    """One statement, in a separate process."""
    with tempfile.TemporaryDirectory() as folder:
        return measured(__file__, "--one", statement, "--folder", folder)


def time_statement(statement: str, folder: str) -> None:
    """Runs it, and hands over how long it took and how much it imported that is heavy."""
    names = {"options": {"dir": folder, **trackers(folder)}}
    if statement in (ENABLE, RUN):
        exec(IMPORT, names)
    code = compile(statement, "statement", "exec")
    since = time.perf_counter()
    exec(code, names)
    taken = time.perf_counter() - since
    report({"ms": 1000 * taken, "heavy": len(HEAVY & set(sys.modules))})


if __name__ == "__main__":
    main()
