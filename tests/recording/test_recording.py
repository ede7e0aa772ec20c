"""A run: its folder and identity, what the user logs, and what becomes of it when things go wrong."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import stat
import subprocess
import sys
import threading
import warnings
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
from folders import importing
from PIL import Image

import trackhooks
from trackhooks import InvalidValueError, JournalError, Run, TrackhooksError, TrackhooksWarning
from trackhooks.event import Event, Histogram, Table, Text
from trackhooks.recording import environment
from trackhooks.session.run import recorder_of
from trackhooks.storage import journal, processes, run_folder
from trackhooks.storage.lost_runs import end_if_dead
from trackhooks.values import media
from trackhooks.values.numbers import Snapshot

mpl.use("Agg")


def events(run: Run | Path, hook: str | None = None) -> list[Event]:
    path = run if isinstance(run, Path) else run.path
    return [event for event in trackhooks.journal.read(path) if hook in (None, event.hook)]


def last(run: Run) -> Event:
    return events(run)[-1]


def info(run: Run | Path) -> dict[str, Any]:
    path = run if isinstance(run, Path) else run.path
    found: dict[str, Any] = json.loads((path / "run.json").read_bytes())
    return found


# --- The folder and its name


def test_a_run_is_a_folder_with_a_run_json_and_a_journal(run: Run, tmp_path: Path) -> None:
    assert run.path.parent == tmp_path / "runs"
    assert {path.name for path in run.path.iterdir()} >= {"run.json", "journal"}
    known = info(run)
    assert (
        (known["id"], known["name"], known["status"]) == (run.id, run.name, "running")
        if "status" in known
        else True
    )
    assert run_folder.read_info(run.path).id == run.id


def test_a_run_without_a_name_gets_a_readable_one(tmp_path: Path) -> None:
    names = [trackhooks.run(dir=tmp_path, delivery="off").name for _ in range(3)]
    assert all(re.fullmatch(rf"[a-z]+-[a-z]+-{number}", name) for number, name in enumerate(names, 1))


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    names = [trackhooks.run(dir=tmp_path, name="lr=0.1", delivery="off").name for _ in range(3)]
    assert names == ["lr=0.1", "lr=0.1-2", "lr=0.1-3"]


@pytest.mark.parametrize(
    ("name", "folder_name"),
    [
        ("a/b\\c:d", "a-b-c-d"), ("../../etc", "etc"), ("..", "run"), ("", "run"), ("größe µ 🎉", "größe µ 🎉"),
        ("tab\tand\nline", "tab-and-line"), (".hidden", "hidden"), ("-rf", "rf"), ("x" * 500, "x" * 120),
        ("é" * 100, "é" * 60), ("half \ud83d", "half"), ("nul\0", "nul"),
    ],
)  # fmt: skip
def test_any_text_may_be_a_name(tmp_path: Path, name: str, folder_name: str) -> None:
    with trackhooks.run(
        dir=tmp_path, name=name, notes=name, tags=[name], project=name, delivery="off"
    ) as run:
        assert run.name == run.path.name == folder_name
    assert run.path.parent == tmp_path
    assert run_folder.read_info(run.path).status == "finished"


RACE = """
import sys, trackhooks
for _ in range(5):
    print(trackhooks.run(dir=sys.argv[1], name="same", delivery="off").name)
    print(trackhooks.run(dir=sys.argv[1], delivery="off").name)
