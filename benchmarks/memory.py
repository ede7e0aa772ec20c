"""How much memory tracking takes: in the training process, and in the delivery process over a long run.

Run: python benchmarks/memory.py [--steps 1000000] [--trackers csv,tensorboard,mlflow,wandb] [--rounds 3] [--json]

The training process is set beside the same one without trackhooks: 100,000 training batches, with all four trackers,
in a process that has imported nothing and in one that has imported torch. Then a run of so many batches is recorded as
fast as the hooks return, and the delivery process is read while it catches up: its memory, without that of its
children, and how many events it delivers in a second.

Promised: ≤ 15 MB more in the training process; what the delivery process takes does not grow with the steps (here: at
most 1.15 × from the first reading of 100,000 events or more to the last).
"""

from __future__ import annotations

import functools
import importlib
import math
import tempfile
import time
from argparse import SUPPRESS
from collections.abc import Callable
from typing import Any

from measuring import Figures, arguments, by_turns, measured, median, report, spread, trackers
from results import Results

READINGS = (0.01, 0.1, 0.25, 0.5, 0.75, 1)
SETTLED = 100_000
BATCHES = 100_000
BESIDE = ("nothing", "torch")
ALL = "csv,tensorboard,mlflow,wandb"
LOGS = {"loss": 0.5, "accuracy": 0.25, "grad_norm": 1.5}


def main() -> None:
    """Measures and prints; with `--one` it is one of the training processes that are measured."""
    parser = arguments(__doc__, 3, "training processes of each kind")
    parser.add_argument("--steps", type=int, default=1_000_000, help="training batches of the long run")
    parser.add_argument("--trackers", default=ALL, help="which trackers deliver the long run")
    parser.add_argument("--one", help=SUPPRESS)
    parser.add_argument("--folder", help=SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        train(chosen.one, chosen.folder)
        return
    results = Results("memory", chosen.json)
    training_processes(results, chosen.rounds, 0.4 * chosen.seconds)
    delivery_process(results, chosen.steps, chosen.trackers.split(","), 0.6 * chosen.seconds)
    results.end()


# The training process


def training_processes(results: Results, rounds: int, seconds: float) -> None:
    """The memory of training processes, without and with four trackers."""
    ways = {f"{module}, {how}": (module, how == "with") for module in BESIDE for how in ("without", "with")}
    candidates = {name: functools.partial(process, *way) for name, way in ways.items()}
    taken = by_turns(candidates, rounds, seconds, results.failed)
    rows = []
    for module in BESIDE:
        without, tracked = taken[f"{module}, without"]["rss_mib"], taken[f"{module}, with"]["rss_mib"]
        more = median(taken, f"{module}, with", "rss_mib") - median(taken, f"{module}, without", "rss_mib")
        rows.append((module, spread(without, 1), spread(tracked, 1), f"{more:.1f}"))
        claim = f"more in a training process that has imported {module}"
        results.promise("Memory", claim, more * 2**20 / 1e6, at_most=15, unit="MB", digits=1)
    columns = ("imported", "without", "four trackers", "more")
    results.table(f"Memory of the training process, {BATCHES:,} batches, MiB", columns, rows, taken)


def process(module: str, tracked: bool) -> Figures:
    """One training process."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = ("--one", module, *(("--folder", folder) if tracked else ()))
        return measured(__file__, *command, to_its_end=False)


def train(module: str, folder: str | None) -> None:
    """Goes through the batches; with a folder, all four trackers get them."""
    if module != "nothing":
        importlib.import_module(module)
    on_train_batch_end: Callable[[int, dict[str, float]], Any] = lambda step, logs: None  # noqa: E731
    if folder is not None:
        import trackhooks

        callbacks = trackhooks.run(dir=folder, **trackers(folder)).callbacks
        callbacks.on_train_begin()
        callbacks.on_epoch_begin(0)
        on_train_batch_end = callbacks.on_train_batch_end
    for step in range(BATCHES):
        on_train_batch_end(step, dict(LOGS))
    report({})


# The delivery process


def delivery_process(results: Results, steps: int, names: list[str], seconds: float) -> None:
    """Its memory and its rate over a long run."""
    readings = delivering(steps, names, seconds)
    rows = [(f"{events:,.0f}", f"{memory:.0f}", f"{rate:,.0f}") for events, memory, rate in readings]
    events, memory, rate = (list(column) for column in zip(*readings, strict=True))
    figures = {"delivery": {"events": events, "mib": memory, "events_a_second": rate}}
    columns = ("events delivered", "MiB", "events a second since the row above")
    results.table(f"Delivery process, {', '.join(names)}", columns, rows, figures)
    first = next((mib for event, mib, _ in readings if event >= 0.99 * SETTLED), math.nan)
    claim = f"the delivery process from {SETTLED:,} to {events[-1]:,.0f} events"
    results.promise("Memory", claim, memory[-1] / first, at_most=1.15, unit="×")


def delivering(steps: int, names: list[str], seconds: float) -> list[tuple[float, float, float]]:
    """How much is delivered; the memory of the delivery process then, in MiB; and events a second.

    No reading begins that would end later, if it is as fast as the one before.
    """
    import psutil

    import trackhooks

    readings: list[tuple[float, float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        options = {name: trackers(folder)[name] for name in names}
        with trackhooks.run(dir=folder, **options) as run:
            callbacks = run.callbacks
            callbacks.on_train_begin()
            callbacks.on_epoch_begin(0)
            run.wait()  # what the trackers import is not in the rate
            (child,) = psutil.Process().children()  # the delivery process; git has ended, too
            fired = had = 0
            began, rate = time.perf_counter(), math.inf
            for reading in READINGS:
                since = time.perf_counter()
                if since + (reading * steps - had) / rate > began + seconds:
                    break
                for step in range(fired, int(reading * steps)):
                    callbacks.on_train_batch_end(step, dict(LOGS))
                while (has := delivered(run, len(names))) < 0.99 * reading * steps:
                    time.sleep(0.05)
                rate = (has - had) / (time.perf_counter() - since)
                readings.append((has, child.memory_info().rss / 2**20, rate))
                fired, had = int(reading * steps), has
            callbacks.on_train_end()
            run.close()
            run.wait()
    return readings


def delivered(run: Any, trackers: int) -> int:
    """The last event that the slowest of so many trackers has."""
    from trackhooks.delivery import cursor

    found = [one.index for one in cursor.cursors(run.path)]
    return min(found) if len(found) == trackers else 0


if __name__ == "__main__":
    main()
