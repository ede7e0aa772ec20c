"""Damaged files of a run's folder are set aside and rebuilt; without file descriptors, the training continues."""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import lines
import msgspec
import pytest
from folders import SUPPORT, importing

import trackhooks
from trackhooks.delivery.catch_up import deliver
from trackhooks.delivery.cursor import Spec, cursors
from trackhooks.errors import DamagedFileError, TrackhooksError
from trackhooks.session.run import recorder_of
from trackhooks.storage.checkpoints import DeliveredFiles
from trackhooks.storage.locks import is_held
from trackhooks.storage.lost_runs import end_if_dead
from trackhooks.storage.run_folder import damaged_files, read_info, write_info

DEADLINE_S = 300


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "something").touch()


def replaced(data: bytes) -> Callable[[Path], None]:
    def replace(path: Path) -> None:
        path.write_bytes(data)

    return replace


def changed(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return write


DAMAGE: dict[str, Callable[[Path], None]] = {
    "empty": replaced(b""),
    "zeros": changed(lambda data: bytes(len(data))),
    "not UTF-8": changed(lambda data: data.replace(b'"', b'"\xff\xfe', 2)),
    "not UTF-8 in a value": changed(
        lambda data: data.replace(b'":"', b'":"\xff').replace(b'": "', b'": "\xff')
    ),
    "cut off": changed(lambda data: data[: len(data) // 2]),
    "last byte cut off": changed(lambda data: data.rstrip()[:-1]),
    "followed by another": changed(lambda data: data + data),
    "not JSON": replaced(b"\x89PNG\r\n\x1a\n"),
    "null": replaced(b"null"),
    "a list": replaced(b"[]"),
    "a number": replaced(b"3"),
    "wrong types": changed(lambda data: json.dumps({key: [1.5] for key in json.loads(data)}).encode()),
    "deeply nested": replaced(b"[" * 100_000),
    "a folder": as_folder,
}


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A run that was delivered, with a checkpoint that has been overwritten since."""
    model = tmp_path / "last.pt"
    with trackhooks.run(
        "lines:Lines", dir=tmp_path / "runs", name="r", project="p", params={"lr": 0.1}
    ) as run:
        for step in range(20):
            run.log(x=step)
        model.write_bytes(b"weights")
        run.log_model(model, ["last"])
    assert run.wait(DEADLINE_S)
    model.write_bytes(b"later weights")
    while is_held(run.path / "delivery" / ".lines.json.lock"):  # the delivery process lets go of it soon
        time.sleep(0.02)
    return run.path


def values(run: Path) -> list[float]:
    return [line["metrics"]["x"] for line in lines.read(run) if "x" in line.get("metrics", {})]


def resumed(run: Path) -> None:
    """Goes on with a run, so that there is more to deliver."""
    with trackhooks.run("lines:Lines", dir=run.parent, resume=run, delivery="off") as again:
        again.log(x=20)


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_cursor_is_set_aside_and_the_tracker_gets_all_of_the_run(trained: Path, kind: str) -> None:
    resumed(trained)
    path = trained / "delivery" / "lines.json"
    DAMAGE[kind](path)
    assert deliver(trained, [Spec("lines:Lines")]) == {}
    assert values(trained) == list(range(21))
    assert [found.name for found in damaged_files(trained)] == ["lines.json.damaged"]
    assert [cursor.status for cursor in cursors(trained)] == ["finished"]


@pytest.mark.parametrize(
    "fields",
    [
        {"waiting": "aGVsbG8="},
        {"epoch": {"seen": {"x": "many"}}},
        {"epoch": {"seen": 3}},
        {"offset": -5},
        {"offset": 17},
    ],
    ids=str,
)
def test_a_cursor_of_values_that_cannot_be_does_not_block_its_tracker(
    trained: Path, fields: dict[str, Any]
) -> None:
    resumed(trained)
    path = trained / "delivery" / "lines.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **fields}))
    assert deliver(trained, [Spec("lines:Lines")]) == {}
    assert values(trained)[-1] == 20


def test_a_cursor_whose_number_was_damaged_is_set_aside(trained: Path) -> None:
    resumed(trained)
    path = trained / "delivery" / "lines.json"
    path.write_bytes(re.sub(rb'"offset":(\d+)', rb'"offset":1\1', path.read_bytes()))
    assert deliver(trained, [Spec("lines:Lines")]) == {}
    assert values(trained) == list(range(21))
    assert [found.name for found in damaged_files(trained)] == ["lines.json.damaged"]


@pytest.mark.parametrize("kind", DAMAGE)
def test_kept_files_are_found_again_if_their_record_is_damaged(trained: Path, kind: str) -> None:
    DAMAGE[kind](trained / "delivery" / "files.json")
    (event,) = [event for event in trackhooks.journal.read(trained) if event.files]
    DeliveredFiles(read_info(trained)).resolve(event)
    (file,) = event.files
    assert (trained / file.kept).read_bytes() == b"weights"
    assert not file.superseded
    assert [found.name for found in damaged_files(trained)] == ["files.json.damaged"]


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_run_json_is_rebuilt_from_the_journal(trained: Path, kind: str) -> None:
    before = read_info(trained)
    DAMAGE[kind](trained / "run.json")
    with pytest.raises(DamagedFileError, match="trackhooks sync"):
        read_info(trained)
    rebuilt = end_if_dead(trained)
    assert read_info(trained) == rebuilt
    assert msgspec.structs.replace(rebuilt, ended=0.0) == msgspec.structs.replace(before, ended=0.0)
    assert rebuilt.ended == pytest.approx(before.ended, abs=1)
    assert [found.name for found in damaged_files(trained)] == ["run.json.damaged"]


@pytest.mark.slow
@pytest.mark.parametrize("times", [2, 3])
def test_files_that_were_set_aside_before_are_kept(trained: Path, times: int) -> None:
    for number in range(times):
        (trained / "run.json").write_bytes(b"%d" % number)
        end_if_dead(trained)
    assert sorted(path.read_bytes() for path in damaged_files(trained)) == [b"%d" % n for n in range(times)]


def test_a_run_whose_journal_holds_no_identity_keeps_one_id_and_its_trackers(tmp_path: Path) -> None:
    run = trackhooks.run("lines:Lines", dir=tmp_path, name="r", delivery="inline")
    recorder_of(run)._timeline._signed = True  # as in journals of earlier versions
    run.log(x=1)
    run.close()
    assert run.wait(DEADLINE_S)
    found = []
    for _ in range(2):
        (run.path / "run.json").write_bytes(b"{")
        found.append(end_if_dead(run.path))
    assert found[0] == found[1]
    assert (found[0].name, found[0].status, found[0].trackers) == ("r", "finished", ["lines:Lines"])


def test_a_run_json_that_lost_its_trackers_is_delivered_to_those_that_have_the_run(trained: Path) -> None:
    resumed(trained)
    known = read_info(trained)
    known.trackers = []
    write_info(trained, known)
    assert deliver(trained) == {}
    assert values(trained) == list(range(21))


def test_a_damaged_run_json_without_a_journal_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(b"{")
    with pytest.raises(TrackhooksError, match=r"run\.json"):
        end_if_dead(tmp_path)
    assert (tmp_path / "run.json").read_bytes() == b"{"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_run_whose_run_json_is_damaged_can_be_resumed(trained: Path) -> None:
    known = read_info(trained)
    (trained / "run.json").write_bytes(b"\xff")
    with trackhooks.run("lines:Lines", dir=trained.parent, resume=trained) as run:
        run.log(x=20)
    assert run.wait(DEADLINE_S)
    assert (run.id, recorder_of(run).info.project) == (known.id, "p")
    assert values(trained) == list(range(21))


@pytest.mark.filterwarnings("ignore:.*(was damaged|tried again):trackhooks.TrackhooksWarning")
@pytest.mark.parametrize("delivery", ["process", "inline"])
@pytest.mark.parametrize("name", ["run.json", "delivery/lines.json", "delivery/files.json"])
@pytest.mark.parametrize("kind", ["not UTF-8", "empty", "a folder"])
def test_damage_in_the_middle_of_a_training_ends_neither_it_nor_its_delivery(
    tmp_path: Path, kind: str, name: str, delivery: str
) -> None:
    model = tmp_path / "last.pt"
    with trackhooks.run("lines:Lines", dir=tmp_path / "runs", name="r", delivery=delivery) as run:
        for epoch in run.epochs(3):
            for batch in run.train(range(5)):
                run.log(x=batch)
            model.write_text(f"weights {epoch}")
            run.log_model(model, ["last"])
            assert run.wait(DEADLINE_S)
            if epoch == 1:
                DAMAGE[kind](run.path / name)
    assert run.wait(DEADLINE_S)
    assert lines.steps(run.path) == list(range(15))
    assert read_info(run.path).status == "finished"


@pytest.mark.filterwarnings("always:.*was damaged:trackhooks.TrackhooksWarning")
def test_files_that_the_delivery_process_set_aside_are_reported_once(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    with trackhooks.run("lines:Lines", dir=tmp_path, name="r") as run:
        for _ in run.epochs(3):
            for batch in run.train(range(2)):
                run.log(x=batch)
            assert run.wait(DEADLINE_S)
            (run.path / "delivery" / "lines.json.damaged").touch()
    assert len([found for found in recwarn if "was damaged" in str(found.message)]) == 1


# File descriptors


@contextmanager
def descriptors(left: int) -> Iterator[None]:
    """As in a program that has opened so many files that only some more can be opened."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = sorted(int(path.name) for path in Path("/proc/self/fd").iterdir())
    taken = [os.open(os.devnull, os.O_RDONLY) for number in range(used[-1] - len(used) + 2)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max([*used, *taken]) + 1 + left, limit[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
        for fd in taken:
            os.close(fd)


EXHAUSTED = """
    import os, resource, sys, warnings
    import numpy, matplotlib.figure, PIL.Image
    import trackhooks
    from trackhooks.errors import TrackhooksError

    if len(sys.argv) == 3:  # nothing frees the descriptors, so the delivery at the exit waits in vain
        os.environ['TRACKHOOKS_WAIT'] = '3'

    def leave(count):
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        for fd in taken[:count]:
            os.close(fd)
        del taken[:count]

    taken, left, delivery = [], int(sys.argv[1]), sys.argv[2]
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    os.mkdir("model")
    open("model/weights", "w").close()
    PIL.Image.new("RGB", (4, 4)).save("picture.jpg")
    options = {"lines:Lines": {}}
    with trackhooks.run(name="r", delivery=delivery, keep="all", **options) as run:
        for epoch in run.epochs(4, progress=True):
            for batch in run.train(range(5)):
                run.log(x=batch)
            if epoch == 0:
                leave(left)
            run.log_image("array", numpy.zeros((4, 4)))
            run.log_image("path", "picture.jpg")
            run.log_table("table", {"a": [1]})
            run.log_histogram("histogram", numpy.arange(9.0))
            run.log_text("text", "text")
            run.log_file("model")
            run.log_model("model", ["last"])
            run.log_model("picture.jpg")
            run.log_export("model", "saved")
            run.url("lines:Lines")
            run.flush()
            run.wait(0.1)
            try:
                with run.child("child") as child:
                    child.log(y=1)
            except TrackhooksError:
                pass
    try:
        with trackhooks.run(name="second", delivery=delivery, **options) as second:
            second.log(y=1)
    except TrackhooksError:
        pass
    os.write(1, b"done")
    if len(sys.argv) > 3:
        for fd in taken:
            os.close(fd)
"""


def exhausted(tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", dedent(EXHAUSTED), *map(str, arguments)],
        cwd=tmp_path,
        env=importing(SUPPORT),
        check=False, capture_output=True, text=True, timeout=DEADLINE_S,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("delivery", ["process", "inline", "off"])
@pytest.mark.parametrize("left", [0, 1, 2, 3, 4, 6, 8])
def test_a_training_without_file_descriptors_continues(tmp_path: Path, left: int, delivery: str) -> None:
    done = exhausted(tmp_path, left, delivery)
    assert (done.returncode, done.stdout.endswith("done")) == (0, True), done.stderr
    assert "Traceback" not in done.stderr
    run = tmp_path / "runs" / "r"
    assert deliver(run, [Spec("lines:Lines")]) == {} or delivery == "process"
    steps = [event.step for event in trackhooks.journal.read(run) if event.hook == "on_train_batch_end"]
    assert steps == list(range(20))


@pytest.mark.slow
@pytest.mark.parametrize("delivery", ["process", "inline"])
def test_events_that_were_not_delivered_for_lack_of_descriptors_are_delivered_later(
    tmp_path: Path, delivery: str
) -> None:
    done = exhausted(tmp_path, 0, delivery, "free")
    assert done.returncode == 0, done.stderr
    assert lines.steps(tmp_path / "runs" / "r") == list(range(20))


@pytest.mark.parametrize("left", range(12))
def test_a_run_that_cannot_be_opened_for_want_of_descriptors_is_an_error_that_says_so(
    tmp_path: Path, left: int
) -> None:
    trackhooks.run("lines:Lines", dir=tmp_path, delivery="off").close()
    with descriptors(left):
        try:
            trackhooks.run("lines:Lines", dir=tmp_path, delivery="off").close()
        except TrackhooksError as error:
            assert "open files" in str(error)  # noqa: PT017 — with some left, it opens
