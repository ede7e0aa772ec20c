"""Whether this process records its runs."""

from __future__ import annotations

import os

_RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK")


def records_here() -> bool:
    """Whether this process records its runs: its rank is 0, and `TRACKHOOKS_DISABLED` is not 1."""
    if os.environ.get("TRACKHOOKS_DISABLED", "") in ("1", "true"):
        return False
    rank = next((os.environ[name] for name in _RANKS if os.environ.get(name)), "0")
    return rank in ("0", "-1")
