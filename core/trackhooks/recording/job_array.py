"""The job array of a scheduler that this process belongs to."""

from __future__ import annotations

import os


def array_group() -> str | None:
    """Return the group of the runs of a SLURM job array, `slurm-4711`; None outside of one.

    The tasks of an array are jobs of their own. They have the id of the array in common.
    """
    array = os.environ.get("SLURM_ARRAY_JOB_ID", "").strip()
    return f"slurm-{array}" if array else None
