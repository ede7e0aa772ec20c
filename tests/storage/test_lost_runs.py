"""Lost runs: which status a run gets if its process died, and that its trackers get this status."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import lines
import psutil
import pytest
from folders import SUPPORT, importing

import trackhooks
from trackhooks.delivery.catch_up import deliver
from trackhooks.delivery.cursor import Spec
from trackhooks.event import Event, RunInfo
from trackhooks.reading.summary import summarize
from trackhooks.session.run import recorder_of
from trackhooks.storage import lost_runs, processes
from trackhooks.storage.journal import Writer
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


@pytest.mark.parametrize("pid", ["the same", "another"])
def test_a_run_that_is_resumed_while_it_is_found_dead_stays_running(
    pid: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trackhooks.run(dir=tmp_path, delivery="off")
    recorder_of(run).release_journal()
    dead = read_info(run.path)
    dead.pid, dead.pid_created = ended_pid(), 1.0
    write_info(run.path, dead)
    resumed = read_info(run.path)
    resumed.pid, resumed.pid_created = dead.pid if pid == "the same" else os.getpid(), 2.0

    def resume(*_: object) -> str:
        write_info(run.path, resumed)
        return "killed"

    monkeypatch.setattr(lost_runs, "status_of_silent", resume)
    end_if_dead(run.path)
    assert read_info(run.path).status == "running"


def ended_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


HERE, BOOT, MACHINE = processes.host(), processes.boot_id(), processes.machine()
NOW = time.time()
HOUR = 3600


@pytest.mark.parametrize(
    ("host", "boot", "machine", "written", "status"),
    [
        (HERE, BOOT, MACHINE, NOW, "killed"),
        (HERE, BOOT, "", NOW, "killed"),
        (HERE, "an earlier one", MACHINE, NOW, "killed"),
        (HERE, BOOT, "a container", NOW, ""),
        (HERE, BOOT, "a container", NOW - 2 * HOUR, "lost"),
        (HERE, "another one", "of the same name", NOW, ""),
        ("elsewhere", BOOT, MACHINE, NOW, ""),
        ("elsewhere", BOOT, MACHINE, NOW - 2 * HOUR, "lost"),
        ("elsewhere", BOOT, MACHINE, NOW + HOUR / 2, ""),
        ("elsewhere", BOOT, MACHINE, NOW + 1000 * HOUR, "lost"),
    ],
    ids=[
        "here", "of an earlier version", "here before a restart", "container, fresh", "container, silent",
        "namesake, fresh", "elsewhere, fresh", "elsewhere, silent", "elsewhere, a clock that is fast",
        "elsewhere, a clock that was set back since",
    ],
)  # fmt: skip
def test_the_status_of_a_run_whose_process_cannot_be_found(
    host: str, boot: str, machine: str, written: float, status: str
) -> None:
    run = RunInfo(
        "id", "name", created=NOW - 3 * HOUR, pid=ended_pid(), host=host, boot=boot, machine=machine
    )
    assert status_of_silent(run, lambda: written) == status


def test_a_run_whose_journal_is_open_somewhere_is_not_lost_however_silent_it_is(run: trackhooks.Run) -> None:
    elsewhere = RunInfo("id", "name", path=str(run.path), host="elsewhere")
    assert status_of_silent(elsewhere, lambda: NOW - 100 * HOUR) == ""
    run.close()
    assert status_of_silent(elsewhere, lambda: NOW - 100 * HOUR) == "lost"


@pytest.mark.parametrize("last", ["journal", "system"])
def test_a_run_elsewhere_is_running_while_it_records_or_its_process_is_measured(
    tmp_path: Path, last: str
) -> None:
    write_info(tmp_path, RunInfo("id", "name", created=NOW - 9 * HOUR, host="elsewhere"))
    for name, written in (("journal", NOW - 2 * HOUR), ("system", NOW - 2 * HOUR), (last, NOW)):
        with closing(Writer(tmp_path, name)) as writer:
            writer.append(Event("log", 0, written))
    assert end_if_dead(tmp_path).status == summarize(tmp_path).status == "running"


def unshared(tmp_path: Path, kind: str, source: str) -> subprocess.Popen[str]:
    """Start a program in new namespaces, as containers are."""
    command = ["unshare", *kind.split(), sys.executable, "-c", source]
    if subprocess.run([*command[:-2], "-c", ""], check=False, capture_output=True).returncode:
        pytest.skip("no namespace can be made here: that takes Linux and root")
    return subprocess.Popen(
        command,
        cwd=tmp_path,
        env=importing(SUPPORT),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_run_in_a_container_with_the_same_host_name_is_running_for_both_until_it_ends(
    tmp_path: Path, run: trackhooks.Run
) -> None:
    source = f"""
