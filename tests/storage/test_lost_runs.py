"""Lost runs: which status a run gets if its process died, and that its trackers get this status."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lines
import psutil
import pytest

import trackhooks
from trackhooks.delivery.catch_up import deliver
from trackhooks.delivery.cursor import Spec
from trackhooks.event import RunInfo
from trackhooks.session.run import recorder_of
from trackhooks.storage import processes
from trackhooks.storage.lost_runs import end_if_dead, status_of_silent
from trackhooks.storage.run_folder import read_info, write_info


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """No file of this process can grow beyond this one, as on a full disk; smaller ones can be written."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def finishes(run: Path) -> list[tuple[str, str]]:
    return [(line["finish"], line["reason"]) for line in lines.read(run) if "finish" in line]


def statuses(run: Path) -> list[str]:
    return [event.status for event in trackhooks.journal.read(run) if event.status]


@pytest.mark.filterwarnings("ignore:.*its journal could not be written:trackhooks.TrackhooksWarning")
@pytest.mark.parametrize("delivery", ["off", "process"])
def test_a_status_that_a_full_disk_kept_out_of_the_journal_reaches_the_trackers(
    tmp_path: Path, delivery: str
) -> None:
    run = trackhooks.run("lines:Lines", dir=tmp_path, delivery=delivery)
    for step in range(1000):
        run.log(x=step)
    with full_disk(run.path / "journal"):
        run.close("failed", "ValueError: too small")
    assert run.wait(120)
    for _ in range(2):
        assert deliver(run.path, [Spec("lines:Lines")] if delivery == "off" else []) == {}
    while not finishes(run.path):
        time.sleep(0.05)
    assert finishes(run.path) == [("failed", "ValueError: too small")]
    assert lines.steps(run.path) == list(range(1000))
    assert statuses(run.path) == ["failed"]
    assert read_info(run.path).status == "failed"


def test_a_status_far_from_the_end_of_the_journal_is_not_recorded_again(tmp_path: Path) -> None:
    run = trackhooks.run(dir=tmp_path, delivery="off")
    recorder_of(run).settle("finished")
    for step in range(3000):
        run.log({"an evaluation afterwards": step})
    run.close()
    before = (run.path / "journal").read_bytes()
    assert end_if_dead(run.path).status == "finished"
    assert (run.path / "journal").read_bytes() == before


def test_a_status_that_a_full_disk_kept_out_of_the_folder_is_that_of_the_journal(tmp_path: Path) -> None:
    run = trackhooks.run(dir=tmp_path, delivery="off")
    run.close("failed", "why")
    write_info(run.path, RunInfo(id=run.id, name=run.name, pid=ended_pid(), boot="", host="elsewhere"))
    info = end_if_dead(run.path)
    assert info.status == "running"  # another machine's run may still be open
    info.host = processes.host()
    write_info(run.path, info)
    assert (end_if_dead(run.path).status, read_info(run.path).reason) == ("failed", "why")
    assert statuses(run.path) == ["failed"]


def ended_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


HERE, BOOT = processes.host(), processes.boot_id()
NOW = time.time()


@pytest.mark.parametrize(
    ("host", "boot", "written", "status"),
    [
        (HERE, BOOT, NOW, "killed"),
        (HERE, "an earlier one", NOW, "killed"),
        ("elsewhere", BOOT, NOW, ""),
        ("elsewhere", BOOT, NOW - 2 * 3600, "lost"),
    ],
    ids=["here", "here before a restart", "elsewhere, fresh", "elsewhere, silent"],
)
def test_the_status_of_a_run_whose_process_cannot_be_found(
    host: str, boot: str, written: float, status: str
) -> None:
    run = RunInfo("id", "name", created=NOW - 3 * 3600, pid=ended_pid(), host=host, boot=boot)
    assert status_of_silent(run, lambda: written) == status


def test_a_run_whose_process_lives_is_left_running() -> None:
    me = psutil.Process()
    run = RunInfo("id", "name", pid=me.pid, pid_created=me.create_time(), host=HERE, boot=BOOT)
    assert status_of_silent(run, lambda: 0.0) == ""


def test_a_pid_that_was_given_to_another_process_is_not_taken_for_the_run() -> None:
    created = psutil.Process().create_time() - 1000
    run = RunInfo("id", "name", pid=os.getpid(), pid_created=created, host=HERE, boot=BOOT)
    assert status_of_silent(run, lambda: NOW) == "killed"


def test_a_zombie_process_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = psutil.Process(child.pid)
    run = RunInfo("id", "name", pid=child.pid, pid_created=process.create_time(), host=HERE, boot=BOOT)
    assert status_of_silent(run, lambda: NOW) == ""
    process.kill()
    while process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert status_of_silent(run, lambda: NOW) == "killed"
    child.communicate()
