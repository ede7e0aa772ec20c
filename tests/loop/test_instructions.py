"""The instructions of a logged step, counted: unlike its time, noise cannot move their number."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

STEPS = 128
"""What is logged is added up after as many steps."""
MOST = 5.5
"""How many times the instructions of the floor a logged step may take. On Python 3.11 it takes 4.6 times as many."""
MARK = "sched_get_priority_max"
"""A function of the C library that nothing else calls: callgrind writes a file of its counts before each call."""
PROGRAM = f"""
    import os, sys, time, zlib
    import msgspec, numpy, trackhooks

    encode, crc32 = msgspec.msgpack.Encoder().encode, zlib.crc32
    file = os.open("floor", os.O_CREAT | os.O_WRONLY)

    def floor(steps):
        for step in range(steps):
            metrics = {{"train_batch/loss": 0.5}}
            payload = encode(
                {{"hook": "on_train_batch_end", "index": step, "time": time.time(), "step": step, "metrics": metrics}}
            )
            os.write(file, crc32(payload).to_bytes(4, "little") + payload)

    def hooks(steps):
        for _ in run.train([(numpy.zeros((4, 2)),)] * steps):
            run.log(loss=0.5)

    with trackhooks.run(dir="runs", delivery="off") as run:
        for _ in run.epochs(1):
            hooks({STEPS})
            for step in floor, hooks:
                for steps in {STEPS}, {2 * STEPS}:
                    os.{MARK}(0)
                    step(steps)
            os.{MARK}(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("valgrind") is None,
    reason="valgrind is not installed, which counts instructions",
)
def test_a_logged_step_takes_few_instructions(tmp_path: Path) -> None:
    count = ["valgrind", "--tool=callgrind", f"--dump-before={MARK}", "--callgrind-out-file=counts"]
    program = [sys.executable, "-c", dedent(PROGRAM)]
    done = subprocess.run(
        [*count, *program], cwd=tmp_path, env={**os.environ, "TRACKHOOKS_PATCH": "0"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    floor, twice_the_floor, hooks, twice_the_hooks = (
        _instructions(tmp_path / f"counts.{n}") for n in range(2, 6)
    )
    assert floor < twice_the_floor
    assert hooks < twice_the_hooks
    ratio = (twice_the_hooks - hooks) / (twice_the_floor - floor)
    assert ratio <= MOST, f"{(twice_the_hooks - hooks) / STEPS:.0f} instructions a step"


def _instructions(counts: Path) -> int:
    line = next(line for line in counts.read_text().splitlines() if line.startswith("totals:"))
    return int(line.split()[1])
