"""The CSV tracker, read back with pandas and with Python's csv module."""

from __future__ import annotations

import csv
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trackhooks.delivery.registry import load
from trackhooks.errors import InvalidValueError
from trackhooks.event import Event, File, Graph, Histogram, Node, RunInfo, Table, Text
from trackhooks.tracker import State
from trackhooks_integrations.trackers.csv.tracker import CSV

CREATED = 1_700_000_000.0


# Feeds the tracker, as the delivery does


class Delivery:
    """Give events to a tracker of one run. `crash` drops the tracker and continues from the last saved state."""

    def __init__(self, folder: Path, id: str = "1", **options: Any) -> None:  # noqa: A002
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.id, self.options, self.state = folder, id, options, State()
        self.start()

    def start(self) -> None:
        self.tracker = CSV(**self.options)
        self.tracker.run = RunInfo(self.id, "a", str(self.folder), tags=["x"], environment={"python": "3.11"})
        self.tracker.start(self.tracker.run, json.loads(json.dumps(self.state)))

    crash = start

    def give(self, *events: Event) -> Delivery:
        for event in events:
            self.tracker.handle(event)
        return self

    def flush(self) -> Delivery:
        self.state = self.tracker.flush()
        return self

    def finish(self, status: str = "finished", reason: str = "") -> Delivery:
        self.flush().tracker.finish(status, reason)
        return self

    def rows(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file, strict=True))

    def pairs(self, name: str) -> dict[str, str]:
        return {row["name"]: row["value"] for row in self.rows(name)}

    def frame(self, name: str) -> Any:
        return pandas.read_csv(self.folder / name)


def batch(step: int, epoch: int = 0, /, **metrics: float) -> Event:
    return Event("on_train_batch_end", step, CREATED + step, step, epoch, step, metrics=metrics)


def at_epoch(hook: str, epoch: int, step: int = 0, /, **metrics: float) -> Event:
    return Event(hook, epoch, CREATED + epoch, step, epoch, metrics=metrics)


def logged(*media: Any, **fields: Any) -> Event:
    return Event("log", 0, CREATED, 7, 2, media=list(media), **fields)


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """Limit the size of files: writes become incomplete and then fail, as on a full disk."""
    resource = pytest.importorskip("resource", reason="this platform has no limits on files")
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


# Files and rows


def test_batches_are_rows_over_the_step_and_epochs_are_rows_over_the_epoch(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path)
    for epoch in range(3):
        delivery.give(batch(epoch * 2, epoch, loss=1.5), batch(epoch * 2 + 1, epoch, loss=0.5))
        delivery.give(at_epoch("on_train_epoch_end", epoch, epoch * 2 + 1, loss=1.0)).flush()
        delivery.give(at_epoch("on_val_end", epoch, epoch * 2 + 1, accuracy=epoch / 4))
        delivery.give(
            at_epoch("on_fit_epoch_end", epoch, epoch * 2 + 1, loss=1.0, accuracy=epoch / 4, late=2.0)
        )
        delivery.flush()
        assert len(delivery.rows("epochs.csv")) == epoch + 1
    delivery.finish()
    batches, epochs = delivery.frame("batches.csv"), delivery.frame("epochs.csv")
    assert list(batches) == ["step", "epoch", "batch", "time", "loss"]
    assert batches.values.tolist()[-2:] == [[4, 2, 4, CREATED + 4, 1.5], [5, 2, 5, CREATED + 5, 0.5]]
    assert list(epochs) == ["epoch", "step", "time", "loss", "accuracy", "late"]
    assert epochs.values.tolist()[1:] == [
        [1, 3, CREATED + 1, 1.0, 0.25, 2.0],
        [2, 5, CREATED + 2, 1.0, 0.5, 2.0],
    ]