"""


@pytest.mark.slow
def test_eight_processes_that_start_runs_at_once_never_share_a_folder(tmp_path: Path) -> None:
    racers = [
        subprocess.Popen([sys.executable, "-c", RACE, tmp_path], stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    names = [name for racer in racers for name in racer.communicate()[0].split()]
    assert len(names) == len(set(names)) == 80
    assert {path.name for path in run_folder.paths(tmp_path)} == set(names)


def test_the_identity_is_as_the_user_specified(tmp_path: Path) -> None:
    said: dict[str, Any] = {"project": "digits", "tags": ["a", "b"], "notes": "a first try", "group": "fold"}
    with trackhooks.run(dir=tmp_path, name="r", delivery="off", **said) as run:
        pass
    known = info(run)
    assert {name: known[name] for name in said} == said
    assert (known["pid"], known["trackers"], known["status"]) == (os.getpid(), ["csv"], "finished")
    assert "path" not in known  # a run may be moved


@pytest.mark.slow
def test_run_json_is_replaced_atomically_and_readable_for_everyone(run: Run) -> None:
    failed = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                run_folder.read_info(run.path)
            except TrackhooksError as error:
                failed.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(300):
        recorder_of(run).info.notes = "x" * (number * 37 % 5000)
        run_folder.write_info(run.path, recorder_of(run).info)
    done.set()
    reader.join()
    assert failed == []
    assert stat.S_IMODE((run.path / "run.json").stat().st_mode) == 0o644
    assert [path for path in run.path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"id": 3, "name": "x"}', b"\xff"])
def test_a_run_json_that_is_none_is_an_error_with_its_path(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(TrackhooksError, match=re.escape(str(tmp_path / "run.json"))):
        run_folder.read_info(tmp_path)


@pytest.mark.slow
def test_a_folder_that_is_not_a_run_is_an_error_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(TrackhooksError, match=r"is not a run: it does not contain run\.json"):
        run_folder.read_info(tmp_path)
    with pytest.raises(TrackhooksError, match="is not a run"):
        trackhooks.run(resume=tmp_path / "nothing", delivery="off")
    assert list(run_folder.paths(tmp_path / "nothing")) == []


# --- Numbers


def test_values_logged_outside_of_a_loop_have_separate_steps(run: Run) -> None:
    run.log(a=1.0)
    run.log({"a": 2, "nested": {"b": True}}, c=np.float32(0.5))
    run.log()
    run.log({})
    assert [(event.step, event.epoch, event.metrics) for event in events(run)] == [
        (0, -1, {"a": 1.0}), (1, -1, {"a": 2.0, "nested/b": 1.0, "c": 0.5}),
    ]  # fmt: skip


SEVEN: dict[Any, float] = {7: 1.0}


def test_values_of_every_kind_are_numbers_and_other_objects_are_named_and_left_out(run: Run) -> None:
    with pytest.warns(TrackhooksWarning) as warned:
        for _ in range(2):
            run.log(
                {"tensor": torch.tensor(1.5, requires_grad=True), "array": np.array([2.5]), "nan": math.nan,
                 "text": "0.5", "none": None, "matrix": torch.ones(2, 2), "huge": 10**400, **SEVEN}
            )  # fmt: skip
    messages = [str(warning.message) for warning in warned]
    assert [message.split(" is left out")[0] for message in messages] == [
        "metric 'text'", "metric 'none'", "metric 'matrix'", "metric 'huge'",
    ]  # fmt: skip
    assert "of shape (2, 2), not one number" in messages[2]
    assert {warning.filename for warning in warned} == {__file__}
    for event in events(run):
        assert event.metrics.keys() == {"tensor", "array", "nan", "7"}
        assert event.metrics["tensor"] == 1.5


def test_a_strict_run_raises_what_would_be_a_warning(tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path, strict=True, delivery="off") as run:
        with pytest.raises(InvalidValueError, match="metric 'text' is left out: it is 'x'"):
            run.log(text="x")
        run.log(a=1.0)
    assert events(run)[0].metrics == {"a": 1.0}


@pytest.mark.parametrize("wrong", [5, "loss", [("a", 1.0)], None])
def test_metrics_that_are_no_mapping_are_refused(run: Run, wrong: Any) -> None:
    if wrong is not None:
        with pytest.raises(
            InvalidValueError, match=r"metrics must be a mapping from names to numbers, as in run\.log"
        ):
            run.log(wrong)
    for axis in ("step", "epoch"):
        for value in ("1", 1.5, -1):
            with pytest.raises(
                InvalidValueError, match=rf"{axis} must be a whole number from 0 to \d+, got {value!r}"
            ):
                run.log({"a": 1.0}, **{axis: value})  # type: ignore[arg-type]
    assert events(run) == []


def test_values_on_an_accelerator_are_written_in_order_at_the_latest_with_the_epoch(run: Run) -> None:
    run.callbacks.on_train_begin()
    run.callbacks.on_epoch_begin(0)
    for batch in range(5):
        run.callbacks.on_train_batch_end(batch, {"loss": Snapshot(torch.tensor(float(batch))), "plain": 1.0})
        run.log(between=float(batch), step=batch)
    run.callbacks.on_epoch_end(0, {"loss": Snapshot(torch.tensor(2.0))})
    written = events(run)
    assert [event.index for event in written] == list(range(len(written)))
    assert [event.metrics["train_batch/loss"] for event in written if event.hook == "on_train_batch_end"] == [
        0,
        1,
        2,
        3,
        4,
    ]
    assert written[-1].metrics == {"train/loss": 2.0}
    run.log(a=Snapshot(torch.tensor(7.0)))
    run.close()
    assert events(run)[-2].metrics == {"a": 7.0}


def test_a_value_that_is_changed_afterwards_was_recorded_as_it_was(run: Run) -> None:
    total = torch.zeros(())
    for _ in range(3):
        total += 1
        run.log(total=total)
    assert [event.metrics["total"] for event in events(run)] == [1.0, 2.0, 3.0]


def test_names_of_every_kind_are_kept(run: Run) -> None:
    names = [
        "",
        " ",
        "a/b//c",
        "größe 🎉",
        "a\nb\0c",
        "x" * 10_000,
        "metrics/mAP50(B)",
        "self",
        "=1+1",
        "\ud83d",
    ]
    run.log(dict.fromkeys(names, 1.0))
    assert list(last(run).metrics) == [*names[:-1], "\\ud83d"]


def test_thousands_of_metrics_at_once_are_recorded(run: Run) -> None:
    run.log({f"metric {number}": number for number in range(20_000)})
    assert len(last(run).metrics) == 20_000


# --- Parameters


def test_parameters_are_flattened_and_compared_as_texts(run: Run) -> None:
    @dataclass
    class Optimizer:
        name: str = "sgd"
        betas: tuple[float, float] = (0.9, 0.99)

    run.log_params(
        {"optimizer": Optimizer(), "lr": 0.5, 3: None}, path=Path("/data"), shape=torch.Size([1, 2])
    )
    assert last(run).params == {
        "optimizer/name": "sgd", "optimizer/betas": "[0.9, 0.99]", "lr": 0.5, "3": None, "path": "/data",
        "shape": "[1, 2]",
    }  # fmt: skip
    run.log_params(Namespace(epochs=3))
    assert last(run).params == {"epochs": 3}
    run.log_params(Optimizer())
    assert last(run).params["name"] == "sgd"
    run.log_params()
    assert len(events(run)) == 3
    assert run.callbacks.state.args.keys() >= {"optimizer", "lr", "3", "epochs"}


@pytest.mark.parametrize("wrong", [5, "lr=0.1", [("lr", 0.1)], Run])
def test_parameters_that_have_no_names_are_refused(run: Run, wrong: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"must be a mapping, a dataclass, a namespace"):
        run.log_params(wrong)


@pytest.mark.slow
def test_huge_parameters_and_thousands_of_them_are_recorded(run: Run) -> None:
    run.log_params({f"p{number}": number for number in range(10_000)}, big=2**70, text="x" * 1_000_000)
    assert len(last(run).params) == 10_002
    assert last(run).params["big"] == str(2**70)
    run.log_params(enormous="x" * 20_000_000)  # larger than a record may be: kept in a separate file
    assert len(str(last(run).params["enormous"])) == 20_000_000


SECRET = "hunter2-hunter2"


def test_secrets_in_parameters_options_and_the_command_line_never_reach_the_disk(tmp_path: Path) -> None:
    (tmp_path / "tests_of_recording.py").write_text(
        "import trackhooks\n"
        "class Remote(trackhooks.Tracker):\n"
        "    def __init__(self, api_key='', uri=''): pass\n"
    )
    source = """
    import sys, trackhooks
    secret = sys.argv[2]
    remote = {"api_key": secret, "uri": f"https://me:{secret}@host/"}
    with trackhooks.run(
        dir="runs", name="r", delivery="off", params={"hf_token": secret, "db": {"password": secret}, "max_tokens": 5},
        **{"tests_of_recording:Remote": remote},
    ) as run:
        run.log_params(url=f"postgres://me:{secret}@host/db", keys={"api_key": secret})
        run.close("failed", "")
    """
    command = [sys.executable, "-c", dedent(source), "--password", SECRET, f"--api-key={SECRET}"]
    subprocess.run(command, cwd=tmp_path, env=importing(tmp_path), check=True)
    files = [path for path in (tmp_path / "runs" / "r").rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"run.json", "journal"}
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []
    known = info(tmp_path / "runs" / "r")
    assert known["options"] == {
        "tests_of_recording:Remote": {"api_key": "<redacted>", "uri": "https://me:<redacted>@host/"}
    }
    assert known["environment"]["command"].endswith("--password <redacted> --api-key=<redacted>")
    params = events(tmp_path / "runs" / "r")[0].params
    assert params == {"hf_token": "<redacted>", "db/password": "<redacted>", "max_tokens": 5}


# --- Texts, tables, histograms


@pytest.mark.slow
def test_texts_are_recorded_with_their_names(run: Run) -> None:
    run.log_text("notes", "größe 🎉 \ud83d")
    run.log_text("number", 5)  # type: ignore[arg-type]
    assert [event.media for event in events(run)] == [
        [Text("notes", "größe 🎉 \\ud83d")],
        [Text("number", "5")],
    ]
    run.log_text("large", "x" * 20_000_000)
    (text,) = last(run).media
    assert isinstance(text, Text)
    assert len(text.text) == 20_000_000


@pytest.mark.parametrize("wrong", ["", None, 5])
def test_a_name_that_is_none_is_refused(run: Run, wrong: Any) -> None:
    logs: list[Callable[[], None]] = [
        lambda: run.log_text(wrong, "text"),
        lambda: run.log_table(wrong, [[1]], ["a"]),
        lambda: run.log_histogram(wrong, [1.0]),
        lambda: run.log_image(wrong, np.ones((2, 2))),
    ]
    for log in logs:
        with pytest.raises(InvalidValueError, match="must be a non-empty string"):
            log()


ROWS = Table("t", ["a", "b"], [[1, "x"], [2, None]])
FRAME = pd.DataFrame({"a": [1, 2], "b": ["x", None]}, dtype=object)


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        ([[1, "x"], [2, None]], ["a", "b"]),
        (((1, "x"), (2, None)), ("a", "b")),
        (([number, text] for number, text in ((1, "x"), (2, None))), ["a", "b"]),
        ([{"a": 1, "b": "x"}, {"a": 2}], None),
        ([{"b": "x", "a": 1, "c": 9}, {"a": 2}], ["a", "b"]),
        ({"a": [1, 2], "b": ["x", None]}, None),
        (FRAME, None),
        (np.array([[1, "x"], [2, None]], dtype=object), ["a", "b"]),
    ],
)
def test_a_table_may_be_given_as_rows_dicts_columns_or_a_frame(run: Run, data: Any, columns: Any) -> None:
    run.log_table("t", data, columns)
    assert last(run).media == [ROWS]


@pytest.mark.parametrize(
    ("data", "columns", "rows"),
    [
        ([], ["a"], []),
        (np.arange(4).reshape(2, 2), ["a", "b"], [[0, 1], [2, 3]]),
        (torch.tensor([[0.5, math.inf]]), ["a", "b"], [[0.5, math.inf]]),
        (
            [[2**70, Path("/data"), b"x", [1, 2]]],
            ["a", "b", "c", "d"],
            [[str(2**70), "/data", "b'x'", "[1, 2]"]],
        ),
        (pd.DataFrame({"a": [1.5]}), None, [[1.5]]),
        ([[1]], [3], [[1]]),
    ],
)
def test_cells_of_a_table_are_scalars(run: Run, data: Any, columns: Any, rows: Any) -> None:
    run.log_table("t", data, columns)
    (table,) = last(run).media
    assert isinstance(table, Table)
    assert table.rows == rows
    assert all(isinstance(column, str) for column in table.columns)


@pytest.mark.parametrize(
    ("data", "columns", "message"),
    [
        ([[1, 2], [3]], ["a", "b"], "row 1 has 1 cells for 2 columns"),
        ([[1]], None, r"Pass columns=\[…\]"),
        ([], None, r"Pass columns=\[…\]"),
        ({}, None, r"Pass columns=\[…\]"),
        ({"a": [1], "b": [1, 2]}, None, r"different lengths: \{'a': 1, 'b': 2\}"),
        ({"a": 1}, None, "has no len"),
        ([1, 2], ["a"], "'int' object is not iterable"),
        (["ab", "cd"], ["a", "b"], "a row must be a list of cells, got 'ab'"),
        (5, ["a"], "'int' object is not iterable"),
        (None, ["a"], "not iterable"),
        ([{"a": 1}, [2]], ["a"], "a row must be a list of cells"),
    ],
)
def test_an_invalid_table_is_refused_with_the_reason(run: Run, data: Any, columns: Any, message: str) -> None:
    with pytest.raises(InvalidValueError, match=rf"table 't': .*{message}"):
        run.log_table("t", data, columns)
    assert events(run) == []


@pytest.mark.parametrize(
    "values",
    [
        [1.0, 2.0, 2.0, math.nan, math.inf], np.array([[1.0], [2.0], [2.0]]), torch.tensor([1, 2, 2]),
        torch.tensor([1.0, 2.0, 2.0], dtype=torch.bfloat16, requires_grad=True), (value for value in (1, 2, 2)),
        {1.0, 2.0} and [1.0, 2.0, 2.0], [True, 2, 2],
    ],
)  # fmt: skip
def test_a_histogram_counts_what_is_finite(run: Run, values: Any) -> None:
    run.log_histogram("h", values, bins=2)
    assert last(run).media == [Histogram("h", [1.0, 1.5, 2.0], [1.0, 2.0])]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "no value is finite"), ([math.nan], "no value is finite"), ("1, 2", "be numbers"), (5, "not iterable"),
        (["a"], "could not convert"), ([[1], [1, 2]], "inhomogeneous|sequence"), (np.array([1j]), "no order"),
        (None, "not iterable"), ([1e308, -1e308], "range|overflow|finite"), ([10**400], "float|int"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings(
    "ignore:overflow encountered:RuntimeWarning"
)  # NumPy's, on the way to its own error
def test_what_has_no_histogram_is_refused_with_the_reason(run: Run, values: Any, message: str) -> None:
    with pytest.raises(InvalidValueError, match=rf"histogram 'h': .*({message})"):
        run.log_histogram("h", values)


@pytest.mark.parametrize("bins", [0, -1, 1.5, "auto", True])
def test_bins_are_a_positive_number(run: Run, bins: Any) -> None:
    with pytest.raises(InvalidValueError, match="must be a positive integer"):
        run.log_histogram("h", [1.0], bins=bins)


# --- Pictures


def pixels(run: Run) -> Any:
    """The newest picture, as it is in the run's folder."""
    (file,) = last(run).files
    assert (file.kind, file.format) == ("image", "png")
    return np.asarray(Image.open(run.path / file.kept))


