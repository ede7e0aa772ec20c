"""Which processes of a distributed job record: rank 0, and every process that works on its own."""

from __future__ import annotations

from pathlib import Path

import job_variables
import pytest

import trackhooks
from trackhooks.recording import ranks

TOGETHER = {"MASTER_ADDR": "node1", "WORLD_SIZE": "4"}
"""What launchers of PyTorch, Lightning, Accelerate and DeepSpeed set in every process of a job."""
ARRAY = {
    "SLURM_JOB_ID": "4713",
    "SLURM_ARRAY_JOB_ID": "4711",
    "SLURM_ARRAY_TASK_ID": "2",
    "SLURM_PROCID": "0",
}
"""What SLURM sets in the third task of a job array; the first process of each task has number 0."""

ALONE = {
    "nothing": {},
    "an empty rank": {"RANK": ""},
    "no distributed job, as in Ultralytics": {"RANK": "-1", "LOCAL_RANK": "-1", **TOGETHER},
    "independent tasks of srun": {"SLURM_PROCID": "3", "SLURM_NTASKS": "4", "SLURM_LOCALID": "3"},
    "a task of an array": {**ARRAY, "SLURM_NTASKS": "1"},
    "a task of an array with the address of its node": {**ARRAY, "MASTER_ADDR": "node1", "WORLD_SIZE": "1"},
    "independent processes in a task of an array": {**ARRAY, "SLURM_PROCID": "1", "SLURM_NTASKS": "2"},
    "shards that are started by hand": {"RANK": "2"},
    "a local rank without a job": {"LOCAL_RANK": "1"},
    "a job of one process": {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "1", "MASTER_ADDR": "node1"},
    "not a number": {"RANK": "first", **TOGETHER},
}
FIRST = {
    "torchrun": {"RANK": "0", "LOCAL_RANK": "0", **TOGETHER},
    "torchrun in an independent task of srun": {"RANK": "0", "SLURM_PROCID": "3", **TOGETHER},
    "mpirun": {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"},
    "srun": {"SLURM_PROCID": "0", **TOGETHER},
    "srun in a task of an array": {**ARRAY, **TOGETHER},
    "Lightning": {"LOCAL_RANK": "0", "NODE_RANK": "0", **TOGETHER},
}
HIGHER = {
    "torchrun": {"RANK": "1", "LOCAL_RANK": "1", **TOGETHER},
    "torchrun without an address": {"RANK": "1", "WORLD_SIZE": "2"},
    "an address without a number": {"RANK": "1", "MASTER_ADDR": "node1"},
    "torchrun on the second node": {"RANK": "4", "LOCAL_RANK": "0", "GROUP_RANK": "1", **TOGETHER},
    "Lightning's ddp": {"LOCAL_RANK": "1", "NODE_RANK": "0", **TOGETHER},
    "Lightning's ddp on the second node": {"LOCAL_RANK": "0", "NODE_RANK": "1", **TOGETHER},
    "Lightning's ddp in the batch script of SLURM": {"SLURM_PROCID": "0", "LOCAL_RANK": "1", **TOGETHER},
    "srun": {"SLURM_PROCID": "3", **TOGETHER},
    "srun in a task of an array": {**ARRAY, **TOGETHER, "SLURM_PROCID": "3"},
    "torchrun in a task of an array": {**ARRAY, **TOGETHER, "RANK": "1", "LOCAL_RANK": "1"},
    "JAX": {"SLURM_PROCID": "1", "JAX_COORDINATOR_ADDRESS": "node1:1234"},
    "Open MPI": {"OMPI_COMM_WORLD_RANK": "2"},
    "MPICH, Intel MPI": {"PMI_RANK": "1", "PMI_SIZE": "2"},
    "MVAPICH": {"MV2_COMM_WORLD_RANK": "1"},
    "mpirun in a job of SLURM": {"SLURM_PROCID": "0", "PMI_RANK": "1", "PMI_SIZE": "2"},
}


@pytest.fixture(autouse=True)
def _no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    job_variables.clear(monkeypatch)
    ranks.say_silent.cache_clear()


def records(
    directory: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], **options: int
) -> bool:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with trackhooks.run(dir=directory, delivery="off", **options) as run:  # type: ignore[arg-type]
        run.log(loss=1.0)
    assert run.path.exists() == any(directory.glob("*/journal"))
    return run.path.exists()


@pytest.mark.parametrize("variables", [*ALONE.values(), *FIRST.values()], ids=[*ALONE, *FIRST])
def test_a_process_that_works_alone_or_has_rank_zero_records_and_says_no_rank(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    variables: dict[str, str],
) -> None:
    assert records(tmp_path, monkeypatch, variables)
    assert "RANK" not in capfd.readouterr().err


@pytest.mark.parametrize("variables", HIGHER.values(), ids=HIGHER.keys())
def test_a_higher_rank_of_a_job_records_nothing_and_says_so_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    variables: dict[str, str],
) -> None:
    assert not records(tmp_path, monkeypatch, variables)
    assert not records(tmp_path, monkeypatch, variables)
    said = capfd.readouterr().err
    assert said.count("does not record its runs") == 1
    assert "rank=0" in said
    assert "TRACKHOOKS_RANK=0" in said


@pytest.mark.parametrize("variables", [*ALONE.values(), *FIRST.values(), *HIGHER.values()])
def test_the_user_chooses_the_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    assert records(tmp_path / "a", monkeypatch, variables, rank=0)
    assert not records(tmp_path / "b", monkeypatch, variables, rank=1)
    assert records(tmp_path / "c", monkeypatch, {"TRACKHOOKS_RANK": "0"})
    assert not records(tmp_path / "d", monkeypatch, {"TRACKHOOKS_RANK": "2"})
    assert records(tmp_path / "e", monkeypatch, {"TRACKHOOKS_RANK": "2"}, rank=0)


def test_the_runs_of_an_array_have_it_as_their_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ARRAY.items():
        monkeypatch.setenv(name, value)
    with trackhooks.run(dir=tmp_path, name="one", delivery="off") as run, run.child("fold"):
        pass
    with trackhooks.run(dir=tmp_path, name="mine", delivery="off", group="mine") as mine:
        pass
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "4812")
    with trackhooks.run(delivery="off", resume=run.path), trackhooks.run(delivery="off", resume=mine.path):
        pass
    groups = {found.name: found.group for found in trackhooks.runs(tmp_path)}
    assert groups == {"one": "slurm-4711", "fold": "slurm-4711", "mine": "mine"}


def test_a_run_outside_of_an_array_has_no_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "")
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        pass
    assert trackhooks.runs(tmp_path)[0].group is None
    assert run.status == "finished"


def test_a_child_run_has_the_rank_of_its_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_RANK", "1")
    with trackhooks.run(dir=tmp_path, delivery="off", rank=0) as run, run.child("fold") as child:
        child.log(loss=1.0)
    assert child.path.exists()


def test_what_is_not_a_rank_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("0", 1.5, -2, object()):
        with pytest.raises(trackhooks.InvalidValueError, match="rank must be a whole number"):
            trackhooks.run(dir=tmp_path, rank=wrong)  # type: ignore[arg-type]
    monkeypatch.setenv("TRACKHOOKS_RANK", "first")
    with pytest.raises(
        trackhooks.InvalidValueError, match="TRACKHOOKS_RANK must be a whole number, got 'first'"
    ):
        trackhooks.run(dir=tmp_path)


def test_a_disabled_process_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert not records(tmp_path, monkeypatch, {"TRACKHOOKS_DISABLED": "1", **HIGHER["torchrun"]})
    assert capfd.readouterr().err == ""