def test_a_metric_logged_after_the_end_of_its_epoch_is_added_to_the_row_of_the_epoch(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path).give(
        at_epoch("on_fit_epoch_end", 0, loss=2.0), at_epoch("on_fit_epoch_end", 1, loss=1.0)
    )
    delivery.flush().crash()
    delivery.give(at_epoch("on_train_end", 1, best=1.0)).finish()
    assert [(row["epoch"], row["loss"], row["best"]) for row in delivery.rows("epochs.csv")] == [
        ("0", "2.0", ""), ("1", "1.0", "1.0")
    ]  # fmt: skip


def test_an_epoch_that_ends_early_has_a_row(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path).give(at_epoch("on_train_epoch_end", 0, loss=2.0)).flush()
    assert not (tmp_path / "epochs.csv").exists()
    delivery.tracker.finish("failed", "")
    assert [row["loss"] for row in delivery.rows("epochs.csv")] == ["2.0"]


def test_the_row_of_an_epoch_without_an_end_is_written_when_the_next_epoch_begins(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path)
    delivery.give(
        at_epoch("on_train_epoch_end", 0, loss=2.0), at_epoch("on_train_epoch_end", 1, loss=1.0)
    ).flush()
    assert [row["loss"] for row in delivery.rows("epochs.csv")] == ["2.0"]


def test_metrics_of_evaluations_predictions_and_outside_of_a_loop_are_in_metrics_csv(
    tmp_path: Path,
) -> None:
    delivery = Delivery(tmp_path)
    delivery.give(
        Event("on_val_end", 0, CREATED, 9, metrics={"test/loss": 0.5}),
        Event("on_predict_end", 1, CREATED, 9, metrics={"predict/images": 4.0}),
        Event("log", 2, CREATED, 9, metrics={"step": 3.0, "x": 1.0}),
    ).finish()
    assert delivery.frame("metrics.csv").fillna(-9).values.tolist() == [
        [CREATED, 9, -1, -1, "on_val_end", 0.5, -9, -9, -9],
        [CREATED, 9, -1, -1, "on_predict_end", -9, 4, -9, -9],
        [CREATED, 9, -1, -1, "log", -9, -9, 3, 1],
    ]
    assert list(delivery.frame("metrics.csv"))[-2:] == ["logged/step", "x"]


def test_each_parameter_is_a_row_of_name_and_newest_value(tmp_path: Path) -> None:
    delivery = (
        Delivery(tmp_path)
        .give(logged(params={"lr": 0.1, "a,b\n": None, "=x": 'say "no"', "on": True}))
        .flush()
    )
    delivery.crash()
    delivery.give(logged(params={"lr": 0.2, "n": math.inf})).finish()
    assert list(delivery.pairs("params.csv").items()) == [
        ("lr", "0.2"), ("a,b\n", "None"), ("=x", 'say "no"'), ("on", "True"), ("n", "inf")
    ]  # fmt: skip


@pytest.mark.parametrize("status", ["finished", "failed", "pruned", "killed", "lost"])
def test_run_csv_has_the_status_the_tags_and_the_environment(tmp_path: Path, status: str) -> None:
    delivery = Delivery(tmp_path)
    assert delivery.pairs("run.csv")["status"] == "running"
    delivery.finish(status, "why")
    facts = delivery.pairs("run.csv")
    assert (facts["status"], facts["reason"], facts["environment/python"]) == (status, "why", "3.11")
    assert "x" in facts["tags"]


def test_files_and_pictures_are_rows_with_all_their_properties(tmp_path: Path) -> None:
    file = File("/w/last, 1.pt", "model", "last.pt", "pt", ("last", "best"), "/w/p.pt", 123, duration=1.5)
    file.sha256, file.kept, file.metrics = "ab" * 32, "files/last.pt", {"val/loss": 0.25}
    lost = File("/w/x.png", "image", "samples", "png", superseded=True)
    row, other = Delivery(tmp_path).give(logged(files=[file, lost])).finish().rows("files.csv")
    assert row == {
        "time": str(CREATED), "step": "7", "epoch": "2", "kind": "model", "name": "last.pt", "path": "/w/last, 1.pt",
        "kept": "files/last.pt", "format": "pt", "size": "123", "sha256": "ab" * 32, "aliases": "last best",
        "parent": "/w/p.pt", "duration": "1.5", "superseded": "False", "metrics": '{"val/loss": 0.25}',
    }  # fmt: skip
    assert (other["kind"], other["superseded"]) == ("image", "True")