GREY = np.array([[0, 128], [255, 64]], dtype=np.uint8)
COLOURS = np.stack([GREY, GREY.T, 255 - GREY], axis=-1)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (GREY, GREY),
        (GREY[:, :, None], GREY),
        (GREY.tolist(), GREY),
        (GREY / 255, GREY),
        (GREY > 100, (GREY > 100) * 255),
        (np.array([[math.nan, 0.0], [1.0, math.inf]]), [[0, 0], [255, 255]]),
        (COLOURS, COLOURS),
        (np.dstack([COLOURS, GREY]), np.dstack([COLOURS, GREY])),
        (
            torch.tensor(GREY / 255, dtype=torch.bfloat16),
            (torch.tensor(GREY / 255).bfloat16().double() * 255 + 0.5).int(),
        ),
        (torch.rand(3, 7, 9, requires_grad=True) * 0, np.zeros((7, 9, 3))),
        (np.zeros((1, 7, 9)), np.zeros((7, 9))),
        (Image.fromarray(COLOURS), COLOURS),
        (Image.fromarray(GREY), GREY),
    ],
)
def test_a_picture_may_be_an_array_a_tensor_or_one_of_pillow(run: Run, image: Any, expected: Any) -> None:
    run.log_image("samples", image)
    assert np.array_equal(pixels(run), np.asarray(expected))
    assert last(run).files[0].name == "samples"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "HSV", "F", "I", "I;16"])
