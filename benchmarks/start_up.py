"""What the first lines of a program cost: the import, `enable` and `run`.

Run: python benchmarks/start_up.py [--rounds 10] [--json]

Each figure is from a fresh process, and the processes take turns. The import is set beside that of the three packages
that it brings in; `enable` and `run` name all four trackers, and `run` starts the delivery process as well.

Promised: the import brings in no tracker and no framework; `enable` and `run` with all four trackers take ≤ 100 ms.
"""

from __future__ import annotations

import functools
import sys
import tempfile
import time
from argparse import SUPPRESS

from measuring import Figures, arguments, by_turns, measured, median, ratio, report, spread, trackers
from results import Results

HEAVY = {"keras", "mlflow", "numpy", "tensorboard", "torch", "ultralytics", "wandb"}
DEPENDENCIES, IMPORT = "import msgspec, psutil, wrapt", "import trackhooks"
ENABLE = "trackhooks.enable(**options)"
RUN = "trackhooks.run(**options)"
STATEMENTS = (DEPENDENCIES, IMPORT, ENABLE, RUN)


def main() -> None:
    """Measures and prints; with `--one` it is one of the processes that are measured."""
    parser = arguments(__doc__, 10, "processes of each statement")
    parser.add_argument("--one", help=SUPPRESS)
    parser.add_argument("--folder", default="", help=SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        time_statement(chosen.one, chosen.folder)
        return
    candidates = {one: functools.partial(measure, one) for one in STATEMENTS}
    taken = by_turns(candidates, chosen.rounds, chosen.seconds)
    base = taken[DEPENDENCIES]["ms"]
    rows = [
        (name, spread(found["ms"], 0), ratio(found["ms"], base), f"{max(found['heavy']):.0f}")
        for name, found in taken.items()
    ]
    results = Results("start_up", chosen.json)
    columns = ("", "ms", "× the dependencies", "trackers and frameworks imported")
    results.table("The first lines of a program", columns, rows, taken)
    heavy = max(taken[IMPORT]["heavy"])
    results.promise(
        "Start-up", "trackers and frameworks that the import brings in", heavy, at_most=0, digits=0
    )
    for statement in (ENABLE, RUN):
        figure = median(taken, statement, "ms")
        results.promise("Start-up", f"`{statement}` of all four", figure, at_most=100, unit="ms", digits=0)
    results.end()


def measure(statement: str) -> Figures:
    """One statement, in a separate process."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        return measured(__file__, "--one", statement, "--folder", folder, to_its_end=False)


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
