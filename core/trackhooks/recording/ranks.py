"""Whether this process records its runs: of the processes of one distributed job, only the one with rank 0 does.

Schedulers number independent tasks, too, so most variables count only if another one shows that the processes work
together. An MPI launcher numbers the processes of one program: its variables are sufficient.
"""

from __future__ import annotations

import functools
import os

from ..errors import say

_ONE_JOB = ("MASTER_ADDR", "JAX_COORDINATOR_ADDRESS", "COORDINATOR_ADDRESS")
_RANKS = (
    ("RANK",),
    ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK"),
    # A process has rank 0 only if all of these are 0: Lightning sets no more than NODE_RANK and LOCAL_RANK.
    ("SLURM_PROCID", "NODE_RANK", "GROUP_RANK", "LOCAL_RANK"),
)
"""The first group with a variable that is set decides."""
_MPI = _RANKS[1]


def disabled() -> bool:
    """Whether `TRACKHOOKS_DISABLED` is set."""
    return os.environ.get("TRACKHOOKS_DISABLED", "") in ("1", "true")


def silent_rank(chosen: int | None = None) -> str:
    """Return the variable because of which this process does not record its runs, such as `RANK=1`; "" if it does.

    Args:
        chosen: the rank that the user set, which takes precedence over that in the job.
    """
    if chosen is not None:
        return "" if chosen <= 0 else f"rank={chosen}"
    found = next((names for names in _RANKS if any(map(os.environ.get, names))), ())
    higher = (name for name in found if _number(name) > 0 and (name in _MPI or _in_one_job()))
    return next((f"{name}={os.environ[name]}" for name in higher), "")


def _in_one_job() -> bool:
    if os.environ.get("WORLD_SIZE"):
        return _number("WORLD_SIZE") > 1
    return any(map(os.environ.get, _ONE_JOB))


def _number(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else 0


@functools.cache
def say_silent(rank: str) -> None:
    """Tell the user, once, that this process does not record its runs."""
    say(
        f"this process does not record its runs ({rank}): rank 0 records them. To record them here too, pass rank=0 or"
        " set TRACKHOOKS_RANK=0."
    )