import trackhooks
with trackhooks.run(name="inside", delivery="off", dir="runs"):
    print(*(each.status for each in trackhooks.runs({str(run.path.parent)!r})), flush=True)
    input()
"""
    process = unshared(tmp_path, "--pid --fork --mount-proc", source)
    assert process.stdout is not None
    assert process.stdout.readline().split() == ["running"] * 2
    inside = tmp_path / "runs" / "inside"
    assert end_if_dead(inside).status == "running"
    assert {each.name: each.status for each in trackhooks.runs(tmp_path / "runs")}["inside"] == "running"
    process.communicate("\n")
    assert end_if_dead(inside).status == "finished"


@pytest.mark.slow
def test_setting_the_clock_does_not_make_a_process_look_dead(tmp_path: Path) -> None:
    source = """
import re, subprocess, time
from pathlib import Path
import psutil, trackhooks
def deliveries():
    return [child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
with trackhooks.run("lines:Lines", name="r") as run:
    run.log(x=0)
    assert run.wait(60)
    before = psutil.boot_time(), deliveries()
    stat = Path("/proc/stat").read_text()  # the kernel computes the time of the boot from the present time
    Path("stat").write_text(re.sub(r"btime .*", f"btime {int(before[0]) - 3600}", stat))
    subprocess.run(["mount", "--bind", "stat", "/proc/stat"], check=True)
    assert psutil.boot_time() == before[0] - 3600
    time.sleep(1)  # several times as long as between two looks of the delivery process
    print([each.status for each in trackhooks.runs()], trackhooks.storage.lost_runs.end_if_dead(run.path).status)
    run.log(x=1)
    assert run.wait(60)
    print(len(deliveries()), deliveries() == before[1])
"""
    said, _ = unshared(tmp_path, "--mount", source).communicate(timeout=120)
    assert said.splitlines() == ["['running'] running", "1 True"]
    assert lines.steps(tmp_path / "runs" / "r") == [0, 1]


HOLDS_ITS_JOURNAL = """
import ctypes, os, signal, time, trackhooks
with trackhooks.run("lines:Lines", name="r") as run:
    run.log(loss=1.0)
    if not ctypes.PyDLL(None).fork():  # as a library forks: the child has the journal open, and does not know it
        time.sleep(2)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_run_whose_journal_is_held_for_a_moment_is_ended_and_can_be_resumed(tmp_path: Path) -> None:
    command, path = [sys.executable, "-c", HOLDS_ITS_JOURNAL], tmp_path / "runs" / "r"
    started = subprocess.Popen(command, cwd=tmp_path, env=importing(SUPPORT))
    assert started.wait(60) == -signal.SIGKILL
    with trackhooks.run(dir=tmp_path, resume=path, delivery="off") as run:
        run.log(loss=0.5)
    assert read_info(path).status == "finished"

    assert subprocess.run(command, cwd=tmp_path, env=importing(SUPPORT)).returncode == -signal.SIGKILL
    second = tmp_path / "runs" / "r-2"
    until = time.monotonic() + 100
    while not finishes(second):
        assert time.monotonic() < until
        time.sleep(0.1)
    assert finishes(second)[0][0] == "killed"
    assert read_info(second).status == statuses(second)[-1] == "killed"


def test_a_run_whose_process_lives_is_left_running() -> None:
    me = psutil.Process()
    for created in (processes.created(me.pid), me.create_time()):  # earlier versions recorded the latter
        run = RunInfo("id", "name", pid=me.pid, pid_created=created, host=HERE, boot=BOOT)
        assert status_of_silent(run, lambda: 0.0) == ""


def test_a_pid_that_was_given_to_another_process_is_not_taken_for_the_run() -> None:
    created = processes.created(os.getpid()) - 1000
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
