"""What tracking costs a whole training: its processor time and its wall time, beside the same one without trackhooks.

Run: python benchmarks/whole_loop.py [--rounds 3] [--epochs 200] [--loops keras,torch] [--width 48] [--json]

A small convolutional net learns scikit-learn's digits, in Keras' `fit` and in a loop of PyTorch. Two such trainings
take turns of some epochs in one thread: one without trackhooks, and one that is only recorded (`delivery="off"`), or
delivered to all four trackers at their default throttle, or to an MLflow server that is down, or without trackhooks as
well, which shows how exact the comparison is: whole processes of the same program differ by a tenth. During the turns
of the plain training the delivery is stopped, so that it disturbs the other one only. What has been imported is kept
out of garbage collections: with torch's modules, a full one takes 0.2 s, in either training.

Only the training process is counted, and only its loop. The first six seconds hold the start of the delivery, which
imports the trackers meanwhile. The start (`run`) and the end of the process, which waits for delivery, have rows of
their own. The lag is how old what the slowest tracker still has to get is when the loop ends; here the delivery has
half of the time. With as many threads as cores, it has no idle core.

Promised for batches of 3 ms and more: with all four trackers and an idle core ≤ 3 % processor time and ≤ 3 % wall time,
and ≤ 5 % in the first six seconds; a server that is down slows nothing; without an idle core, delivery lags ≤ 60 s.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import os
import statistics
import tempfile
import time
from argparse import SUPPRESS
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from greenlet import greenlet
from measuring import Figures, arguments, by_turns, measured, median, report, spread, trackers
from results import Results, Taken
from trainings import Loop, TurnClock, keras_fit, torch_loop

BATCHES = 23
PROMISED_US = 3000
FIRST_S = 6.0
TURNS = 20
LABELS = {"keras": "Keras", "torch": "PyTorch"}
AGAIN, RECORDED, FOUR, DOWN = "without twice", "only recorded", "four trackers", "server down"
CANDIDATES = (AGAIN, RECORDED, FOUR, DOWN)


def main() -> None:
    """Measures and prints; with `--one` it is one of the processes that are measured."""
    parser = arguments(__doc__, 3)
    parser.add_argument("--epochs", type=int, default=200, help=f"of {BATCHES} batches")
    parser.add_argument("--loops", default="keras,torch", help="which of the two")
    parser.add_argument("--width", type=int, default=16, help="of PyTorch's net: 16 takes 1.5 ms a batch")
    parser.add_argument(
        "--threads", default=f"1,{os.cpu_count()}", help="of torch, one setting after another"
    )
    parser.add_argument("--only", default=",".join(CANDIDATES), help="which candidates")
    parser.add_argument("--one", help=SUPPRESS)
    parser.add_argument("--folder", default="", help=SUPPRESS)
    chosen = parser.parse_args()
    if unknown := [name for name in chosen.only.split(",") if name not in CANDIDATES]:
        parser.error(f"--only {unknown[0]!r} is not one of: {', '.join(CANDIDATES)}")
    if chosen.one:
        take_turns(chosen.loops, chosen.epochs, chosen.width, options(chosen.one, chosen.folder))
        return
    results = Results("whole_loop", chosen.json)
    settings = [(loop, threads) for threads in chosen.threads.split(",") for loop in chosen.loops.split(",")]
    for loop, threads in settings:
        compare(results, loop, threads, chosen, chosen.seconds / len(settings))
    results.end()


def compare(results: Results, loop: str, threads: str, chosen: Any, seconds: float) -> None:
    """Lets the candidates take turns; each is compared with the training without trackhooks in its process."""

    def measure(candidate: str) -> Figures:
        env = {"OMP_NUM_THREADS": threads, "KERAS_BACKEND": "torch"}
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            settings = {"loops": loop, "epochs": chosen.epochs, "width": chosen.width, "one": candidate}
            command = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
            to_its_end = candidate != DOWN  # it would wait for the server
            return measured(__file__, *command, "--folder", folder, env=env, to_its_end=to_its_end)

    names = [name for name in CANDIDATES if name in chosen.only.split(",")]
    taken = by_turns(
        {name: functools.partial(measure, name) for name in names}, chosen.rounds, seconds, results.failed
    )
    batch_us = statistics.median([us for name in names for us in taken.get(name, {}).get("batch_us", [])])
    title = f"{LABELS[loop]}, {batch_us / 1000:.1f} ms a batch, threads of torch: {threads}"
    rows = (
        ("loop without trackhooks, s", "plain_s", 1),
        ("processor time, ×", "cpu_times", 3),
        ("wall time, ×", "wall_times", 3),
        ("processor time of the median epoch, ×", "epoch_cpu_times", 3),
        ("wall time of the median epoch, ×", "epoch_wall_times", 3),
        (f"processor time of the first {FIRST_S:.0f} s, ×", "first_cpu_times", 3),
        (f"wall time of the first {FIRST_S:.0f} s, ×", "first_wall_times", 3),
        ("start, ms", "start_ms", 0),
        ("lag, s", "lag_s", 1),
        ("end of the process, s", "end_s", 1),
    )
    shown = [
        (what, *(spread(taken[name][figure], digits) for name in taken)) for what, figure, digits in rows
    ]
    results.table(title, ("", *taken), shown, taken)
    state_promises(results, title, taken, batch_us, is_core_idle=int(threads) < (os.cpu_count() or 1))


def state_promises(results: Results, title: str, taken: Taken, batch_us: float, is_core_idle: bool) -> None:
    """Without an idle core, only the lag is promised; for batches of less than 3 ms, nothing is."""
    if not is_core_idle:
        lag = median(taken, FOUR, "lag_s")
        claim = f"{title}: lag without an idle core"
        results.promise("Whole loop", claim, lag, at_most=60, unit="s", digits=1)
    elif batch_us >= PROMISED_US:
        of_first = f" of the first {FIRST_S:.0f} s"
        for figure, what, limit in (
            ("cpu_times", "processor time", 1.03),
            ("wall_times", "wall time", 1.03),
            ("first_cpu_times", "processor time" + of_first, 1.05),
            ("first_wall_times", "wall time" + of_first, 1.05),
        ):
            times = median(taken, FOUR, figure)
            results.promise("Whole loop", f"{title}: {what}", times, at_most=limit, unit="×", digits=3)


def options(candidate: str, folder: str) -> dict[str, Any] | None:
    """What `run` is given; None for a training without trackhooks."""
    down = {"csv": {}, "mlflow": {"tracking_uri": "http://127.0.0.1:9"}}  # nobody listens there
    return {
        AGAIN: None,
        RECORDED: {"dir": folder, "delivery": "off", **trackers(folder)},
        FOUR: {"dir": folder, **trackers(folder)},
        DOWN: {"dir": folder, **down},
    }[candidate]


# The process that is measured


def take_turns(loop: str, epochs: int, width: int, chosen: dict[str, Any] | None) -> None:
    """Two trainings take turns in this process: a plain one, and one with trackhooks, if options are given."""
    run, start_ms = None, 0.0
    if chosen is not None:
        import trackhooks

        start = time.perf_counter()
        run = trackhooks.run(**chosen)
        start_ms = 1000 * (time.perf_counter() - start)
    clocks = [TurnClock(max(1, epochs // TURNS)) for _ in range(2)]
    loops = [LOOPS[loop](clock, of, width) for clock, of in zip(clocks, (None, run), strict=True)]
    with run or contextlib.nullcontext():
        in_turns(loops, epochs)
        late = 0.0 if chosen is None else lag(chosen["dir"])
        report({**figures(*clocks), "start_ms": start_ms, "lag_s": late})


def in_turns(loops: Sequence[Loop], epochs: int) -> None:
    """Runs both loops by turns; only during those of the second one, there is delivery."""
    let_deliver(False)
    plain, ours = (greenlet(functools.partial(loop, epochs)) for loop in loops)
    try:
        for one in (plain, ours):
            one.switch()  # to its first epoch
        gc.collect()
        gc.freeze()
        while not ours.dead:
            plain.switch()
            let_deliver(True)
            ours.switch()
            let_deliver(ours.dead)
    finally:
        let_deliver(True)


def let_deliver(may: bool) -> None:
    """Continues or stops the delivery and what it has started."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        process.resume() if may else process.suspend()


