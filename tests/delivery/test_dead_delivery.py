"""A delivery process that dies, at any moment: it is started again, or a line says how to deliver the run."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent
from typing import Any

import lines
import pytest
from folders import SUPPORT, importing

import trackhooks
from trackhooks.delivery.catch_up import deliver
from trackhooks.delivery.cursor import Spec
from trackhooks.storage.run_folder import read_info

pytestmark = pytest.mark.slow  # each starts a program

DEADLINE_S = 300

KILL = """
import os, signal, threading, time, psutil
def victims():
    try:
        return [child for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE]
    except psutil.Error:
        return []
def kill(sent=signal.SIGKILL):
    found = victims()
    for child in found:
        try:
            os.kill(child.pid, sent)
            os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        except (ProcessLookupError, ChildProcessError):
            pass
    return found
def keep_killing():
    while True:
        kill()
        time.sleep(0.02)
"""

TRAIN = """
with trackhooks.run(name="r", **{{"lines:Lines": {{}}}}) as run:
    {started}
    for x in range(20):
        run.log(x=x)
        {amid}
    {after_loop}
{after_run}
"""

MOMENTS = {
    "at the start": {"started": "kill()"},
    "in a run without epochs": {"amid": "x == 10 and kill()"},
    "twice in the loop": {"started": "kill()", "amid": "x == 10 and kill()"},
    "after the loop": {"after_loop": "kill()"},
    "after what was there is delivered": {"after_loop": "assert run.wait(60); kill()"},
    "after the with": {"after_run": "kill()"},
    "after a run that was delivered": {"after_run": "assert run.wait(60); kill()"},
    "by a terminate": {"after_run": "kill(signal.SIGTERM)"},
    "while the program waits for it": {
        "after_run": "threading.Thread(target=lambda: (time.sleep(0.3), kill()), daemon=True).start()",
    },
}


def call(tmp_path: Path, before: str = "", **moments: str) -> subprocess.CompletedProcess[str]:
    places = dict.fromkeys(("started", "amid", "after_loop", "after_run"), "pass") | moments
    path = tmp_path / "train.py"
    path.write_text("import trackhooks\n" + KILL + dedent(before) + "\n" + TRAIN.format(**places))
    return subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, env=importing(SUPPORT), check=False, capture_output=True, text=True,
        timeout=DEADLINE_S,
    )  # fmt: skip


def delivered(tmp_path: Path) -> list[int]:
    return lines.steps(tmp_path / "runs" / "r")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_delivery_process_that_is_killed_is_started_again(tmp_path: Path, moment: str) -> None:
    done = call(tmp_path, **MOMENTS[moment])
    assert (done.returncode, "trackhooks sync" in done.stderr) == (0, False), done.stderr
    assert delivered(tmp_path) == list(range(20))
    assert [line["finish"] for line in lines.read(tmp_path / "runs" / "r") if "finish" in line] == [
        "finished"
    ]


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    "before",
    [
        "threading.Thread(target=keep_killing, daemon=True).start()",
        "import sys; sys.executable = '/bin/false'",
        "import sys; sys.executable = '/bin/true'",
        "import sys; sys.executable = '/nowhere/python'",
        "import sys; sys.executable = '/etc/passwd'",
        "import trackhooks.delivery.process; trackhooks.delivery.process._BOOTSTRAP = 'import nothing_like_it'",
    ],
    ids=[
        "killed each time",
        "fails at once",
        "ends at once",
        "is missing",
        "may not be run",
        "cannot be imported",
    ],
)
def test_a_delivery_process_that_always_dies_is_reported_with_what_to_do(
    tmp_path: Path, before: str, waits: bool
) -> None:
    done = call(tmp_path, before, after_run="assert run.wait() is False" if waits else "pass")
    run = tmp_path / "runs" / "r"
    assert done.returncode == 0, done.stderr
    assert "not everything of r is in lines:Lines yet" in done.stderr
    assert f"trackhooks sync {run}" in done.stderr
    assert "in the background" not in done.stderr
    assert read_info(run).status == "finished"
    assert deliver(run, [Spec("lines:Lines")]) == {}
    assert delivered(tmp_path) == list(range(20))


def test_runs_of_a_delivery_process_that_died_are_delivered_by_the_next_one(tmp_path: Path) -> None:
    before = """
    for number in range(3):
        with trackhooks.run(name=f"earlier{number}", **{"lines:Lines": {}}) as run:
            run.log(y=number)
        kill()
    """
    done = call(tmp_path, before)
    assert (done.returncode, "trackhooks sync" in done.stderr) == (0, False), done.stderr
    assert delivered(tmp_path) == list(range(20))
    for number in range(3):
        earlier = lines.read(tmp_path / "runs" / f"earlier{number}")
        assert [line["metrics"] for line in earlier if "metrics" in line] == [{"y": number}]


class Leaving(lines.Lines):
    """Ends its thread."""

    def log_metrics(self, *args: Any) -> None:
        raise SystemExit(3)


def test_a_tracker_that_exits_is_a_tracker_that_fails(tmp_path: Path) -> None:
    with trackhooks.run("lines:Lines", Leaving(), dir=tmp_path) as run:
        run.log(x=1)
        while not any(found.failures for found in trackhooks.delivery.cursor.cursors(run.path, "leaving")):
            time.sleep(0.05)
        assert not run.wait(0.1)


@pytest.mark.parametrize("delivery", ["process", "inline"])
def test_data_after_an_incomplete_record_is_not_reported_as_undelivered(
    tmp_path: Path, delivery: str
) -> None:
    before = f"""
    import os
    os.environ["TRACKHOOKS_DELIVERY"] = {delivery!r}
    def tear():
        with open("runs/r/journal", "ab") as journal:
            journal.write(b"\\xf7TH\\x1a and less than a record")
    """
    done = call(tmp_path, before, after_run="assert run.wait(60); tear()")
    assert (done.returncode, "trackhooks sync" in done.stderr) == (0, False), done.stderr


def test_events_that_a_thread_of_the_program_could_not_deliver_are_reported(tmp_path: Path) -> None:
    before = """
    import os
    os.environ["TRACKHOOKS_DELIVERY"] = "inline"
    os.environ["TRACKHOOKS_WAIT"] = "3"
    import lines
    def flush(self):
        raise ConnectionError("down")
    lines.Lines.flush = flush
    """
    done = call(tmp_path, before)
    assert done.returncode == 0, done.stderr
    assert "not everything of r is in lines:Lines yet (lines:Lines: ConnectionError: down). To" in done.stderr
