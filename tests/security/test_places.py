"""A run from somebody else cannot make trackhooks write, replace, remove or upload a file outside of its folder."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from backends import keep_wandb_apart
from hostile_runs import CLIMBING, hostile_run, picture

import trackhooks
from trackhooks.delivery.catch_up import deliver
from trackhooks.delivery.cursor import Spec, cursors
from trackhooks.errors import DamagedFileError, JournalError, TrackhooksError
from trackhooks.event import Event
from trackhooks.storage.journal import Writer, read
from trackhooks.storage.run_folder import read_info, write_info

SECRET = "the content of a private file"


def tree(folder: Path, *, but: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_relative_to(but)
    }


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Files of the user around the directory of the runs."""
    for name in ("outside", "private.pt", "home/.bashrc", "home/outside"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(SECRET)
    picture(tmp_path / "private.png")
    return tmp_path


def options_of(tracker: str, folder: Path, new_store: Callable[[Path], str]) -> dict[str, Any]:
    return {
        "csv": {},
        "tensorboard": {},
        "mlflow": {"tracking_uri": new_store(folder / "mlflow.db")},
        "wandb": {"mode": "offline"},
    }[tracker]


@pytest.mark.slow
@pytest.mark.parametrize("tracker", ["csv", "tensorboard", "mlflow", "wandb"])
def test_no_name_in_a_run_leads_out_of_it(
    mine: Path, tracker: str, new_store: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    work = mine / "home" / "work"  # where the backends keep what is theirs
    work.mkdir()
    monkeypatch.chdir(work)
    keep_wandb_apart(monkeypatch, work)
    options = options_of(tracker, work, new_store)
    run = hostile_run(work / "runs" / "evil", mine / "private.png")
    before = tree(mine, but=work)
    deliver(run, [Spec(tracker, options)])
    assert [cursor.status for cursor in cursors(run, tracker)] == ["failed"], "it is delivered all the same"
    assert tree(mine, but=work) == before
    private = (mine / "private.png").read_bytes()
    assert [path for path in work.rglob("*") if path.is_file() and private in path.read_bytes()] == []


# Links


def finished(folder: Path, *trackers: str) -> Path:
    with trackhooks.run(*trackers, dir=folder, name="r", delivery="off", system=None) as run:
        for step in range(3):
            run.log(loss=step)
    return run.path


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("epochs.csv", "outside"), ("run.csv", "outside"), ("delivery/log", "home/.bashrc"), ("delivery", "home"),
        ("files", "home"), ("files/outside", "outside"), ("tables", "home"), ("journal", "nothing"),
        ("summary", "../outside"),
    ],
)  # fmt: skip
def test_a_run_with_a_link_that_leads_out_of_it_is_neither_delivered_nor_resumed(
    mine: Path, link: str, target: str
) -> None:
    run = finished(mine / "runs", "csv")
    place = run / link
    place.parent.mkdir(exist_ok=True)
    if place.is_file():
        place.unlink()
    place.symlink_to(os.path.relpath(mine / target, place.parent))
    before = tree(mine, but=run)
    with pytest.raises(TrackhooksError, match="link that leads out of the run's folder"):
        deliver(run)
    with pytest.raises(TrackhooksError, match="link that leads out of the run's folder"):
        trackhooks.run("csv", dir=mine / "runs", resume=run, delivery="off")
    assert tree(mine, but=run) == before
    assert not (mine / "nothing").exists()


def test_a_link_within_a_run_and_a_run_that_is_a_link_are_followed(mine: Path) -> None:
    run = finished(mine / "elsewhere", "csv")
    (run / "latest").symlink_to("journal")
    (mine / "runs").mkdir()
    link = mine / "runs" / "r"
    link.symlink_to(run)
    assert deliver(link) == {}
    assert (run / "run.csv").exists()


def test_a_journal_is_never_written_through_a_link(mine: Path) -> None:
    (mine / "journal").symlink_to(mine / "new")
    with pytest.raises(JournalError, match="cannot be written"):
        Writer(mine)
    assert not (mine / "new").exists()


