"""The end of a program whose tracker does not answer: bounded, and with the command that delivers later."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from odd_servers import DEAD, silent

from .result import Found, Result, tried
from .runs import place

PROGRAM = """
import sys, trackhooks
with trackhooks.run(dir=sys.argv[1], name="r", wait=3, system=None, mlflow={"tracking_uri": sys.argv[2]}) as run:
    for epoch in run.epochs(2):
        for batch in run.train(range(5)):
            run.log(loss=1.0)
"""
BOUND_S = 120.0
"""Far more than the wait that is set, because the machine may be busy."""


def close(short: bool, scale: float, seed: int) -> Iterator[Result]:
    """Yield a result for a server that is absent, and for one that hangs."""
    number = 1 if short else 3
    with silent() as hanging:
        for kind, uri in (("is absent", DEAD), ("hangs", hanging)):
            yield tried("Close", f"a program ends, and its MLflow server {kind}", _end, [uri] * number,
                        "it waits at most as long as set, says so, and names the command")  # fmt: skip


def _end(uri: str) -> Found:
    with place() as folder:
        since = time.monotonic()
        done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder), uri], capture_output=True, text=True,
                              check=False, timeout=600)  # fmt: skip
        took = time.monotonic() - since
        said = "trackhooks sync" in done.stderr
        return Found(
            survived=done.returncode == 0 and took < BOUND_S,
            wrong=not said,
            why=f"{took:.0f} s, {done.stderr[-300:]}",
        )
