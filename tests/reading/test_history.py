"""`history`: all points of runs, as columns."""

from __future__ import annotations

import math
import random
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trackhooks
from trackhooks.event import Event
from trackhooks.reading.points import points
from trackhooks.storage import journal
from trackhooks.storage.run_folder import read_info

NAN = math.nan


def train(name: str, epochs: int = 2, *, offset: float = 0.0, **params: Any) -> Path:
    """Record a run with three batches an epoch."""
    with trackhooks.run(name=name, params=params) as run:
        for epoch in run.epochs(epochs):
            for batch in run.train(range(3)):
                run.log(loss=offset + 10 * epoch + batch)
            for _ in run.validate(range(2)):
                run.log(loss=offset + epoch)
    return run.path


def log(name: str, *records: dict[str, Any]) -> Path:
    """Record a run without a loop, with one step for each dict of metrics."""
    with trackhooks.run(name=name) as run:
        for metrics in records:
            run.log(metrics)
    return run.path


def write_system(run: Path, *values: float) -> None:
    """Write measurements of the machine, as the delivery process does."""
    writer = journal.Writer(run, journal.SYSTEM)
    for number, value in enumerate(values):
        writer.append(Event("log", number, 100.0 + number, number, metrics={"system/cpu": value}))
    writer.close()


def equal(found: Any, expected: list[float]) -> None:
    np.testing.assert_array_equal(found, expected, strict=False)


# The wide form


@pytest.mark.slow
def test_a_run_becomes_one_row_per_step_with_all_its_values() -> None:
    train("a")
    found = trackhooks.history("runs/a", "*/loss")
    assert found.names == ["train_batch/loss", "train/loss", "val/loss", "best/val/loss"]
    equal(found["step"], [0, 1, 2, 3, 4, 5])
    equal(found["epoch"], [0, 0, 0, 1, 1, 1])
    equal(found["train_batch/loss"], [0, 1, 2, 10, 11, 12])
    equal(found["val/loss"], [NAN, NAN, 0, NAN, NAN, 1])
    assert found["val/loss"].dtype == found["time"].dtype == np.float64
    assert found["step"].dtype == found["epoch"].dtype == np.int64


def test_over_epochs_there_is_one_row_per_epoch_with_the_last_values() -> None:
    train("a")
    found = trackhooks.history("runs/a", "train_batch/loss,val/loss", over="epoch")
    equal(found["epoch"], [0, 1])
    equal(found["step"], [2, 5])
    equal(found["train_batch/loss"], [2, 12])
    equal(found["val/loss"], [0, 1])


def test_over_the_time_there_is_one_row_per_record() -> None:
    train("a")
    found = trackhooks.history("runs/a", "train_batch/loss,val/loss", over="time")
    assert found.rows == 8
    assert (np.diff(found["time"]) > 0).all()
    equal(found["val/loss"], [NAN, NAN, NAN, 0, NAN, NAN, NAN, 1])


def test_what_is_logged_outside_of_epochs_has_the_epoch_minus_one() -> None:
    log("a", {"loss": 1}, {"loss": 2})
    found = trackhooks.history("a")
    equal(found["epoch"], [-1, -1])
    equal(found["loss"], [1, 2])
    equal(trackhooks.history("a", over="epoch")["loss"], [2])


def test_the_hooks_that_repeat_the_metrics_of_an_epoch_are_one_point() -> None:
    path = train("a", epochs=3)
    equal(points(path)["val/loss"].value, [0, 1, 2])
    equal(points(path)["val/loss"].epoch, [0, 1, 2])


def test_several_validations_of_an_epoch_are_all_points() -> None:
    with trackhooks.run(name="a") as run:
        for _ in run.epochs(1):
            for batch in run.train(range(4)):
                run.log(loss=batch)
                if batch % 2:
                    for _ in run.validate(range(1)):
                        run.log(loss=10 + batch)
    equal(trackhooks.history("a", "val/loss")["val/loss"], [11, 13])
    equal(trackhooks.history("a", "val/loss")["step"], [1, 3])
    equal(trackhooks.history("a", "val/loss", over="epoch")["val/loss"], [13])


