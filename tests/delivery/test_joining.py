"""Processes that a training starts share its delivery process, if their surroundings are equal."""

from __future__ import annotations

import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import lines
import pytest
from folders import SUPPORT, importing

from trackhooks.delivery.cursor import is_delivered_to
from trackhooks.delivery.joining import JoinedDelivery, Listener, listen
from trackhooks.delivery.orders import Orders
from trackhooks.storage.run_folder import paths, read_info
from trackhooks.storage.user_folder import user_folder

pytestmark = [
    pytest.mark.slow,  # starts programs
    pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="the system does not tell who connects"),
]

DEADLINE_S = 120
STEPS = 5

COMMON = """
import multiprocessing, os, signal, subprocess, sys, time
import trackhooks

def opened(name):
    return trackhooks.run(dir="runs", name=name, system=None, **{"lines:Lines": {"token": "hidden-hidden"}})

def work(name):
    with opened(name) as run:
        for step in range(5):
            run.log(x=step, step=step)

def delivery():
    import psutil
    found = [child for child in psutil.Process().children() if "trackhooks.delivery" in " ".join(child.cmdline())]
    return found[0] if found else None

def wait_for(path):
    while not os.path.exists(path):
        time.sleep(0.05)
"""

POOLS = {
    "fork": "[multiprocessing.get_context('fork').Pool(2).map(work, names, chunksize=1)]",
    "spawn": "[multiprocessing.get_context('spawn').Pool(2).map(work, names, chunksize=1)]",
    "loky": "__import__('joblib').Parallel(2)(__import__('joblib').delayed(work)(name) for name in names)",
    "programs": "[subprocess.run([sys.executable, __file__, name], check=True) for name in names]",
}


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: that of a socket is limited."""
    with tempfile.TemporaryDirectory(prefix="th-", ignore_cleanup_errors=True) as path:
        Path(path, "tmp").mkdir()
        yield Path(path)


def environment(folder: Path) -> dict[str, str]:
    return importing(SUPPORT) | {"XDG_RUNTIME_DIR": "", "TMPDIR": str(folder / "tmp")}


def run_program(folder: Path, body: str, code: int = 0) -> None:
    path = folder / "program.py"
    start = (
        "if __name__ == '__main__' and sys.argv[1:]:\n    work(sys.argv[1])\nelif __name__ == '__main__':\n"
    )
    path.write_text(
        f"{COMMON}\n{start}" + "".join(f"    {line}\n" for line in dedent(body).strip().splitlines())
    )
    done = subprocess.run(
        [sys.executable, str(path)], cwd=folder, env=environment(folder), check=False, timeout=DEADLINE_S
    )
    assert done.returncode == code


def deliverers(folder: Path, *names: str) -> dict[str, int]:
    """The process that delivered each run in the end. Each must have every step once, and its status once."""
    until = time.monotonic() + DEADLINE_S
    while not all(is_delivered_to(folder / "runs" / name, "lines:Lines") for name in names):
        assert time.monotonic() < until, [path.name for path in paths(folder / "runs")]
        time.sleep(0.1)
    for name in names:
        assert lines.steps(folder / "runs" / name) == list(range(STEPS)), name
        assert len([line for line in lines.read(folder / "runs" / name) if "finish" in line]) == 1
    return {
        name: [line["pid"] for line in lines.read(folder / "runs" / name) if "start" in line][-1]
        for name in names
    }


@pytest.mark.parametrize("how", POOLS)
def test_workers_have_the_delivery_of_their_parent(folder: Path, how: str) -> None:
    run_program(
        folder,
        f"""
        names = ["a", "b", "c"]
        with opened("parent") as run:
            for step in range(5):
                run.log(x=step, step=step)
            {POOLS[how]}
        """,
    )
    found = deliverers(folder, "parent", "a", "b", "c")
    assert len(set(found.values())) == 1
    assert {read_info(folder / "runs" / name).status for name in found} == {"finished"}
    assert not list(folder.rglob("delivery-*"))  # the socket is gone


@pytest.mark.parametrize("change", ["env={**os.environ, 'WANDB_MODE': 'offline'}", "cwd='tmp'"])
def test_a_program_with_other_surroundings_has_its_own(folder: Path, change: str) -> None:
    run_program(
        folder,
        f"""
        os.environ["TRACKHOOKS_DIR"] = os.path.abspath("runs")
        with opened("parent") as run:
            for step in range(5):
                run.log(x=step, step=step)
            subprocess.run([sys.executable, __file__, os.path.abspath("runs/a")], check=True, {change})
        """,
    )
    runs = folder / "tmp" / "runs" if "cwd" in change else folder / "runs"
    assert runs.exists()
    found = deliverers(folder, "parent")
    others = [path for path in runs.rglob("lines.jsonl") if path.parent.name != "parent"]
    assert others
    assert all(lines.read(path.parent)[0]["pid"] != found["parent"] for path in others)


def test_if_the_delivery_of_the_parent_is_killed_a_worker_starts_its_own(folder: Path) -> None:
    run_program(
        folder,
        """
        parent = opened("parent")
        child = os.fork()
        if not child:
            with opened("a") as run:
                run.log(x=0, step=0)
                run.wait(60)
                open("delivered", "w").close()
                wait_for("killed")
                for step in range(1, 5):
                    run.log(x=step, step=step)
            trackhooks.session.process_end.delivery_manager().finish(60)
            os._exit(0)
        wait_for("delivered")
        process = delivery()
        process.kill()
        process.wait()
        open("killed", "w").write(str(process.pid))
        os.waitpid(child, 0)
        for step in range(5):
            parent.log(x=step, step=step)
        parent.close()
        """,
    )
    found = deliverers(folder, "parent", "a")
    assert int((folder / "killed").read_text()) not in found.values()


def test_a_worker_that_is_killed_is_delivered_and_the_others_as_well(folder: Path) -> None:
    run_program(
        folder,
        """
        parent = opened("parent")
        child = os.fork()
        if not child:
            run = opened("a")
            for step in range(5):
                run.log(x=step, step=step)
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        for step in range(5):
            parent.log(x=step, step=step)
        parent.close()
        """,
    )
    found = deliverers(folder, "parent", "a")
    assert len(set(found.values())) == 1
    assert read_info(folder / "runs" / "a").status == "killed"
    assert read_info(folder / "runs" / "parent").status == "finished"


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_worker_that_outlives_its_parent_keeps_its_delivery(folder: Path, end: str) -> None:
    run_program(
        folder,
        f"""
        parent = opened("parent")
        for step in range(5):
            parent.log(x=step, step=step)
        pid, child = os.getpid(), os.fork()
        if not child:
            with opened("a") as run:
                run.log(x=0, step=0)
                open("joined", "w").close()
                while os.getppid() == pid:
                    time.sleep(0.05)
                for step in range(1, 5):
                    run.log(x=step, step=step)
            os._exit(0)
        wait_for("joined")
        {end}
        """,
        code=-signal.SIGKILL if "KILL" in end else 0,
    )
    assert len(set(deliverers(folder, "parent", "a").values())) == 1
    assert read_info(folder / "runs" / "parent").status == "killed"
    assert read_info(folder / "runs" / "a").status == "finished"


def test_secrets_are_only_in_what_the_processes_send_each_other(folder: Path) -> None:
    run_program(
        folder,
        """
        import psutil
        with opened("parent") as run:
            for step in range(5):
                run.log(x=step, step=step)
            subprocess.run([sys.executable, __file__, "a"], check=True)
            known = delivery()
            assert "hidden-hidden" not in repr([known.cmdline(), known.environ()])
        """,
    )
    deliverers(folder, "parent", "a")
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "program.py"]
    assert not [path for path in files if b"hidden-hidden" in path.read_bytes()]


def test_only_this_user_can_connect_and_only_as_itself(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    served = threading.Event()

    def serve(orders: Orders) -> None:
        served.set()

    private = user_folder()
    assert private is not None
    stale = private / f"delivery-{2**40}-0"
    stale.touch()
    (stale.parent / "delivery-").touch()
    listening = listen()
    assert listening is not None
    assert not stale.exists()
    path = Path(listening.getsockname())
    assert [stat.S_IMODE(one.stat().st_mode) for one in (path, path.parent)] == [0o600, 0o700]
    listener = Listener(serve)
    listener.open(listening.detach())
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(path))
        other.sendall(b'{"parent": 1, "parent_created": 1.0}\n')
        assert other.recv(5) == b""
    assert not served.is_set()
    joined = JoinedDelivery(path)
    assert joined.wait(DEADLINE_S)
    assert served.is_set()
    assert joined.gave_up
    joined.abandon()
    listener.close()
    assert not path.exists()


def test_without_a_place_for_the_socket_workers_have_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = tmp_path / ("long" * 30)
    far.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setattr("tempfile.tempdir", str(far))
    assert listen() is None
    with pytest.raises(OSError, match="No such file"):
        JoinedDelivery(tmp_path / "missing")
