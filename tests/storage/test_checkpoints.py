"""Checkpoints and other files: which the run's folder keeps, and that none is ever half kept."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backends import rows, sha256

import trackhooks
from trackhooks.delivery.catch_up import deliver
from trackhooks.event import File
from trackhooks.storage.checkpoints import DeliveredFiles, Policy
from trackhooks.storage.run_folder import read_info


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


class Training:
    """A training that overwrites its checkpoints, recorded only."""

    def __init__(self, home: Path, **settings: Any) -> None:
        self.home = home
        self.run = trackhooks.run(dir=home / "runs", delivery="off", system=None, **settings)

    def save(self, name: str, content: str, *aliases: str) -> Path:
        path = self.home / name
        path.write_text(content)
        self.run.log_model(path, aliases=aliases)
        return path

    def keep(self) -> dict[str, list[str]]:
        """Delivers; the contents of the checkpoints in the run's folder, by the name of the file."""
        assert deliver(self.run.path) == {}
        kept: dict[str, list[str]] = {}
        for row in rows(self.run.path / "files.csv"):
            if row["kept"] and (path := self.run.path / row["kept"]).exists():
                assert row["sha256"] == sha256(path)
                kept.setdefault(row["name"], []).append(path.read_text())
        return kept

    def files(self) -> list[File]:
        """Every file of the run, with what became of it."""
        keeper = DeliveredFiles(read_info(self.run.path))
        events = [event for event in trackhooks.journal.read(self.run.path) if event.files]
        for event in [*events, *events]:  # again, because a later version may have replaced an earlier one
            keeper.resolve(event)
        return [file for event in events for file in event.files]


# Which stay


def test_by_default_the_newest_checkpoint_of_each_alias_stays(tmp_path: Path) -> None:
    training = Training(tmp_path)
    for number in range(4):
        training.save("last.pt", f"last {number}", "last")
        if number < 2:
            training.save("best.pt", f"best {number}", "best")
        training.keep()
    assert training.keep() == {"last.pt": ["last 3"], "best.pt": ["best 1"]}