def test_of_an_epoch_that_was_trained_again_the_last_values_are_in_the_wide_form_and_all_in_the_long_one() -> (
    None
):
    path = train("a")
    with trackhooks.run(resume=path) as run:
        run.step = 2
        for _ in run.epochs(2, start=1):
            for batch in run.train(range(3)):
                run.log(loss=20 + batch)
    again = trackhooks.history(path, "train_batch/loss")
    equal(again["step"], [0, 1, 2, 3, 4, 5])
    equal(again["train_batch/loss"], [0, 1, 2, 20, 21, 22])
    exact = trackhooks.history(path, "train_batch/loss", form="long")
    equal(exact["step"], [0, 1, 2, 3, 4, 5, 3, 4, 5])
    equal(exact["value"], [0, 1, 2, 10, 11, 12, 20, 21, 22])


def test_metrics_that_are_named_like_other_columns_have_a_prefix() -> None:
    log("a", {"step": 5, "time": 6, "run": 7, "param/lr": 8, "value": 9})
    found = trackhooks.history("a")
    assert list(found) == [
        "step",
        "epoch",
        "time",
        "metric/step",
        "metric/time",
        "metric/run",
        "metric/param/lr",
        "value",
    ]
    equal(found["metric/step"], [5])
    equal(found["step"], [0])
    assert list(trackhooks.history("a", form="long")["metric"]) == [
        "step",
        "time",
        "run",
        "param/lr",
        "value",
    ]


def test_records_with_changing_sets_of_metrics_keep_their_order() -> None:
    log("a", {"x": 1}, {"x": 2, "y": 3}, {"x": 4}, {"y": 5, "x": 6})
    found = points(Path("runs/a"))
    equal(found["x"].value, [1, 2, 4, 6])
    equal(found["x"].step, [0, 1, 2, 3])
    equal(found["y"].value, [3, 5])
    equal(points(Path("runs/a"), {"y"}.__contains__)["y"].step, [1, 3])


def test_metrics_that_are_recorded_together_share_the_arrays_of_their_positions() -> None:
    log("a", {"x": 1, "y": 1}, {"x": 2, "y": 2, "z": 2}, {"x": 3, "y": 3})
    found = points(Path("runs/a"))
    assert found["x"].step is found["y"].step
    assert found["x"].step is not found["z"].step


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("over", ["step", "epoch", "time"])
def test_the_wide_form_is_what_the_records_say(seed: int, over: str) -> None:
    chance = random.Random(seed)
    path = log("a")
    writer = journal.Writer(path)
    records = []
    for number in range(300):
        place = {
            "step": chance.randrange(40),
            "epoch": chance.randrange(-1, 5),
            "time": number // chance.choice((1, 2)),
        }
        metrics = {name: chance.choice((1.0, NAN, number)) for name in "abcd" if chance.random() < 0.6}
        event = Event("on_train_batch_end", number, batch=0, metrics=metrics, **place)  # type: ignore[arg-type]
        writer.append(event)
        records.append(event)
    writer.close()
    expected: dict[float, dict[str, float]] = {}
    for event in records:
        if event.metrics:
            expected.setdefault(getattr(event, over), {}).update(event.metrics)
    found = trackhooks.history(path, over=over)  # type: ignore[arg-type]
    equal(found[over], sorted(expected))
    for name in "abcd":
        column = found.to_dict()[name]
        for key, value in zip(sorted(expected), column, strict=True):
            given = expected[key].get(name)
            assert value == given or (value != value and given != given), (key, name)


# The long form


