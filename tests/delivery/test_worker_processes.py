"""Runs in worker processes are delivered, however the workers end, and however busy the machine is."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import lines
import pytest
from folders import SUPPORT, importing

from trackhooks.delivery.cursor import is_delivered_to
from trackhooks.storage.run_folder import paths, read_info

pytestmark = pytest.mark.slow  # starts programs

DEADLINE_S = 300
RUNS = 12

WORK = """
import concurrent.futures, multiprocessing, os, sys
import trackhooks

def work(number):
    with trackhooks.run(dir="runs", name=f"r{number}", system=None, **{"lines:Lines": {}}) as run:
        for step in range(3):
            run.log(x=step)
    return number

def forget(number):
    trackhooks.run(dir="runs", name=f"r{number}", system=None, **{"lines:Lines": {}}).log(x=number)

def context():
    return multiprocessing.get_context(sys.argv[1])
"""

ENDS = {
    "a pool that is terminated": """
        with context().Pool(3) as pool:
            pool.map(work, range(RUNS), chunksize=1)
    """,
    "a pool that is closed": """
        pool = context().Pool(3)
        pool.map(work, range(RUNS), chunksize=1)
        pool.close()
        pool.join()
    """,
    "an executor": """
        with concurrent.futures.ProcessPoolExecutor(3, mp_context=context()) as pool:
            list(pool.map(work, range(RUNS)))
    """,
    "processes": """
        processes = [context().Process(target=work, args=(number,)) for number in range(3)]
        [process.start() for process in processes]
        [process.join() for process in processes]
    """,
    "processes that close nothing": """
        processes = [context().Process(target=forget, args=(number,)) for number in range(3)]
        [process.start() for process in processes]
        [process.join() for process in processes]
    """,
}


def run_program(tmp_path: Path, body: str, *arguments: str, code: int = 0) -> None:
    path = tmp_path / "program.py"
    body = textwrap.indent(textwrap.dedent(body).replace("RUNS", str(RUNS)), "    ")
    path.write_text(f"{WORK}\nif __name__ == '__main__':\n{body}")
    command = [sys.executable, str(path), *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=importing(SUPPORT), check=False, timeout=DEADLINE_S)
    assert done.returncode == code


def undelivered(tmp_path: Path, count: int) -> list[str]:
    """The runs that a tracker does not have in the end."""
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        runs = list(paths(tmp_path / "runs"))
        missing = [run.name for run in runs if not is_delivered_to(run, "lines:Lines")]
        if not missing:
            assert len(runs) == count
            return []
        time.sleep(0.1)
    return missing


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("how", ENDS)
def test_the_runs_of_workers_are_delivered(tmp_path: Path, how: str, method: str) -> None:
    run_program(tmp_path, ENDS[how], method)
    assert undelivered(tmp_path, 3 if "processes" in how else RUNS) == []
    for run in paths(tmp_path / "runs"):
        assert read_info(run).status == "finished"
        assert [line["finish"] for line in lines.read(run) if "finish" in line] == ["finished"]


def test_what_a_process_ordered_just_before_it_died_is_delivered(tmp_path: Path) -> None:
    """The delivery process has not even started when there is no one left to wait for it."""
    many = 100
    run_program(tmp_path, f"[work(number) for number in range({many})]\nos._exit(0)")
    assert undelivered(tmp_path, many) == []


def test_a_worker_of_ray_whose_children_are_killed_is_delivered(tmp_path: Path) -> None:
    """As Ray 2.60 ends a worker: it kills its children and its process group."""
    body = """
        import psutil, signal
        os.setpgid(0, 0)
        os.environ["RAY_RAYLET_PID"] = str(os.getppid())
        work(0)
        [child.kill() for child in psutil.Process().children()]
        os.killpg(0, signal.SIGKILL)
    """
    run_program(tmp_path, body, code=-signal.SIGKILL)
    assert undelivered(tmp_path, 1) == []


def test_a_process_that_holds_the_orders_open_does_not_keep_the_runs_from_being_ended(tmp_path: Path) -> None:
    body = """
        run = trackhooks.run(dir="runs", name="r", system=None, **{"lines:Lines": {}})
        run.log(x=1)
        from trackhooks.session.process_end import delivery_manager
        pipe = delivery_manager()._process._process.stdin.fileno()
        import subprocess
        holder = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, pass_fds=[pipe])
        open("holder", "w").write(str(holder.pid))
        os._exit(0)
    """
    run_program(tmp_path, body)
    try:
        assert undelivered(tmp_path, 1) == []
        assert read_info(tmp_path / "runs" / "r").status == "killed"
    finally:
        subprocess.run(["kill", (tmp_path / "holder").read_text()], check=True)
