"""The job that this process belongs to, as the variables of its launcher and its scheduler describe it.

What all processes of a job have in common, and the processes of no other job:

1. `TRACKHOOKS_JOB`, if the user sets it.
2. The id of an elastic job (`torchrun --rdzv-id`), unless it is the default, `none`.
3. The id that Open MPI and PMIx give a program.
4. The agent of `torchrun`, or the proxy of MPICH, that started the processes, if all of them are on one node.
5. The step of a SLURM job: one call of `srun`.
6. The address and port at which the processes of PyTorch meet (`MASTER_ADDR`, `MASTER_PORT`).
7. The process that started this one, or this one, if it starts the others.
"""

from __future__ import annotations

import os
import sys

import psutil

from ..storage.job_runs import Job
from ..storage.processes import created, machine

_SCHEDULERS = {"SLURM_JOB_ID": "slurm", "PBS_JOBID": "pbs", "LSB_JOBID": "lsf", "FLUX_JOB_ID": "flux"}
_ON_ONE_NODE = (("LOCAL_WORLD_SIZE", "WORLD_SIZE"), ("MPI_LOCALNRANKS", "PMI_SIZE"))
"""The numbers of processes on this node and of the job. They are equal if a launcher here started all of them."""
_DEFAULT_ID = "none"
"""The id of an elastic job whose user gives none."""


def job(is_rank: bool) -> Job:
    """Return the job of this process.

    Args:
        is_rank: whether the user set the rank of this process.
    """
    launch, scheduled = _launch(is_rank), _scheduled()
    attempt = [launch, scheduled, *map(_value, ("SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT"))]
    if _elastic_id():
        # An id may be used again. Within one attempt, all processes meet at the same port.
        attempt.append(_value("MASTER_PORT"))
    restarts = _value("SLURM_RESTART_COUNT")
    return Job(
        id=launch if _value("TRACKHOOKS_JOB") else scheduled or launch,
        restarts=int(restarts) if restarts.isdecimal() else 0,
        launch=launch,
        attempt=" ".join(attempt),
    )


def can_restart() -> bool:
    """Whether something may restart this process as a part of the same job: an elastic launcher or a scheduler."""
    return any(map(_value, ("TRACKHOOKS_JOB", "TORCHELASTIC_RUN_ID", *_SCHEDULERS)))


def _launch(is_rank: bool) -> str:
    for kind, value in (
        ("job", _value("TRACKHOOKS_JOB")),
        ("elastic", _elastic_id()),
        ("mpi", _value("PMIX_NAMESPACE") or _value("OMPI_MCA_ess_base_jobid")),
    ):
        if value:
            return f"{kind}-{value}"
    if any(_value(local) and _value(local) == _value(size) for local, size in _ON_ONE_NODE):
        return _process(os.getppid())
    if _value("SLURM_STEP_NUM_TASKS") not in ("", "1"):
        return f"{_scheduled()}.{_value('SLURM_STEP_ID')}"
    if _value("RANK") and _value("MASTER_ADDR"):
        return f"address-{_value('MASTER_ADDR')}-{_value('MASTER_PORT')} {_scheduled()}".rstrip()
    return _process(os.getppid() if _is_started_by_another_rank(is_rank) else os.getpid())


def _is_started_by_another_rank(is_rank: bool) -> bool:
    """Whether the parent belongs to the job: the first process of Lightning, or one that uses `multiprocessing`."""
    if _value("LOCAL_RANK") not in ("", "0"):
        return True
    processes = sys.modules.get("multiprocessing.process")
    is_worker = processes is not None and processes.parent_process() is not None
    return is_worker and (is_rank or any(map(_value, ("LOCAL_RANK", "RANK"))))


def _process(pid: int) -> str:
    """Identify a process of this machine."""
    try:
        return f"process-{machine()}-{pid}-{created(pid)}"
    except psutil.Error:  # it has ended
        return f"process-{machine()}-{pid}"


def _scheduled() -> str:
    """Return the id of the scheduler's job, such as `slurm-4711`, which a requeued job keeps; "" without one."""
    return next((f"{kind}-{_value(name)}" for name, kind in _SCHEDULERS.items() if _value(name)), "")


def _elastic_id() -> str:
    found = _value("TORCHELASTIC_RUN_ID")
    return "" if found == _DEFAULT_ID else found


def _value(variable: str) -> str:
    return os.environ.get(variable, "").strip()