def test_texts_tables_histograms_and_graphs_have_separate_files(tmp_path: Path) -> None:
    nodes = [Node("input", "Input"), Node("net/fc", "Linear", ["input"], {"out": 3})]
    table = Table("confusion", ["step", "b", "b"], [[1, None, "x"], [2, True, "y"]])
    delivery = Delivery(tmp_path).give(
        logged(
            Text("note", 'two\nlines, "quoted"'),
            table,
            Histogram("w", [0.0, 1.0, 2.0], [3.0, 4.0]),
            Graph("net", nodes),
        )
    )
    delivery.give(
        logged(Table("confusion", ["b", "new"], [[5, 6]]), Table("../odd name", ["x"], [[1]]))
    ).finish()
    assert delivery.rows("texts.csv")[0]["text"] == 'two\nlines, "quoted"'
    assert [list(row.values())[3:] for row in delivery.rows("tables/confusion.csv")] == [
        ["1", "", "x", ""], ["2", "True", "y", ""], ["", "5", "", "6"]
    ]  # fmt: skip
    assert list(delivery.rows("tables/confusion.csv")[0])[:7] == [
        "time",
        "step",
        "epoch",
        "logged/step",
        "b",
        "b.1",
        "new",
    ]
    assert delivery.frame("histograms.csv")[["name", "left", "right", "count"]].values.tolist() == [
        ["w", 0, 1, 3], ["w", 1, 2, 4]
    ]  # fmt: skip
    assert [list(row.values())[3:] for row in delivery.rows("graph.csv")] == [
        ["net", "input", "Input", "", ""], ["net", "net/fc", "Linear", "input", '{"out": 3}']
    ]  # fmt: skip
    assert sorted(path.parent for path in tmp_path.rglob("*odd*")) == [tmp_path / "tables"]


def test_a_file_without_rows_is_not_created(tmp_path: Path) -> None:
    Delivery(tmp_path).give(batch(0, loss=1.0)).finish()
    assert {path.name for path in tmp_path.iterdir()} == {"batches.csv", "run.csv"}


def test_dir_contains_the_tables_in_a_folder_with_the_name_of_the_run(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path / "runs" / "a", dir=tmp_path / "tables").give(batch(0, loss=1.0)).finish()
    assert (tmp_path / "tables" / "a" / "batches.csv").exists()
    assert list(delivery.folder.iterdir()) == []
    assert delivery.tracker.url == str(tmp_path / "tables" / "a")


def taken_by_a_folder(place: Path) -> None:
    place.mkdir(parents=True)
    for name in ("run.csv", "batches.csv", "params.csv", "mine.txt"):
        (place / name).write_text("mine")


def taken_by_a_binary_table(place: Path) -> None:
    place.mkdir(parents=True)
    (place / "run.csv").write_bytes(b"\xff\0id,1")


def taken_by_an_empty_folder(place: Path) -> None:
    place.mkdir(parents=True)


