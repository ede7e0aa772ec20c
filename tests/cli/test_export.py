"""`trackhooks export` and `History.write`: all points of runs in a file."""

from __future__ import annotations

import csv
import json
import math
import shutil
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import polars
import pyarrow.ipc
import pyarrow.parquet
import pytest
from click.testing import CliRunner, Result

import trackhooks
from trackhooks.cli.main import main

SUFFIXES = ("parquet", "arrow", "csv", "jsonl")
pytestmark = pytest.mark.usefixtures("here")
ODD = (0.1, math.nan, math.inf, -math.inf, 1e-310)


def train(name: str, **params: Any) -> Path:
    """Record a run with two epochs of three batches."""
    with trackhooks.run(name=name, params=params) as run:
        for epoch in run.epochs(2):
            for batch in run.train(range(3)):
                run.log(loss=10 * epoch + batch)
            for _ in run.validate(range(2)):
                run.log(loss=epoch)
    return run.path


def log(name: str, *values: float) -> Path:
    with trackhooks.run(name=name) as run:
        for value in values:
            run.log(x=value)
    return run.path


def export(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)], prog_name="trackhooks")


def good(*arguments: str | Path) -> Result:
    result = export(*arguments)
    assert result.exit_code == 0, result.output
    return result


def error(*arguments: str | Path, code: int = 1) -> str:
    result = export(*arguments)
    assert result.exit_code == code, result.output
    return result.stderr.splitlines()[-1]


