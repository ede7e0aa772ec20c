"""Delivery: everything that was recorded reaches every tracker exactly once, whatever happens to whom."""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lines
import msgspec
import psutil
import pytest
from folders import SUPPORT, importing

import trackhooks
from trackhooks.delivery.catch_up import deliver
from trackhooks.delivery.cursor import Spec, cursors, is_delivered, is_delivered_to
from trackhooks.delivery.feed import Feed
from trackhooks.delivery.follower import _Retries
from trackhooks.session.run import recorder_of
from trackhooks.storage.checkpoints import DeliveredFiles
from trackhooks.storage.journal import Reader
from trackhooks.storage.run_folder import read_info

HOUR = 3600
DEADLINE_S = 120
"""How long anything may take before a test gives up; no test measures time by it."""


def until(reached: Callable[[], Any]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not reached():
        if time.monotonic() > end:
            pytest.fail(f"not reached in {DEADLINE_S} s")
        time.sleep(0.05)


def train(run: trackhooks.Run, epochs: int = 2, batches: int = 10, first: int = 0) -> None:
    callbacks = run.callbacks
    callbacks.on_train_begin()
    for epoch in range(first, first + epochs):
        callbacks.on_epoch_begin(epoch)
        for batch in range(batches):
            callbacks.on_train_batch_end(batch, {"loss": 1 / (batch + 1)})
        callbacks.on_epoch_end(epoch, {"loss": 0.5})
    callbacks.on_train_end({"loss": 0.5})


def script(tmp_path: Path, body: str) -> list[str]:
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(body))
    return [sys.executable, str(path)]


@contextlib.contextmanager
def running(tmp_path: Path, body: str) -> Iterator[subprocess.Popen[bytes]]:
    """A separate script, whose output goes to `out`: workers that it forks would keep a pipe open."""
    env = importing(SUPPORT)
    with (tmp_path / "out").open("wb") as out:
        process = subprocess.Popen(script(tmp_path, body), cwd=tmp_path, stdout=out, env=env)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


ENDLESS = """
    import os, sys, time, trackhooks
    run = trackhooks.run({trackers}, name="endless")
    {before}
    callbacks = run.callbacks
    callbacks.on_train_begin()
    callbacks.on_epoch_begin(0)
    for batch in range(10**9):
        callbacks.on_train_batch_end(batch, {{"loss": 1.0}})
        print(batch, flush=True)
        time.sleep(0.001)
"""


def said(tmp_path: Path) -> list[str]:
    return (tmp_path / "out").read_text().split("\n")[:-1]


def kill_after(process: subprocess.Popen[bytes], tmp_path: Path, hooks: int) -> int:
    """Kills the process once so many hooks have returned, and says which was the last that did."""
    until(lambda: len(said(tmp_path)) >= hooks)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return int(said(tmp_path)[-1])


def ended(run: Path, *trackers: str) -> bool:
    found = {cursor.tracker: cursor.status for cursor in cursors(run)}
    return all(found.get(tracker) for tracker in trackers)


