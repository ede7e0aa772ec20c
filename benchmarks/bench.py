"""Runs all benchmarks within a time budget, and says of each promise of the design whether it is held: `make bench`.

Run: python benchmarks/bench.py [--minutes 20] [--short] [--only start_up,reading] [--to benchmarks/results.json]

Each benchmark is a separate script, which can be run alone; here it prints JSON (results.py has the schema). They run
one after the other. What one saves, the next may use: it gets its share of the time that is left, and starts no round
that would end later. One that fails or takes too long says so in the tables, and the others
are measured. The results are written after each benchmark; `docs/benchmarks_page.py` makes the page *Benchmarks* of
them. `--short` runs small sizes, as the tests do: every step of the way, but no figure that means anything.

The machine should have two cores and nothing else to do.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from results import machine, print_promises, print_table, reason

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RESULTS = HERE / "results.json"
PAGE = ROOT / "docs" / "benchmarks_page.py"
OVERRUN = 1.5
"""How much longer than its share of the time that is left a part may take: others must have theirs."""
RESERVE_S = 20
"""Of the budget, for the page and for ending what takes too long."""
STEP_PEERS = "floor: encode + crc + write,trackhooks → CSV,csv.writer,TensorBoard EventFileWriter"


class Part(NamedTuple):
    """One run of a benchmark.

    script: its name, without `.py`.
    share_s: what it takes on two idle cores of a usual machine, at most.
    full: its arguments.
    short: those that make it small; the tests use them. If None, the part is left out.
    """

    script: str
    share_s: float
    full: Sequence[str] = ()
    short: Sequence[str] | None = None


PARTS = (
    Part("hot_path", 25, ("--rounds", "20"), ("--rounds", "1", "--trackers", "csv")),
    Part(
        "between_batches",
        60,
        ("--rounds", "20", "--metrics", "1,3"),
        ("--rounds", "2", "--metrics", "1", "--loops", "torch,named"),
    ),
    Part("start_up", 20, ("--rounds", "5"), ("--rounds", "1")),
    Part("rate_of_clients", 50, ("--rounds", "4"), ("--rounds", "1", "--size", "1000")),
    Part(
        "memory",
        85,
        ("--rounds", "1", "--trackers", "csv,tensorboard"),
        ("--rounds", "1", "--steps", "1000", "--trackers", "csv"),
    ),
    Part("reading", 45, ("--runs", "10000", "--steps", "20", "--long", "100000", "--peers", "")),
    Part(
        "history",
        80,
        ("--rounds", "2"),
        ("--steps", "3000", "--peer-steps", "500", "--metrics", "4", "--rounds", "1"),
    ),
    Part("report", 45, ("--rounds", "2"), ("--sizes", "2x100", "--rounds", "1")),
    Part(
        "reading",
        50,
        ("--runs", "100", "--long", "100000"),
        ("--runs", "2", "--steps", "50", "--long", "200", "--rounds", "1"),
    ),
    Part(
        "to_the_prompt",
        75,
        ("--rounds", "2", "--only", "trackhooks at a prompt,mlflow.autolog,wandb.log"),
        ("--rounds", "1", "--epochs", "1", "--only", "wandb.log"),
    ),
    Part(
        "whole_loop",
        110,
        (
            "--loops",
            "torch",
            "--threads",
            "1",
            "--width",
            "48",
            "--epochs",
            "100",
            "--only",
            "without twice,only recorded,four trackers",
        ),
        ("--loops", "torch", "--threads", "1", "--rounds", "1", "--epochs", "1", "--only", "four trackers"),
    ),
    Part(
        "whole_loop",
        40,
        ("--loops", "torch", "--threads", "1", "--epochs", "100", "--only", "only recorded,four trackers"),
    ),
    Part(
        "whole_loop",
        30,
        ("--loops", "torch", "--threads", "2", "--epochs", "60", "--rounds", "1", "--only", "four trackers"),
    ),
    Part(
        "logged_step",
        230,
        ("--rounds", "5", "--steps", "500"),
        ("--rounds", "1", "--steps", "50", "--only", STEP_PEERS),
    ),
    Part(
        "next_to_clients",
        340,
        ("--rounds", "5", "--epochs", "20"),
        ("--rounds", "1", "--epochs", "1", "--loops", "torch"),
    ),
    Part("many_at_once", 0, short=("--trainings", "2", "--trackers", "csv", "--steps", "5")),
    Part("ranks", 0, short=("--ranks", "2", "--only", "all", "--epochs", "1", "--steps", "10")),
    Part("sweeps", 0, short=("--trials", "2", "--trackers", "csv", "--only", "optuna")),
    Part("large_files", 0, short=("--gb", "0.01", "--trackers", "csv")),
)
"""In the order in which they run: at the end those that take as many rounds as time allows. One without a share is
run by hand: it takes as long as all others."""
UNTIMED = ("large_files", "many_at_once", "ranks", "sweeps")
"""Those whose sizes say how long they take."""
READ_PEERS = ("history", "reading")
PEERS = Path(sys.prefix, "peers")
"""The environment with trackio and others, which `make bench` makes."""
PROMISED = {
    "Hot path": "hot_path",
    "Between real batches": "between_batches",
    "Start-up": "start_up",
    "Whole loop": "whole_loop",
    "Next to the peers": "next_to_clients",
    "Delivery": "rate_of_clients",
    "Reading": "reading",
    "Memory": "memory",
}
"""The promises of the design that are numbers, in its order, each with the benchmark that measures it."""


def main() -> None:
    """Runs all, prints one table, and writes the results and the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20, help="the budget")
    parser.add_argument("--short", action="store_true", help="small sizes: a rehearsal")
    parser.add_argument("--only", default="", help="which benchmarks")
    parser.add_argument("--to", type=Path, default=RESULTS, help="where the results are written")
    parser.add_argument("--page", action="store_true", help="make the page of the documentation, too")
    chosen = parser.parse_args()
    names = [name for name in chosen.only.split(",") if name]
    parts = [
        part
        for part in PARTS
        if (not names or part.script in names) and (part.short is not None if chosen.short else part.share_s)
    ]
    found = run_all(parts, chosen.minutes * 60, chosen.short, chosen.to)
    summarize(found)
    if chosen.page:
        subprocess.run([sys.executable, str(PAGE), str(chosen.to)], check=True)
    print(f"The results are in {chosen.to}.")
    sys.exit(not any(part["tables"] for part in found["parts"]))