def taken_by_a_file(place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("mine")


def taken_by_a_link(place: Path) -> None:
    taken_by_a_folder(place.parent.parent / "elsewhere")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(place.parent.parent / "elsewhere")


def taken_by_another_run(place: Path) -> None:
    Delivery(place.parent.parent / "others" / "a", id="another", dir=place.parent).give(
        batch(0, loss=2.0)
    ).finish()


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "take",
    [
        taken_by_a_folder, taken_by_a_binary_table, taken_by_an_empty_folder, taken_by_a_file, taken_by_a_link,
        taken_by_another_run,
    ],
)  # fmt: skip
def test_nothing_in_dir_is_replaced(tmp_path: Path, take: Callable[[Path], None]) -> None:
    take(tmp_path / "tables" / "a")
    before = everything_in(tmp_path)
    delivery = Delivery(tmp_path / "runs" / "a", dir=tmp_path / "tables").give(batch(0, loss=1.0)).finish()
    delivery.crash()
    delivery.give(batch(1, loss=0.5)).finish()
    assert delivery.tracker.url == str(tmp_path / "tables" / "a-2")
    delivery.folder = tmp_path / "tables" / "a-2"
    assert [row["loss"] for row in delivery.rows("batches.csv")] == ["1.0", "0.5"]
    assert everything_in(tmp_path).items() >= before.items()
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {"a", "a-2"}


def test_a_run_that_is_delivered_again_is_in_the_same_folder_of_dir(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path / "runs" / "a", dir=tmp_path / "tables").give(batch(0, loss=1.0)).finish()
    delivery.state.clear()
    delivery.crash()
    delivery.give(batch(0, loss=1.0), batch(1, loss=0.5)).finish()
    assert [path.name for path in (tmp_path / "tables").iterdir()] == ["a"]
    delivery.folder = tmp_path / "tables" / "a"
    assert [row["loss"] for row in delivery.rows("batches.csv")] == ["1.0", "0.5"]


# Values and names


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, 0.1 + 0.2, -0.0, 5e-324, 1.7976931348623157e308]
)
def test_float_and_pandas_read_back_the_same_number(tmp_path: Path, value: float) -> None:
    delivery = Delivery(tmp_path).give(batch(0, x=value), batch(1, y=1.0)).finish()
    assert repr(float(delivery.rows("batches.csv")[0]["x"])) == repr(value)
    assert float(delivery.frame("batches.csv")["x"][0]) == pytest.approx(value, rel=1e-15, abs=0, nan_ok=True)
    assert delivery.rows("batches.csv")[1]["x"] == ""


ODD_NAMES = [
    'a,"b"',
    "two\nlines",
    "tab\tand\rreturn",
    "=1+1",
    "émoji 🎉",
    "metrics/mAP50(B)",
    " spaces ",
    "'",
    '"',
    "step",
]


def test_odd_names_are_columns_without_changes(tmp_path: Path) -> None:
    metrics = {name: float(number) for number, name in enumerate(ODD_NAMES)}
    delivery = Delivery(tmp_path).give(batch(0, **metrics)).flush()
    delivery.crash()
    delivery.give(batch(1, **metrics), batch(2, late=1.0)).finish()
    names = [*ODD_NAMES[:-1], "logged/step", "late"]
    for row in delivery.rows("batches.csv")[:2]:
        assert list(row)[4:] == names
        assert [float(row[name]) for name in names[:-1]] == list(metrics.values())
    assert list(delivery.frame("batches.csv"))[4:] == names


def test_a_table_can_have_five_thousand_columns(tmp_path: Path) -> None:
    metrics = {f"layer{i}/norm": i / 2 for i in range(5000)}
    delivery = Delivery(tmp_path).give(*(batch(step, **metrics) for step in range(20))).finish()
    rows = delivery.rows("batches.csv")
    assert [row["layer4999/norm"] for row in rows] == ["2499.5"] * 20


# Late columns


def test_a_late_metric_gets_a_column_without_losing_or_shifting_a_row(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path).give(batch(0, a=1.0), batch(1, a=2.0, b=3.0)).flush()
    delivery.give(batch(2, b=4.0)).flush()
    delivery.give(batch(3, c=5.0), batch(4, a=6.0), batch(5, d=7.0)).finish()
    assert [list(row.values())[4:] for row in delivery.rows("batches.csv")] == [
        ["1.0", "", "", ""], ["2.0", "3.0", "", ""], ["", "4.0", "", ""], ["", "", "5.0", ""], ["6.0", "", "", ""],
        ["", "", "", "7.0"],
    ]  # fmt: skip
    lines = (tmp_path / "batches.csv").read_text().splitlines()
    assert {line.count(",") for line in lines} == {7}


