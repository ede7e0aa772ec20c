"""No existing file outside a run's folder is replaced or removed. The trackers' own cases are in their tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import trackhooks
from trackhooks.delivery.catch_up import deliver
from trackhooks.errors import JournalError, TrackhooksWarning
from trackhooks.event import File
from trackhooks.frameworks import resume_marker
from trackhooks.frameworks.run_hooks import hooks_of
from trackhooks.session.run import Run, recorder_of
from trackhooks.storage import run_folder
from trackhooks.storage.checkpoints import copy, remove


def recorded(home: Path, name: str = "a") -> Run:
    return trackhooks.run(dir=home / "runs", name=name, delivery="off", system=None)


def everything_in(path: Path) -> dict[str, bytes]:
    return {str(found): found.read_bytes() for found in path.rglob("*") if found.is_file()}


# The note next to checkpoints


def text(content: str) -> Callable[[Path], None]:
    def occupy(place: Path) -> None:
        (place / resume_marker.NAME).write_text(content)

    return occupy


def binary(place: Path) -> None:
    (place / resume_marker.NAME).write_bytes(b"\xff\xfe\0")


def subfolder(place: Path) -> None:
    (place / resume_marker.NAME).mkdir()
    (place / resume_marker.NAME / "mine").write_text("mine")


def link_to_a_file(place: Path) -> None:
    (place / "mine").write_text("mine")
    (place / resume_marker.NAME).symlink_to(place / "mine")


def link_to_nothing(place: Path) -> None:
    (place / resume_marker.NAME).symlink_to(place / "nothing")


@pytest.mark.parametrize(
    "occupy",
    [
        text(""), text("[settings]\nproject = mine\n"), text("one line\n"), text("/no/end/of/line"), text("/\n"),
        text("/a\n/b\n"), text("/a\n" * 10_000), text("/" + "a" * 5000 + "\n"), binary, subfolder,
        link_to_a_file, link_to_nothing,
    ],
    ids=[
        "empty", "settings", "a line", "no end of line", "a folder", "two", "many", "too long", "binary", "subfolder",
        "link", "dead link",
    ],
)  # fmt: skip
def test_a_file_that_is_named_like_the_note_next_to_checkpoints_stays(
    tmp_path: Path, occupy: Callable[[Path], None]
) -> None:
    place = tmp_path / "checkpoints"
    place.mkdir()
    occupy(place)
    before = everything_in(place), (place / resume_marker.NAME).is_symlink()
    run = recorded(tmp_path)
    with pytest.warns(TrackhooksWarning, match="stays as it is"):
        resume_marker.leave(place, hooks_of(recorder_of(run)))
    run.close()
    assert (everything_in(place), (place / resume_marker.NAME).is_symlink()) == before
    assert resume_marker.find(place) is None


def test_the_note_of_an_earlier_run_is_replaced_even_if_that_run_was_removed(tmp_path: Path) -> None:
    for name in ("a", "a longer name", "b"):
        run = recorded(tmp_path, name)
        resume_marker.leave(tmp_path, hooks_of(recorder_of(run)))
        run.close()
        assert resume_marker.find(tmp_path) == run.path.absolute()
    remove(run.path)
    run = recorded(tmp_path, "c")
    resume_marker.leave(tmp_path, hooks_of(recorder_of(run)))
    run.close()
    assert resume_marker.find(tmp_path) == run.path.absolute()


# Runs


def test_a_folder_or_file_that_has_the_name_of_a_run_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "runs" / "a").mkdir(parents=True)
    for name in ("run.json", "journal", "epochs.csv"):
        (tmp_path / "runs" / "a" / name).write_text("mine")
    (tmp_path / "runs" / "a-2").write_text("mine")
    (tmp_path / "runs" / "a-3").symlink_to(tmp_path / "nothing")
    before = everything_in(tmp_path)
    with recorded(tmp_path) as run:
        run.log(x=1)
    assert run.path.name == "a-4"
    assert everything_in(tmp_path).items() >= before.items()
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("journal", [None, b"Dear diary", b"trackhooks, a text about it"])
def test_a_folder_that_only_looks_like_a_run_cannot_be_resumed_and_stays_as_it_is(
    tmp_path: Path, journal: bytes | None
) -> None:
    place = tmp_path / "theirs"
    place.mkdir()
    (place / run_folder.INFO).write_text(json.dumps({"id": "1", "name": "theirs", "owner": "somebody"}))
    if journal is not None:
        (place / "journal").write_bytes(journal)
    before = everything_in(place)
    with pytest.raises(JournalError, match=r"(no journal at|is not a journal of)"):
        trackhooks.run(resume=place, delivery="off", system=None)
    assert everything_in(place) == before


# Kept files


@pytest.mark.parametrize("outside", ["../../mine.pt", "files/../../../mine.pt", "{home}/mine.pt", "run.json"])
def test_a_run_from_elsewhere_cannot_name_files_outside_its_own(tmp_path: Path, outside: str) -> None:
    mine = tmp_path / "mine.pt"
    mine.write_text("mine")
    with recorded(tmp_path) as run:
        for number in range(3):
            kept = outside.format(home=tmp_path) if number < 2 else ""
            recorder_of(run).record({}, files=[File(str(mine), "model", "mine.pt", kept=kept)])
    assert deliver(run.path) == {}
    assert mine.read_text() == "mine"
    assert run_folder.read_info(run.path).id == run.id


def test_of_a_link_in_a_runs_folder_only_the_link_is_removed(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "last.pt").write_text("mine")
    for target in (store, store / "last.pt"):
        link = tmp_path / "link"
        link.symlink_to(target)
        (tmp_path / "new.pt").write_text("new")
        copy(tmp_path / "new.pt", link)
        assert not link.is_symlink()
        assert link.read_text() == "new"
        remove(link)
    assert everything_in(store) == {str(store / "last.pt"): b"mine"}
