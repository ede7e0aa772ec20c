"""The status of a run for every way in which its process can end, read back from the journal and run.json."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import trackhooks
from trackhooks.storage.lost_runs import end_if_dead
from trackhooks.storage.run_folder import read_info

pytestmark = pytest.mark.slow  # each starts a program

UNTOLD = "the process ended without closing the run"
INSIDE = "the process ended inside of the training"

START = """
import os, signal, sys, threading
import trackhooks
def opened():
    return trackhooks.run(dir=sys.argv[1], name="r", delivery="off")
def train(run, end=lambda: None):
    for epoch in run.epochs(2):
        for batch in run.train(range(2)):
            run.log(loss=1.0)
            if (epoch, batch) == (1, 0):
                end()
"""

# The places in which the process can end: `end()` is put in one of them.
WITHIN_WITH_AND_LOOP = """
with opened() as run:
    train(run, end)
"""
WITHIN_WITH = """
with opened() as run:
    train(run)
    end()
"""
BEHIND_WITH = """
with opened() as run:
    train(run)
end()
"""
WITHIN_LOOP = """
run = opened()
train(run, end)
"""
BEHIND_LOOP = """
run = opened()
train(run)
end()
"""
BEHIND_LONE_PASS = """
run = opened()
for batch in run.train(range(2)):
    run.log(loss=1.0)
end()
"""
WITHIN_LONE_PASS = """
run = opened()
for batch in run.train(range(2)):
    run.log(loss=1.0)
    end()