def figures(plain: TurnClock, ours: TurnClock) -> Figures:
    """What the loop with trackhooks took, × the plain one."""
    ended = itertools.accumulate(wall for wall, _ in plain.epochs)
    first = sum(end <= FIRST_S for end in ended) or 1
    found = {"plain_s": plain.read()["wall_s"], "batch_us": 1e6 * plain.read()["epoch_cpu_s"] / BATCHES}
    for position, kind in enumerate(("wall", "cpu")):
        base, taken = ([epoch[position] for epoch in clock.epochs] for clock in (plain, ours))
        found |= {
            f"{kind}_times": sum(taken) / sum(base),
            f"epoch_{kind}_times": statistics.median(taken) / statistics.median(base),
            f"first_{kind}_times": sum(taken[:first]) / sum(base[:first]),
        }
    return found


def lag(folder: str) -> float:
    """How old what the slowest tracker still has to get is, in seconds."""
    from trackhooks.delivery import cursor
    from trackhooks.storage import journal

    (info,) = Path(folder).glob("*/run.json")
    found = [one.index for one in cursor.cursors(info.parent)]
    got = min(found) if len(found) == len(trackers(folder)) else -1
    return next((time.time() - event.time for event in journal.read(info.parent) if event.index > got), 0.0)


def keras_loop(clock: TurnClock, run: Any, width: int) -> Loop:
    """Keras' `fit`."""
    return keras_fit(clock, [] if run is None else [run.keras])


def custom_loop(clock: TurnClock, run: Any, width: int) -> Loop:
    """A custom loop, in PyTorch."""
    return torch_loop(clock, run, width=width)


LOOPS: dict[str, Callable[[TurnClock, Any, int], Loop]] = {"keras": keras_loop, "torch": custom_loop}


if __name__ == "__main__":
    main()
