"""Which processes belong to one job, and which of them continue what earlier ones did."""

from __future__ import annotations

from collections.abc import Mapping

import job_variables
import pytest
from job_variables import of_rank, variables

from trackhooks.recording import jobs
from trackhooks.storage.job_runs import Job

Variables = Mapping[str, str]

NODES = {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
SRUN = {"SLURM_JOB_ID": "4711", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}
BATCH = {"SLURM_JOB_ID": "4711"}
MPI = {"OMPI_COMM_WORLD_SIZE": "2", "PMIX_NAMESPACE": "prterun-node1-4242@1"}
BY_HAND = {"WORLD_SIZE": "2", "MASTER_ADDR": "digits-master-0", "MASTER_PORT": "23456"}

TOGETHER: dict[str, tuple[Variables, Variables]] = {
    "torchrun": (of_rank(0), of_rank(1)),
    "torchrun without an id on one node": (
        of_rank(0, TORCHELASTIC_RUN_ID="none"), of_rank(1, TORCHELASTIC_RUN_ID="none"),
    ),
    "torchrun on two nodes": (of_rank(0, **NODES), of_rank(3, LOCAL_RANK="1", GROUP_RANK="1", **NODES)),
    "srun": ({**SRUN, "SLURM_PROCID": "0"}, {**SRUN, "SLURM_PROCID": "1", "SLURM_NODEID": "1"}),
    "a torchrun without an id on each of two nodes": (
        of_rank(0, TORCHELASTIC_RUN_ID="none", **NODES, **SRUN),
        of_rank(2, TORCHELASTIC_RUN_ID="none", GROUP_RANK="1", **NODES, **SRUN),
    ),
    "Open MPI": ({**MPI, "OMPI_COMM_WORLD_RANK": "0"}, {**MPI, "OMPI_COMM_WORLD_RANK": "1"}),
    "MPICH": (
        {"PMI_RANK": "0", "PMI_SIZE": "2", "MPI_LOCALNRANKS": "2"},
        {"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALNRANKS": "2"},
    ),
    "an address, as in Kubernetes": ({**BY_HAND, "RANK": "0"}, {**BY_HAND, "RANK": "1"}),
    "an id of the user": ({"TRACKHOOKS_JOB": "digits", "RANK": "0"}, {"TRACKHOOKS_JOB": "digits", "RANK": "1"}),
}  # fmt: skip
APART: dict[str, tuple[Variables, Variables]] = {
    "two jobs of torchrun": (of_rank(0), of_rank(0, TORCHELASTIC_RUN_ID="99aa")),
    "an id that is used again": (of_rank(0), of_rank(0, MASTER_PORT="31999")),
    "an elastic restart": (of_rank(0), of_rank(0, TORCHELASTIC_RESTART_COUNT="1")),
    "two steps of a SLURM job": (SRUN, {**SRUN, "SLURM_STEP_ID": "1"}),
    "a requeued job": (SRUN, {**SRUN, "SLURM_RESTART_COUNT": "1"}),
    "two programs of mpirun": (MPI, {**MPI, "PMIX_NAMESPACE": "prterun-node1-4300@1"}),
    "two addresses": ({**BY_HAND, "RANK": "0"}, {**BY_HAND, "RANK": "0", "MASTER_ADDR": "faces-master-0"}),
}
CONTINUED: dict[str, tuple[Variables, Variables]] = {
    "an elastic restart": (of_rank(0), of_rank(0, TORCHELASTIC_RESTART_COUNT="1", MASTER_PORT="31999")),
    "other members, which torchrun does not count as a restart": (of_rank(0), of_rank(1, MASTER_PORT="31999")),
    "a requeued job of srun": (SRUN, {**SRUN, "SLURM_RESTART_COUNT": "1"}),
    "a requeued job of one process": (BATCH, {**BATCH, "SLURM_RESTART_COUNT": "2"}),
    "a requeued job that starts torchrun": (
        of_rank(0, **BATCH), of_rank(0, TORCHELASTIC_RUN_ID="99aa", SLURM_RESTART_COUNT="1", **BATCH),
    ),
    "a requeued task of an array": (
        {**BATCH, "SLURM_ARRAY_JOB_ID": "4700"}, {**BATCH, "SLURM_ARRAY_JOB_ID": "4700", "SLURM_RESTART_COUNT": "1"},
    ),
    "an id of the user": ({"TRACKHOOKS_JOB": "digits"}, {"TRACKHOOKS_JOB": "digits"}),
}  # fmt: skip
NEW: dict[str, tuple[Variables, Variables]] = {
    "two jobs of torchrun": (of_rank(0), of_rank(0, TORCHELASTIC_RUN_ID="99aa")),
    "two jobs of SLURM": (BATCH, {"SLURM_JOB_ID": "4712", "SLURM_RESTART_COUNT": "1"}),
    "two steps of a job that was not requeued": (SRUN, {**SRUN, "SLURM_STEP_ID": "1"}),
    "two launches in one allocation": (of_rank(0, **BATCH), of_rank(0, TORCHELASTIC_RUN_ID="99aa", **BATCH)),
}


@pytest.fixture(autouse=True)
def _no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    job_variables.clear(monkeypatch)


def jobs_of(pair: tuple[Variables, Variables]) -> tuple[Job, Job]:
    first, second = map(job_of, pair)
    return first, second


def job_of(given: Variables) -> Job:
    with variables(given):
        return jobs.job(is_rank=False)


@pytest.mark.parametrize("pair", TOGETHER.values(), ids=TOGETHER.keys())
def test_the_processes_of_a_job_know_that_they_belong_together(pair: tuple[Variables, Variables]) -> None:
    first, second = jobs_of(pair)
    assert first == second


@pytest.mark.parametrize("pair", APART.values(), ids=APART.keys())
def test_processes_of_other_jobs_and_other_attempts_do_not(pair: tuple[Variables, Variables]) -> None:
    first, second = jobs_of(pair)
    assert first.attempt != second.attempt


@pytest.mark.parametrize("pair", CONTINUED.values(), ids=CONTINUED.keys())
def test_a_restart_continues_what_the_job_did_before(pair: tuple[Variables, Variables]) -> None:
    first, second = jobs_of(pair)
    assert first.id == second.id
    assert second.continues(first)
    with variables(pair[1]):
        assert jobs.can_restart()


@pytest.mark.parametrize("pair", NEW.values(), ids=NEW.keys())
def test_another_job_or_launch_continues_nothing(pair: tuple[Variables, Variables]) -> None:
    first, second = jobs_of(pair)
    assert first.id != second.id or not second.continues(first)


def test_a_program_that_nothing_restarts_has_no_job_to_continue() -> None:
    assert not jobs.can_restart()


def test_a_process_that_lightning_starts_belongs_to_its_parent(program: object) -> None:
    source = """
        import os
        from trackhooks.recording import jobs
        parent = jobs._process(os.getppid())
        assert jobs.job(False).launch == jobs._process(os.getpid()) != parent
        os.environ["LOCAL_RANK"] = "1"
        assert jobs.job(False).launch == parent
        """
    assert callable(program)
    assert program(source) == ""
