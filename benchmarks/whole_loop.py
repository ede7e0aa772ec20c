"""What tracking costs a whole training: its processor time and its wall time, beside the same one without trackhooks.

Run: python benchmarks/whole_loop.py [--rounds 7] [--epochs 150] [--loops keras,torch] [--width 48] [--json]

A small convolutional net learns scikit-learn's digits, in Keras' `fit` with `enable` and in a loop of PyTorch with
`run`. Whole processes take turns: without trackhooks, only recording (`delivery="off"`), with all four trackers at
their default throttle, and with an MLflow server that is down. Only the training process is counted, and only its loop;
the start (`enable` or `run`) and the end of the process, which waits for delivery, have rows of their own. The lag is
how old what the slowest tracker still has to get is when the loop ends. With as many threads as cores, delivery has no
idle core. The median epoch is what a busy machine distorts least; the whole loop holds the first seconds, too, in which
delivery imports the trackers.

Promised for batches of 3 ms and more: with all four trackers and an idle core ≤ 3 % processor time and ≤ 3 % wall time;
a start of ≤ 100 ms; a server that is down slows nothing; without an idle core, delivery lags ≤ 60 s.
"""

from __future__ import annotations

import functools
import os
import tempfile
import time
from argparse import SUPPRESS
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import Figures, arguments, by_turns, measured, median, ratio, report, spread, trackers
from results import Results, Taken
from trainings import Clock, keras_fit, torch_loop

BATCHES = 23
PROMISED_US = 3000
LABELS = {"keras": "Keras", "torch": "PyTorch"}
WITHOUT, RECORDED, FOUR, DOWN = "without", "only recorded", "four trackers", "server down"
CANDIDATES = (WITHOUT, RECORDED, FOUR, DOWN)