def test_the_long_form_keeps_every_value_exactly() -> None:
    odd = [0.1, NAN, math.inf, -math.inf, 1e-310, -0.0, 2**53 + 1]
    path = log("a", *({"x": value} for value in odd))
    found = trackhooks.history("a", form="long")
    assert list(found) == ["run", "metric", "step", "epoch", "time", "value"]
    equal(found["value"], odd)
    assert math.copysign(1, found["value"][5]) == -1
    equal(found["time"], [event.time for event in journal.read(path) if event.metrics])


# Several runs


def test_several_runs_have_a_column_with_their_names() -> None:
    train("a")
    train("b", offset=0.5)
    found = trackhooks.history(["a", "b"], "val/loss")
    assert list(found["run"]) == ["a", "a", "b", "b"]
    equal(found["val/loss"], [0, 1, 0.5, 1.5])
    assert list(trackhooks.runs().history("val/loss")["run"]) == ["b", "b", "a", "a"]
    assert list(trackhooks.compare(["a", "b"]).history("val/loss")["run"]) == ["a", "a", "b", "b"]


def test_only_one_run_that_is_named_by_itself_has_no_column_with_its_name() -> None:
    path = train("a")
    for alone in ("a", "runs/a", path, trackhooks.runs()[0]):
        assert list(trackhooks.history(alone, "val/loss")) == ["step", "epoch", "time", "val/loss"]
    for several in (["a"], "runs", trackhooks.runs(), iter([path])):
        assert "run" in trackhooks.history(several, "val/loss")


def test_runs_with_the_same_name_are_labeled_by_their_folders() -> None:
    for parent in ("one", "two"):
        with trackhooks.run(name="same", dir=parent) as run:
            run.log(x=1)
    assert list(trackhooks.history(["one/same", "two/same"])["run"]) == ["one/same", "two/same"]


def test_a_metric_that_a_run_does_not_have_is_missing_in_its_rows() -> None:
    log("a", {"x": 1})
    log("b", {"y": NAN})
    found = trackhooks.history(["a", "b"])
    assert found.to_dict()["x"] == [1, None]
    assert found.to_dict()["y"][0] is None
    assert math.isnan(found.to_dict()["y"][1])
    equal(found["x"], [1, NAN])


def test_the_runs_can_be_filtered() -> None:
    train("a", lr=0.1)
    train("b", lr=0.01)
    assert set(trackhooks.history("runs", where="params.lr < 0.1")["run"]) == {"b"}
    with pytest.raises(trackhooks.InvalidValueError, match=r"no run matches the filter 'params\.lr > 1'"):
        trackhooks.history("runs", where="params.lr > 1")


def test_parameters_become_columns() -> None:
    train("a", lr=0.1, layers=3, net="wide", amp=True, seed=1)
    train("b", lr=1, layers=4, net=None, amp=False)
    found = trackhooks.history(["a", "b"], "val/loss", params="*")
    equal(found["param/lr"], [0.1, 0.1, 1, 1])
    equal(found["param/seed"], [1, 1, NAN, NAN])
    assert found["param/layers"].dtype == np.int64
    assert found["param/amp"].dtype == np.bool_
    assert list(found["param/net"]) == ["wide", "wide", None, None]
    assert list(trackhooks.history("a", "val/loss", params="l*"))[-2:] == ["param/lr", "param/layers"]
    with pytest.raises(
        trackhooks.UnknownNameError, match=r"unknown parameter 'layer'\. Did you mean 'layers'"
    ):
        trackhooks.history("a", params="layer")


# Running and damaged runs


def test_a_run_can_be_read_while_it_is_running_and_before_it_has_a_metric() -> None:
    with trackhooks.run(name="a") as run:
        before = trackhooks.history(run)
        assert (before.rows, list(before), before.names) == (0, ["step", "epoch", "time"], [])
        assert "0 rows" in str(before)
        run.log(x=1)
        equal(trackhooks.history(run)["x"], [1])


def test_a_validation_of_an_epoch_that_has_not_ended_is_there() -> None:
    with trackhooks.run(name="a") as run:
        for _ in run.epochs(1):
            for batch in run.train(range(2)):
                run.log(loss=batch)
            for _ in run.validate(range(1)):
                run.log(loss=7)
            equal(trackhooks.history(run, "val/loss")["val/loss"], [7])


