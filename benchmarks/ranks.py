"""A distributed training whose ranks all record, tried with torchrun: whole, with a slow rank, killed and restarted.

Run: python benchmarks/ranks.py [--ranks 2 4] [--steps 50] [--epochs 4]

The processes train a small network with DistributedDataParallel and gloo, on this machine. Each trial is one call of
torchrun:

- `disabled`, `zero` and `all`: nothing is recorded, rank 0 records, every rank records. The figure beside them is the
  processor time of a step in the training process of rank 0, in which it also averages the gradients.
- `slow loader`: the last rank loads each batch 20 ms later than the others.
- `killed`: rank 1 is killed with SIGKILL in the middle of an epoch, and torchrun ends the others.
- `restarted`: the same with `--max-restarts 1` and `resume="auto"`; the training continues from its last epoch.

Expected: every rank has each step once, up to the one at which it was killed; so has the CSV file of rank 0.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from results import Results

SLOW_S = 0.02
OPTIONS = {
    "disabled": {"TRACKHOOKS_DISABLED": "1"},
    "zero": {"TRACKHOOKS_RANKS": "zero"},
    "all": {},
    "slow loader": {"SLOW": "1"},
    "killed": {"KILL": "1"},
    "restarted": {"KILL": "1", "TRACKHOOKS_RESUME": "auto"},
}
STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
"""PyTorch 2.14 sometimes connects a restarted process to the address of the killed one, unless this is set."""


class Size(NamedTuple):
    """How long a training is."""

    epochs: int
    steps: int


def main() -> None:
    """Tries, and prints; with `--worker` it is one of the ranks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--steps", type=int, default=50, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--only", nargs="+", choices=OPTIONS, default=list(OPTIONS))
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    size = Size(chosen.epochs, chosen.steps)
    if chosen.worker:
        train(Path(chosen.worker), size)
        return
    rows = [attempt(name, ranks, size) for ranks in chosen.ranks for name in chosen.only]
    columns = (
        "ranks",
        "trial",
        "seconds",
        "steps of each rank",
        "rows of CSV",
        "statuses",
        "slowest",
        "CPU ms a step",
    )
    results = Results("ranks", chosen.json)
    results.table("A run of several ranks", columns, rows)
    results.end()


def attempt(name: str, ranks: int, size: Size) -> tuple[str, ...]:
    """One call of torchrun."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        since = time.perf_counter()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(ranks)),
                *("--max-restarts", str(int(name == "restarted")), __file__, "--worker", str(folder)),
                *("--epochs", str(size.epochs), "--steps", str(size.steps)),
            ],
            env={**os.environ, "TRACKHOOKS_RANKS": "all", **STORE, **OPTIONS[name]},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - since
        if bool(done.returncode) != (name == "killed"):
            raise RuntimeError(f"torchrun ended with {done.returncode}:\n{done.stderr}")
        cpu = folder / "cpu.json"
        per_step = f"{json.loads(cpu.read_text()):.2f}" if cpu.exists() else "–"
        return (str(ranks), name, f"{seconds:.1f}", *found(folder / "runs" / "ddp"), per_step)


def found(run: Path) -> tuple[str, str, str, str]:
    """What the run has: steps, rows, statuses and the slowest rank."""
    if not run.exists():
        return "–", "–", "–", "–"
    import trackhooks

    ranks = trackhooks.ranks(run)
    steps = [sorted({*steps_of(rank.summary.path)}) for rank in ranks]
    whole = all(some == list(range(len(some))) for some in steps)
    statuses = [" → ".join(statuses_of(rank.summary.path)) for rank in ranks]
    with (run / "batches.csv").open() as file:
        rows = [row["step"] for row in csv.DictReader(file)]
    return (
        ", ".join(str(len(some)) for some in steps) + ("" if whole else " with gaps"),
        f"{len(rows)}" + ("" if len({*rows}) == len(rows) else " with repeats"),
        "; ".join(dict.fromkeys(statuses)),
        "–" if ranks.slowest is None else f"rank {ranks.slowest.rank}",
    )


def steps_of(folder: Path) -> Iterator[int]:
    """The steps in the journal of a rank."""
    import trackhooks

    return (event.step for event in trackhooks.journal.read(folder) if event.hook == "on_train_batch_end")


def statuses_of(folder: Path) -> Iterator[str]:
    """The statuses in the journal of a rank, in their order."""
    import trackhooks

    return (event.status for event in trackhooks.journal.read(folder) if event.status)


# A rank


def train(folder: Path, size: Size) -> None:
    """Trains as one rank, from the last epoch that an earlier attempt completed."""
    import torch
    import torch.distributed as dist

    import trackhooks

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.manual_seed(rank)
    layers = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 1))
    net = torch.nn.parallel.DistributedDataParallel(layers)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    done = folder / "epochs-done"
    start = int(done.read_text()) if done.exists() else 0
    with trackhooks.run("csv", dir=folder / "runs", name="ddp", system="1s") as run:
        since = time.process_time()
        for epoch in run.epochs(size.epochs, start=start):
            for step, x in enumerate(run.train(batches(rank, size.steps))):
                _maybe_die(rank, (epoch, step), size)
                loss = net(x).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                run.log(loss=loss)
            dist.barrier()
            if rank == 0:
                done.write_text(str(epoch + 1))
        if rank == 0:
            taken = 1000 * (time.process_time() - since) / (size.epochs - start) / size.steps
            (folder / "cpu.json").write_text(json.dumps(taken))
    dist.destroy_process_group()


def batches(rank: int, steps: int) -> Iterator[Any]:
    """Random batches; the last rank may get them late."""
    import torch

    for _ in range(steps):
        if "SLOW" in os.environ and rank == int(os.environ["WORLD_SIZE"]) - 1:
            time.sleep(SLOW_S)
        yield torch.randn(32, 64)


def _maybe_die(rank: int, place: tuple[int, int], size: Size) -> None:
    first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if "KILL" in os.environ and rank == 1 and first and place == (size.epochs // 2, size.steps // 2):
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main()