@pytest.mark.filterwarnings("ignore:run skipped:trackhooks.TrackhooksWarning")
@pytest.mark.parametrize("name", ["run.json", "journal", "summary", "delivery/csv.json", "points.npz"])
def test_a_pipe_in_the_place_of_a_file_does_not_block_a_reader(mine: Path, name: str) -> None:
    run = finished(mine / "runs", "csv")
    (run / "delivery").mkdir(exist_ok=True)
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    assert len(trackhooks.runs(mine / "runs")) == (name != "run.json")
    with suppress(TrackhooksError):  # it says what is wrong with the run
        trackhooks.history(run)


# What a folder says of an earlier delivery


@pytest.mark.parametrize(
    ("tracker", "state"),
    [
        ("csv", {"sheets": {"{outside}": {"rows": 1, "end": 3, "names": 0, "last": 0}}}),
        ("csv", {"sheets": {"../../outside": {"rows": 1, "end": 3, "names": 0, "last": 0}}}),
        ("csv", {"sheets": {"tables/../../../outside": {"rows": 1, "end": 3, "names": 0, "last": 0}}}),
        ("csv", {"sheets": {"tables/\0": {"rows": 1, "end": 3, "names": 0, "last": 0}}}),
        ("tensorboard", {"file": "{outside}", "offset": 3}),
        ("tensorboard", {"file": "../../outside", "offset": 3}),
        ("tensorboard", {"file": "run.json", "offset": 3}),
    ],
)
def test_a_state_that_names_another_file_is_not_used_and_all_is_delivered_again(
    mine: Path, tracker: str, state: dict[str, Any]
) -> None:
    run = finished(mine / "runs", tracker)
    before = tree(mine, but=run) | {"run.json": (run / "run.json").read_bytes()}
    named = json.loads(json.dumps(state).replace("{outside}", str(mine / "outside")))
    (run / "delivery").mkdir(exist_ok=True)
    (run / "delivery" / f"{tracker}.json").write_text(
        json.dumps({"tracker": tracker, "offset": 16, "state": named})
    )
    assert deliver(run) == {}
    assert tree(mine, but=run) | {"run.json": (run / "run.json").read_bytes()} == before
    assert [cursor.status for cursor in cursors(run, tracker)] == ["finished"]


def test_a_record_of_kept_files_cannot_have_other_files_removed(mine: Path) -> None:
    run = finished(mine / "runs", "csv")
    forged = {f"{n}:0": {"kind": "model", "kept": f"files/../{CLIMBING}", "aliases": []} for n in range(3)}
    (run / "delivery").mkdir(exist_ok=True)
    (run / "delivery" / "files.json").write_text(json.dumps(forged))
    model = mine / "new.pt"
    with trackhooks.run("csv", dir=mine / "runs", resume=run, delivery="off") as again:
        model.write_text("weights")
        again.log_model(model)
    before = tree(mine, but=run)
    assert deliver(run) == {}
    assert tree(mine, but=run) == before


@pytest.mark.parametrize(
    "name", ["{outside}", "../../outside", "files/../../../outside", "/dev/zero", "run.json"]
)
def test_a_large_record_is_read_only_from_the_files_of_its_run(mine: Path, name: str) -> None:
    run = finished(mine / "runs", "csv")
    (mine / "outside").write_bytes(msgspec.msgpack.encode(Event("log", 9, 1.0, metrics={"stolen": 1.0})))
    writer = Writer(run)
    writer.append(Event("log", 9, 1.0, overflow=name.format(outside=mine / "outside")))
    writer.close()
    (event,) = [event for event in read(run) if event.index == 9]
    assert event.metrics == {}


@pytest.mark.parametrize("id_", ["", "../../outside", "/outside", "a'b", "a\0b", "*", "x\n"])
def test_an_id_that_could_be_a_path_or_a_query_is_damage(mine: Path, id_: str) -> None:
    run = finished(mine / "runs", "csv")
    info = read_info(run)
    info.id = id_
    write_info(run, info)
    with pytest.raises(DamagedFileError, match="its id is"):
        read_info(run)
    writer = Writer(run)
    writer.append(Event("log", 9, 1.0, run=info))  # the journal, from which it is rebuilt, has the same id
    writer.close()
    assert deliver(run) == {}
    assert re.fullmatch(r"[\w-]+", read_info(run).id)