IN_A_TERMINAL = """
import fcntl, pty, termios
terminal, inside = pty.openpty()
os.setsid()
fcntl.ioctl(inside, termios.TIOCSCTTY, 0)
"""
KILL_THE_SESSION = """
for process in psutil.process_iter():
    if process.pid != os.getpid() and os.getsid(process.pid) == os.getsid(0): process.kill()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="process groups and sessions are of POSIX")
@pytest.mark.parametrize(
    ("before", "end"),
    [
        ("os.setpgid(0, 0)", "os.killpg(0, signal.SIGTERM)"),
        ("os.setpgid(0, 0)", "os.killpg(0, signal.SIGKILL)"),
        (IN_A_TERMINAL, "os._exit(0)"),
        ("os.setsid()", KILL_THE_SESSION),
    ],
    ids=["terminated group", "killed group", "closed terminal", "killed session"],
)
def test_what_ends_the_group_or_session_of_a_training_does_not_end_its_delivery(
    tmp_path: Path, before: str, end: str
) -> None:
    run = 'run = trackhooks.run("lines:Lines", name="r"); run.log(x=1)'
    source = "\n".join(["import os, psutil, signal, trackhooks", before, run, end])
    with running(tmp_path, source) as process:
        process.wait(DEADLINE_S)
    path = tmp_path / "runs" / "r"
    until(lambda: ended(path, "lines"))
    assert lines.steps(path) == [0]


@pytest.mark.parametrize("hooks", [1, 137, 800])
def test_a_killed_training_loses_no_hook_that_returned(tmp_path: Path, hooks: int) -> None:
    with running(tmp_path, ENDLESS.format(trackers='"csv", "lines:Lines"', before="")) as process:
        last = kill_after(process, tmp_path, hooks)
    run = tmp_path / "runs" / "endless"
    until(lambda: ended(run, "csv", "lines"))

    recorded = [e.step for e in trackhooks.journal.read(run) if e.hook == "on_train_batch_end"]
    assert recorded[: last + 1] == list(range(last + 1))
    assert lines.steps(run) == recorded
    with (run / "batches.csv").open() as file:
        assert [int(row["step"]) for row in csv.DictReader(file)] == recorded
    assert read_info(run).status == "killed"
    assert lines.read(run)[-1]["finish"] == "killed"


def test_forked_workers_that_live_on_do_not_hide_the_death_of_the_training(tmp_path: Path) -> None:
    workers = """
    import multiprocessing
    workers = [multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,)) for _ in range(2)]
    [worker.start() for worker in workers]
    print(*(worker.pid for worker in workers), flush=True)
    """
    before = textwrap.indent(textwrap.dedent(workers).strip(), "    ").strip()
    with running(tmp_path, ENDLESS.format(trackers='"lines:Lines"', before=before)) as process:
        kill_after(process, tmp_path, 50)
        pids = [int(pid) for pid in said(tmp_path)[0].split()]
        run = tmp_path / "runs" / "endless"
        try:
            until(lambda: ended(run, "lines"))
            assert all(psutil.pid_exists(pid) for pid in pids)
            with trackhooks.run("lines:Lines", resume=run, delivery="off") as resumed:
                assert resumed.step == lines.steps(run)[-1]
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_twenty_runs_of_a_process_share_one_delivery_process(tmp_path: Path) -> None:
    made = []
    for _ in range(20):
        with trackhooks.run("lines:Lines", dir=tmp_path) as run:
            train(run, epochs=1, batches=3)
        made.append(run)
    assert all(run.wait(DEADLINE_S) for run in made)
    pids = {lines.read(run.path)[0]["pid"] for run in made}
    assert len(pids) == 1
    assert pids.isdisjoint({os.getpid()})
    for run in made:
        assert lines.steps(run.path) == [0, 1, 2]


MODES = pytest.mark.parametrize("delivery", ["process", "inline"])


@MODES
@pytest.mark.filterwarnings("ignore:.*will be tried again:trackhooks.TrackhooksWarning")
def test_an_outage_delays_no_other_tracker_and_loses_nothing(tmp_path: Path, delivery: str) -> None:
    down = tmp_path / "down"
    options: dict[str, Any] = {"lines:Lines": {"down": str(down)}}
    with trackhooks.run("csv", dir=tmp_path, delivery=delivery, **options) as run:
        train(run, epochs=1)
        until(lambda: lines.steps(run.path))
        down.touch()  # in the middle
        train(run, epochs=2, first=1)
        run.flush()
        until(
            lambda: (
                (run.path / "epochs.csv").exists() and len((run.path / "epochs.csv").read_text().split()) == 4
            )
        )
        until(lambda: any(cursor.failures > 1 for cursor in cursors(run.path, "lines:Lines")))
    assert not run.wait(0.5)
    down.unlink()
    assert run.wait(DEADLINE_S)
    assert lines.steps(run.path) == list(range(30))
    assert [line["finish"] for line in lines.read(run.path) if "finish" in line] == ["finished"]


def test_a_tracker_that_fails_is_reported_once_with_its_name_and_the_reason(tmp_path: Path) -> None:
    down = tmp_path / "down"
    down.touch()
    options: dict[str, Any] = {"lines:Lines": {"down": str(down)}}
    run = trackhooks.run(dir=tmp_path, delivery="inline", name="r", **options)
    run.log(x=1)
    until(lambda: any(cursor.error for cursor in cursors(run.path)))
    with pytest.warns(
        trackhooks.TrackhooksWarning, match=r"^lines: ConnectionError: .*no data is lost"
    ) as told:
        train(run, epochs=3)
    assert len(told) == 1
    down.unlink()
    run.close()
    assert run.wait(DEADLINE_S)


def test_a_strict_run_raises_what_a_tracker_could_not_do(tmp_path: Path) -> None:
    down = tmp_path / "down"
    down.touch()
    options: dict[str, Any] = {"lines:Lines": {"down": str(down)}}
    run = trackhooks.run(dir=tmp_path, delivery="inline", strict=True, **options)
    run.log(x=1)
    until(lambda: any(cursor.error for cursor in cursors(run.path)))
    with pytest.raises(trackhooks.TrackerError, match="ConnectionError"):
        train(run)
    down.unlink()
    run.close()
    assert run.wait(DEADLINE_S)


@MODES
def test_an_event_that_a_tracker_cannot_take_is_skipped_and_all_others_arrive(
    tmp_path: Path, delivery: str
) -> None:
    options: dict[str, Any] = {"lines:Lines": {"poison": "bad"}}
    with trackhooks.run(dir=tmp_path, delivery=delivery, **options) as run:
        for step in range(20):
            run.log({"bad" if step == 7 else "good": step})
    assert run.wait(DEADLINE_S)
    assert lines.steps(run.path) == [step for step in range(20) if step != 7]
    assert lines.read(run.path)[-1]["finish"] == "finished"
    log = (run.path / "delivery" / "log").read_text() if delivery == "process" else ""
    assert "bad cannot be taken" in log or delivery == "inline"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*will be tried again:trackhooks.TrackhooksWarning")
def test_a_delivery_process_that_dies_is_started_again_and_nothing_comes_twice(tmp_path: Path) -> None:
    with trackhooks.run("lines:Lines", dir=tmp_path) as run:
        for epoch in range(3):
            train(run, epochs=1, batches=200, first=epoch)
            run.flush()
            until(partial(has_steps, run.path, 200 * epoch + 1))
            victim = last_pid(run.path)
            os.kill(victim, signal.SIGKILL)
            os.waitid(os.P_PID, victim, os.WEXITED | os.WNOWAIT)  # its last thread, too
    assert run.wait(DEADLINE_S)
    assert lines.steps(run.path) == list(range(600))


@pytest.mark.slow
def test_a_delivery_process_that_dies_in_a_run_without_epochs_is_replaced_while_the_run_goes_on(
    tmp_path: Path,
) -> None:
    with trackhooks.run("lines:Lines", dir=tmp_path) as run:
        run.log(x=0)
        assert run.wait(DEADLINE_S)
        victim = last_pid(run.path)
        os.kill(victim, signal.SIGKILL)

        def continues_elsewhere() -> bool:
            run.log(x=1)
            return last_pid(run.path) != victim

        until(continues_elsewhere)


def has_steps(run: Path, count: int) -> bool:
    return len(lines.steps(run)) >= count


def last_pid(run: Path) -> int:
    pids: list[int] = [line["pid"] for line in lines.read(run) if "pid" in line]
    return pids[-1]


def test_recording_only_and_delivering_later(tmp_path: Path) -> None:
    with trackhooks.run("lines:Lines", dir=tmp_path, delivery="off") as run:
        train(run)
    assert not lines.read(run.path)
    assert deliver(run.path) == {}
    assert lines.steps(run.path) == list(range(20))
    assert deliver(run.path) == {}
    assert lines.steps(run.path) == list(range(20))


def test_a_copied_folder_is_delivered_elsewhere_and_to_a_tracker_that_was_not_named(tmp_path: Path) -> None:
    with trackhooks.run("csv", dir=tmp_path / "here") as run:
        train(run)
    assert run.wait(DEADLINE_S)
    there = shutil.copytree(run.path, tmp_path / "there" / run.name)
    assert deliver(there, [Spec("lines:Lines"), Spec("csv")]) == {}
    assert lines.steps(there) == list(range(20))
    assert (there / "batches.csv").read_bytes() == (run.path / "batches.csv").read_bytes()


def test_a_tracker_that_fails_in_a_later_delivery_is_named_and_the_others_get_theirs(tmp_path: Path) -> None:
    with trackhooks.run("csv", dir=tmp_path, delivery="off") as run:
        train(run)
    down = tmp_path / "down"
    down.touch()
    failed = deliver(run.path, [Spec("lines:Lines", {"down": str(down)}), Spec("csv")])
    assert failed == {"lines:Lines": f"ConnectionError: {down} is down"}
    assert len((run.path / "batches.csv").read_text().split()) == 21


def test_a_run_is_delivered_to_one_tracker_by_one_process_at_a_time(tmp_path: Path) -> None:
    with trackhooks.run("lines:Lines", dir=tmp_path) as run:
        run.log(x=1)
        until(lambda: lines.read(run.path))
        assert "by another process" in deliver(run.path)["lines:Lines"]


@pytest.mark.parametrize(
    ("every", "expected"), [(3, [0, 3, 6, 9, 12, 15, 18]), ("1h", None), ("10s", [0, 9, 19])]
)
def test_a_tracker_takes_the_metrics_of_batches_as_often_as_asked(
    tmp_path: Path, every: int | str, expected: list[int] | None
) -> None:
    if expected is None:
        with pytest.raises(trackhooks.InvalidValueError, match=r"every must be .*, got '1h'"):
            trackhooks.run("lines:Lines", dir=tmp_path, every=every)
        return
    with trackhooks.run("lines:Lines", dir=tmp_path, delivery="off", every=every) as run:
        train(run)
    deliver(run.path)
    assert lines.steps(run.path) == expected
    epochs = [line["epoch"] for line in lines.read(run.path) if line.get("axis") == "epoch"]
    assert set(epochs) == {0, 1}


@pytest.mark.parametrize("set_by", [-HOUR, -0.75, HOUR])
@pytest.mark.parametrize("in_pieces", [False, True])
def test_setting_the_clock_does_not_hold_batches_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_pieces: bool, set_by: float
) -> None:
    now = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])
    with trackhooks.run("lines:Lines", dir=tmp_path, delivery="off", every="1s") as run:
        for _ in run.epochs(1):
            for batch in run.train(range(20)):
                if in_pieces:
                    deliver(run.path)
                now[0] += 0.5 if batch != 9 else set_by
                run.log(loss=batch)
    deliver(run.path)
    assert lines.steps(run.path) == [0, 2, 4, 6, 8, 9, 11, 13, 15, 17, 19]


def test_the_last_batch_that_was_held_back_is_not_forgotten_when_the_delivery_dies(tmp_path: Path) -> None:
    with trackhooks.run("lines:Lines", dir=tmp_path, delivery="off", every="10s") as run:
        for _ in run.epochs(1):
            for batch in run.train(range(5)):
                run.log(loss=batch)
            deliver(run.path)  # as far as the last batch but one
    deliver(run.path)
    assert lines.steps(run.path) == [0, 4]
    (cursor,) = cursors(run.path)
    assert (cursor.held_back, cursor.waiting) == (3, b"")


def test_the_last_batch_of_a_training_that_was_killed_comes_before_its_status(tmp_path: Path) -> None:
    with running(tmp_path, ENDLESS.format(trackers='"lines:Lines", every="10min"', before="")) as process:
        kill_after(process, tmp_path, 100)
    run = tmp_path / "runs" / "endless"
    until(lambda: ended(run, "lines"))
    recorded = [event.step for event in trackhooks.journal.read(run) if event.hook == "on_train_batch_end"]
    assert lines.steps(run) == [0, recorded[-1]]


def test_a_last_batch_that_a_tracker_cannot_take_is_left_out_and_later_events_arrive(tmp_path: Path) -> None:
    with trackhooks.run("lines:Lines", dir=tmp_path, delivery="off", every="10s") as run:
        for _ in run.epochs(2):
            for batch in run.train(range(3)):
                run.log({"poison": 1.0} if run.step == 1 else {"loss": batch})
            deliver(run.path, [Spec("lines:Lines", {"poison": "train_batch/poison"}, "10s")])
    deliver(run.path, [Spec("lines:Lines", {"poison": "train_batch/poison"}, "10s")])
    assert lines.steps(run.path) == [0, 5]
    (cursor,) = cursors(run.path)
    assert len(cursor.skipped) == 1
    assert cursor.status == "finished"


def test_tracker_objects_are_fed_in_this_process(tmp_path: Path) -> None:
    with trackhooks.run(lines.Lines(), dir=tmp_path) as run:
        train(run)
    assert run.wait(DEADLINE_S)
    assert lines.read(run.path)[0]["pid"] == os.getpid()
    assert lines.steps(run.path) == list(range(20))


@pytest.mark.slow
def test_files_beside_the_script_are_not_mistaken_for_modules_of_python(tmp_path: Path) -> None:
    for name in ("platform", "json", "logging", "psutil"):
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        (tmp_path / "elsewhere" / f"{name}.py").write_text("raise ImportError('a module of the user')")
    body = """
        import trackhooks
        with trackhooks.run("lines:Lines", name="r") as run:
            run.log(x=1)
    """
    subprocess.run(
        script(tmp_path, body),
        cwd=tmp_path / "elsewhere",
        check=True,
        env=importing(SUPPORT),
        capture_output=True,
    )
    assert lines.read(tmp_path / "elsewhere" / "runs" / "r")[-1]["finish"] == "finished"


@pytest.mark.slow
def test_a_folder_of_pythonpath_comes_before_what_is_installed(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    source = """
        import trackhooks
        class Where(trackhooks.Tracker):
            def on_train_end(self, event):
                open(event.run.path + "/where", "w").write(__file__)
    """
    (given / "threadpoolctl.py").write_text(textwrap.dedent(source))  # scikit-learn has brought another
    body = """
        import trackhooks
        with trackhooks.run("threadpoolctl:Where", name="r") as run:
            for _ in run.epochs(1):
                pass
    """
    env = importing(given)
    subprocess.run(script(tmp_path, body), cwd=tmp_path, check=True, env=env, capture_output=True)
    assert (tmp_path / "runs" / "r" / "where").read_text() == str(given / "threadpoolctl.py")


@pytest.mark.slow
def test_a_file_beside_the_script_named_as_a_backend_is_not_mistaken_for_it(tmp_path: Path) -> None:
    (tmp_path / "tensorboard.py").write_text("raise ImportError('a script of the user')")
    body = """
        import trackhooks
        with trackhooks.run("tensorboard", name="r") as run:
            run.log(x=1)
        print(run.wait(100))
    """
    done = subprocess.run(script(tmp_path, body), cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout == "True\n"
    assert list((tmp_path / "runs" / "r").glob("*tfevents*"))


@pytest.mark.slow
def test_the_log_says_everything_once(tmp_path: Path) -> None:
    down = tmp_path / "down"
    down.touch()
    body = f"""
        import sys, trackhooks
        sys.path.append({str(SUPPORT)!r})
        with trackhooks.run(name="r", **{{"lines:Lines": {{"down": {str(down)!r}}}}}) as run:
            run.log(x=1)
        run.wait(3)
        open({str(down)!r} + ".seen", "w").close()
    """
    process = subprocess.Popen(script(tmp_path, body), cwd=tmp_path, stdout=subprocess.DEVNULL)
    log = tmp_path / "runs" / "r" / "delivery" / "log"
    until(lambda: log.exists() and "is down" in log.read_text())
    down.unlink()
    process.wait()
    warnings = [line for line in log.read_text().splitlines() if "WARNING" in line]
    assert len(warnings) == len(set(warnings)) == 1


def test_options_are_neither_in_the_argument_list_nor_in_the_folder(tmp_path: Path) -> None:
    secret = "tell-" + "nobody"
    options: dict[str, Any] = {"lines:Lines": {"token": secret}}
    with trackhooks.run(dir=tmp_path, **options) as run:
        run.log(x=1)
        until(lambda: lines.read(run.path))
        command = psutil.Process(last_pid(run.path)).cmdline()
    assert run.wait(DEADLINE_S)
    assert secret not in " ".join(command)
    stored = [path.read_bytes() for path in run.path.rglob("*") if path.is_file()]
    assert stored
    assert not any(secret.encode() in data for data in stored)


@pytest.mark.slow
def test_an_outage_at_the_end_does_not_hold_the_program_up_and_says_what_is_left(tmp_path: Path) -> None:
    down = tmp_path / "down"
    down.touch()
    body = f"""
        import trackhooks
        with trackhooks.run(name="r", **{{"lines:Lines": {{"down": {str(down)!r}}}}}) as run:
            run.log(x=1)
    """
    done = subprocess.run(
        script(tmp_path, body),
        cwd=tmp_path,
        check=True,
        env=importing(SUPPORT),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert "not everything of r is in lines:Lines yet (lines:Lines: ConnectionError" in done.stderr
    assert f"trackhooks sync {tmp_path / 'runs' / 'r'}" in done.stderr
    down.unlink()
    until(lambda: ended(tmp_path / "runs" / "r", "lines"))  # the delivery process outlives the training
    assert lines.steps(tmp_path / "runs" / "r") == [0]


def test_without_a_delivery_process_a_run_is_recorded_and_says_how_to_deliver_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
        import sys, trackhooks
        sys.frozen = True
        with trackhooks.run("lines:Lines", name="r") as run:
            run.log(x=1)
    """
    done = subprocess.run(
        script(tmp_path, body),
        cwd=tmp_path,
        check=True,
        env=importing(SUPPORT),
        capture_output=True,
        text=True,
    )
    assert "is only recorded: a frozen executable cannot start another Python" in done.stderr
    assert "trackhooks sync" in done.stderr
    assert deliver(tmp_path / "runs" / "r", [Spec("lines:Lines")]) == {}


