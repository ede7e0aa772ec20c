"""Whether this process records: its rank, and `TRACKHOOKS_DISABLED`."""

from __future__ import annotations

import os

_RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")


def records_here() -> bool:
    """Whether this process records its runs: it is rank 0, and `TRACKHOOKS_DISABLED` is not 1."""
    if os.environ.get("TRACKHOOKS_DISABLED", "") in ("1", "true"):
        return False
    rank = next((os.environ[name] for name in _RANKS if os.environ.get(name)), "0")
    return rank in ("0", "-1")