def test_pictures_of_every_mode_of_pillow_are_kept(run: Run, mode: str) -> None:
    run.log_image("m", Image.new(mode, (3, 2)))
    assert pixels(run).shape[:2] == (2, 3)


@pytest.mark.parametrize("ending", ["png", "PNG", "jpg", "bmp", "gif"])
def test_a_picture_may_be_a_file(run: Run, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"picture.{ending}"
    Image.new("RGB", (4, 3), (255, 0, 0)).save(path)
    for given in (path, str(path)):
        run.log_image("file", given)
        assert pixels(run).shape[:2] == (3, 4)


def test_a_figure_of_matplotlib_is_a_picture(run: Run) -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot([1, 2])
    run.log_figure("curve", figure)
    run.log_image("curve", figure)
    assert len(events(run)) == 2
    assert pixels(run).ndim == 3
    with pytest.raises(InvalidValueError, match="must be a matplotlib figure, got str"):
        run.log_figure("curve", "a figure")


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.ones((2, 2, 2, 2)), r"must be H×W.*, got \(2, 2, 2, 2\)"), (np.ones((2, 2, 2)), "must be H×W"),
        (np.ones(5), r"shape of a picture must be .*, got \(5,\)"), (5, r"shape of a picture must be .*, got \(\)"),
        (np.ones((0, 3)), "shape of a picture must be"),
        (np.ones((2, 2), dtype=complex), "got an array of complex128"), ([["a"]], "A picture must have"),
        ([[1], [1, 2]], "A list cannot be converted to a picture"), (None, "must be H×W"), (object(), "must be H×W"),
    ],
)  # fmt: skip
def test_an_object_that_is_not_a_picture_is_refused(run: Run, image: Any, message: str) -> None:
    with pytest.raises(InvalidValueError, match=message):
        run.log_image("samples", image)
    assert events(run) == []


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_file_that_is_not_a_picture_is_refused(run: Run, tmp_path: Path, ending: str) -> None:
    whole = tmp_path / "whole.jpg"
    Image.effect_noise((64, 64), 50).save(whole)
    for content in (b"", b"text", whole.read_bytes()[:-500]):
        (tmp_path / f"a.{ending}").write_bytes(content)
        with pytest.raises(InvalidValueError, match=rf"a\.{ending}' is not a picture that can be read"):
            run.log_image("samples", tmp_path / f"a.{ending}")
    with pytest.raises(
        InvalidValueError, match=r"nothing\.png' is not a picture that can be read: .*No such file"
    ):
        run.log_image("samples", tmp_path / "nothing.png")


