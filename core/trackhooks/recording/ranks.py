"""The rank of this process, and whether it records: of the processes of one job, by default only rank 0 does.

Schedulers number independent tasks, too, so most variables count only if another one shows that the processes work
together. An MPI launcher numbers the processes of one program: its variables are sufficient.
"""

from __future__ import annotations

import functools
import os

from ..errors import InvalidValueError, say

_ONE_JOB = ("MASTER_ADDR", "JAX_COORDINATOR_ADDRESS", "COORDINATOR_ADDRESS")
_RANKS = (
    ("RANK",),
    ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK"),
    # A process has rank 0 only if all of these are 0: Lightning sets no more than NODE_RANK and LOCAL_RANK.
    ("SLURM_PROCID", "NODE_RANK", "GROUP_RANK", "LOCAL_RANK"),
)
"""The first group with a variable that is set decides."""
_MPI = _RANKS[1]
_SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


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


def number(chosen: int | None = None) -> int:
    """Return the rank of this process in its job; 0 if it works on its own.

    Args:
        chosen: as in `silent_rank`.

    Raises:
        InvalidValueError: the variables of the job do not say which rank this is.
    """
    variable, _, rank = silent_rank(chosen).partition("=")
    if variable in ("NODE_RANK", "GROUP_RANK", "LOCAL_RANK"):
        return _on_its_node(variable, _number(variable))
    return int(rank or 0)


def _on_its_node(variable: str, node: int) -> int:
    """Return the rank of a process whose launcher numbers the nodes, and the processes of each node."""
    if variable == "LOCAL_RANK":
        return _number(variable)
    if not _number("LOCAL_WORLD_SIZE"):
        raise InvalidValueError(
            f"the rank of this process is not known: {variable} is {node}, and LOCAL_WORLD_SIZE is not set. Pass rank=…"
            " or set TRACKHOOKS_RANK."
        )
    return node * _number("LOCAL_WORLD_SIZE") + _number("LOCAL_RANK")


def world_size() -> int:
    """Return the number of processes of the job; 0 if it is not known."""
    return next(filter(None, map(_number, _SIZES)), 0)


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
        f"this process does not record its runs ({rank}): rank 0 records them. To record all ranks, pass ranks='all'."
        " If this process works on its own, pass rank=0 or set TRACKHOOKS_RANK=0."
    )
