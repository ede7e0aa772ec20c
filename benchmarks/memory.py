"""How much memory tracking takes: in the training process, and in the delivery process over a long run.

Run: python benchmarks/memory.py [--steps 1000000] [--trackers csv,tensorboard] [--rounds 3]

The training process is set beside the same one without trackhooks: 100,000 training batches, with all four trackers,
in a process that has imported nothing and in one that has imported torch. Then a run of so many batches is recorded as
fast as the hooks return, and the delivery process is read while it catches up.

Promised: ≤ 15 MB more in the training process; what the delivery process takes does not grow with the steps.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from measuring import Figures, by_turns, measured, report, show, spread, trackers

READINGS = 10
BATCHES = 100_000
BESIDE = ("nothing", "torch")
LOGS = {"loss": 0.5, "accuracy": 0.25, "grad_norm": 1.5}


def main() -> None:
    """Measures and prints; with `--one` it is one of the training processes that are measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1_000_000, help="training batches of the long run")
    parser.add_argument("--trackers", default="csv,tensorboard", help="which trackers deliver the long run")
    parser.add_argument("--rounds", type=int, default=3, help="training processes of each kind")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        train(chosen.one, chosen.folder)
        return
    show(
        f"training process, {BATCHES:,} batches, MiB",
        ("imported", "without", "four trackers", "more"),
        [beside(module, chosen.rounds) for module in BESIDE],
    )
    show(
        f"delivery process, {chosen.trackers}",
        ("events delivered", "MiB"),
        delivering(chosen.steps, chosen.trackers.split(",")),
    )


# The training process


def beside(module: str, rounds: int) -> tuple[str, ...]:
    """The memory of a training process with this module imported, without and with four trackers."""
    taken = by_turns(
        {name: functools.partial(process, module, name == "with") for name in ("without", "with")}, rounds
    )
    without, tracked = taken["without"]["rss_mib"], taken["with"]["rss_mib"]
    more = statistics.median(tracked) - statistics.median(without)
    return module, spread(without, 1), spread(tracked, 1), f"{more:.1f}"


def process(module: str, tracked: bool) -> Figures:
    """One training process."""
    with tempfile.TemporaryDirectory() as folder:
        return measured(__file__, "--one", module, *(("--folder", folder) if tracked else ()))


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


def delivering(steps: int, names: list[str]) -> list[tuple[str, str]]:
    """How much is delivered, and the memory of the delivery process then, in MiB."""
    import psutil

    import trackhooks

    readings = []
    with tempfile.TemporaryDirectory() as folder, trackhooks.run(*names, dir=folder) as run:
        (child,) = psutil.Process().children()  # the delivery process
        callbacks = run.callbacks
        callbacks.on_train_begin()
        callbacks.on_epoch_begin(0)
        step = 0
        for reading in range(1, READINGS + 1):
            for _ in range(steps // READINGS):
                callbacks.on_train_batch_end(step, dict(LOGS))
                step += 1
            while delivered(run, len(names)) < 0.99 * reading * steps / READINGS:
                time.sleep(0.1)
            readings.append((f"{delivered(run, len(names)):,}", f"{child.memory_info().rss / 2**20:.0f}"))
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
