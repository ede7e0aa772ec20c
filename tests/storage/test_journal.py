"""The journal: what was appended is read back, whatever happens to the process, the disk or the file."""

from __future__ import annotations

import gc
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trackhooks
from trackhooks.errors import JournalError
from trackhooks.event import Event, File, Graph, Histogram, Node, Table, Text
from trackhooks.session.run import recorder_of
from trackhooks.storage import journal
from trackhooks.storage.lost_runs import end_if_dead
from trackhooks.storage.run_folder import read_info, write_info

HEADER = 16  # bytes

Program = Callable[..., str]


def event(index: int, **more: Any) -> Event:
    return Event(
        "on_train_batch_end", index, 1.5e9 + index, index, 0, index, {"train_batch/loss": index / 7}, **more
    )


def write(run: Path, indices: range) -> None:
    writer = journal.Writer(run)
    for index in indices:
        writer.append(event(index))
    writer.close()


def indices(run: Path) -> list[int]:
    return [event.index for event in journal.read(run)]


def test_appended_records_are_read_back_unchanged(tmp_path: Path) -> None:
    events = [
        event(0, params={"lr": 0.1, "name": "é", "n": 2**64 - 1, "none": None, "on": True}),
        Event("on_fit_epoch_end", 1, 2.0, metrics={"nan": math.nan, "inf": math.inf, "-inf": -math.inf}),
        event(
            2, files=[File("/x/best.pt", "model", "best.pt", aliases=("best",), metrics={"val/loss": 1.0})]
        ),
        event(
            3,
            media=[
                Text("note", "# text"),
                Table("t", ["a"], [[1], [None]]),
                Histogram("h", [0.0, 1.0], [2.0]),
            ],
        ),
        event(4, media=[Graph("g", [Node("a", "conv", ["b"], {"size": 3})])]),
        event(5, status="failed", reason="OutOfMemoryError: 80 GiB"),
    ]
    writer = journal.Writer(tmp_path)
    for one in events:
        writer.append(one)
    writer.close()
    assert repr(list(journal.read(tmp_path))) == repr(events)  # not by ==, because NaN is not equal to NaN


def test_the_path_of_the_journal_works_like_the_folder(tmp_path: Path) -> None:
    write(tmp_path, range(2))
    assert journal.read(tmp_path / "journal") == journal.read(str(tmp_path))


def test_a_reader_continues_after_its_last_record_or_that_of_an_earlier_reader(tmp_path: Path) -> None:
    writer = journal.Writer(tmp_path)
    writer.append(event(0))
    with journal.Reader(tmp_path) as reader:
        assert [found.index for found in reader] == [0]
        assert reader.behind == 0
        writer.append(event(1))
        assert reader.behind > 0
        assert [found.index for found in reader] == [1]
        writer.append(event(2))
        with journal.Reader(tmp_path, reader.offset) as later:
            assert [found.index for found in later] == [2]


def test_a_reader_that_stops_early_continues_after_its_last_record(tmp_path: Path) -> None:
    write(tmp_path, range(5))
    with journal.Reader(tmp_path) as reader:
        for found in reader:
            if found.index == 2:
                break
        assert [found.index for found in reader] == [3, 4]


# Values that MessagePack cannot hold


@pytest.mark.parametrize(
    ("more", "stored"),
    [
        ({"params": {"text": "cut \ud83d"}}, {"text": "cut \\ud83d"}),
        ({"params": {"\udcff": 1}}, {"\\udcff": 1}),
        ({"params": {"n": 10**30}}, {"n": 1e30}),
        ({"params": {"n": 10**400}}, {"n": "1329 bits"}),
        (
            {"params": {"n": np.float64(0.5), "s": np.str_("x"), "i": np.int8(3)}},
            {"n": 0.5, "s": "x", "i": 3},
        ),
    ],
)
def test_a_value_that_cannot_be_encoded_costs_neither_the_record_nor_the_training(
    tmp_path: Path, more: dict[str, Any], stored: dict[str, Any]
) -> None:
    writer = journal.Writer(tmp_path)
    writer.append(event(0, **more))
    writer.close()
    assert journal.read(tmp_path) == [event(0, params=stored)]


def test_a_file_whose_path_is_not_utf8_is_recorded(tmp_path: Path) -> None:
    writer = journal.Writer(tmp_path)
    writer.append(event(0, files=[File(os.fsdecode(b"/caf\xe9.pt"), "model", "m", aliases=("best",))]))
    writer.close()
    [found] = journal.read(tmp_path)
    assert found.files == [File("/caf\\udce9.pt", "model", "m", aliases=("best",))]


# Killed processes