def read(path: str) -> polars.DataFrame:
    """Read a file with polars."""
    readers: dict[str, Callable[[str], polars.DataFrame]] = {
        "parquet": polars.read_parquet,
        "arrow": polars.read_ipc,
        "csv": polars.read_csv,
        "jsonl": polars.read_ndjson,
    }
    return readers[path.rsplit(".", 1)[1]](path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_has_the_columns_of_the_history(suffix: str) -> None:
    train("a", lr=0.1)
    train("b", lr=0.01)
    good("runs", "-o", f"all.{suffix}", "--metrics", "train_batch/loss,val/loss", "--params", "lr")
    found = read(f"all.{suffix}")
    assert found.columns == ["run", "step", "epoch", "time", "train_batch/loss", "val/loss", "param/lr"]
    assert found["run"].to_list() == ["b"] * 6 + ["a"] * 6
    assert found["train_batch/loss"].to_list() == [0, 1, 2, 10, 11, 12] * 2
    assert found["val/loss"].to_list() == [None, None, 0, None, None, 1] * 2
    assert found["param/lr"].to_list() == [0.01] * 6 + [0.1] * 6


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_command_line_and_python_write_the_same_file(suffix: str) -> None:
    train("a", lr=0.1, layers=3)
    train("b", net="wide")
    for form in ("wide", "long"):
        good("-o", f"{form}-cli.{suffix}", "--form", form, "--params", "*")
        trackhooks.history("runs", form=form, params="*").write(f"{form}-python.{suffix}")
        assert read(f"{form}-cli.{suffix}").equals(read(f"{form}-python.{suffix}"))
        assert len(read(f"{form}-cli.{suffix}"))


def test_parquet_has_exact_values_time_stamps_and_one_row_group_per_run() -> None:
    log("a", *ODD)
    log("b", *ODD)
    good("runs", "-o", "all.parquet", "--form", "long")
    assert pyarrow.parquet.ParquetFile("all.parquet").num_row_groups == 2
    frame = pandas.read_parquet("all.parquet")
    assert frame["value"].map(repr).tolist() == [repr(value) for value in ODD] * 2
    assert str(frame["time"].dtype) == "datetime64[us, UTC]"
    assert str(frame["step"].dtype) == "int64"


def test_arrow_is_read_by_pyarrow() -> None:
    log("a", 1.0, 2.0)
    good("a", "-o", "a.arrow")
    with pyarrow.ipc.open_file("a.arrow") as file:
        assert file.read_all().column("x").to_pylist() == [1.0, 2.0]


def test_csv_has_full_precision_and_empty_cells() -> None:
    train("a")
    log("odd", *ODD)
    good("a", "odd", "-o", "all.csv", "--metrics", "x,val/loss")
    with open("all.csv", newline="", encoding="utf-8") as file:  # noqa: PTH123 — as users do
        rows = list(csv.DictReader(file))
    assert [row["x"] for row in rows] == ["", "", *map(repr, ODD)]
    assert [row["val/loss"] for row in rows][:3] == ["0.0", "1.0", ""]
    assert float(rows[0]["time"]) == trackhooks.history("a", "val/loss")["time"][0]


def test_json_lines_have_strings_for_nan_and_infinities() -> None:
    log("a", *ODD)
    good("a", "-o", "a.jsonl")
    rows = [json.loads(line) for line in Path("a.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["x"] for row in rows] == [0.1, "NaN", "Infinity", "-Infinity", 1e-310]
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4]


def test_text_goes_to_standard_output() -> None:
    train("a")
    assert good("a", "-o", "-", "--metrics", "val/loss").stdout.splitlines()[0] == "step,epoch,time,val/loss"
    lines = good("a", "-o", "-", "--metrics", "val/loss", "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["val/loss"] for line in lines] == [0, 1]
    assert "--format is for -o -" in error("a", "-o", "a.csv", "--format", "jsonl", code=2)


@pytest.mark.slow
def test_a_reader_that_stops_early_is_no_error() -> None:
    log("a", *range(20_000))
    program = [sys.executable, "-c", "from trackhooks.cli.main import main; main()", "export", "a", "-o", "-"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "step,epoch,time,x\n"
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_many_runs_need_no_more_memory_than_a_few(suffix: str) -> None:
    first = log("0", *range(3000))
    good("0", "-o", "0.csv")  # stores the summary and the columns, which are copied too
    for number in range(1, 20):
        shutil.copytree(first, f"runs/{number}")

    def peak(*runs: str) -> int:
        tracemalloc.start()
        good(*runs, "-o", f"all.{suffix}", "--force", "--form", "long")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak("0")  # what is imported is not part of it
    few, many = peak(*map(str, range(2))), peak(*map(str, range(20)))
    assert many < 1.5 * few
    assert len(read(f"all.{suffix}")) == 60_000


def test_it_says_what_was_written() -> None:
    train("a")
    assert good("a", "-o", "a.csv").stderr == "a.csv: 1 run, 6 rows, 9 columns\n"


def test_all_runs_are_exported_if_none_is_named() -> None:
    log("a", 1)
    log("b", 2)
    good("-o", "all.csv", "--where", "name:a")
    assert read("all.csv")["run"].to_list() == ["a"]


def test_over_epochs() -> None:
    train("a")
    good("a", "-o", "a.csv", "--over", "epoch")
    assert read("a.csv")["epoch"].to_list() == [0, 1]


def test_an_existing_file_is_replaced_only_on_request() -> None:
    log("a", 1)
    Path("a.csv").write_text("mine", encoding="utf-8")
    assert error("a", "-o", "a.csv") == (
        "Error: a.csv exists. Choose another file, or overwrite it with overwrite=True (--force)."
    )
    with pytest.raises(trackhooks.InvalidValueError, match=r"a\.csv exists"):
        trackhooks.history("a").write("a.csv")
    assert Path("a.csv").read_text(encoding="utf-8") == "mine"
    good("a", "-o", "a.csv", "--force")
    assert read("a.csv")["x"].to_list() == [1]
    trackhooks.history("a").write("a.csv", overwrite=True)


def test_nothing_is_left_of_a_file_that_could_not_be_written() -> None:
    path = log("a", 1)
    (path / "journal").unlink()
    Path("a.csv").write_text("mine", encoding="utf-8")
    assert "There is no journal" in error("a", "-o", "a.csv", "--force")
    assert sorted(file.name for file in Path().iterdir()) == ["a.csv", "runs"]
    assert Path("a.csv").read_text(encoding="utf-8") == "mine"


def test_a_run_that_cannot_be_read_is_left_out_with_a_warning() -> None:
    log("good", 1)
    (log("bad", 1) / "journal").unlink()
    result = good("-o", "all.csv")
    assert "Warning: run left out: There is no journal" in result.stderr
    assert read("all.csv")["run"].to_list() == ["good"]


def test_if_no_run_can_be_read_there_is_no_file() -> None:
    for name in ("a", "b"):
        (log(name, 1) / "journal").unlink()
    assert "There is no journal" in error("-o", "all.csv")
    assert not Path("all.csv").exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_run_without_metrics_is_a_file_without_rows(suffix: str) -> None:
    log("a")
    good("a", "-o", f"a.{suffix}")
    assert Path(f"a.{suffix}").exists()
    if suffix != "jsonl":  # which has no header
        assert read(f"a.{suffix}").columns == ["step", "epoch", "time"]


def test_measurements_of_the_machine_are_exported_on_request() -> None:
    from trackhooks.event import Event
    from trackhooks.storage import journal

    path = log("a", 1)
    writer = journal.Writer(path, journal.SYSTEM)
    writer.append(Event("log", 0, 100.0, 0, metrics={"system/cpu": 0.5}))
    writer.close()
    good("a", "-o", "a.csv", "--metrics", "x,system/*", "--form", "long")
    assert read("a.csv")["metric"].to_list() == ["x", "system/cpu"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a", "-o", "a.xlsx"), "the file must end in one of .parquet, .arrow, .csv, .jsonl, got 'a.xlsx'."),
        (("a", "-o", "a.cvs"), "got 'a.cvs'. Did you mean 'a.csv'?"),
        (("a", "-o", "a"), "the file must end in one of"),
        (("a", "-o", "there/a.csv"), "there is no directory there. Create it first."),
        (("a", "-o", "runs"), "the file must end in one of"),
        (("a", "-o", "folder.csv"), "folder.csv is a directory. Name a file in it."),
        (("a", "-o", "a.csv", "--metrics", "y"), "unknown metric 'y'. Known: x."),
        (("a", "-o", "a.csv", "--params", "y"), "unknown parameter 'y'. Known: none."),
        (("a", "-o", "a.csv", "--where", "name:b"), "no run matches the filter 'name:b'."),
        (("c", "-o", "a.csv"), "unknown run 'c'."),
        (("a", "-o", ""), "the file must end in one of"),
    ],
)
def test_mistakes_are_errors_in_one_line(arguments: tuple[str, ...], message: str) -> None:
    log("a", 1)
    Path("folder.csv").mkdir()
    assert message in error(*arguments)
    assert not Path("a.csv").exists()


def test_options_with_unknown_values_are_errors() -> None:
    log("a", 1)
    assert "'tall' is not one of 'wide', 'long'" in error("a", "-o", "a.csv", "--form", "tall", code=2)
    assert "Missing option '-o'" in error("a", code=2)


def test_there_must_be_runs() -> None:
    assert error("-o", "a.csv") == "Error: No runs found in runs."


@pytest.mark.parametrize("path", [5, None, "\0.csv"])
def test_write_checks_the_path(path: Any) -> None:
    log("a", 1)
    with pytest.raises(trackhooks.InvalidValueError, match="the file must be a path, got"):
        trackhooks.history("a").write(path)