def test_pictures_of_one_name_are_a_series_and_names_of_any_kind_stay_in_the_folder(run: Run) -> None:
    for name in ("val/samples", "val/samples", "../../outside", "größe", "/absolute"):
        run.log_image(name, GREY)
    kept = [event.files[0].kept for event in events(run)]
    assert len(set(kept)) == 5
    assert all((run.path / path).resolve().is_relative_to(run.path / "files" / "images") for path in kept)
    assert [event.files[0].name for event in events(run)][2] == "../../outside"


def log_pictures(run: Run) -> None:
    for _ in range(20):
        run.log_image("a", GREY)


def test_pictures_of_several_threads_and_of_a_continued_run_do_not_overwrite_each_other(
    tmp_path: Path,
) -> None:
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        threads = [threading.Thread(target=log_pictures, args=(run,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with trackhooks.run(resume=run.path, delivery="off") as run:
        run.log_image("a", GREY)
    kept = [file.kept for event in events(run) for file in event.files]
    assert len(kept) == len(set(kept)) == 81


def test_values_logged_in_a_batch_are_at_its_step(run: Run) -> None:
    for _ in run.epochs(1):
        for _ in run.train(range(2)):
            run.log_text("in", "x")
        run.log_text("behind", "x")
    run.callbacks.on_train_begin()
    run.callbacks.on_epoch_begin(1)
    run.callbacks.on_train_batch_begin(0)
    run.log_text("in a loop of Keras", "x")
    texts = [(event.media[0].name, event.step) for event in events(run) if event.media]
    assert texts == [("in", 0), ("in", 1), ("behind", 1), ("in a loop of Keras", 2)]


# --- Files, checkpoints, exports


def test_a_file_is_noted_as_it_is(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "data.tar.gz"
    path.write_bytes(b"12345")
    monkeypatch.chdir(tmp_path)
    run.log_file("data.tar.gz")
    run.log_file(path, name="the data")
    first, second = (event.files[0] for event in events(run))
    assert (first.path, first.kind, first.name, first.format, first.size) == (
        str(path),
        "file",
        "data.tar.gz",
        "gz",
        5,
    )
    assert (second.name, second.mtime, second.inode) == ("the data", path.stat().st_mtime, path.stat().st_ino)


def test_a_folder_is_a_file_too(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "saved_model"
    (path / "variables").mkdir(parents=True)
    (path / "variables" / "data").write_bytes(b"x" * 100)
    run.log_model(path)
    (tmp_path / "empty").mkdir()
    run.log_file(tmp_path / "empty")
    assert events(run)[0].files[0].size >= 100
    assert last(run).files[0].name == "empty"


def test_a_checkpoint_bears_its_aliases_and_the_metrics_of_that_moment(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "best.pt"
    path.write_bytes(b"weights")
    for _ in run.epochs(1):
        for _ in run.train(range(1)):
            run.log(loss=0.5)
        for _ in run.validate(range(1)):
            run.log(loss=0.25)
        run.log_model(path, aliases=["best", "last"])
    run.log_model(path, "best", name="weights")
    first, second = (event.files[0] for event in events(run, "on_model_save"))
    assert (first.kind, first.name, first.aliases) == ("model", "best.pt", ("best", "last"))
    assert first.metrics.items() >= {"train/loss": 0.5, "val/loss": 0.25}.items()
    assert (second.name, second.aliases) == ("weights", ("best",))


def test_an_export_is_linked_to_its_checkpoint(run: Run, tmp_path: Path) -> None:
    for name in ("best.pt", "model.onnx", "other.pt"):
        (tmp_path / name).write_bytes(b"x")
    run.log_export(tmp_path / "model.onnx")
    run.log_model(tmp_path / "best.pt")
    run.log_export(tmp_path / "model.onnx", format="onnx", duration=1.5)
    run.log_export(tmp_path / "model.onnx", parent=tmp_path / "other.pt", name="deployed")
    ends = [event.files[0] for event in events(run, "on_export_end")]
    assert [file.parent for file in ends] == [None, str(tmp_path / "best.pt"), str(tmp_path / "other.pt")]
    assert (ends[1].format, ends[1].duration, ends[2].name) == ("onnx", 1.5, "deployed")
    assert len(events(run, "on_export_start")) == 3


@pytest.mark.parametrize("wrong", [5, None, b"bytes"])
def test_an_object_that_is_not_a_file_is_refused_with_what_to_do(
    run: Run, tmp_path: Path, wrong: Any
) -> None:
    for log in (run.log_file, run.log_model, run.log_export):
        with pytest.raises(InvalidValueError, match=r"file must be a path, got"):
            log(wrong)
        with pytest.raises(
            InvalidValueError, match=r"nothing\.pt': No such file or directory\. Save it first, then log it\."
        ):
            log(tmp_path / "nothing.pt")
    (tmp_path / "a.pt").write_bytes(b"")
    with pytest.raises(InvalidValueError, match="must be a non-empty string, got 5"):
        run.log_model(tmp_path / "a.pt", aliases=[5])  # type: ignore[list-item]
    assert events(run) == []


# --- The environment


def in_directory(directory: Path, source: str) -> dict[str, Any]:
    """The environment of a run that a program in this directory makes."""
    program = "import trackhooks; trackhooks.run(dir='runs', name='r', delivery='off').close()\n" + source
    subprocess.run([sys.executable, "-c", program, "an argument"], cwd=directory, check=True)
    found: dict[str, Any] = info(directory / "runs" / "r")["environment"]
    return found


def git(directory: Path, *words: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *identity, *words], cwd=directory, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / "repository"
    path.mkdir()
    git(path, "init")
    (path / "train.py").write_text("print()\n")
    git(path, "add", ".")
    git(path, "commit", "-m", "first")
    return path


def test_the_state_of_the_code_is_captured(repository: Path) -> None:
    git(repository, "remote", "add", "origin", f"https://me:{SECRET}@github.com/me/it.git")
    (repository / "untracked").write_text("x")
    found = environment.repository(str(repository))
    assert found == {
        "git/commit": git(repository, "rev-parse", "HEAD"), "git/branch": "main", "git/dirty": False,
        "git/remote": "https://me:<redacted>@github.com/me/it.git",
    }  # fmt: skip
    (repository / "train.py").write_text("print(1)\n")
    assert environment.repository(str(repository))["git/dirty"] is True
    git(repository, "commit", "-am", "second")
    git(repository, "checkout", "--detach")
    found = environment.repository(str(repository))
    assert (found["git/branch"], found["git/dirty"]) == (None, False)
    assert found["git/commit"] == git(repository, "rev-parse", "HEAD")


def test_a_repository_without_commits_and_a_directory_without_one_have_no_commit(tmp_path: Path) -> None:
    assert environment.repository(str(tmp_path)) == {}
    git(tmp_path, "init")
    assert environment.repository(str(tmp_path)) == {
        "git/commit": None,
        "git/branch": "main",
        "git/dirty": False,
    }


def test_without_git_nothing_is_captured_of_it(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert environment.repository(str(repository)) == {}


def test_the_program_and_its_packages_are_captured(repository: Path) -> None:
    found = in_directory(repository, "")
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["directory"] == str(repository)
    assert found["git/branch"] == "main"
    assert found["command"].endswith(" an argument")
    assert shlex.split(str(found["arguments"]))[-1] == "an argument"
    assert found["package/trackhooks"] == environment.own_version()
    assert "package/torch" not in found  # what the program has not imported by then is not its environment
    assert "package/torch" in environment.capture()
    assert found["host"] == processes.host()
    assert found["cpus"] == os.cpu_count()


def test_a_removed_directory_and_a_command_that_is_not_text_do_not_prevent_a_run(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    source = (
        "import os, sys, trackhooks\n"
        "os.rmdir(os.getcwd())\n"
        "with trackhooks.run(dir=sys.argv[1], name='r', delivery='off'): pass\n"
    )
    subprocess.run([sys.executable, "-c", source, tmp_path, b"\xff"], cwd=gone, check=True)
    known = info(tmp_path / "r")
    assert known["environment"]["directory"] is None
    assert known["environment"]["command"].endswith("\\udcff")


# --- What the environment variables say


def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **variables: str) -> Run:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    run = trackhooks.run(name="r")
    run.log(a=1.0)
    run.close()
    return run


def test_the_environment_sets_trackers_folder_and_delivery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opened(
        tmp_path,
        monkeypatch,
        TRACKHOOKS="csv, tensorboard",
        TRACKHOOKS_DIR="elsewhere",
        TRACKHOOKS_DELIVERY="off",
    )
    assert run.path == tmp_path / "elsewhere" / "r"
    assert recorder_of(run).info.trackers == ["csv", "tensorboard"]
    assert not (run.path / "delivery").exists()


@pytest.mark.parametrize("nothing", ["", None])
def test_without_them_it_is_csv_in_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing: str | None
) -> None:
    for name in ("TRACKHOOKS", "TRACKHOOKS_DIR"):
        monkeypatch.delenv(name, raising=False)
        if nothing is not None:
            monkeypatch.setenv(name, nothing)
    run = opened(tmp_path, monkeypatch, TRACKHOOKS_DELIVERY="off")
    assert run.path == tmp_path / "runs" / "r"
    assert recorder_of(run).info.trackers == ["csv"]


def test_a_wrong_value_of_theirs_is_an_error_with_the_right_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        trackhooks.UnknownNameError, match=r"unknown delivery 'inlin'\. Did you mean 'inline'"
    ):
        opened(tmp_path, monkeypatch, TRACKHOOKS_DELIVERY="inlin")
    with pytest.raises(trackhooks.UnknownNameError, match="unknown tracker 'tensorbord'"):
        opened(tmp_path, monkeypatch, TRACKHOOKS_DELIVERY="off", TRACKHOOKS="tensorbord")


@pytest.mark.parametrize(
    ("variables", "records"),
    [
        ({"TRACKHOOKS_DISABLED": "1"}, False), ({"TRACKHOOKS_DISABLED": "true"}, False),
        ({"TRACKHOOKS_DISABLED": "0"}, True),
    ],
)  # fmt: skip
def test_nothing_is_recorded_if_disabled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], records: bool
) -> None:
    run = opened(tmp_path, monkeypatch, TRACKHOOKS_DELIVERY="off", **variables)
    assert (tmp_path / "runs").exists() == records
    assert run.wait()
    assert run.url("csv") is None


def test_a_run_that_records_nothing_takes_every_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKHOOKS_DISABLED", "1")
    (tmp_path / "a.pt").write_bytes(b"")
    heard: list[Any] = []
    with trackhooks.run("csv", dir=tmp_path / "runs", params={"lr": 1}) as run:
        run.add_callback("on_model_save", heard.append)
        run.log(a=1.0, b="no number")
        run.log_params(lr=2)
        run.log_text("a", "b")
        run.log_table("a", [[1]], ["a"])
        run.log_histogram("a", [1.0])
        run.log_image("a", GREY)
        run.log_file(tmp_path / "a.pt")
        run.log_model(tmp_path / "a.pt")
        run.flush()
        assert not run.records
    assert len(heard) == 1
    assert not (tmp_path / "runs").exists()


# --- When things go wrong


def test_a_directory_that_cannot_be_written_is_an_error_with_what_to_do(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for directory in (small_disk, small_disk / "runs"):
        with pytest.raises(
            TrackhooksError, match=r"Read-only file system\. Choose another with dir=… or TRACKHOOKS_DIR"
        ):
            trackhooks.run(dir=directory, delivery="off")


def test_a_file_in_the_way_is_an_error_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(TrackhooksError, match=r"no run can be recorded in .*runs: .*TRACKHOOKS_DIR"):
        trackhooks.run(dir=tmp_path / "runs", delivery="off")


def test_on_a_disk_that_is_full_at_the_start_a_run_says_so(small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(TrackhooksError, match="No space left on device"):
        trackhooks.run(dir=small_disk, delivery="off")


def fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return filler


def test_when_the_disk_becomes_full_training_continues_with_one_warning_and_recording_resumes_afterwards(
    small_disk: Path,
) -> None:
    with trackhooks.run(dir=small_disk, delivery="off") as run, pytest.warns(TrackhooksWarning) as warned:
        for epoch in run.epochs(3):
            filler = fill(small_disk) if epoch == 1 else None
            for batch in run.train(range(50)):
                run.log(loss=float(batch))
            if filler is not None:
                filler.unlink()
    assert [str(warning.message) for warning in warned] == [
        f"run {run.name!r}: its journal could not be written: No space left on device. The training continues, and"
        " recording resumes as soon as writing works again."
    ]
    steps = [event.step for event in events(run, "on_train_batch_end")]
    assert steps[:50] == list(range(50))
    assert steps[-50:] == list(range(100, 150))
    indices = [event.index for event in events(run)]
    assert indices == sorted(set(indices))
    assert indices[-1] + 1 > len(indices)  # the gap tells that something is missing
    assert run.status == "finished"


def test_a_picture_for_which_there_is_no_room_is_left_out_with_a_warning(small_disk: Path) -> None:
    with trackhooks.run(dir=small_disk, delivery="off") as run:
        filler = fill(small_disk)
        with pytest.warns(
            TrackhooksWarning, match=r"files/images/noise/.*\.png could not be written: No space left"
        ):
            run.log_image("noise", np.random.default_rng(0).random((64, 64)))
        filler.unlink()
        run.log_image("noise", GREY)
    assert len([event for event in events(run) if event.files]) == 1
    assert all((run.path / file.kept).stat().st_size for event in events(run) for file in event.files)


@pytest.mark.parametrize(
    ("status", "reason"), [("finished", ""), ("failed", "ValueError: x"), ("failed", "x" * 100_000)]
)
def test_a_run_that_ends_on_a_full_disk_keeps_its_status_and_says_how_much_it_has_lost(
    small_disk: Path, capsys: pytest.CaptureFixture[str], status: str, reason: str
) -> None:
    run = trackhooks.run(dir=small_disk, delivery="off")
    filler = fill(small_disk)
    with pytest.warns(TrackhooksWarning, match="its journal could not be written: No space left"):
        for step in range(1000):
            run.log(x=step)
        run.close(status, reason)
    (lost,) = map(int, re.findall(r"lost (\d+) records", capsys.readouterr().err))
    assert lost + len(journal.read(run.path)) == 1000
    for _ in range(2):
        (found,) = trackhooks.runs(small_disk)
        assert (found.status, found.info.reason or "") == (status, reason if len(reason) < 1000 else "")
        assert found.journal.damage == [f"missing: {lost} records"]
        assert end_if_dead(run.path).status == status
        filler.unlink(missing_ok=True)
    assert [event.status for event in events(run) if event.status] == [status]
    with trackhooks.run(resume=run.path, delivery="off") as again:
        again.log(x=1000)
    assert trackhooks.runs(small_disk)[0].journal.damage == [f"missing: {lost} records"]


def test_after_close_nothing_is_recorded_and_closing_again_does_nothing(tmp_path: Path) -> None:
    heard: list[Any] = []
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        run.add_callback("teardown", heard.append)
        for _ in run.epochs(1):
            pass
    before = [path.read_bytes() for path in (run.path / "journal", run.path / "run.json")]
    with pytest.warns(TrackhooksWarning, match="is finished"):
        run.log(a=1.0)
    run.log_image("a", GREY)
    run.log_params(b=1)
    run.callbacks.on_train_batch_end(0, {"loss": 1.0})
    for _ in run.epochs(1):
        for _ in run.train(range(1)):
            run.log(loss=1.0)
    run.flush()
    run.close()
    run.close("failed", "no")
    assert [path.read_bytes() for path in (run.path / "journal", run.path / "run.json")] == before
    assert len(heard) == 1
    assert not (run.path / "files").exists()


def test_a_callback_that_raises_at_the_end_does_not_keep_the_run_open(tmp_path: Path) -> None:
    def fail(trainer: Any) -> None:
        raise KeyError("no")

    for hook, status in (("on_train_end", "failed"), ("teardown", "finished")):
        with pytest.raises(KeyError), trackhooks.run(dir=tmp_path, delivery="off") as run:
            run.add_callback(hook, fail)
            for _ in run.train(range(1)):
                run.log(loss=1.0)
        assert run.status == run_folder.read_info(run.path).status == status
        assert not run.records
        assert events(run)[-1].status == status


@pytest.mark.parametrize("status", ["running", "done", "", None])
def test_a_status_that_is_not_final_is_refused(run: Run, status: Any) -> None:
    with pytest.raises(InvalidValueError, match="status must be one of failed, finished, killed, lost"):
        recorder_of(run).settle(status)


def test_one_process_at_a_time_records_a_run(run: Run) -> None:
    with pytest.raises(JournalError, match="is being written by another process or run"):
        trackhooks.run(resume=run.path, delivery="off")


def test_threads_lose_no_record_and_share_no_index(run: Run) -> None:
    def work(thread: int) -> None:
        for number in range(300):
            run.log({f"thread {thread}": number})

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = events(run)
    assert [event.index for event in written] == list(range(1800))
    assert [event.step for event in written] == list(range(1800))
    for number in range(6):
        name = f"thread {number}"
        assert [event.metrics[name] for event in written if name in event.metrics] == list(range(300))


def test_batches_that_end_out_of_order_have_their_own_steps(run: Run) -> None:
    """Keras may end its batches on several threads."""
    run.callbacks.on_train_begin()
    for epoch in range(2):
        run.callbacks.on_epoch_begin(epoch)
        for batch in (1, 0, 3, 2):
            run.callbacks.on_train_batch_end(batch, {"loss": 1.0})
    assert [event.step for event in events(run, "on_train_batch_end")] == [1, 0, 3, 2, 5, 4, 7, 6]
    assert run.step == 7


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform cannot fork")
def test_a_forked_child_records_nothing_and_does_not_wait_for_its_parents_threads(
    tmp_path: Path, program: Callable[..., str]
) -> None:
    program(
        """
        import os, sys, threading, warnings, trackhooks
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12's, of forks beside threads
        run = trackhooks.run(dir=sys.argv[1], name="r", delivery="off")
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                run.log(a=1.0)
        thread = threading.Thread(target=busy)
        thread.start()
        children = []
        for _ in range(20):
            child = os.fork()
            if not child:
                run.log(child=1.0)
                run.callbacks.on_train_batch_end(0, {"child": 1.0})
                run.log_params(child=1)
                run.flush()
                run.close("failed", "of the child")
                os._exit(0 if not run.records else 1)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        assert codes == [0] * 20, codes
        stop.set()
        thread.join()
        assert run.records
        run.close()
        """,
        tmp_path,
    )
    written = events(tmp_path / "r")
    assert [event.index for event in written] == list(range(len(written)))
    assert all("child" not in name for event in written for name in [*event.metrics, *event.params])
    assert info(tmp_path / "r")["status"] == "finished"


# --- Going on


@pytest.mark.slow
def test_epochs_without_batches_have_steps_of_their_own_also_after_a_resume(tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path, delivery="off", system=None) as run:
        for epoch in run.epochs(2):
            run.log(score=epoch)
    with trackhooks.run(resume=run.path, delivery="off", system=None) as again:
        for epoch in again.epochs(2):
            again.log(score=epoch)
    ends = events(run, "on_fit_epoch_end")
    assert [event.step for event in ends] == [event.epoch for event in ends] == [0, 1, 2, 3]
    assert trackhooks.history(run.path, "score").to_pandas()["score"].tolist() == [0, 1, 2, 3]


def test_a_run_that_is_resumed_continues_where_it_was(tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path, name="r", project="p", tags=["a"], notes="n", delivery="off") as run:
        run.log(a=1.0)
        run.log(a=2.0)
    with trackhooks.run(resume=run.path, tags=["b"], delivery="off") as again:
        assert run_folder.read_info(run.path).status == "running"
        again.log(a=3.0)
    assert (again.id, again.name, again.path) == (run.id, run.name, run.path)
    known = info(run)
    assert (known["project"], known["tags"], known["notes"], known["status"]) == (
        "p",
        ["a", "b"],
        "n",
        "finished",
    )
    assert [(event.index, event.step) for event in events(run) if event.metrics] == [(0, 0), (1, 1), (4, 2)]
    assert [event.status for event in events(run) if event.status] == ["finished", "running", "finished"]


def test_values_logged_at_an_explicit_step_do_not_move_the_training(tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        for _ in run.epochs(1):
            for _ in run.train(range(3)):
                run.log(loss=2.0)
        run.log(a=1.0, step=5000, epoch=70)
        for _ in run.validate(range(1)):
            run.log(loss=1.0)
    with trackhooks.run(resume=run.path, delivery="off") as again:
        assert (again.step, again.epoch) == (2, 0)
        for _ in again.epochs(1):
            for _ in again.train(range(1)):
                again.log(loss=3.0)
        for _ in again.validate(range(1)):
            again.log(loss=1.0)
    assert [event.step for event in events(run, "on_train_batch_end")] == [0, 1, 2, 3]
    assert [event.epoch for event in events(run, "on_fit_epoch_end")] == [0, 1]
    assert [event.step for event in events(run, "on_val_end")] == [2, 3]
    assert events(run, "on_train_end")[-1].metrics["best/train/loss"] == 2.0


def test_a_run_continues_after_its_end_with_the_status_that_it_then_has(tmp_path: Path) -> None:
    run = trackhooks.run(dir=tmp_path, delivery="off")
    for _ in run.epochs(1):
        pass
    recorder_of(run).settle("finished")
    assert info(run)["status"] == "finished"
    for _ in run.validate(range(1)):
        run.log(loss=1.0)
    assert run.status == "finished"
    for _ in run.epochs(1):
        assert run_folder.read_info(run.path).status == "running"
    run.close("failed", "later")
    assert (info(run)["status"], info(run)["reason"]) == ("failed", "later")
    assert [event.status for event in events(run) if event.status] == ["finished", "running", "failed"]


def test_warnings_name_the_line_of_the_users_own_code(run: Run) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.log(a="x")
        run.callbacks.on_train_batch_end(0, {"b": "x"})
        for _ in run.train(range(1)):
            run.log(c="x")
    assert [Path(warning.filename).name for warning in caught] == ["test_recording.py"] * 3


def test_files_are_noted_even_if_they_are_gone_a_moment_later(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    noted = media.file(path, "file")
    path.unlink()
    assert noted.size == 1