def test_new_columns_replace_the_file_once_per_flush(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path).give(batch(0, a=1.0)).flush()
    path = tmp_path / "batches.csv"
    before = path.open()
    delivery.give(batch(1, a=1.0)).flush()
    assert path.stat().st_ino == os.fstat(before.fileno()).st_ino
    delivery.give(*(batch(step, **{f"m{step}": 1.0}) for step in range(2, 12))).flush()
    assert path.stat().st_ino != os.fstat(before.fileno()).st_ino
    assert before.read().count("\n") == 3, "who has the old file open still reads whole lines"
    before.close()
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_between_two_flushes_the_file_has_complete_lines_of_the_same_width(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path)
    for step in range(200):
        delivery.give(batch(step, loss=0.5, **{f"m{step // 50}": 1.0}))
        if step % 7 == 0:
            delivery.flush()
            text = (tmp_path / "batches.csv").read_text()
            header, *rows = csv.reader(text.splitlines())
            assert text.endswith("\n")
            assert {len(row) for row in rows} == {len(header)}
            assert [int(row[0]) for row in rows] == list(range(step + 1))


@pytest.mark.slow
def test_tail_follows_a_table(tmp_path: Path) -> None:
    if shutil.which("tail") is None:
        pytest.skip("there is no tail here")
    path = tmp_path / "batches.csv"
    command = ["tail", "-n", "+1", "-F", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as tail:
        try:
            delivery = Delivery(tmp_path)
            assert tail.stdout is not None
            for step in range(3):
                delivery.give(batch(step, loss=0.5)).flush()
                if step == 0:
                    assert tail.stdout.readline() == "step,epoch,batch,time,loss\n"
                assert tail.stdout.readline() == f"{step},0,{step},{CREATED + step},0.5\n"
        finally:
            tail.terminate()


# Exactly once


def test_after_a_crash_every_row_is_present_once_whatever_was_written_since(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path).give(batch(0, a=1.0), logged(Text("t", "one\ntwo"))).flush()
    since = [
        batch(1, a=2.0),
        batch(2, late=3.0),
        logged(Text("t", "three")),
        logged(Table("t", ["x"], [[1]])),
    ]
    delivery.give(*since).tracker.flush()
    delivery.crash()
    delivery.give(*since).finish()
    assert [row["step"] for row in delivery.rows("batches.csv")] == ["0", "1", "2"]
    assert [row["text"] for row in delivery.rows("texts.csv")] == ["one\ntwo", "three"]
    assert len(delivery.rows("tables/t.csv")) == 1


@pytest.mark.parametrize("torn", [b"3,0,3,17000", b'3,0,3,1.0,"half', b'3,0,3,1.0,1.0\n"'])
def test_an_incomplete_last_line_is_removed(tmp_path: Path, torn: bytes) -> None:
    delivery = Delivery(tmp_path).give(batch(0, a=1.0)).flush()
    with (tmp_path / "batches.csv").open("ab") as file:
        file.write(torn)
    delivery.crash()
    delivery.give(batch(1, a=2.0)).finish()
    assert [row["step"] for row in delivery.rows("batches.csv")] == ["0", "1"]


def test_a_delivery_from_the_start_replaces_the_earlier_tables(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path).give(batch(0, a=1.0), batch(1, a=1.0), logged(params={"old": 1})).finish()
    delivery.state = {}
    delivery.crash()
    delivery.give(batch(0, a=1.0), logged(params={"new": 1})).finish()
    assert len(delivery.rows("batches.csv")) == 1
    assert [row["name"] for row in delivery.rows("params.csv")] == ["new"]


def test_resuming_keeps_the_rows_and_replaces_the_steps_and_epochs_that_are_repeated(tmp_path: Path) -> None:
    def trained(epochs: range, loss: float) -> Iterator[Event]:
        for epoch in epochs:
            yield at_epoch("on_train_epoch_start", epoch, epoch * 10 - 1)
            yield from (batch(step, epoch, loss=loss) for step in range(epoch * 10, epoch * 10 + 10))
            yield at_epoch("on_train_epoch_end", epoch, epoch * 10 + 9, loss=loss)
            yield at_epoch("on_fit_epoch_end", epoch, epoch * 10 + 9, loss=loss, val=loss)

    delivery = Delivery(tmp_path).give(*trained(range(4), 1.0)).finish("killed")
    delivery.crash()
    delivery.give(*trained(range(2, 5), 2.0)).finish()
    batches, epochs = delivery.frame("batches.csv"), delivery.frame("epochs.csv")
    assert batches["step"].tolist() == list(range(50))
    assert batches["loss"].tolist() == [1.0] * 20 + [2.0] * 30
    assert epochs[["epoch", "loss", "val"]].values.tolist() == [
        [0, 1, 1],
        [1, 1, 1],
        [2, 2, 2],
        [3, 2, 2],
        [4, 2, 2],
    ]


def test_a_batch_that_ends_late_is_a_row_at_the_end_until_the_training_repeats_its_step(
    tmp_path: Path,
) -> None:
    def steps() -> list[int]:
        return [int(row["step"]) for row in delivery.rows("batches.csv")]

    delivery = Delivery(tmp_path).give(at_epoch("on_train_epoch_start", 0, -1))
    delivery.give(*(batch(step, loss=1.0) for step in (0, 3, 1, 4, 2))).flush()
    assert steps() == [0, 3, 1, 4, 2]
    delivery.crash()
    delivery.give(at_epoch("on_train_epoch_start", 0, 1), batch(2, loss=2.0), batch(5, loss=2.0)).finish()
    assert steps() == [0, 1, 2, 5]


METRICS = st.dictionaries(
    st.sampled_from(["a", "b,c", 'd"e', "f\ng", "time", *"hijk"]), st.floats(width=64), min_size=1, max_size=4
)
ACTIONS = st.lists(
    st.tuples(st.sampled_from(["batch"] * 6 + ["flush", "save", "crash", "rewind"]), METRICS), max_size=40
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(actions=ACTIONS)
def test_after_any_sequence_of_failures_each_row_is_present_once_and_unchanged(
    tmp_path_factory: pytest.TempPathFactory, actions: Any
) -> None:
    """Run batches, flushes, saved states, crashes and resumes in any order. The list `events` is the journal."""
    delivery = Delivery(tmp_path_factory.mktemp("run"))
    events: list[Event] = []
    saved = step = 0
    for action, metrics in actions:
        if action in ("batch", "rewind"):
            step = step + 1 if action == "batch" else max(step - 3, 0)
            start = [at_epoch("on_train_epoch_start", 0, step - 1)] if action == "rewind" else []
            events += [*start, batch(step, **metrics)]
            delivery.give(*events[-1 - len(start) :])
        elif action == "flush":
            delivery.tracker.flush()
        elif action == "save":
            delivery.flush()
            saved = len(events)
        else:
            delivery.crash()
            delivery.give(*events[saved:])
    delivery.finish()
    kept: list[Event] = []
    for event in (event for event in events if event.metrics):
        kept = [*(before for before in kept if before.step < event.step), event]
    rows = delivery.rows("batches.csv") if kept else []
    assert [int(row["step"]) for row in rows] == [event.step for event in kept]
    for row, event in zip(rows, kept, strict=True):
        found = {name.removeprefix("logged/"): cell for name, cell in list(row.items())[4:] if cell}
        assert found == {name: repr(value) for name, value in event.metrics.items()}


# Failures


def test_a_full_disk_raises_without_an_incomplete_line_or_loss(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path).give(batch(0, loss=0.0)).flush()
    path = tmp_path / "batches.csv"
    before = path.read_bytes()
    rows = [batch(step, loss=0.5) for step in range(1, 50)]
    delivery.give(*rows)
    with files_at_most(len(before) + 100), pytest.raises(OSError, match="too large"):
        delivery.flush()
    assert path.read_bytes() == before
    delivery.crash()
    late = [*rows, batch(50, late=1.0)]
    delivery.give(*late)
    with files_at_most(len(before) - 10), pytest.raises(OSError, match="too large"):
        delivery.flush()
    assert path.read_bytes() == before
    delivery.crash()
    delivery.give(*late).finish()
    assert [int(row["step"]) for row in delivery.rows("batches.csv")] == list(range(51))


def test_a_deleted_folder_raises(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path / "a").give(batch(0, loss=1.0)).flush()
    shutil.rmtree(tmp_path / "a")
    delivery.give(batch(1, loss=1.0))
    with pytest.raises(FileNotFoundError):
        delivery.flush()
    with pytest.raises(FileNotFoundError):
        delivery.crash()
    assert not (tmp_path / "a").exists()


def test_a_file_that_a_spreadsheet_has_saved_is_detected_and_continued_after_its_rows(
    tmp_path: Path,
) -> None:
    delivery = Delivery(tmp_path).give(batch(0, loss=1.0), batch(1, loss=2.0)).flush()
    path = tmp_path / "batches.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    delivery.give(batch(2, loss=3.0))
    with pytest.raises(OSError, match="changed by another program"):
        delivery.flush()
    delivery.crash()
    delivery.give(batch(2, loss=3.0, late=1.0)).finish()
    assert [(row["loss"], row["late"]) for row in delivery.rows("batches.csv")] == [
        ("1.0", ""), ("2.0", ""), ("3.0", "1.0")
    ]  # fmt: skip


def test_a_file_with_fewer_rows_than_were_delivered_is_not_continued(tmp_path: Path) -> None:
    delivery = Delivery(tmp_path).give(logged(Text("a", "1")), logged(Text("a", "2"))).flush()
    path = tmp_path / "texts.csv"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    with pytest.raises(OSError, match="1 of 2 rows"):
        delivery.crash()


@pytest.mark.parametrize("value", [3, "", ["logs"]])
def test_a_dir_that_is_not_a_path_is_rejected(value: Any) -> None:
    with pytest.raises(InvalidValueError, match="dir must be"):
        CSV(dir=value)


def test_a_dir_that_is_a_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with pytest.raises(InvalidValueError, match="is a file"):
        CSV(dir=tmp_path / "x")


def test_csv_is_loaded_by_its_name() -> None:
    assert isinstance(load("csv", dir="tables"), CSV)


@pytest.mark.slow
def test_a_million_rows_and_a_late_column_need_no_more_memory_than_a_thousand(tmp_path: Path) -> None:
    program = """
import resource, sys
from trackhooks.event import Event, RunInfo
from trackhooks_integrations.trackers.csv import CSV
tracker = CSV()
tracker.run = RunInfo("1", "a", sys.argv[1])
tracker.start(tracker.run, {})
def rows(first, last, **more):
    for step in range(first, last):
        metrics = {"loss": 1 / (step + 1), "accuracy": 0.5, "lr/0": 0.001, **more}
        tracker.handle(Event("on_train_batch_end", step, 1.7e9 + step, step, 0, step, metrics=metrics))
        if step % 1000 == 0:
            tracker.flush()
rows(0, 100_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
rows(100_000, 1_000_000)
rows(1_000_000, 1_000_100, late=1.0)
tracker.flush()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 8, "MiB more than after 100,000 rows"
    with (tmp_path / "batches.csv").open("rb") as file:
        assert sum(1 for _ in file) == 1_000_101