APPENDS_FOR_EVER = """
    import itertools, os, sys
    from trackhooks import journal
    from trackhooks.event import Event
    writer = journal.Writer(sys.argv[1])
    for index in itertools.count():
        writer.append(Event("log", index, 0.0, metrics={"x": 1.0}))
        os.write(1, b"%d\\n" % index)
"""


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_process_loses_no_record_that_was_appended(tmp_path: Path, seed: int) -> None:
    command = [
        sys.executable,
        "-c",
        "\n".join(line[4:] for line in APPENDS_FOR_EVER.splitlines()),
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(random.Random(seed).randrange(1, 2000))]
        process.kill()
        told += process.stdout.readlines()
    found = indices(tmp_path)
    assert found == list(range(len(found)))
    assert len(found) >= sum(line.endswith(b"\n") for line in told)
    write(tmp_path, range(len(found), len(found) + 1))  # and it can be written again
    assert len(indices(tmp_path)) == len(found) + 1


@pytest.mark.parametrize("size", range(HEADER))
def test_a_journal_whose_writer_was_killed_in_the_header_is_empty_and_can_be_written(
    tmp_path: Path, size: int
) -> None:
    write(tmp_path / ".", range(0))
    file = tmp_path / "journal"
    file.write_bytes(file.read_bytes()[:size])
    assert journal.read(tmp_path) == []
    write(tmp_path, range(2))
    assert indices(tmp_path) == [0, 1]


def test_resuming_cuts_off_an_incomplete_record_and_continues(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    file = tmp_path / "journal"
    file.write_bytes(file.read_bytes()[:-5])
    writer = journal.Writer(tmp_path)
    assert writer.last == event(1)
    writer.append(event(2))
    writer.close()
    with journal.Reader(tmp_path) as reader:
        assert [found.index for found in reader] == [0, 1, 2]
        assert reader.skipped == 0


def test_a_reader_waits_for_the_rest_of_an_incomplete_record(tmp_path: Path) -> None:
    write(tmp_path, range(2))
    file = tmp_path / "journal"
    whole = file.read_bytes()
    with journal.Reader(tmp_path) as reader:
        for size in range(HEADER, len(whole)):
            file.write_bytes(whole[:size])
            assert [found.index for found in reader] in ([], [0])
            assert reader.skipped == 0
        file.write_bytes(whole)
        assert [found.index for found in reader] == [1]


# Damaged files

RECORDS = 6


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[int]]:
    """A journal's bytes, and the start and end of each record."""
    run = tmp_path_factory.mktemp("run")
    writer = journal.Writer(run)
    bounds = [HEADER]
    for index in range(RECORDS):
        writer.append(event(index, params={"text": "x" * (10 * index)}))
        bounds.append((run / "journal").stat().st_size)
    writer.close()
    return (run / "journal").read_bytes(), bounds


def survivors(damaged: bytes, folder: Path) -> list[int]:
    """The indices that are read from these bytes; every byte is accounted for."""
    file = folder / "journal"
    file.write_bytes(damaged)
    with journal.Reader(file) as reader:
        found = [one.index for one in reader]
        assert reader.offset + reader.behind == len(damaged)
    with journal.Reader(file) as again:
        whole = sum(len(journal._frame(journal._encode(one))) for one in again)
        assert again.offset == HEADER + whole + again.skipped
    return found


def untouched(bounds: list[int], start: int, end: int) -> set[int]:
    return {index for index in range(RECORDS) if bounds[index + 1] <= start or end <= bounds[index]}