def test_a_forked_child_opens_separate_runs(tmp_path: Path) -> None:
    with trackhooks.run("lines:Lines", dir=tmp_path, name="parent") as run:
        run.log(x=1)
        child = os.fork()
        if child == 0:
            with pytest.warns(
                trackhooks.TrackhooksWarning, match="'parent' belongs to the process that opened"
            ):
                run.log(x=99)
            with trackhooks.run("lines:Lines", dir=tmp_path, name="child") as own:
                own.log(y=2)
            os._exit(0 if own.wait(DEADLINE_S) else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert run.wait(DEADLINE_S)
    assert [line["metrics"] for line in lines.read(tmp_path / "parent") if "metrics" in line] == [{"x": 1.0}]
    assert [line["metrics"] for line in lines.read(tmp_path / "child") if "metrics" in line] == [{"y": 2.0}]


@pytest.mark.slow
def test_an_evaluation_after_the_end_still_goes_to_the_run(tmp_path: Path) -> None:
    run = trackhooks.run("lines:Lines", dir=tmp_path)
    train(run, epochs=1)
    recorder_of(run).settle("finished")
    until(lambda: ended(run.path, "lines"))
    run.callbacks.on_test_begin()
    run.callbacks.on_test_end({"loss": 0.25})
    run.close()
    assert run.wait(DEADLINE_S)
    found = lines.read(run.path)
    assert [line["metrics"] for line in found if "test/loss" in line.get("metrics", ())] == [
        {"test/loss": 0.25}
    ]
    assert [line["finish"] for line in found if "finish" in line][-1] == "finished"


def test_a_run_continues_in_its_folder_with_every_event_once(tmp_path: Path) -> None:
    with trackhooks.run("lines:Lines", "csv", dir=tmp_path) as first:
        train(first, epochs=1)
    assert first.wait(DEADLINE_S)
    with trackhooks.run("lines:Lines", "csv", resume=first.path) as second:
        train(second, epochs=1, first=1)
    assert second.wait(DEADLINE_S)
    assert (second.id, second.name, second.path) == (first.id, first.name, first.path)
    assert lines.steps(first.path) == list(range(20))
    assert read_info(first.path).status == "finished"


def test_a_tracker_whose_backend_has_lost_the_run_gets_all_of_it_again(tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        train(run)
    whole, again = lines.Forgetful(), lines.Forgetful()
    assert deliver(run.path, [whole]) == {}
    (run.path / "lost").touch()
    with trackhooks.run(resume=run.path, delivery="off") as run:
        run.log(late=1.0)
    assert deliver(run.path, [again]) == {}
    assert again.seen[: len(whole.seen)] == whole.seen
    assert len(again.seen) > len(whole.seen)


def test_a_tracker_that_has_lost_a_run_which_it_never_had_has_failed(tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        train(run)
    (run.path / "lost").write_text("without a state as well")
    assert deliver(run.path, [lines.Forgetful()]) == {"forgetful": "the backend is empty"}


def test_a_removed_folder_stops_nothing(tmp_path: Path) -> None:
    with trackhooks.run("lines:Lines", dir=tmp_path, name="kept") as kept:
        with trackhooks.run("lines:Lines", dir=tmp_path, name="gone") as gone:
            gone.log(x=1)
            until(lambda: lines.read(gone.path))
        until(partial(removed, gone.path))
        kept.log(x=1)
    assert kept.wait(DEADLINE_S)


@pytest.mark.slow
def test_a_program_whose_runs_were_removed_does_not_wait_for_their_trackers(tmp_path: Path) -> None:
    body = f"""
        import psutil, shutil, sys, time, trackhooks
        sys.path.append({str(SUPPORT)!r})
        with trackhooks.run(name="gone", **{{"lines:Lines": {{"slow": 10.0}}}}) as run:
            run.log(x=1)
        while not (run.path / "lines.jsonl").exists():
            time.sleep(0.05)
        shutil.rmtree(run.path)
        print(*(child.pid for child in psutil.Process().children()))
    """
    done = subprocess.run(script(tmp_path, body), cwd=tmp_path, capture_output=True, text=True, check=True)
    delivery = psutil.Process(int(done.stdout))
    assert delivery.is_running()  # it is not through yet
    until(lambda: not delivery.is_running() or delivery.status() == psutil.STATUS_ZOMBIE)
    assert not (tmp_path / "runs" / "gone").exists()  # it has not been created again


def removed(folder: Path) -> bool:
    """Removes a folder that someone may be writing into."""
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


# What counts as delivered


def delivered_run(directory: Path) -> Path:
    with trackhooks.run("lines:Lines", dir=directory, name="r", delivery="off") as run:
        run.log(x=1)
    assert deliver(run.path) == {}
    return run.path


def test_a_run_is_delivered_when_a_tracker_has_every_record_and_the_status(tmp_path: Path) -> None:
    path = delivered_run(tmp_path)
    assert is_delivered_to(path, "lines:Lines")
    assert not is_delivered_to(path, "csv")


@pytest.mark.parametrize("changes", [{"error": "down"}, {"status": ""}, {"status": "running"}, {"offset": 0}])
def test_a_run_is_not_delivered_when_its_tracker_failed_or_lacks_records_or_the_status(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    path = delivered_run(tmp_path)
    (cursor,) = cursors(path)
    assert not is_delivered(path, msgspec.structs.replace(cursor, **changes))


@pytest.mark.parametrize("size", [1, 7, 40])
def test_an_incomplete_record_at_the_end_of_the_journal_is_not_waited_for(tmp_path: Path, size: int) -> None:
    path = delivered_run(tmp_path)
    with Reader(path) as events:
        starts = [events.offset for _ in events]
    with (path / "journal").open("r+b") as journal:
        whole = journal.read()
        journal.write(whole[starts[0] : starts[0] + size])  # the second record, cut off
    assert is_delivered_to(path, "lines:Lines")


@pytest.mark.parametrize("failures", [0, 1, 5, 20, 1_100, 100_000])
def test_after_any_number_of_failures_a_tracker_is_tried_again_within_half_a_minute(
    tmp_path: Path, failures: int
) -> None:
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        pass
    info = read_info(run.path)
    retries = _Retries(Feed(info, lines.Lines, DeliveredFiles(info)), patience=1.0)
    retries.failures = failures
    wait = retries.after(ConnectionError("down"))
    assert wait is not None
    assert 0 < wait <= 30
