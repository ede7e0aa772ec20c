"""With `ranks="all"`, each rank of a job writes its own journal into one run, without asking another rank."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import job_variables
import pytest
from click.testing import CliRunner
from job_variables import of_rank, variables

import trackhooks
from trackhooks.cli.main import main
from trackhooks.cli.sync import sync
from trackhooks.reading.summary import summarize
from trackhooks.storage import run_folder
from trackhooks.storage.rank_folders import path_of


@pytest.fixture(autouse=True)
def _no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    job_variables.clear(monkeypatch)


def train(directory: Path, loss: float = 1.0, **options: Any) -> Path:
    """Train two steps. Returns the folder of the run, or that of the rank."""
    options = {"delivery": "off", "ranks": "all", **options}
    with trackhooks.run(dir=directory, **options) as run:
        for _ in run.epochs(1):
            for _ in run.train(range(2)):
                run.log(loss=loss)
    return run.path


def losses(folder: Path) -> list[float]:
    return list(trackhooks.history(folder, "train_batch/loss")["train_batch/loss"])


# Recording


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_each_rank_has_its_journal_in_one_run_whichever_comes_first(
    tmp_path: Path, order: tuple[int, ...]
) -> None:
    paths = {}
    for rank in order:
        with variables(of_rank(rank, WORLD_SIZE="3", LOCAL_WORLD_SIZE="3")):
            paths[rank] = train(tmp_path, loss=float(rank), name="digits")
    assert paths == {rank: path_of(tmp_path / "digits", rank) for rank in range(3)}
    assert {rank: losses(path) for rank, path in paths.items()} == {0: [0, 0], 1: [1, 1], 2: [2, 2]}


def test_readers_see_one_run_which_is_that_of_rank_zero(tmp_path: Path) -> None:
    for rank in (1, 0):
        with variables(of_rank(rank)):
            train(tmp_path, loss=float(rank), params={"lr": 0.1})
    (found,) = trackhooks.runs(tmp_path)
    assert (found.status, found.params, found.steps) == ("finished", {"lr": 0.1}, 2)
    assert found.metrics["train/loss"].last == 0.0
    assert found.journal.damage == []
    assert [event.index for event in trackhooks.journal.read(found.path)] == list(
        range(found.journal.records)
    )


def test_only_rank_zero_feeds_trackers(tmp_path: Path) -> None:
    class Mine(trackhooks.Tracker):
        heard: list[float] = []

        def log_metrics(self, metrics: Any, axis: Any, event: trackhooks.Event) -> None:
            self.heard += [value for name, value in metrics.items() if name == "train/loss"]

    for rank in (1, 0):
        with (
            variables(of_rank(rank)),
            trackhooks.run("csv", Mine(), dir=tmp_path, ranks="all", delivery="inline", system=None) as run,
        ):
            run.log({"train/loss": float(rank)})
            assert run.wait()
            assert (run.url("csv") is None) == (rank == 1)
    assert Mine.heard == [0.0]
    assert {path.parent.parent for path in tmp_path.rglob("*.csv")} == {tmp_path}


def test_every_rank_is_measured(tmp_path: Path) -> None:
    for rank in (0, 1):
        with variables(of_rank(rank)):
            train(tmp_path, delivery="inline", system="0.1s")
    memory = trackhooks.history(trackhooks.runs(tmp_path)[0], "system/memory_mib", rank="all")
    assert set(memory["rank"]) == {0, 1}
    assert min(memory["system/memory_mib"]) > 0


def test_the_runs_of_a_program_are_shared_in_their_order_and_by_their_names(tmp_path: Path) -> None:
    for rank in (0, 1):
        with variables(of_rank(rank)):
            if rank == 0:
                train(tmp_path, name="only here")
            train(tmp_path, name="a")
            train(tmp_path, name="a")
            train(tmp_path, name="b")
    found = {run.name: [one.rank for one in trackhooks.ranks(run)] for run in trackhooks.runs(tmp_path)}
    assert found == {"only here": [0], "a": [0, 1], "a-2": [0, 1], "b": [0, 1]}


def test_a_child_run_is_shared_and_is_part_of_the_run(tmp_path: Path) -> None:
    for rank in (1, 0):
        with (
            variables(of_rank(rank)),
            trackhooks.run(dir=tmp_path, name="whole", ranks="all", delivery="off") as run,
            run.child("fold") as child,
        ):
            child.log(loss=1.0)
    whole, fold = (run_folder.read_info(tmp_path / name) for name in ("whole", "fold"))
    assert fold.parent == whole.id
    assert [one.rank for one in trackhooks.ranks(tmp_path / "fold")] == [0, 1]


def test_the_same_job_again_is_another_run(tmp_path: Path) -> None:
    for name in ("digits", "digits-2"):
        for rank in (0, 1):
            with variables(of_rank(rank)):
                assert train(tmp_path, name="digits") == path_of(tmp_path / name, rank)


def test_a_process_without_a_job_has_a_run_of_its_own(tmp_path: Path) -> None:
    assert train(tmp_path, name="a") == tmp_path / "a"
    assert train(tmp_path, name="a") == tmp_path / "a-2"
    assert not (tmp_path / "a" / "ranks").exists()


def test_the_variables_turn_it_on_for_every_way_to_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKHOOKS_RANKS", "all")
    with variables(of_rank(1)):
        assert train(tmp_path, ranks=None).name == "1"
        assert not train(tmp_path, ranks="zero").exists()


def test_doctor_finds_damage_in_the_journal_of_a_rank(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKHOOKS_RANKS", "all")
    for rank in (0, 1):
        with variables(of_rank(rank)):
            path = train(tmp_path, delivery="inline")
            said = CliRunner().invoke(main, ["doctor", str(tmp_path)]).output
            assert "nothing is recorded" not in said
            assert "rank 1" not in said
    journal = path / "journal"
    content = journal.read_bytes()
    journal.write_bytes(content[:300] + b"\0" * 20 + content[320:])
    assert "rank 1: " in CliRunner().invoke(main, ["doctor", str(tmp_path)]).output


# Ranks that die or do not come


def start(source: str, directory: Path, given: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", dedent(source), directory],
        env={**os.environ, **given}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def ended(process: subprocess.Popen[str]) -> int:
    _, said = process.communicate(timeout=60)
    assert "Traceback" not in said, said
    return process.returncode


KILLED = """
    import os, signal, sys, trackhooks
    run = trackhooks.run(dir=sys.argv[1], name="digits", ranks="all", delivery="off")
    for _ in run.epochs(1):
        for batch in run.train(range(5)):
            run.log(loss=1.0)
            if batch == 3 and os.environ["RANK"] == "1":
                os.kill(os.getpid(), signal.SIGKILL)
    run.close()
    """


def test_a_killed_rank_keeps_its_records_and_does_not_disturb_the_others(tmp_path: Path) -> None:
    processes = [start(KILLED, tmp_path, of_rank(rank, WORLD_SIZE="4")) for rank in (0, 1, 2)]
    assert [ended(process) for process in processes] == [0, -signal.SIGKILL, 0]
    assert [path.name for path in tmp_path.iterdir() if path.name != ".jobs"] == ["digits"]
    found = trackhooks.ranks(tmp_path / "digits")
    assert [one.status for one in found] == ["finished", "killed", "finished"]
    assert [len(losses(one.summary.path)) for one in found] == [5, 3, 5]
    assert found.missing == [3]
    assert "Without records: 3 of 4 ranks" in str(found)
    assert run_folder.read_info(found[1].summary.path).status == "running"  # the readers know better
    sync(tmp_path / "digits", [], {}, None)
    assert run_folder.read_info(found[1].summary.path).status == "killed"


def test_a_rank_records_although_rank_zero_never_comes(tmp_path: Path) -> None:
    process = start(KILLED.replace('== "1"', '== "0"'), tmp_path, of_rank(1))
    assert ended(process) == 0
    found = trackhooks.ranks(tmp_path / "digits")
    assert [one.rank for one in found] == [1]
    assert found.missing == [0]
    assert summarize(tmp_path / "digits").status == "killed"


def test_a_directory_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with variables(of_rank(1)), pytest.raises(trackhooks.TrackhooksError, match="no run can be recorded in"):
        train(tmp_path / "runs")


# Bad input


def test_other_values_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in ("both", 1, True):
        with pytest.raises(trackhooks.UnknownNameError, match="unknown ranks"):
            trackhooks.run(dir=tmp_path, ranks=wrong)  # type: ignore[arg-type]
    with pytest.raises(trackhooks.UnknownNameError, match="Did you mean 'all'"):
        trackhooks.enable(ranks="al")
    monkeypatch.setenv("TRACKHOOKS_RANKS", "one")
    with pytest.raises(trackhooks.UnknownNameError, match="unknown ranks 'one'"):
        trackhooks.run(dir=tmp_path)


def test_a_rank_that_the_variables_do_not_tell_must_be_given(tmp_path: Path) -> None:
    lightning = {"NODE_RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "4", "MASTER_ADDR": "node1"}
    with variables(lightning):
        with pytest.raises(
            trackhooks.InvalidValueError, match=r"rank of this process is not known.*Pass rank="
        ):
            train(tmp_path)
        assert train(tmp_path, rank=2).name == "2"


def test_a_rank_of_another_node_is_counted(tmp_path: Path) -> None:
    with variables({"GROUP_RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}):
        assert train(tmp_path).name == "3"


def test_an_entry_that_leads_elsewhere_is_damage(tmp_path: Path) -> None:
    with variables(of_rank(0)):
        train(tmp_path / "runs")
    (entry,) = tmp_path.glob("runs/.jobs/*/0/run")
    entry.write_text(json.dumps({**json.loads(entry.read_text()), "run": "../elsewhere"}))
    with variables(of_rank(1)), pytest.raises(trackhooks.TrackhooksError, match=r"is damaged.*elsewhere"):
        train(tmp_path / "runs")


def test_a_run_whose_folder_was_removed_is_not_joined(tmp_path: Path) -> None:
    with variables(of_rank(0)):
        path = train(tmp_path, name="digits")
    path.rename(tmp_path / "elsewhere")
    with variables(of_rank(1)):
        assert train(tmp_path, name="digits") == path_of(path, 1)
    assert json.loads((path / "run.json").read_text())["name"] == "digits"