def main() -> None:
    """Measures and prints; with `--one` it is one of the processes that are measured."""
    parser = arguments(__doc__, 7)
    parser.add_argument("--epochs", type=int, default=150, help=f"of {BATCHES} batches")
    parser.add_argument("--loops", default="keras,torch", help="which of the two")
    parser.add_argument("--width", type=int, default=16, help="of PyTorch's net: 16 takes 1.5 ms a batch")
    parser.add_argument(
        "--threads", default=f"1,{os.cpu_count()}", help="of torch, one setting after another"
    )
    parser.add_argument("--only", default=",".join(CANDIDATES), help="which candidates, besides the first")
    parser.add_argument("--one", help=SUPPRESS)
    parser.add_argument("--folder", default="", help=SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        LOOPS[chosen.loops](chosen.epochs, options(chosen.one, chosen.folder), chosen.width)
        return
    results = Results("whole_loop", chosen.json)
    settings = [(loop, threads) for threads in chosen.threads.split(",") for loop in chosen.loops.split(",")]
    for loop, threads in settings:
        compare(results, loop, threads, chosen, chosen.seconds / len(settings))
    results.end()


def compare(results: Results, loop: str, threads: str, chosen: Any, seconds: float) -> None:
    """Lets the candidates take turns, and compares them with the training without trackhooks."""

    def measure(candidate: str) -> Figures:
        env = {"OMP_NUM_THREADS": threads, "KERAS_BACKEND": "torch"}
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            settings = {"loops": loop, "epochs": chosen.epochs, "width": chosen.width, "one": candidate}
            command = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
            to_its_end = candidate != DOWN  # it would wait for the server
            return measured(__file__, *command, "--folder", folder, env=env, to_its_end=to_its_end)

    names = [name for name in CANDIDATES if name == WITHOUT or name in chosen.only.split(",")]
    candidates = {name: functools.partial(measure, name) for name in names}
    taken = by_turns(candidates, chosen.rounds, seconds, results.failed)
    base = taken[WITHOUT]
    rows: dict[str, Callable[[dict[str, list[float]]], str]] = {
        "loop, s": lambda found: spread(found["wall_s"], 1),
        "a batch, µs of processor": lambda found: spread(found["batch_us"], 0),
        "processor time, ×": lambda found: ratio(found["cpu_s"], base["cpu_s"]),
        "processor time of the median epoch, ×": lambda found: ratio(
            found["epoch_cpu_s"], base["epoch_cpu_s"]
        ),
        "wall time, ×": lambda found: ratio(found["wall_s"], base["wall_s"]),
        "wall time of the median epoch, ×": lambda found: ratio(found["epoch_wall_s"], base["epoch_wall_s"]),
        "start, ms": lambda found: spread(found["start_ms"], 0),
        "lag, s": lambda found: spread(found["lag_s"], 1),
        "end of the process, s": lambda found: spread(found["end_s"], 1),
    }
    batch_ms = median(taken, WITHOUT, "batch_us") / 1000
    title = f"{LABELS[loop]}, {batch_ms:.1f} ms a batch, threads of torch: {threads}"
    shown = [(what, *(of(taken[name]) for name in taken)) for what, of in rows.items()]
    results.table(title, ("", *taken), shown, taken)
    state_promises(results, title, taken, is_core_idle=int(threads) < (os.cpu_count() or 1))


def state_promises(results: Results, title: str, taken: Taken, is_core_idle: bool) -> None:
    """Without an idle core, only the lag is promised; for batches of less than 3 ms, nothing is."""
    if not is_core_idle:
        lag = median(taken, FOUR, "lag_s")
        claim = f"{title}: lag without an idle core"
        results.promise("Whole loop", claim, lag, at_most=60, unit="s", digits=1)
    elif median(taken, WITHOUT, "batch_us") >= PROMISED_US:
        for figure, what in (("cpu_s", "processor time"), ("wall_s", "wall time")):
            times = median(taken, FOUR, figure) / median(taken, WITHOUT, figure)
            results.promise("Whole loop", f"{title}: {what}", times, at_most=1.03, unit="×", digits=3)


def options(candidate: str, folder: str) -> dict[str, Any] | None:
    """What `enable` and `run` are given; None for neither."""
    down = {"csv": {}, "mlflow": {"tracking_uri": "http://127.0.0.1:9"}}  # nobody listens there
    return {
        WITHOUT: None,
        RECORDED: {"dir": folder, "delivery": "off", **trackers(folder)},
        FOUR: {"dir": folder, **trackers(folder)},
        DOWN: {"dir": folder, **down},
    }[candidate]


def lag(folder: str) -> float:
    """How old what the slowest tracker still has to get is, in seconds."""
    from trackhooks.delivery import cursor
    from trackhooks.storage import journal

    (info,) = Path(folder).glob("*/run.json")
    found = [one.index for one in cursor.cursors(info.parent)]
    got = min(found) if len(found) == len(trackers(folder)) else -1
    return next((time.time() - event.time for event in journal.read(info.parent) if event.index > got), 0.0)


def reported(taken: Figures, start_ms: float, chosen: dict[str, Any] | None) -> None:
    """Hands over what a loop took."""
    late = lag(chosen["dir"]) if chosen is not None else 0.0
    report({**taken, "batch_us": 1e6 * taken["epoch_cpu_s"] / BATCHES, "start_ms": start_ms, "lag_s": late})


def keras_loop(epochs: int, chosen: dict[str, Any] | None, width: int) -> None:
    """Keras' `fit`."""
    start_ms = 0.0
    if chosen is not None:
        import trackhooks

        start = time.perf_counter()
        trackhooks.enable(**chosen)
        start_ms = 1000 * (time.perf_counter() - start)
    clock = Clock()
    keras_fit(clock)(epochs)
    reported(clock.read(), start_ms, chosen)


def custom_loop(epochs: int, chosen: dict[str, Any] | None, width: int) -> None:
    """A custom loop, in PyTorch."""
    clock = Clock()
    if chosen is None:
        torch_loop(clock, width=width)(epochs)
        reported(clock.read(), 0.0, None)
        return

    import trackhooks

    start = time.perf_counter()
    run = trackhooks.run(**chosen)
    start_ms = 1000 * (time.perf_counter() - start)
    with run:
        torch_loop(clock, run, width=width)(epochs)
        reported(clock.read(), start_ms, chosen)


LOOPS: dict[str, Callable[[int, dict[str, Any] | None, int], None]] = {
    "keras": keras_loop,
    "torch": custom_loop,
}


if __name__ == "__main__":
    main()
