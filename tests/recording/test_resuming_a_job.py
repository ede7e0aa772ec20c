"""With `resume="auto"`, a job that is restarted continues its run, at the right step, on each rank that records."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import job_variables
import pytest
from job_variables import of_rank, variables

import trackhooks
from trackhooks.frameworks import resume_marker
from trackhooks.session.auto_runs import AutoRuns
from trackhooks.session.settings import settings
from trackhooks.storage.rank_folders import path_of

PROGRAM = """
    import os, signal, sys, trackhooks
    directory, last = sys.argv[1], int(sys.argv[2])
    with trackhooks.run(
        dir=directory, name="digits", ranks=sys.argv[3], resume="auto", delivery="off", system=None
    ) as run:
        start = max(run.epoch, 0)  # the checkpoint is that of the last complete epoch
        for epoch in run.epochs(4, start=start):
            for batch in run.train(range(5)):
                run.log(loss=float(epoch))
                if (epoch, batch) == (last, 3):
                    os.kill(os.getpid(), signal.SIGKILL)
    """
NEVER = 99


@pytest.fixture(autouse=True)
def _no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    job_variables.clear(monkeypatch)


def attempt(directory: Path, given: Mapping[str, str], killed_in: int = NEVER, ranks: str = "zero") -> None:
    """Train in another process, which is killed in an epoch."""
    done = subprocess.run(
        [sys.executable, "-c", dedent(PROGRAM), directory, str(killed_in), ranks],
        env={**os.environ, **given}, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == (0 if killed_in == NEVER else -signal.SIGKILL), done.stderr


def history(folder: Path) -> tuple[list[str], list[int], list[float]]:
    """Return the statuses of a run in their order, its steps, and the loss at each of them."""
    statuses = [event.status for event in trackhooks.journal.read(folder) if event.status]
    found = trackhooks.history(folder, "train_batch/loss")
    return statuses, list(found["step"]), list(found["train_batch/loss"])


STATUSES = ["killed", "running", "finished"]
STEPS = list(range(20))
LOSSES = [float(epoch) for epoch in range(4) for _ in range(5)]

SLURM = {"SLURM_JOB_ID": "4711"}
RESTARTS = {
    "an elastic restart": (of_rank(0), of_rank(0, TORCHELASTIC_RESTART_COUNT="1")),
    "a requeued job": (SLURM, {**SLURM, "SLURM_RESTART_COUNT": "1"}),
}


@pytest.mark.parametrize(("before", "after"), RESTARTS.values(), ids=RESTARTS.keys())
def test_a_restart_continues_the_run_of_its_job(
    tmp_path: Path, before: Mapping[str, str], after: Mapping[str, str]
) -> None:
    attempt(tmp_path, before, killed_in=2)
    attempt(tmp_path, after)
    (found,) = trackhooks.runs(tmp_path)
    assert history(found.path) == (STATUSES, STEPS, LOSSES)


def test_each_rank_continues_its_own_journal(tmp_path: Path) -> None:
    for rank in (1, 0):
        attempt(tmp_path, of_rank(rank), killed_in=2, ranks="all")
    for rank in (0, 1):
        attempt(tmp_path, of_rank(rank, TORCHELASTIC_RESTART_COUNT="1"), ranks="all")
    assert [run.name for run in trackhooks.runs(tmp_path)] == ["digits"]
    for rank in (0, 1):
        assert history(path_of(tmp_path / "digits", rank)) == (STATUSES, STEPS, LOSSES)


@pytest.mark.slow
def test_torchrun_restarts_the_processes_of_a_run(tmp_path: Path) -> None:
    program = tmp_path / "train.py"
    killed = "int(os.environ['RANK'] == '1' and os.environ['TORCHELASTIC_RESTART_COUNT'] == '0') * 3 - 1"
    program.write_text(dedent(PROGRAM).replace("int(sys.argv[2])", killed))
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--max-restarts", "1", str(program)]
    done = subprocess.run(
        [sys.executable, *launch, tmp_path / "runs", "", "all"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second = trackhooks.ranks(tmp_path / "runs" / "digits")
    assert history(second.summary.path) == (STATUSES, STEPS, LOSSES)
    assert (first.status, history(first.summary.path)[1:]) == ("finished", (STEPS, LOSSES))


def test_a_restart_on_more_processes_adds_their_ranks(tmp_path: Path) -> None:
    attempt(tmp_path, of_rank(0), killed_in=2, ranks="all")
    for rank in (1, 0):
        attempt(tmp_path, of_rank(rank, TORCHELASTIC_RESTART_COUNT="1"), ranks="all")
    found = trackhooks.ranks(tmp_path / "digits")
    assert [(one.rank, one.status, one.summary.epochs) for one in found] == [
        (0, "finished", 4), (1, "finished", 4),
    ]  # fmt: skip


def test_what_was_not_restarted_is_another_run(tmp_path: Path) -> None:
    for _ in range(2):  # two programs in one allocation, one after the other
        attempt(tmp_path, SLURM)
    attempt(tmp_path, {})
    attempt(tmp_path, {})
    assert sorted(run.name for run in trackhooks.runs(tmp_path)) == [
        "digits", "digits-2", "digits-3", "digits-4",
    ]  # fmt: skip


def test_without_it_a_restart_is_another_run(tmp_path: Path) -> None:
    for count in ("0", "1"):
        for rank in (0, 1):
            with (
                variables(of_rank(rank, TORCHELASTIC_RESTART_COUNT=count)),
                trackhooks.run(dir=tmp_path, name="digits", ranks="all", delivery="off") as run,
            ):
                assert run.path == path_of(tmp_path / ("digits" if count == "0" else "digits-2"), rank)


def test_the_runs_of_enable_continue_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKHOOKS_RESUME", "auto")
    source = """
        import sys, trackhooks
        from trackhooks.session.auto_runs import AutoRuns
        from trackhooks.session.settings import settings
        opened = AutoRuns(settings(dir=sys.argv[1], delivery="off"))
        for model in [object(), object()]:
            with opened.training(model) as run:
                print(run.path)
        """
    printed = []
    for count in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", dedent(source), tmp_path],
            env={**os.environ, **SLURM, "SLURM_RESTART_COUNT": count}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        printed.append(done.stdout.split())
    assert printed[0] == printed[1]
    assert len(set(printed[0])) == 2


def test_a_run_that_was_found_by_its_checkpoint_is_not_continued_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt(tmp_path, SLURM, killed_in=2)
    with variables({**SLURM, "SLURM_RESTART_COUNT": "1", "TRACKHOOKS_RESUME": "auto"}):
        opened = AutoRuns(settings(dir=tmp_path, delivery="off", name="digits"))
        with (
            opened.training(object(), resumes=tmp_path / "digits") as first,
            opened.training(object()) as second,
        ):
            assert (first.path.name, second.path.name) == ("digits", "digits-2")
        opened.close()


def test_rank_zero_notes_next_to_checkpoints_which_run_continues_from_them(tmp_path: Path) -> None:
    for rank in (1, 0):
        with variables(of_rank(rank, TRACKHOOKS_RANKS="all")):
            opened = AutoRuns(settings(dir=tmp_path / "runs", delivery="off"))
            with opened.training(object()) as run:
                resume_marker.leave(tmp_path, run)
                noted = resume_marker.find(tmp_path)
                assert noted == (run.path if rank == 0 else None)
                if noted is not None:
                    with opened.training(object(), resumes=noted) as again:
                        assert again.path == run.path
            opened.close()


def test_other_values_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(trackhooks.InvalidValueError, match=r"enable\(resume='auto'\) to continue"):
        trackhooks.enable(resume=tmp_path)
    with pytest.raises(trackhooks.TrackhooksError, match="is not a run"):
        trackhooks.run(dir=tmp_path, resume="Auto")
    monkeypatch.setenv("TRACKHOOKS_RESUME", "runs/digits")
    with pytest.raises(
        trackhooks.InvalidValueError, match=r"TRACKHOOKS_RESUME must be 'auto', got 'runs/digits'"
    ):
        trackhooks.run(dir=tmp_path)