def run_all(parts: Sequence[Part], budget_s: float, short: bool, to: Path) -> dict[str, Any]:
    """The results of all parts, written after each."""
    began = time.monotonic()
    found: dict[str, Any] = {"machine": machine(), "short": short, "seconds": 0, "parts": []}
    for number, part in enumerate(parts):
        left = budget_s - RESERVE_S - (time.monotonic() - began)
        share = part.share_s / max(sum(one.share_s for one in parts[number:]), 1)
        print(f"[{number + 1}/{len(parts)}] {part.script}: {left / 60:.1f} minutes are left", flush=True)
        found["parts"].append(measured(part, left, left * share, short))
        found["seconds"] = round(time.monotonic() - began)
        to.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return found


def measured(part: Part, left_s: float, share_s: float, short: bool) -> dict[str, Any]:
    """The results of one part, or why there are none."""
    since = time.monotonic()
    arguments = [*((part.short or ()) if short else part.full), "--json"]
    if part.script not in UNTIMED:
        arguments += ["--seconds", f"{max(share_s, 1):.0f}"]
    limit = left_s if short else min(left_s, OVERRUN * share_s + RESERVE_S)
    try:
        result = (
            json.loads(output_of(part, arguments, limit)) if left_s > 1 else failed(part, "no time was left")
        )
    except (RuntimeError, OSError, ValueError) as error:
        result = failed(part, reason(str(error)))
    result["arguments"] = arguments
    result["seconds"] = round(time.monotonic() - since)
    for one in result["failed"]:
        print(f"    {one['what']} was not measured: {one['why']}", flush=True)
    return result


def failed(part: Part, why: str) -> dict[str, Any]:
    """The results of a part that has none."""
    what = {"what": part.script, "why": why}
    return {"benchmark": part.script, "tables": [], "promises": [], "failed": [what]}


def python_for(part: Part) -> str:
    """The Python of the environment with the peers, where the part reads from them and it exists."""
    python = PEERS / "bin" / "python"
    return str(python) if part.script in READ_PEERS and python.exists() else sys.executable


def output_of(part: Part, arguments: Sequence[str], limit_s: float) -> str:
    """What the script of a part prints.

    Raises:
        RuntimeError: it failed, or took longer than the limit.
    """
    env = {
        **os.environ,
        "KERAS_BACKEND": "torch",
        "OMP_NUM_THREADS": "1",
        "TRACKHOOKS_PATCH": "0",
        "WANDB_SILENT": "true",
    }
    with tempfile.TemporaryFile("w+") as printed, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [python_for(part), str(HERE / f"{part.script}.py"), *arguments],
            cwd=tempfile.gettempdir(),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=errors,
        )
        is_late = False
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            is_late = True
            end(process)
        except KeyboardInterrupt:
            end(process)
            raise
        printed.seek(0)
        errors.seek(0)
        found = next((line for line in printed if line.startswith('{"benchmark"')), "")
        if not found:
            late = f"it was ended after {limit_s:.0f} s"
            raise RuntimeError(late if is_late else errors.read() or f"it ended with {process.returncode}")
        return found


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a script and everything that it has started; it may print what it has measured, and removes its folders."""
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    psutil.wait_procs(started, timeout=1)
    for one in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    try:
        process.wait(RESERVE_S / 2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def promises(found: dict[str, Any]) -> list[dict[str, Any]]:
    """All claims, in the order of the design; a promise of which nothing was measured has a line, too."""
    claims = [claim for part in found["parts"] for claim in part["promises"]]
    lines = []
    for promise, script in PROMISED.items():
        nothing = {"promise": promise, "claim": f"{script}.py was not measured"}
        missing = {**nothing, "limit": "", "figure": None, "shown": "", "held": None}
        lines += [claim for claim in claims if claim["promise"] == promise] or [missing]
    return lines


def summarize(found: dict[str, Any]) -> None:
    """Prints what failed, and each promise with its figure."""
    failed = [
        (part["benchmark"], one["what"], one["why"]) for part in found["parts"] for one in part["failed"]
    ]
    if failed:
        print_table("Not measured", ("benchmark", "what", "why"), failed)
    print_promises(promises(found))
    print(f"{found['seconds'] / 60:.1f} minutes.")


if __name__ == "__main__":
    main()