@given(data=st.data())
def test_damage_costs_only_the_records_that_it_touches(
    intact: tuple[bytes, list[int]], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Bytes are overwritten, lost or inserted, anywhere after the header."""
    whole, bounds = intact
    start = data.draw(st.integers(HEADER, len(whole)), "start")
    end = data.draw(st.integers(start, min(start + 300, len(whole))) | st.just(start), "end")
    with_marker = st.binary(max_size=40).map(lambda noise: whole[HEADER : HEADER + 4] + noise)
    noise = data.draw(st.binary(max_size=300) | with_marker, "noise")
    found = survivors(whole[:start] + noise + whole[end:], tmp_path_factory.mktemp("damaged"))
    assert untouched(bounds, start, end) <= set(found)
    assert found == sorted(set(found))


def test_a_length_that_was_damaged_does_not_hide_what_follows_it(
    intact: tuple[bytes, list[int]], tmp_path: Path
) -> None:
    whole, bounds = intact
    damaged = bytearray(whole)
    damaged[bounds[1] + 6] = 0x7F  # about 8 MB: more than the file holds
    assert survivors(bytes(damaged), tmp_path) == [0, 2, 3, 4, 5]


def test_bytes_that_are_not_records_are_counted(intact: tuple[bytes, list[int]], tmp_path: Path) -> None:
    whole, bounds = intact
    (tmp_path / "journal").write_bytes(whole[: bounds[2]] + b"?" * 1000 + whole[bounds[2] :])
    with journal.Reader(tmp_path) as reader:
        assert len(list(reader)) == RECORDS
        assert reader.skipped == 1000


def test_a_record_that_is_not_an_event_is_skipped(tmp_path: Path) -> None:
    write(tmp_path, range(1))
    with (tmp_path / "journal").open("ab") as file:
        file.write(journal._frame(b"\x93\x01\x02\x03"))
    write(tmp_path, range(1, 2))
    with journal.Reader(tmp_path) as reader:
        assert [found.index for found in reader] == [0, 1]
        assert reader.skipped == 16


# Earlier and later versions

DATA = Path(__file__).parent / "data"


def as_json(values: Any) -> str:
    return json.dumps(values, sort_keys=True)  # NaN equals NaN as a string


def test_a_journal_written_by_trackhooks_0_1_0_is_read_as_before(tmp_path: Path) -> None:
    """`events.jsonl` has what that version read from this journal, which has every kind of event."""
    folder = shutil.copytree(DATA / "run_of_0.1.0", tmp_path / "run")
    then = [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    with journal.Reader(folder) as reader:
        now = [msgspec.to_builtins(event) for event in reader]
        assert (reader.skipped, reader.behind, reader.left_out) == (0, 0, {})
    assert [as_json(event) for event in now] == [as_json(event) for event in then]
    assert {item["type"] for event in then for item in event.get("media", ())} == {
        tag.__struct_config__.tag for tag in (Text, Table, Histogram, Graph)
    }
    [run] = trackhooks.runs(folder.parent)
    assert (run.status, run.params["lr"], run.metrics["val/loss"].best) == ("failed", 0.1, 0.25)
    assert not run.journal.damage


class Audio(msgspec.Struct, tag="audio"):
    """A type of media of a later version."""

    name: str
    samples: list[float]


class Marks(msgspec.Struct, tag="marks", array_like=True):
    """Another one, which is stored as an array."""

    name: str


class LaterText(msgspec.Struct, tag="text"):
    """The same type of media with one more field."""

    name: str
    text: str
    language: str = "en"


class LaterEvent(msgspec.Struct):
    """An event of a later version; each test adds what it needs."""

    hook: str = "on_train_batch_end"
    index: int = 1
    time: float = 2.0
    step: Any = 3
    epoch: Any = msgspec.UNSET
    metrics: Any = msgspec.UNSET
    params: Any = msgspec.UNSET
    files: Any = msgspec.UNSET
    media: Any = msgspec.UNSET
    status: Any = msgspec.UNSET
    energy: Any = msgspec.UNSET
    """A field that is not known today."""


FILE = {"path": "/x/a.pt", "kind": "model", "name": "a.pt"}


@pytest.mark.parametrize(
    ("later", "read", "left_out"),
    [
        (LaterEvent(energy=3.0), {}, {}),
        (LaterEvent(energy={"a": [msgspec.msgpack.Ext(5, b"x")]}), {}, {}),
        (LaterEvent(hook="on_checkpoint_pruned"), {"hook": "on_checkpoint_pruned"}, {}),
        (LaterEvent(media=[LaterText("a", "b")]), {"media": [Text("a", "b")]}, {}),
        (
            LaterEvent(media=[Audio("a", [0.5]), LaterText("a", "b"), Audio("c", []), Histogram("h", [0, 1], [2])]),
            {"media": [Text("a", "b"), Histogram("h", [0.0, 1.0], [2.0])]},
            {"media of type 'audio'": 2},
        ),
        (LaterEvent(media=[Marks("m"), Text("a", "b")]), {"media": [Text("a", "b")]}, {"an item in media": 1}),
        (LaterEvent(media=[{"name": "untyped"}, 3, None]), {}, {"an item in media": 3}),
        (LaterEvent(media=[{"type": ["odd"]}, {"type": 7}]), {}, {"media of type ['odd']": 1, "media of type 7": 1}),
        (
            LaterEvent(media=[{"type": "table", "name": "t", "columns": ["a"], "rows": {"packed": b"x"}}]),
            {},
            {"media of type 'table': rows": 1, "media of type 'table'": 1},
        ),
        (
            LaterEvent(media=[Audio("a", []), {"type": "graph", "name": "g", "nodes": [
                {"name": "a", "op": "conv", "attributes": {"size": [3, 3], "bias": True}}]}]),
            {"media": [Graph("g", [Node("a", "conv", attributes={"bias": True})])]},
            {"media of type 'audio'": 1, "a value in media of type 'graph': nodes: attributes": 1},
        ),
        (
            LaterEvent(metrics={"loss": 0.5, "curve": [1.0, 2.0], "on": None}),
            {"metrics": {"loss": 0.5}},
            {"a value in metrics": 2},
        ),
        (
            LaterEvent(params={"lr": 0.1, "layers": [1, 2], "when": msgspec.msgpack.Ext(5, b"x")}),
            {"params": {"lr": 0.1}},
            {"a value in params": 2},
        ),
        (
            LaterEvent(files=[FILE | {"size": {"disk": 3}, "owner": "me"}, {"kind": "stream"}, FILE]),
            {"files": [File("/x/a.pt", "model", "a.pt")] * 2},
            {"files: size": 1, "an item in files": 1},
        ),
        (LaterEvent(step=[1, 2], epoch=2.5, status=None), {"step": -1}, {"step": 1, "epoch": 1, "status": 1}),
        (LaterEvent(media={"packed": b"x"}, metrics=[0.5]), {}, {"media": 1, "metrics": 1}),
    ],
)  # fmt: skip
def test_additions_of_a_later_version_do_not_affect_the_rest_of_a_record(
    tmp_path: Path, later: LaterEvent, read: dict[str, Any], left_out: dict[str, int]
) -> None:
    write(tmp_path, range(1))
    with (tmp_path / "journal").open("ab") as file:
        file.write(journal._frame(msgspec.msgpack.encode(later)))
    write(tmp_path, range(2, 3))  # and this version can continue the journal
    with journal.Reader(tmp_path) as reader:
        first, found, last = reader
        assert reader.skipped == 0
    assert (first.index, last.index) == (0, 2)
    known: dict[str, Any] = {"hook": later.hook, "index": 1, "time": 2.0, "step": 3} | read
    assert found == Event(**known)
    assert reader.left_out.keys() == left_out.keys()
    assert reader.left_out == left_out


def test_a_part_that_is_left_out_is_reported_once_per_reader(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, range(0))
    with (tmp_path / "journal").open("ab") as file:
        for index in range(3):
            file.write(
                journal._frame(msgspec.msgpack.encode(LaterEvent(index=index, media=[Audio("a", [])])))
            )
    for _ in range(2):
        caplog.clear()
        with journal.Reader(tmp_path) as reader:
            assert [found.index for found in reader] == [0, 1, 2]
        assert reader.left_out == {"media of type 'audio'": 3}
        [message] = caplog.messages
        assert "media of type 'audio' comes from a later version" in message
        assert "pip install -U trackhooks" in message


def test_the_summary_of_a_run_shows_what_was_left_out_and_counts_the_rest(tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path, name="run", delivery="off") as run:
        run.log(loss=1.0)
    with (run.path / "journal").open("ab") as file:
        index = journal.read(run.path)[-1].index + 1
        later = LaterEvent(index=index, metrics={"loss": 0.5}, media=[Audio("a", []), Audio("b", [])])
        file.write(journal._frame(msgspec.msgpack.encode(later)))
    [found] = trackhooks.runs(tmp_path)
    assert found.metrics["loss"].last == 0.5
    [damage] = found.journal.damage
    assert "later version of trackhooks, and not read: media of type 'audio' (2×)" in damage


def test_a_large_record_of_a_later_version_keeps_what_is_known(tmp_path: Path) -> None:
    write(tmp_path, range(0))
    stored = tmp_path / "files" / "records" / "0.msgpack"
    stored.parent.mkdir(parents=True)
    stored.write_bytes(msgspec.msgpack.encode(LaterEvent(media=[Audio("a", []), Text("a", "b")])))
    with (tmp_path / "journal").open("ab") as file:
        file.write(journal._frame(journal._encode(Event("log", 0, 0.0, overflow="files/records/0.msgpack"))))
    [found] = journal.read(tmp_path)
    assert found.media == [Text("a", "b")]


@pytest.mark.parametrize("missing", ["hook", "index", "time"])
def test_a_record_without_a_required_field_is_skipped(tmp_path: Path, missing: str) -> None:
    values = msgspec.to_builtins(LaterEvent(hook="log", media=[Audio("a", [])])) | {"index": 1, "time": 2.0}
    values[missing] = None
    write(tmp_path, range(1))
    with (tmp_path / "journal").open("ab") as file:
        file.write(journal._frame(msgspec.msgpack.encode(values)))
    with journal.Reader(tmp_path) as reader:
        assert [found.index for found in reader] == [0]
        assert reader.skipped > 0


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5) | st.integers(0, 9), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.slow
@given(field=st.sampled_from(Event.__struct_fields__[3:]), value=JSON)
def test_no_value_of_a_field_affects_the_other_fields(
    tmp_path_factory: pytest.TempPathFactory, field: str, value: Any
) -> None:
    run = tmp_path_factory.mktemp("run")
    write(run, range(0))
    values = {
        "hook": "log",
        "index": 0,
        "time": 1.0,
        "metrics": {"loss": 0.5},
        "params": {"lr": 0.1},
        field: value,
    }
    with (run / "journal").open("ab") as file:
        file.write(journal._frame(msgspec.msgpack.encode(values)))
    [found] = journal.read(run)
    assert (found.hook, found.index, found.time) == ("log", 0, 1.0)
    assert field == "metrics" or found.metrics == {"loss": 0.5}
    assert field == "params" or found.params == {"lr": 0.1}


def test_an_incomplete_record_that_is_replaced_while_it_is_read_does_not_hide_its_replacement(
    tmp_path: Path,
) -> None:
    write(tmp_path, range(2))
    with (tmp_path / "journal").open("ab") as file:
        file.write(journal._frame(journal._encode(event(2)))[:-4])
    with journal.Reader(tmp_path) as reader:
        reading = iter(reader)
        assert next(reading).index == 0  # the torn end is in the reader's memory now
        writer = journal.Writer(tmp_path)
        writer.append(event(7, params={"longer": "than before"}))
        assert [found.index for found in reading] == [1, 7]
        assert reader.skipped == 0
        writer.close()


def test_a_reader_continues_after_the_last_record_of_a_file_that_became_shorter(tmp_path: Path) -> None:
    write(tmp_path, range(5))
    with journal.Reader(tmp_path) as reader:
        assert len(list(reader)) == 5
        os.truncate(tmp_path / "journal", reader.offset - 150)  # within the last but one
        assert list(reader) == []
        writer = journal.Writer(tmp_path)
        assert writer.last is not None
        following = writer.last.index + 1
        writer.append(event(following))
        assert [found.index for found in reader] == [following]
        writer.close()


# Files that are not journals


def test_a_missing_journal_is_reported(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"no journal at .*journal\. A run is a folder with a run\.json"):
        journal.read(tmp_path / "journal")


def test_a_file_that_is_not_a_journal_is_refused_and_not_changed(tmp_path: Path) -> None:
    for content in (b"hello", b"x" * 100):
        (tmp_path / "journal").write_bytes(content)
        with pytest.raises(JournalError, match="is not a journal of trackhooks"):
            journal.read(tmp_path)
        with pytest.raises(JournalError, match="is not a journal of trackhooks"):
            journal.Writer(tmp_path)
        assert (tmp_path / "journal").read_bytes() == content


@pytest.mark.parametrize("version", [0, 2, 255])
def test_an_unknown_version_is_reported_with_a_remedy(tmp_path: Path, version: int) -> None:
    write(tmp_path, range(1))
    file = tmp_path / "journal"
    content = bytearray(file.read_bytes())
    content[11] = version
    file.write_bytes(content)
    for opened in (journal.Reader, journal.Writer):
        with pytest.raises(
            JournalError, match=rf"version {version}; .* up to 1\. Run: pip install -U trackhooks"
        ):
            opened(tmp_path)
    assert file.read_bytes() == content


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="nowhere/journal cannot be written: No such file or directory"):
        journal.Writer(tmp_path / "nowhere")


# Who writes


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    first = journal.Writer(tmp_path)
    with pytest.raises(JournalError, match="being written by another process or run"):
        journal.Writer(tmp_path)
    first.append(event(0))
    first.close()
    write(tmp_path, range(1, 2))
    assert indices(tmp_path) == [0, 1]


def test_a_second_writer_in_another_process_is_refused_too(tmp_path: Path, program: Program) -> None:
    writer = journal.Writer(tmp_path)
    said = program(
        """
        import sys
        from trackhooks import errors, journal
        try:
            journal.Writer(sys.argv[1])
        except errors.JournalError as error:
            print(error)
        """,
        tmp_path,
    )
    assert "is being written by another process or run" in said
    writer.close()


def test_a_second_name_of_the_same_file_does_not_allow_a_second_writer(tmp_path: Path) -> None:
    writer = journal.Writer(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    os.link(tmp_path / "journal", other / "journal")
    with pytest.raises(JournalError, match="being written"):
        journal.Writer(other)
    writer.close()


@pytest.mark.slow
def test_a_dropped_writer_releases_its_lock(tmp_path: Path) -> None:
    writer = journal.Writer(tmp_path)
    writer.append(event(0))
    del writer
    gc.collect()
    write(tmp_path, range(1, 2))
    assert indices(tmp_path) == [0, 1]


def test_closing_twice_and_appending_afterwards_do_nothing(tmp_path: Path) -> None:
    writer = journal.Writer(tmp_path)
    writer.append(event(0))
    writer.close()
    writer.close()
    writer.append(event(1))
    writer.sync()
    assert not writer.open
    assert indices(tmp_path) == [0]


def test_many_threads_append_whole_records_each_in_its_order(tmp_path: Path) -> None:
    writer = journal.Writer(tmp_path)

    def append(thread: int) -> None:
        for position in range(300):
            writer.append(event(position, params={"thread": thread, "text": "x" * position}))

    threads = [threading.Thread(target=append, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    found = journal.read(tmp_path)
    for number in range(8):
        assert [one.index for one in found if one.params["thread"] == number] == list(range(300))


def test_closing_while_a_thread_appends_never_writes_into_another_file(tmp_path: Path) -> None:
    for attempt in range(30):
        run = tmp_path / str(attempt)
        run.mkdir()
        writer = journal.Writer(run)
        started = threading.Event()

        def append(writer: journal.Writer = writer, started: threading.Event = started) -> None:
            for index in range(200):
                writer.append(event(index))
                started.set()

        thread = threading.Thread(target=append)
        thread.start()
        started.wait()
        writer.close()
        with (run / "other").open("wb"):  # mostly gets the same descriptor
            thread.join()
        assert (run / "other").stat().st_size == 0
        found = indices(run)
        assert found == list(range(len(found)))


@pytest.mark.slow
def test_a_signal_handler_may_append_while_its_thread_does(tmp_path: Path, program: Program) -> None:
    program(
        """
        import itertools, signal, sys
        from trackhooks import journal
        from trackhooks.event import Event
        writer, appended = journal.Writer(sys.argv[1]), itertools.count()
        def append(*_):
            writer.append(Event("log", next(appended), 0.0))
        signal.signal(signal.SIGALRM, append)
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        for _ in range(20_000):
            append()
        signal.setitimer(signal.ITIMER_REAL, 0)
        writer.close()
        found = journal.read(sys.argv[1])
        assert len(found) == next(appended) > 20_000
        assert {event.index for event in found} == set(range(len(found)))
        """,
        tmp_path,
    )


def test_a_finalizer_may_append_while_its_thread_does(tmp_path: Path, program: Program) -> None:
    program(
        """
        import gc, sys
        from trackhooks import journal
        from trackhooks.event import Event
        writer, deleted = journal.Writer(sys.argv[1]), 0
        class Cycle:
            def __init__(self):
                self.itself = self
            def __del__(self):
                global deleted
                deleted += 1
                writer.append(Event("log", -1, 0.0))
        gc.set_threshold(5)
        for index in range(3000):
            Cycle()
            writer.append(Event("log", index, 0.0))
        gc.disable()
        found = [event.index for event in journal.read(sys.argv[1])]
        assert found.count(-1) == deleted > 1000
        assert [index for index in found if index >= 0] == list(range(3000))
        """,
        tmp_path,
    )


# Forks


def test_a_forked_child_never_writes_and_does_not_keep_the_lock(tmp_path: Path, program: Program) -> None:
    program(
        """
        import os, sys
        from trackhooks import journal
        from trackhooks.event import Event, Text
        run = sys.argv[1]
        writer = journal.Writer(run)
        writer.append(Event("log", 0, 0.0))
        go_on, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.read(go_on, 1)  # alive until the parent has written on
            writer.append(Event("log", 1, 0.0))
            writer.append(Event("log", 1, 0.0, media=[Text("large", "x" * journal.MAX_RECORD)]))
            writer.sync()
            closed = not writer.open
            writer.close()
            os._exit(0 if closed else 1)
        writer.append(Event("log", 2, 0.0))
        writer.close()
        again = journal.Writer(run, patience=30)  # the child does not keep the lock, once it has begun to run
        again.append(Event("log", 3, 0.0))
        os.write(tell, b"x")
        assert os.waitpid(child, 0)[1] == 0
        again.append(Event("log", 4, 0.0))
        again.close()
        assert [event.index for event in journal.read(run)] == [0, 2, 3, 4]
        assert not os.path.exists(run + "/files")
        """,
        tmp_path,
    )


@pytest.mark.slow
def test_a_fork_while_another_thread_appends_harms_neither(tmp_path: Path, program: Program) -> None:
    program(
        """
        import os, sys, threading, warnings
        from trackhooks import journal
        from trackhooks.event import Event
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's own, of forks beside threads
        writer, done, appended = journal.Writer(sys.argv[1]), threading.Event(), 0
        def append():
            global appended
            while not done.is_set():
                writer.append(Event("log", appended, 0.0))
                appended += 1
        thread = threading.Thread(target=append)
        thread.start()
        for _ in range(40):
            child = os.fork()
            if child == 0:
                writer.append(Event("log", -1, 0.0))
                writer.close()
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        done.set()
        thread.join()
        writer.close()
        assert [event.index for event in journal.read(sys.argv[1])] == list(range(appended))
        """,
        tmp_path,
    )


# Disks


def append_until_full(writer: journal.Writer, first: int) -> int:
    """Appends until the disk is full; the index of the record that found no room."""
    for index in range(first, 100_000):
        try:
            writer.append(event(index))
        except OSError:
            return index
    pytest.fail("the disk did not become full")


def test_a_full_disk_leaves_no_incomplete_record_and_writing_continues_when_there_is_space(
    small_disk: Path,
) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * 16_384)
    writer = journal.Writer(small_disk)
    lost = append_until_full(writer, 0)
    with journal.Reader(small_disk) as reader:
        assert [found.index for found in reader] == list(range(lost))
        assert (reader.skipped, reader.behind) == (0, 0)
    assert (small_disk / "journal").stat().st_size % 4096  # the write that came short was cut off
    filler.unlink()
    writer.append(event(lost + 1))
    writer.close()
    assert indices(small_disk) == [*range(lost), lost + 1]


def test_a_large_record_that_does_not_fit_on_the_disk_leaves_no_file(small_disk: Path) -> None:
    writer = journal.Writer(small_disk)
    with pytest.raises(OSError, match="No space left"):
        writer.append(event(0, media=[Text("large", "x" * journal.MAX_RECORD)]))
    assert list((small_disk / "files" / "records").iterdir()) == []
    writer.append(event(1))
    writer.close()
    assert indices(small_disk) == [1]


def test_a_new_journal_on_a_full_disk_is_refused(small_disk: Path) -> None:
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(b"x" * 100_000)
    with pytest.raises(JournalError, match="cannot be written: No space left on device"):
        journal.Writer(small_disk)
    filler.unlink()
    write(small_disk, range(1))
    assert indices(small_disk) == [0]


def test_a_read_only_folder_is_reported(small_disk: Path) -> None:
    write(small_disk, range(1))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(JournalError, match="journal cannot be written: Read-only file system"):
        journal.Writer(small_disk)
    assert indices(small_disk) == [0]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no RLIMIT_FSIZE")
def test_a_short_write_at_a_file_size_limit_is_undone_and_exceptions_of_signals_lose_no_record(
    tmp_path: Path, program: Program
) -> None:
    """The exception of a signal handler may come between a write and the next line of Python."""
    program(
        """
        import os, resource, signal, sys
        from trackhooks import journal
        from trackhooks.event import Event
        class Interrupt(Exception):
            pass
        def interrupt(_, frame):
            if frame.f_code.co_name == "append":
                raise Interrupt
        writer, returned = journal.Writer(sys.argv[1]), []
        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        for index in range(20_000):
            try:
                writer.append(Event("log", index, 0.0))
                returned.append(index)
            except Interrupt:
                pass
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert 0 < len(returned) < 20_000
        whole = os.path.getsize(sys.argv[1] + "/journal")
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (whole + 10, hard))
        try:
            writer.append(Event("log", -1, 0.0))
        except OSError:
            assert os.path.getsize(sys.argv[1] + "/journal") == whole
        else:
            raise AssertionError("the limit did not hold")
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        writer.append(Event("log", index + 1, 0.0))
        writer.close()
        with journal.Reader(sys.argv[1]) as reader:
            found = [event.index for event in reader]
            assert reader.skipped == 0
        assert set(returned) <= set(found) and found[-1] == index + 1
        """,
        tmp_path,
    )


def test_sync_and_close_reach_the_disk(tmp_path: Path) -> None:
    writer = journal.Writer(tmp_path)
    writer.append(event(0))
    called: list[str] = []
    sys.setprofile(lambda _, what, function: called.append(function.__name__) if what == "c_call" else None)
    try:
        writer.append(event(1))
        appending, called = called, []
        writer.sync()
        syncing, called = called, []
        writer.close()
    finally:
        sys.setprofile(None)
    assert "fsync" not in appending
    assert appending.count("write") == 1
    assert "fsync" in syncing
    assert called.index("fsync") < called.index("close")


# Size


def test_a_record_above_16_mb_is_read_back_completely(tmp_path: Path) -> None:
    large = event(0, media=[Text("large", "x" * (journal.MAX_RECORD + 1))], status="finished")
    writer = journal.Writer(tmp_path)
    writer.append(large)
    writer.append(event(1))
    writer.close()
    assert (tmp_path / "journal").stat().st_size < 1000
    assert journal.read(tmp_path) == [large, event(1)]
    (tmp_path / "files" / "records" / "0.msgpack").unlink()
    rest = journal.read(tmp_path)[0]
    assert (rest.index, rest.step, rest.status, rest.media) == (0, 0, "finished", [])
    assert rest.overflow == "files/records/0.msgpack"


def flip_a_bit(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.slow
@pytest.mark.parametrize(
    "damage", [flip_a_bit, lambda data: data[:-1], lambda _: b""], ids=["a bit", "cut off", "empty"]
)
def test_damage_to_the_file_of_a_large_record_is_reported_and_its_values_are_not_used(
    run: trackhooks.Run, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    run.log_text("large", "x" * (journal.MAX_RECORD + 1))
    (file,) = (run.path / "files" / "records").iterdir()
    file.write_bytes(damage(file.read_bytes()))
    (found,) = journal.read(run.path)
    assert (found.hook, found.index, found.media) == ("log", 0, [])
    assert f"{file} is missing or damaged" in caplog.text
    (summary,) = trackhooks.runs(run.path.parent)
    assert summary.journal.damage == ["missing: 1 record"]


def test_the_file_of_a_large_record_of_an_earlier_version_which_has_no_checksum_is_read(
    tmp_path: Path,
) -> None:
    large, path = event(0, params={"a": 1}), tmp_path / "files" / "records" / "0.msgpack"
    path.parent.mkdir(parents=True)
    path.write_bytes(msgspec.msgpack.encode(large))
    writer = journal.Writer(tmp_path)
    writer.append(event(0, overflow="files/records/0.msgpack"))
    writer.close()
    assert journal.read(tmp_path) == [large]


def test_a_record_just_below_16_mb_is_stored_in_the_journal(tmp_path: Path) -> None:
    large = event(0, media=[Text("large", "x" * (journal.MAX_RECORD - 200))])
    writer = journal.Writer(tmp_path)
    for one in (large, event(1)):
        writer.append(one)
    writer.close()
    assert journal.read(tmp_path) == [large, event(1)]
    assert not (tmp_path / "files").exists()


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="memory is read from /proc, which is Linux'"
)
@pytest.mark.parametrize("events", ["journal.Reader(sys.argv[1])", "journal.read(sys.argv[1])"])
def test_reading_a_large_journal_takes_no_more_memory_than_a_small_one(
    tmp_path: Path, program: Program, events: str
) -> None:
    writer = journal.Writer(tmp_path)
    for index in range(30_000):
        writer.append(event(index, params={"text": "x" * 2000}))
    writer.close()
    assert (tmp_path / "journal").stat().st_size > 60_000_000
    program(
        f"""
        import pathlib, sys
        from trackhooks import journal
        def peak():
            status = pathlib.Path("/proc/self/status").read_text()
            return int(status.partition("VmHWM:")[2].split()[0]) * 1024
        for event in {events}:
            if event.index == 1000:
                before = peak()
        assert peak() - before < 8_000_000, peak() - before
        """,
        tmp_path,
    )


def test_the_events_of_a_run_are_a_sequence_that_follows_the_journal(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    events = journal.read(tmp_path)
    assert events == list(events) == list(reversed(list(reversed(events))))
    assert (len(events), events[0], events[-1], events[1:]) == (3, event(0), event(2), [event(1), event(2)])
    with pytest.raises(IndexError):
        events[3]
    write(tmp_path, range(3, 4))
    assert [each.index for each in events] == [0, 1, 2, 3]


def bytes_read() -> int:
    """How many bytes this process has read from files so far."""
    return int(Path("/proc/self/io").read_text().partition("rchar: ")[2].split()[0])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="bytes are counted by /proc, which is Linux'")
def test_a_journal_is_read_once_to_resume_it_and_at_the_first_look_at_a_killed_run(tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path, delivery="off") as small:
        small.log(x=0)
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        for step in range(40_000):
            run.log(x=step)
    size = (run.path / "journal").stat().st_size
    assert size > 2_000_000
    before = bytes_read()
    trackhooks.run(resume=small.path, delivery="off").close()
    besides = bytes_read() - before  # what describes the process: its packages, git
    before = bytes_read()
    again = trackhooks.run(resume=run.path, delivery="off")
    assert bytes_read() - before - besides < 1.2 * size
    recorder_of(again).release_journal()
    info = read_info(run.path)
    info.pid_created -= 1000  # its process has died
    write_info(run.path, info)
    for most in (1.2 * size, 0.2 * size):
        before = bytes_read()
        assert end_if_dead(run.path).status == "killed"
        assert bytes_read() - before < most


@pytest.mark.slow
def test_a_reader_follows_a_file_that_another_process_writes(tmp_path: Path, program: Program) -> None:
    write(tmp_path, range(0))
    source = "\n".join(line[4:] for line in APPENDS_FOR_EVER.splitlines())
    with (
        subprocess.Popen([sys.executable, "-c", source, str(tmp_path)], stdout=subprocess.DEVNULL) as process,
        journal.Reader(tmp_path) as reader,
    ):
        found: list[int] = []
        while len(found) < 20_000 and process.poll() is None:
            found += [one.index for one in reader]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        found += [one.index for one in reader]
        assert len(found) >= 20_000
        assert found == list(range(len(found)))
        assert reader.skipped == 0