"""
WITHIN_A_LOOP_OF_KERAS = """
run = opened()
run.callbacks.on_train_begin()
run.callbacks.on_epoch_begin(0)
run.callbacks.on_train_batch_end(0, {"loss": 1.0})
end()
"""
WITHOUT_TRAINING = """
run = opened()
run.log(a=1.0)
end()
"""
EVERYWHERE = {
    "within with and loop": WITHIN_WITH_AND_LOOP, "within with": WITHIN_WITH, "behind with": BEHIND_WITH,
    "within loop": WITHIN_LOOP, "behind loop": BEHIND_LOOP, "behind a lone pass": BEHIND_LONE_PASS,
    "within a lone pass": WITHIN_LONE_PASS, "within a loop of Keras": WITHIN_A_LOOP_OF_KERAS,
    "without training": WITHOUT_TRAINING,
}  # fmt: skip
OPEN = {where: body for where, body in EVERYWHERE.items() if where != "behind with"}
"""The places in which the run is still open."""
WITH = ["within with and loop", "within with"]


def ended(directory: Path, body: str, end: str) -> tuple[int, str, str]:
    """Exit code, status and reason of a process that ends so: the same in the journal and in run.json."""
    source = START + f"def end():\n{textwrap.indent(end, '    ')}\n" + body
    command = [sys.executable, "-c", source, str(directory)]
    code = subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode
    info = end_if_dead(directory / "r")
    stored = read_info(directory / "r")
    assert (stored.status, stored.reason, stored.ended is not None) == (info.status, info.reason, True)
    (event,) = (event for event in trackhooks.journal.read(directory / "r") if event.status)
    assert (event.status, event.reason) == (info.status, info.reason or "")
    return code, info.status, info.reason or ""


@pytest.mark.parametrize("where", [*EVERYWHERE])
def test_a_process_that_comes_to_its_end_has_finished(tmp_path: Path, where: str) -> None:
    if "within" in where and "loop of Keras" in where:  # nothing says that this training has ended
        assert ended(tmp_path, EVERYWHERE[where], "pass") == (0, "failed", INSIDE)
    else:
        assert ended(tmp_path, EVERYWHERE[where], "pass") == (0, "finished", "")


@pytest.mark.parametrize("where", [*OPEN])
def test_an_exception_is_the_reason_in_one_line(tmp_path: Path, where: str) -> None:
    end = "raise ValueError('token=hunter2-hunter2 is wrong\\nand so on')"
    assert ended(tmp_path, OPEN[where], end) == (1, "failed", "ValueError: token=<redacted> is wrong")


@pytest.mark.parametrize("where", [*OPEN])
def test_ctrl_c_kills(tmp_path: Path, where: str) -> None:
    end = "os.kill(os.getpid(), signal.SIGINT); signal.pause()"
    assert ended(tmp_path, OPEN[where], end) == (-signal.SIGINT, "killed", "KeyboardInterrupt")


@pytest.mark.parametrize(
    ("end", "code", "status", "reason"),
    [
        ("sys.exit(0)", 0, "finished", ""),
        ("sys.exit()", 0, "finished", ""),
        ("sys.exit(3)", 3, "failed", "sys.exit(3)"),
        ("sys.exit('no data')", 1, "failed", "sys.exit('no data')"),
        ("raise SystemExit(3)", 3, "failed", "sys.exit(3)"),
    ],
)
@pytest.mark.parametrize("where", WITH)
def test_the_code_of_an_exit_within_with_says_how_it_ended(
    tmp_path: Path, where: str, end: str, code: int, status: str, reason: str
) -> None:
    assert ended(tmp_path, EVERYWHERE[where], end) == (code, status, reason)


@pytest.mark.parametrize(
    ("end", "code", "status", "reason"),
    [
        ("sys.exit(0)", 0, "finished", ""),
        ("sys.exit(3)", 3, "failed", "sys.exit(3)"),
        ("sys.exit('no data')", 1, "failed", "sys.exit('no data')"),
        ("exit(3)", 3, "failed", "sys.exit(3)"),
        ("quit()", 0, "finished", ""),
        ("import argparse; argparse.ArgumentParser().error('no')", 2, "failed", "sys.exit(2)"),
    ],
)
@pytest.mark.parametrize("where", [where for where in OPEN if where not in WITH])
def test_the_code_of_an_exit_outside_of_with_says_how_it_ended(
    tmp_path: Path, where: str, end: str, code: int, status: str, reason: str
) -> None:
    assert ended(tmp_path, EVERYWHERE[where], end) == (code, status, reason)


@pytest.mark.parametrize("code", [0, 3])
def test_an_exit_after_the_run_was_closed_changes_nothing(tmp_path: Path, code: int) -> None:
    assert ended(tmp_path, BEHIND_WITH, f"sys.exit({code})") == (code, "finished", "")


@pytest.mark.parametrize("where", ["within loop", "within a lone pass", "within a loop of Keras"])
def test_an_exit_without_a_call_of_sys_exit_has_failed_within_a_training_since_its_code_cannot_be_seen(
    tmp_path: Path, where: str
) -> None:
    assert ended(tmp_path, EVERYWHERE[where], "raise SystemExit(3)") == (3, "failed", INSIDE)


CAUGHT = {
    "at the top": "try:\n    sys.exit(3)\nexcept SystemExit:\n    pass",
    "in a function": "import contextlib\nwith contextlib.suppress(SystemExit):\n    sys.exit(3)\nreturn",
    "in a thread": "thread = threading.Thread(target=sys.exit, args=[3]); thread.start(); thread.join()",
}


@pytest.mark.parametrize("how", CAUGHT)
def test_an_exit_that_did_not_end_the_program_changes_nothing(tmp_path: Path, how: str) -> None:
    assert ended(tmp_path, WITHOUT_TRAINING, CAUGHT[how]) == (0, "finished", "")
    body = WITHOUT_TRAINING.replace("end()", CAUGHT[how].replace("return", ""))
    assert ended(tmp_path / "top", body, "pass") == (0, "finished", "")


def test_an_exit_during_cleanup_and_with_decorators_is_seen(tmp_path: Path) -> None:
    body = WITHOUT_TRAINING.replace("end()", "try:\n    end()\nfinally:\n    print()")
    assert ended(tmp_path, body, "sys.exit(3)") == (3, "failed", "sys.exit(3)")


def test_a_trial_that_is_pruned_is_pruned(tmp_path: Path) -> None:
    end = "class TrialPruned(Exception): pass\nraise TrialPruned('at epoch 1')"
    for where in WITH:
        assert ended(tmp_path / where, OPEN[where], end) == (1, "pruned", "TrialPruned: at epoch 1")


WORKER = """
import multiprocessing
def work():
    trackhooks_run = opened()
    trackhooks_run.log(a=1.0)
    end()
if __name__ == "__main__":
    process = multiprocessing.get_context("fork").Process(target=work)
    process.start(); process.join(); sys.exit(process.exitcode)
