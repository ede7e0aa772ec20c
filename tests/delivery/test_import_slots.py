"""Delivery processes of a user import heavy backends in turn, and never wait long because of it."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from folders import SUPPORT, importing
from lines import steps

from trackhooks.delivery.import_slots import ImportSlots, user_slots
from trackhooks.storage.user_folder import user_folder

DEADLINE_S = 120
HOLD = """
import sys
from pathlib import Path
from trackhooks.delivery.import_slots import ImportSlots
with ImportSlots([Path(sys.argv[1])]).slot():
    print("held", flush=True)
    sys.stdin.read()
"""

TRAINING = """
import trackhooks
names = "starters:Requiring", "lines:Lines", "csv", "tensorboard"
with trackhooks.run(*names, name="r", system=None, wait=100) as run:
    run.log(loss=1.0, step=0)
"""


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for the runtime files of a user, and another one for temporary files."""
    path, other = tmp_path / "runtime", tmp_path / "temporary"
    path.mkdir(0o700)
    other.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    monkeypatch.setattr("tempfile.tempdir", str(other))
    return path


def entered(slots: ImportSlots) -> threading.Event:
    """Take a slot in a thread. The event is set when the thread has it."""
    has_it = threading.Event()

    def take() -> None:
        with slots.slot():
            has_it.set()

    threading.Thread(target=take, daemon=True).start()
    return has_it


def test_one_process_waits_for_another_and_the_threads_of_one_do_not_wait(tmp_path: Path) -> None:
    slots, of_another = ImportSlots([tmp_path / "0"]), ImportSlots([tmp_path / "0"])
    with slots.slot():
        assert entered(slots).wait(DEADLINE_S)
        waits = entered(of_another)
        assert not waits.wait(0.5)
    assert waits.wait(DEADLINE_S)


def test_there_are_as_many_turns_at_once_as_slots(tmp_path: Path) -> None:
    paths = [tmp_path / "0", tmp_path / "1"]
    with ImportSlots(paths).slot(), ImportSlots(paths).slot():
        assert not entered(ImportSlots(paths)).wait(0.5)


def test_a_process_waits_for_a_bounded_time_altogether(tmp_path: Path) -> None:
    impatient = ImportSlots([tmp_path / "0"], patience=0)
    with ImportSlots([tmp_path / "0"]).slot():
        for _ in range(2):
            assert entered(impatient).wait(DEADLINE_S)


def test_the_slot_of_a_killed_process_is_free(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "0")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        waits = entered(ImportSlots([tmp_path / "0"], patience=DEADLINE_S))
        assert not waits.wait(0.5)
        holder.kill()
        assert waits.wait(DEADLINE_S)


def test_a_slot_that_cannot_be_opened_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "0", tmp_path / "missing" / "folder" / "0", tmp_path / "folder"):
        assert entered(ImportSlots([path], patience=10 * DEADLINE_S)).wait(DEADLINE_S)
    assert entered(ImportSlots([], patience=10 * DEADLINE_S)).wait(DEADLINE_S)


def test_the_files_are_in_a_folder_of_this_user_only(runtime: Path) -> None:
    assert user_folder() == runtime / "trackhooks"
    assert (runtime / "trackhooks").stat().st_mode & 0o777 == 0o700
    with user_slots().slot():
        assert not entered(user_slots()).wait(0.5) or len(list(runtime.rglob("imports-*"))) > 1


@pytest.mark.parametrize("prepared", ["open to all", "a link", "a file"])
def test_a_folder_that_another_user_may_have_prepared_is_not_used(runtime: Path, prepared: str) -> None:
    path, target = runtime / "trackhooks", runtime / "target"
    if prepared == "open to all":
        path.mkdir()
        path.chmod(0o777)
    elif prepared == "a link":
        target.mkdir(0o700)
        path.symlink_to(target)
    else:
        path.touch()
    found = user_folder()
    assert found is not None
    assert found.parent == runtime.parent / "temporary"
    found.chmod(0o755)
    assert user_folder() is None
    with user_slots().slot():  # without a folder, no one waits
        assert entered(user_slots()).wait(DEADLINE_S)


@pytest.mark.slow
def test_trackers_that_are_not_heavy_wait_for_no_other_process(runtime: Path, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "r"
    with user_slots().slot():
        training = subprocess.Popen([sys.executable, "-c", TRAINING], cwd=tmp_path, env=importing(SUPPORT))
        until = time.monotonic() + DEADLINE_S
        while not (steps(run) == [0] and (run / "metrics.csv").exists() and events(run)):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert not (run / "starts").exists()
    assert training.wait(DEADLINE_S) == 0
    assert (run / "starts").read_text() == "requiring alone\n"


def events(run: Path) -> list[Path]:
    return list(run.glob("events.out*"))
