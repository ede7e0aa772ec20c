"""How long the end of the program waits for delivery.

The delivery process outlives a program that was started at a prompt, but not one that is the whole of a container or
of a batch job: there it is killed with the job. So a program ends at once only if it is certain that it was started at
a prompt.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

from ..errors import InvalidValueError
from ..errors.foreign import attempt, shown

EVERYWHERE_S = 60.0
_AT_PROMPT_S = 2.0
_IN_KERNEL_S = 2.0
"""Jupyter sends SIGTERM after 2.5 s, and kills a kernel after 5 s."""
_AFTER_SIGTERM_S = 5.0
"""`docker stop` kills after 10 s."""
_SIGTERM_CODES = frozenset({143, -15})
"""Exit codes of programs that handle SIGTERM themselves."""
_JOBS = (
    "CI", "RUNNER_TRACKING_ID", "GITLAB_CI", "JENKINS_URL", "BUILDKITE", "TF_BUILD", "TEAMCITY_VERSION",
    "SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "FLUX_JOB_ID", "KUBERNETES_SERVICE_HOST", "AWS_BATCH_JOB_ID",
    "SM_TRAINING_ENV", "CLOUD_ML_JOB_ID", "RAY_JOB_ID",
)  # fmt: skip
"""Environment variables of continuous integration, batch systems, Kubernetes and cloud jobs."""


class ExitWait(NamedTuple):
    """The longest wait at the end of the program."""

    seconds: float
    only_for_files: bool = False
    """Whether the program may end as soon as the trackers that write files here have everything."""


def exit_wait(given: float | None, cause: BaseException | None) -> ExitWait:
    """Return how long this program waits.

    Args:
        given: what the user set, in seconds.
        cause: the exception that ends the program.
    """
    if given is not None:
        return ExitWait(given)
    if isinstance(cause, SystemExit) and cause.code in _SIGTERM_CODES:
        return ExitWait(_AFTER_SIGTERM_S)
    if "ipykernel" in sys.modules:
        return ExitWait(_IN_KERNEL_S, only_for_files=True)
    if _is_at_prompt():
        return ExitWait(_AT_PROMPT_S, only_for_files=True)
    return ExitWait(EVERYWHERE_S)


def _is_at_prompt() -> bool:
    """Whether a shell at a terminal has started this program, in a separate process group."""
    if any(os.environ.get(name) for name in _JOBS) or _uses_ray() or 1 in (os.getpid(), os.getppid()):
        return False
    try:
        leads_job = os.getpid() == os.getpgrp() != os.getsid(0)
        with Path("/dev/tty").open("rb"):  # there is a controlling terminal
            return leads_job
    except (AttributeError, OSError):  # no terminal, or not a POSIX system
        return False


def _uses_ray() -> bool:
    """Whether this program has connected to Ray. Ultralytics and others import it without using it."""
    ray = sys.modules.get("ray")
    return ray is not None and attempt(lambda: ray.is_initialized()) is True


def checked_wait(given: object) -> float | None:
    """Return the setting `wait` in seconds, or that of `TRACKHOOKS_WAIT`; None if neither is set.

    Raises:
        InvalidValueError: it is not a number of seconds from 0.
    """
    what = "wait"
    if given is None:
        what, given = "TRACKHOOKS_WAIT", os.environ.get("TRACKHOOKS_WAIT", "").strip() or None
        if given is None:
            return None
    found = attempt(float, given)
    if type(given) is bool or not isinstance(found, float) or not 0 <= found < float("inf"):
        raise InvalidValueError(f"{what} must be a number of seconds, such as 30 or 0, got {shown(given)}.")
    return found