"""


@pytest.mark.parametrize(
    ("end", "code", "status", "reason"),
    [
        ("pass", 0, "finished", ""),
        ("sys.exit(3)", 3, "failed", "sys.exit(3)"),
        ("raise SystemExit(3)", 3, "failed", "sys.exit(3)"),
        ("raise ValueError('no')", 1, "failed", "ValueError: no"),
        ("os._exit(3)", 3, "killed", UNTOLD),
    ],
)
def test_a_process_of_multiprocessing_closes_its_runs_at_its_end(
    tmp_path: Path, end: str, code: int, status: str, reason: str
) -> None:
    assert ended(tmp_path, WORKER, end) == (code, status, reason)


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("os.kill(os.getpid(), signal.SIGTERM); signal.pause()", -signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.abort()", -signal.SIGABRT),
        ("os._exit(0)", 0),
        ("os._exit(3)", 3),
    ],
)
@pytest.mark.parametrize("where", ["within with and loop", "within with", "within loop", "without training"])
def test_a_process_that_could_not_say_anything_was_killed(
    tmp_path: Path, where: str, end: str, code: int
) -> None:
    assert ended(tmp_path, EVERYWHERE[where], end) == (code, "killed", UNTOLD)


@pytest.mark.parametrize("where", WITH)
def test_a_signal_that_is_handled_ends_as_its_handler_says(tmp_path: Path, where: str) -> None:
    handled = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
    end = handled + "os.kill(os.getpid(), signal.SIGTERM)\nsignal.pause()"
    assert ended(tmp_path, EVERYWHERE[where], end) == (143, "failed", "sys.exit(143)")


@pytest.mark.parametrize("where", ["within with and loop", "within loop"])
def test_an_exception_of_another_thread_is_none_of_the_run(tmp_path: Path, where: str) -> None:
    end = "def fail():\n    raise ValueError\nthread = threading.Thread(target=fail); thread.start(); thread.join()"
    assert ended(tmp_path, EVERYWHERE[where], end) == (0, "finished", "")


def test_a_break_from_a_loop_without_with_has_finished(tmp_path: Path) -> None:
    body = """
run = opened()
for epoch in run.epochs(5):
    for _ in run.train(range(5)):
        break
    break
end()
"""
    assert ended(tmp_path, body, "pass") == (0, "finished", "")
    events = trackhooks.journal.read(tmp_path / "r")
    assert [event.hook for event in events if event.hook in ("on_fit_epoch_end", "on_train_end", "teardown")] == [
        "on_fit_epoch_end", "on_train_end", "teardown",
    ]  # fmt: skip


def test_a_run_does_not_fail_if_an_exception_was_caught_around_a_loop(tmp_path: Path) -> None:
    body = """
run = opened()
try:
    train(run, end)
except KeyboardInterrupt:
    run.log_params(stopped=True)
for _ in run.validate(range(1)):
    run.log(loss=1.0)
"""
    assert ended(tmp_path, body, "raise KeyboardInterrupt") == (0, "finished", "")


def test_a_run_is_killed_if_the_program_answers_ctrl_c_by_exiting_with_an_error(tmp_path: Path) -> None:
    body = """
with opened() as run:
    try:
        train(run, end)
    except KeyboardInterrupt:
        sys.exit(1)
"""
    assert ended(tmp_path, body, "raise KeyboardInterrupt") == (1, "killed", "KeyboardInterrupt")


def test_each_of_several_runs_that_are_open_gets_its_status(tmp_path: Path) -> None:
    body = """
def fail(trainer):
    raise KeyError("of a callback")
others = [trackhooks.run(dir=sys.argv[1], name=name, delivery="off") for name in ("a", "b", "c")]
for run in others:
    run.add_callback("teardown", fail)
    train(run)
run = opened()
end()
"""
    assert ended(tmp_path, body, "pass") == (0, "finished", "")
    assert [read_info(tmp_path / name).status for name in "abc"] == ["finished"] * 3


def test_an_earlier_exception_in_an_interactive_session_is_none_of_the_run(tmp_path: Path) -> None:
    lines = [
        "import sys, trackhooks",
        "nothing",
        f"run = trackhooks.run(dir={str(tmp_path)!r}, name='r', delivery='off')",
        "run.log(a=1.0)",
    ]
    subprocess.run(
        [sys.executable, "-i"], input="\n".join(lines) + "\n", text=True, capture_output=True, check=True
    )
    assert read_info(tmp_path / "r").status == "finished"


def test_a_validation_that_failed_before_the_training_has_nothing_to_do_with_it(tmp_path: Path) -> None:
    body = """
run = opened()
try:
    for _ in run.validate(range(2)):
        raise KeyError
except KeyError:
    pass
for batch in run.train(range(2)):
    run.log(loss=1.0)
"""
    assert ended(tmp_path, body, "pass") == (0, "finished", "")
