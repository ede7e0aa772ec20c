"""The columns of a finished run are stored once, and the journal remains the truth."""

from __future__ import annotations

import math
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import trackhooks
from trackhooks.cli.main import main
from trackhooks.event import Event
from trackhooks.reading import points_file
from trackhooks.reading.points import Points, points
from trackhooks.storage import journal
from trackhooks.storage.run_folder import read_info, write_info

ODD = (0.1, math.nan, math.inf, -math.inf, 1e-310, 1e300, -0.0, 2.0**60)


def record(name: str = "a", *, steps: int = 3000) -> Path:
    """Record a finished run that is large enough for the file."""
    with trackhooks.run(name=name) as run:
        for step in range(steps):
            run.log({"exact": ODD[step % len(ODD)], "float32": step / 4}, step=step)
            if step % 1000 == 0:
                run.log({"rare": step, "exact": 5.0}, step=step)
    return run.path


def stored(run: Path) -> Path:
    return run / points_file.FILE_NAME


def from_journal(run: Path) -> dict[str, Points]:
    """Read a copy of the journal, which has no other files."""
    copy = run.with_name(f"copy-of-{run.name}")
    copy.mkdir()
    shutil.copy(run / "journal", copy)
    found = points(copy)
    shutil.rmtree(copy)
    return found


def same(one: dict[str, Points], other: dict[str, Points]) -> bool:
    """Return whether all points are equal to the last bit, in the same order."""
    assert list(one) == list(other)
    for name, found in one.items():
        for array, expected in zip(found, other[name], strict=True):
            assert array.dtype == expected.dtype
            if array.tobytes() != expected.tobytes():
                return False
    return True


def test_the_second_read_of_a_finished_run_does_not_need_the_records() -> None:
    path = record()
    assert not stored(path).exists()
    first = points(path)
    assert stored(path).exists()
    # All but the end of the journal, which identifies it, is made unreadable.
    content = (path / "journal").read_bytes()
    (path / "journal").write_bytes(bytes(len(content) - 65536) + content[-65536:])
    assert same(points(path), first)
    with pytest.raises(trackhooks.JournalError):
        trackhooks.journal.read(path)


def test_the_file_has_every_point_to_the_last_bit() -> None:
    path = record()
    expected = from_journal(path)
    points(path)
    assert stored(path).exists()
    assert same(points(path), expected)
    assert same(points(path, {"rare"}.__contains__), {"rare": expected["rare"]})


def test_it_is_smaller_than_the_journal_and_numpy_can_read_it() -> None:
    path = record()
    points(path)
    assert stored(path).stat().st_size < (path / "journal").stat().st_size / 2
    with np.load(stored(path)) as archive:
        assert "0/step" in archive


def test_a_selection_is_the_same_before_and_after() -> None:
    path = record()
    assert same(points(path, "float32".__eq__), points(path, "float32".__eq__))
    assert stored(path).exists()


def test_a_running_run_has_none() -> None:
    with trackhooks.run(name="a") as run:
        for step in range(3000):
            run.log(x=step)
        assert len(points(run.path)["x"].value) == 3000
        assert not stored(run.path).exists()


def test_a_run_that_was_continued_is_read_from_its_journal() -> None:
    path = record()
    points(path)
    before = stored(path).read_bytes()
    with trackhooks.run(resume=path) as run:
        run.log({"more": 1.0})
        assert list(points(path)) == ["exact", "float32", "rare", "more"]
        assert stored(path).read_bytes() == before
    assert same(points(path), from_journal(path))
    assert stored(path).read_bytes() != before
    assert same(points(path), from_journal(path))


def test_an_evaluation_after_the_end_is_there() -> None:
    path = record()
    points(path)
    writer = journal.Writer(path)
    writer.append(Event("log", 9999, 1.0, 3000, metrics={"test/loss": 0.5}))
    writer.close()
    assert list(points(path)["test/loss"].value) == [0.5]


def test_another_journal_of_the_same_size_is_noticed() -> None:
    path, other = record("a"), record("b")
    size = (path / "journal").stat().st_size
    points(path)
    content = (other / "journal").read_bytes()
    assert len(content) == size
    (path / "journal").write_bytes(content)
    assert same(points(path), from_journal(other))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_whatever_happens_to_the_file_the_points_are_right(seed: int) -> None:
    path = record()
    expected = points(path)
    whole = stored(path).read_bytes()
    chance = random.Random(seed)
    for _ in range(12):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 10, 1000))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        end = chance.choice((len(damaged), chance.randrange(len(damaged)), 0))
        stored(path).write_bytes(damaged[:end])
        assert same(points(path), expected)
    for place in range(1, 600, 13):  # the directory at the end of the archive
        damaged = bytearray(whole)
        damaged[-place] ^= 1 << chance.randrange(8)
        stored(path).write_bytes(damaged)
        assert same(points(path), expected)


def test_a_file_of_another_version_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    path = record()
    monkeypatch.setattr(points_file, "_VERSION", 99)
    points(path)
    later = stored(path).read_bytes()
    monkeypatch.undo()
    assert same(points(path), from_journal(path))
    assert stored(path).read_bytes() != later


def test_a_folder_in_its_place_is_left_alone() -> None:
    path = record()
    stored(path).mkdir()
    assert len(points(path)["float32"].value) == 3000
    assert stored(path).is_dir()
    assert not list(path.glob(".points*"))


def test_a_full_disk_is_no_error(small_disk: Path) -> None:
    path = record(steps=3000)
    run = small_disk / "a"
    run.mkdir()
    # The journal is elsewhere: on this disk, there is no room for the file.
    shutil.copy(path / "run.json", run)
    (run / "journal").symlink_to(path / "journal")
    (small_disk / "filler").write_bytes(bytes(40_000))
    assert same(points(run), from_journal(path))
    assert sorted(file.name for file in run.iterdir()) == ["journal", "run.json"]


def test_a_damaged_journal_has_none_so_that_the_damage_is_always_reported() -> None:
    path = record()
    content = bytearray((path / "journal").read_bytes())
    content[1000] ^= 0xFF
    (path / "journal").write_bytes(content)
    for _ in range(2):
        with pytest.warns(trackhooks.TrackhooksWarning, match="is damaged"):
            points(path)
    assert not stored(path).exists()


def test_a_moved_and_a_copied_run_use_it() -> None:
    path = record()
    points(path)
    copy = shutil.copytree(path, path.with_name("copied"))
    before = stored(copy).stat().st_mtime_ns
    assert same(points(copy), points(path))
    assert stored(copy).stat().st_mtime_ns == before


def test_doctor_sync_and_lists_do_not_mind_it() -> None:
    path = record()
    before = trackhooks.runs().to_dict()
    points(path)
    assert stored(path).exists()
    assert trackhooks.runs().to_dict() == before
    result = CliRunner().invoke(main, ["sync", str(path)])
    assert result.exit_code == 0, result.output
    assert "points" not in CliRunner().invoke(main, ["doctor"]).output


def test_a_run_that_is_marked_running_again_is_not_stored() -> None:
    path = record()
    info = read_info(path)
    info.status = "running"
    write_info(path, info)
    points(path)
    assert not stored(path).exists()