def test_a_checkpoint_stays_as_long_as_one_of_its_aliases_is_its_own(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.save("0.pt", "zero", "best", "last")
    training.save("1.pt", "one", "last")
    training.save("2.pt", "two", "last")
    assert training.keep() == {"0.pt": ["zero"], "2.pt": ["two"]}


def test_a_checkpoint_without_an_alias_stays_until_the_next(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.save("0.pt", "zero")
    assert training.keep() == {"0.pt": ["zero"]}
    training.save("1.pt", "one")
    assert training.keep() == {"1.pt": ["one"]}


def test_custom_aliases_may_be_kept(tmp_path: Path) -> None:
    training = Training(tmp_path, keep="best, champion")
    training.save("0.pt", "zero", "champion")
    training.save("1.pt", "one", "last")
    training.save("2.pt", "two", "best")
    assert training.keep() == {"0.pt": ["zero"], "2.pt": ["two"]}


def test_all_stay_however_late_the_delivery_is(tmp_path: Path) -> None:
    """The loop has overwritten its file many times before anyone looks."""
    training = Training(tmp_path, keep="all")
    for number in range(5):
        training.save("last.pt", f"version {number}", "last")
    assert training.keep() == {"last.pt": [f"version {number}" for number in range(5)]}
    assert not any(file.superseded for file in training.files())


def test_every_second_stays_and_the_newest(tmp_path: Path) -> None:
    training = Training(tmp_path, keep="every:2")
    for number in range(6):
        training.save("last.pt", f"version {number}", "last")
    assert training.keep() == {"last.pt": ["version 0", "version 2", "version 4", "version 5"]}


def test_a_run_that_continues_keeps_counting_its_checkpoints(tmp_path: Path) -> None:
    training = Training(tmp_path, keep="every:2")
    training.save("last.pt", "version 0")
    training.run.close()
    training.run = trackhooks.run(resume=training.run.path, keep="every:2", delivery="off", system=None)
    for number in (1, 2, 3):
        training.save("last.pt", f"version {number}")
    assert training.keep() == {"last.pt": ["version 0", "version 2", "version 3"]}


def test_where_none_are_kept_their_hashes_are(tmp_path: Path) -> None:
    training = Training(tmp_path, keep="none")
    training.save("last.pt", "weights", "last")
    assert training.keep() == {}
    (file,) = training.files()
    assert (file.sha256, file.kept, file.superseded) == (digest("weights"), "", False)
    assert not (training.run.path / "files").exists()


def test_files_other_than_checkpoints_always_stay(tmp_path: Path) -> None:
    training = Training(tmp_path)
    for number in range(3):
        (tmp_path / "labels.txt").write_text(f"labels {number}")
        training.run.log_file(tmp_path / "labels.txt")
        training.keep()
    assert training.keep() == {"labels.txt": ["labels 0", "labels 1", "labels 2"]}


@pytest.mark.parametrize("keep", ["", "best,,last", "every:0", "every:x", "newest:3", None, 3])
def test_an_unknown_policy_is_refused_with_the_known_ones(keep: Any) -> None:
    with pytest.raises(trackhooks.InvalidValueError, match=r"'best,last'.*'all', 'none' or 'every:5'"):
        Policy(keep)


# What is overwritten


def test_a_version_that_was_overwritten_before_it_was_copied_is_superseded(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.save("last.pt", "first", "last")
    training.save("last.pt", "second", "last")
    assert training.keep() == {"last.pt": ["second"]}
    first, second = training.files()
    assert (first.superseded, first.sha256, first.kept) == (True, "", "")
    assert (second.superseded, second.sha256) == (False, digest("second"))


def test_a_file_that_was_deleted_before_it_was_copied_is_superseded(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.save("last.pt", "gone", "last").unlink()
    assert training.keep() == {}
    assert [file.superseded for file in training.files()] == [True]


def test_a_version_of_the_same_length_and_inode_is_recognized(tmp_path: Path) -> None:
    """`torch.save` writes into the same inode; only the time differs."""
    training = Training(tmp_path)
    path = training.save("last.pt", "weights A", "last")
    before = path.stat()
    with path.open("r+") as file:
        file.write("weights B")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))
    assert (path.stat().st_ino, path.stat().st_size) == (before.st_ino, before.st_size)
    assert training.keep() == {}
    assert [file.superseded for file in training.files()] == [True]


def test_a_file_that_changes_while_it_is_copied_is_never_half_kept(tmp_path: Path) -> None:
    training, stop, writing = Training(tmp_path), threading.Event(), threading.Lock()
    path = tmp_path / "last.pt"

    def overwrite(number: int = 0) -> None:
        while not stop.is_set():
            number += 1
            with writing:
                path.write_bytes(bytes([number % 256]) * 3_000_000)

    writer = threading.Thread(target=overwrite)
    writer.start()
    try:
        for _ in range(10):
            with writing:
                path.write_bytes(b"\0" * 3_000_000)
                training.run.log_model(path)
            for file in training.files():
                if file.kept:
                    content = (training.run.path / file.kept).read_bytes()
                    assert len(set(content)) == 1
                    assert len(content) == 3_000_000
    finally:
        stop.set()
        writer.join()


def test_a_folder_is_kept_whole_and_a_changed_one_is_superseded(tmp_path: Path) -> None:
    training, folder = Training(tmp_path), tmp_path / "saved_model"
    (folder / "variables").mkdir(parents=True)
    (folder / "graph.pb").write_text("a graph")
    (folder / "variables" / "0").write_text("weights")
    training.run.log_export(folder)
    (first,) = training.files()
    kept = training.run.path / first.kept
    assert (kept / "graph.pb").read_text() == "a graph"
    assert (kept / "variables" / "0").read_text() == "weights"
    training.run.log_export(folder)
    (folder / "variables" / "0").write_text("other weights")
    assert [file.superseded for file in training.files()] == [False, True]


def test_a_copy_that_is_there_survives_the_loss_of_the_original(tmp_path: Path) -> None:
    training = Training(tmp_path)
    path = training.save("best.pt", "weights", "best")
    training.keep()
    path.unlink()
    assert training.keep() == {"best.pt": ["weights"]}


# Trouble


def test_files_removed_from_the_runs_folder_do_not_hold_up_delivery(tmp_path: Path) -> None:
    training, empty = Training(tmp_path, keep="all"), tmp_path / "empty"
    empty.mkdir()
    training.run.log_model(empty)
    training.save("last.pt", "removed")
    training.save("last.pt", "kept")
    (training.run.path / "files" / "models" / "000001-last.pt").unlink()
    assert training.keep() == {"last.pt": ["kept"]}
    assert [file.superseded for file in training.files()] == [True, True, False]


def test_a_full_disk_keeps_no_incomplete_file_and_the_training_continues(
    small_disk: Path, tmp_path: Path
) -> None:
    run = trackhooks.run(dir=small_disk, keep="all", delivery="off", system=None)
    large = tmp_path / "large.pt"
    large.write_bytes(b"\1" * 100_000)
    with pytest.warns(
        UserWarning, match=r"large\.pt could not be copied .* No space left .* Training continues"
    ):
        run.log_model(large)
    run.log(loss=0.5)
    run.close()
    assert list((run.path / "files").rglob("*.pt")) == []
    hooks = [event.hook for event in trackhooks.journal.read(run.path)]
    assert hooks[:2] == ["on_model_save", "log"]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_large_file_is_not_held_in_memory(tmp_path: Path, program: Callable[..., str]) -> None:
    """Neither when the training copies it, nor when it is delivered."""
    grown = program(
        """
        import sys, resource
        import trackhooks
        from trackhooks.delivery.catch_up import deliver
        path = f"{sys.argv[1]}/large.pt"
        with open(path, "wb") as file:
            file.truncate(400_000_000)
        with trackhooks.run(dir=sys.argv[1], keep="all", delivery="off", system=None) as run:
            run.log_text("small", "to have imported all")
            deliver(run.path)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            run.log_model(path)
            assert deliver(run.path) == {}
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        """,
        tmp_path,
    )
    assert int(grown) < 40_000  # KiB
