"""The variables that launchers and schedulers set, and a process without any."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest

_PREFIXES = ("SLURM_", "TORCHELASTIC_", "OMPI_", "PMI", "MASTER_", "TRACKHOOKS_R", "TRACKHOOKS_JOB")
_NAMES = ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "TRACKHOOKS_DISABLED", "PBS_JOBID", "LSB_JOBID", "FLUX_JOB_ID")

TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "4f2a", "TORCHELASTIC_RESTART_COUNT": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "localhost", "MASTER_PORT": "29500",
}  # fmt: skip
"""What torchrun sets in every process of a job with two processes on one node, besides the rank."""


def of_rank(rank: int, **more: str) -> dict[str, str]:
    """Return the variables of a process that torchrun starts."""
    return {**TORCHRUN, "RANK": str(rank), "LOCAL_RANK": str(rank), **more}


def clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the variables of all launchers and schedulers."""
    for name in list(os.environ):
        if "RANK" in name or name in _NAMES or name.startswith(_PREFIXES):
            monkeypatch.delenv(name)


@contextmanager
def variables(given: Mapping[str, str]) -> Iterator[None]:
    """Set variables within the block."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        yield