def test_damage_in_a_journal_is_reported_and_the_rest_is_there() -> None:
    path = log("a", *({"x": value} for value in range(100)))
    content = bytearray((path / "journal").read_bytes())
    content[len(content) // 2] ^= 0xFF
    (path / "journal").write_bytes(content)
    with pytest.warns(trackhooks.TrackhooksWarning, match="is damaged: .* cannot be read"):
        found = trackhooks.history("a")
    assert found.rows == 99


def test_a_run_without_a_journal_is_an_error_and_of_several_it_is_left_out() -> None:
    log("good", {"x": 1})
    path = log("bad", {"x": 1})
    (path / "journal").unlink()
    with pytest.raises(trackhooks.JournalError, match="There is no journal"):
        trackhooks.history("bad")
    with pytest.warns(trackhooks.TrackhooksWarning, match="run left out: There is no journal"):
        found = trackhooks.history(["good", "bad"])
    assert list(found["run"]) == ["good"]


def test_if_no_run_can_be_read_that_is_an_error() -> None:
    for name in ("a", "b"):
        (log(name, {"x": 1}) / "journal").unlink()
    with (
        pytest.warns(trackhooks.TrackhooksWarning, match="run left out"),
        pytest.raises(trackhooks.JournalError),
    ):
        trackhooks.history("runs")


# The machine


def test_measurements_of_the_machine_are_read_if_a_pattern_asks_for_them() -> None:
    path = log("a", {"x": 1})
    write_system(path, 0.5, 0.25)
    assert trackhooks.history("a").names == ["x"]
    equal(trackhooks.history("a", "system/*", over="time")["system/cpu"], [0.5, 0.25])
    assert trackhooks.history("a", "x,system/*", form="long").names == ["x", "system/cpu"]
    with pytest.raises(trackhooks.UnknownNameError, match=r"Did you mean 'system/cpu'"):
        trackhooks.history("a", "system/cpus")


# Conversions


def test_pandas_has_nan_and_time_stamps() -> None:
    path = log("a", {"x": 1, "y": 2}, {"x": 3})
    frame = trackhooks.history("a").to_pandas()
    assert list(frame.columns) == ["step", "epoch", "time", "x", "y"]
    equal(frame["y"], [2, NAN])
    first = next(event.time for event in journal.read(path) if event.metrics)
    assert abs(frame["time"][0].timestamp() - first) < 1e-5
    assert str(frame["time"].dt.tz) == "UTC"


@pytest.mark.slow
def test_polars_and_arrow_have_null_for_what_is_missing_and_nan_for_nan() -> None:
    log("a", {"x": 1, "y": NAN}, {"x": math.inf})
    found = trackhooks.history("runs", params=None)
    for rows in (found.to_polars().to_dicts(), found.to_arrow().to_pylist()):
        assert [row["run"] for row in rows] == ["a", "a"]
        assert math.isnan(rows[0]["y"])
        assert rows[1]["y"] is None
        assert [row["x"] for row in rows] == [1, math.inf]
        assert isinstance(rows[0]["time"], datetime)
        assert rows[0]["time"].utcoffset() == timezone.utc.utcoffset(None)


def test_all_conversions_hold_the_types_of_parameters() -> None:
    log("a", {"x": 1})
    train("b", lr=0.1, layers=2, net="b", amp=True)
    found = trackhooks.history("runs", "x,val/loss", params="*")
    expected = {"param/lr": [0.1, 0.1, None], "param/layers": [2, 2, None], "param/net": ["b", "b", None]}
    for columns in (
        found.to_dict(),
        found.to_polars().to_dict(as_series=False),
        found.to_arrow().to_pydict(),
    ):
        assert {name: columns[name] for name in expected} == expected
        assert columns["param/amp"] == ["True", "True", None]
    assert len(found.to_pandas()) == 3


@pytest.mark.parametrize(
    ("package", "call"),
    [
        ("numpy", lambda: trackhooks.history("a")),
        ("pandas", lambda: trackhooks.history("a").to_pandas()),
        ("polars", lambda: trackhooks.history("a").to_polars()),
        ("pyarrow", lambda: trackhooks.history("a").to_arrow()),
        ("pyarrow", lambda: trackhooks.history("a").write("a.parquet")),
    ],
)
def test_a_missing_package_is_an_error_with_the_command_that_installs_it(
    package: str, call: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    log("a", {"x": 1})
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    with pytest.raises(trackhooks.MissingPackageError, match=f"{package} is not installed. Run: pip install"):
        call()
    assert not Path("a.parquet").exists()


# Display


def test_it_prints_the_first_and_the_last_rows() -> None:
    log("a", *({"x": value} for value in range(1000)))
    lines = str(trackhooks.history("a")).splitlines()
    assert lines[0].split() == ["step", "epoch", "time", "x"]
    assert [line.split()[0] for line in lines[1:12]] == [
        "0",
        "1",
        "2",
        "3",
        "4",
        "…",
        "995",
        "996",
        "997",
        "998",
        "999",
    ]
    assert lines[-1] == "1,000 rows, 4 columns"
    assert "<table>" in trackhooks.history("a")._repr_html_()


def test_columns_that_do_not_fit_are_named() -> None:
    log("a", {f"metric_{number}": number for number in range(20)})
    found = trackhooks.history("a")
    assert "Not shown: metric_9, metric_10, metric_11, metric_12, metric_13, …" in str(found)
    assert len(found.table(width=40).header) < len(found.table(width=80).header)


def test_it_is_a_mapping_of_columns() -> None:
    log("a", {"x": 1})
    found = trackhooks.history("a")
    assert len(found) == len(list(found)) == 4
    assert "x" in found
    assert "y" not in found
    assert found.get("y") is None
    assert found == found
    assert found != trackhooks.history("a")
    with pytest.raises(KeyError, match=r"unknown column 'stepp'. Did you mean 'step'"):
        found["stepp"]


# Bad input


def test_an_unknown_metric_is_an_error_with_the_nearest_name() -> None:
    train("a")
    with pytest.raises(
        trackhooks.UnknownNameError, match=r"unknown metric 'val/los'\. Did you mean 'val/loss'"
    ):
        trackhooks.history("runs/a", "val/los")
    with pytest.raises(trackhooks.UnknownNameError, match=r"unknown metric 'test/\*'"):
        trackhooks.history("runs/a", "val/*,test/*")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs": "b"}, "unknown run 'b'"),
        ({"runs": 5}, "runs must be iterable, got 5"),
        ({"runs": [5]}, "a run must be given by its folder, its name or a run object, got 5"),
        ({"runs": []}, "there are no runs to read"),
        ({"metrics": ["val/*"]}, "metrics must be a non-empty string, got a list of 1 item"),
        ({"metrics": ""}, "metrics must be a non-empty string"),
        ({"params": 3}, "params must be a non-empty string, got 3"),
        ({"form": "tall"}, "form must be one of wide, long, got 'tall'"),
        ({"over": "epochs"}, "over must be one of step, epoch, time, got 'epochs'"),
        ({"over": ["step"]}, "over must be one of step, epoch, time, got a list of 1 item"),
    ],
)
def test_bad_arguments_are_errors_with_the_value_and_the_accepted_ones(arguments: Any, message: str) -> None:
    log("a", {"x": 1})
    with pytest.raises(trackhooks.TrackhooksError, match=message):
        trackhooks.history(**{"runs": "a"} | arguments)


def test_reading_changes_nothing_in_the_folder_of_a_small_run() -> None:
    path = log("a", {"x": 1})
    before = {file.name for file in path.iterdir()}
    trackhooks.history("a")
    assert {file.name for file in path.iterdir()} == before
    assert read_info(path).status == "finished"
