"""Reading runs back: what a run amounts to, lists of runs, and comparisons, from their folders alone."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trackhooks
from trackhooks.event import Event
from trackhooks.reading.summary import RunSummary, summarize
from trackhooks.reading.table import as_text
from trackhooks.storage import journal
from trackhooks.storage.run_folder import read_info, write_info

DEADLINE_S = 120


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has a working directory of its own, and with it its own `runs`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACKHOOKS_DELIVERY", "off")
    monkeypatch.delenv("TRACKHOOKS_DIR", raising=False)
    return tmp_path


def train(name: str, *, lr: float = 0.1, losses: tuple[float, ...] = (0.5, 0.2, 0.3), **more: Any) -> Path:
    """A run of a loop with an epoch for each loss."""
    with trackhooks.run(name=name, params={"lr": lr, "epochs": len(losses)}, **more) as run:
        for epoch in run.epochs(len(losses)):
            for _ in run.train(range(4)):
                run.log(loss=losses[epoch] + 1)
            for _ in run.validate(range(2)):
                run.log(loss=losses[epoch], accuracy=1 - losses[epoch])
    return run.path


def log(name: str, **values: Any) -> Path:
    """A run without a loop: each metric logged value by value."""
    with trackhooks.run(name=name) as run:
        for step in range(max(map(len, values.values()), default=0)):
            run.log({metric: given[step] for metric, given in values.items() if step < len(given)})
    return run.path


@contextlib.contextmanager
def running(here: Path, *, delivery: str = "off") -> Iterator[subprocess.Popen[str]]:
    """A process with the run `alive`, which has logged three losses and goes on until it is killed."""
    source = f"""
        import time, trackhooks
        run = trackhooks.run("csv", name="alive", delivery={delivery!r}, params={{"lr": 0.1}})
        for loss in (3, 2, 1):
            run.log(loss=loss)
        print("ready", flush=True)
        time.sleep({DEADLINE_S})
    """
    command = [sys.executable, "-c", textwrap.dedent(source)]
    with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def only(runs: list[RunSummary]) -> RunSummary:
    (run,) = runs
    return run


# What a run amounts to


def test_the_last_and_the_best_value_of_a_metric_and_where_they_were_logged() -> None:
    train("a")
    loss = only(trackhooks.runs()).metrics["val/loss"]
    assert (loss.last, loss.step, loss.epoch) == (0.3, 11, 2)
    assert (loss.best, loss.best_step, loss.best_epoch) == (0.2, 7, 1)
    assert (loss.goal, loss.axis) == ("min", "epoch")


def test_the_best_accuracy_is_the_greatest() -> None:
    train("a")
    accuracy = only(trackhooks.runs()).metrics["val/accuracy"]
    assert (accuracy.best, accuracy.best_epoch, accuracy.goal) == (0.8, 1, "max")


@pytest.mark.parametrize("name", ["lr/0", "speed/train_s", "system/gpu", "best/val/loss", "batch/loss"])
def test_what_has_no_goal_has_no_best_value(name: str) -> None:
    metric = summarize(log("a", **{name: [3.0, 1.0, 2.0]})).metrics[name]
    assert (metric.last, metric.best, metric.goal) == (2.0, None, "")


def test_of_equally_good_values_the_first_is_the_best() -> None:
    metric = summarize(log("a", loss=[2.0, 1.0, 1.0])).metrics["loss"]
    assert (metric.best, metric.best_step) == (1.0, 1)


def test_nan_is_the_last_value_and_never_the_best() -> None:
    metric = summarize(log("a", loss=[2.0, math.nan])).metrics["loss"]
    assert math.isnan(metric.last)
    assert metric.best == 2.0


def test_a_metric_that_was_only_nan_has_no_best_value() -> None:
    assert summarize(log("a", loss=[math.nan])).metrics["loss"].best is None


def test_infinity_counts_as_a_value() -> None:
    assert summarize(log("a", accuracy=[1.0, math.inf])).metrics["accuracy"].best == math.inf


def test_epochs_steps_parameters_and_duration() -> None:
    run = summarize(train("a", project="digits", tags=["try"], group="g"))
    assert (run.epochs, run.steps, run.length) == (3, 12, "3 epochs")
    assert run.params == {"lr": 0.1, "epochs": 3}
    assert (run.project, run.tags, run.group, run.status) == ("digits", ["try"], "g", "finished")
    assert run.duration == run.info.ended - run.created  # type: ignore[operator] # it has ended


def test_a_run_of_one_epoch_has_one_epoch() -> None:
    assert summarize(train("a", losses=(0.5,))).length == "1 epoch"


def test_files_are_listed_once_with_their_newest_version(here: Path) -> None:
    weights = here / "last.pt"
    with trackhooks.run(name="a") as run:
        for content in ("one", "three"):
            weights.write_text(content)
            run.log_model(weights, aliases=["last"])
    file = only(trackhooks.runs()).files[0]
    assert (file.name, file.size, file.aliases) == ("last.pt", 5, ("last",))


def test_a_run_without_any_record_is_a_run() -> None:
    with trackhooks.run(name="empty"):
        pass
    run = only(trackhooks.runs())
    assert (run.status, run.metrics, run.params, run.length) == ("finished", {}, {}, "")
    assert "empty" in str(trackhooks.compare(["empty"]))


def test_a_summary_says_which_run_it_is() -> None:
    assert repr(summarize(train("a"))).startswith("<run 'a', finished, 3 epochs, in '")


def test_an_epoch_is_not_counted_twice_when_a_run_is_resumed() -> None:
    path = train("a")
    with trackhooks.run(resume=path) as run:
        for _ in run.epochs(2):
            for _ in run.train(range(4)):
                run.log(loss=0.1)
    found = summarize(path)
    assert (found.epochs, found.steps, found.status) == (5, 20, "finished")


def test_memory_does_not_grow_with_the_steps(here: Path) -> None:
    path = log("a")

    def peak(steps: int) -> int:
        (path / "journal").unlink()
        writer = journal.Writer(path)
        for step in range(steps):
            writer.append(Event("on_train_batch_end", step, float(step), step, 0, step, {"batch/loss": 1.0}))
        writer.close()
        tracemalloc.start()
        assert summarize(path).steps == steps
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few = peak(20_000)
    assert peak(60_000) < 1.2 * few


# The status


def test_a_run_that_goes_on_is_running(here: Path) -> None:
    with running(here):
        run = only(trackhooks.runs())
        assert (run.status, run.steps) == ("running", 3)
        assert run.duration > 0


def test_a_run_whose_process_was_killed_is_shown_as_killed_and_nothing_is_written(here: Path) -> None:
    with running(here) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE_S)
    folder = here / "runs" / "alive"
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    run = only(trackhooks.runs())
    assert (run.status, run.info.reason) == ("killed", "the process ended without closing the run")
    assert run.info.ended is not None
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert read_info(folder).status == "running"


def test_a_run_of_another_machine_that_fell_silent_is_lost() -> None:
    path = log("a", loss=[1.0])
    rewrite_info(path, host="elsewhere", status="running", ended=None, created=time.time() - 10_000)
    rewrite_journal(path, time=time.time() - 9_000)
    assert summarize(path).status == "lost"


def test_a_run_of_another_machine_that_wrote_lately_is_running() -> None:
    path = log("a", loss=[1.0])
    rewrite_info(path, host="elsewhere", status="running", ended=None)
    rewrite_journal(path, time=time.time())
    assert summarize(path).status == "running"


def test_the_journal_knows_a_status_that_did_not_reach_run_json() -> None:
    path = train("a")
    rewrite_info(path, status="running", ended=None, pid=2**22 + 1)
    assert summarize(path).status == "finished"


def test_an_exception_makes_a_run_failed_with_its_reason() -> None:
    with pytest.raises(ZeroDivisionError), trackhooks.run(name="a"):
        raise ZeroDivisionError("no")
    run = only(trackhooks.runs())
    assert (run.status, run.info.reason) == ("failed", "ZeroDivisionError: no")


def rewrite_info(path: Path, **changes: Any) -> None:
    info = read_info(path)
    for name, value in changes.items():
        setattr(info, name, value)
    write_info(path, info)


def rewrite_journal(path: Path, **changes: Any) -> None:
    """The metrics of the journal, written anew: what gave the run its status is left out."""
    events = [event for event in journal.read(path) if not event.status]
    (path / "journal").unlink()
    writer = journal.Writer(path)
    for event in events:
        for name, value in changes.items():
            setattr(event, name, value)
        writer.append(event)
    writer.close()


# Journals that are damaged


def damage(path: Path) -> None:
    content = bytearray((path / "journal").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = b"\0" * 8
    (path / "journal").write_bytes(content)


def test_a_damaged_journal_is_read_as_far_as_it_goes_and_the_damage_is_told() -> None:
    path = log("a", loss=[float(value) for value in range(100)])
    damage(path)
    run = summarize(path)
    assert run.metrics["loss"].last == 99.0
    assert run.journal.missing == 1
    assert run.journal.damage == [
        f"damaged: {run.journal.skipped} bytes of the journal cannot be read",
        "missing: 1 record",
    ]
    assert "Damaged journals: a" in str(trackhooks.runs())


def test_a_run_without_its_journal_is_still_listed() -> None:
    path = log("a", loss=[1.0])
    (path / "journal").unlink()
    run = only(trackhooks.runs())
    assert (run.status, run.metrics) == ("finished", {})
    assert "no journal" in run.journal.error


def test_a_torn_end_is_no_damage() -> None:
    path = log("a", loss=[1.0, 2.0])
    with (path / "journal").open("ab") as file:
        file.write((path / "journal").read_bytes()[16:30])
    run = summarize(path)
    assert (run.journal.torn, run.journal.damage) == (14, [])


def test_a_run_json_that_cannot_be_read_costs_only_its_own_run() -> None:
    log("good", loss=[1.0])
    (log("bad", loss=[1.0]) / "run.json").write_text("{")
    with pytest.warns(trackhooks.TrackhooksWarning, match=r"run skipped: .*run\.json"):
        assert only(trackhooks.runs()).name == "good"


# Lists


def test_runs_come_newest_first_and_other_folders_are_passed_over(here: Path) -> None:
    names = ["first", "second", "third"]
    for name in names:
        log(name, loss=[1.0])
    (here / "runs" / "detect" / "train").mkdir(parents=True)
    (here / "runs" / "note.txt").write_text("mine")
    assert [run.name for run in trackhooks.runs()] == names[::-1]


def test_the_directory_is_that_of_the_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKHOOKS_DIR", "elsewhere")
    log("a", loss=[1.0])
    assert only(trackhooks.runs()).path.parent.name == "elsewhere"


def test_the_folder_of_a_run_stands_for_that_run() -> None:
    path = log("a", loss=[1.0])
    log("b", loss=[1.0])
    assert only(trackhooks.runs(path)).name == "a"


def test_no_runs_yet_is_an_empty_list_and_a_directory_that_is_missing_an_error() -> None:
    assert trackhooks.runs() == []
    assert str(trackhooks.runs()) == "no runs"
    with pytest.raises(trackhooks.TrackhooksError, match="no such directory: nope"):
        trackhooks.runs("nope")


def test_runs_of_one_project() -> None:
    train("a", project="digits")
    train("b", project="faces")
    assert only(trackhooks.runs(project="faces")).name == "b"


def test_a_moved_folder_is_the_same_run(here: Path) -> None:
    before = summarize(train("a"))
    shutil.move(before.path, here / "archive")
    after = summarize(here / "archive")
    assert (after.id, after.name, after.metrics) == (before.id, before.name, before.metrics)
    assert after.path == here / "archive"


def test_sorted_by_a_metric_the_best_come_first_and_those_without_it_last() -> None:
    train("good", losses=(0.1,))
    train("bad", losses=(0.9,))
    log("other", x=[1.0])
    log("broken", **{"val/loss": [math.nan]})
    names = [run.name for run in trackhooks.runs().sorted_by("val/loss")]
    assert names[:2] == ["good", "bad"]
    assert [run.name for run in trackhooks.runs().sorted_by("val/accuracy")][:2] == ["good", "bad"]


@pytest.mark.parametrize(
    ("key", "first"), [("lr", "slow"), ("name", "fast"), ("steps", "fast"), ("created", "slow")]
)
def test_sorted_by_a_parameter_or_a_field(key: str, first: str) -> None:
    train("fast", lr=0.5, losses=(0.1, 0.1))
    train("slow", lr=0.01, losses=(0.1,))
    assert trackhooks.runs().sorted_by(key)[0].name == first


def test_sorting_by_what_no_run_has_names_the_nearest() -> None:
    train("a")
    with pytest.raises(trackhooks.UnknownNameError, match="Did you mean 'val/loss'"):
        trackhooks.runs().sorted_by("val/los")


def test_a_list_in_80_columns_shows_what_fits_and_in_140_more() -> None:
    train("lr=0.1", project="digits")
    train("lr=0.2", lr=0.2, project="faces")
    narrow, wide = (as_text(trackhooks.runs().table(width), width) for width in (80, 140))
    for text, width in ((narrow, 80), (wide, 140)):
        assert max(map(len, text.splitlines())) <= width
        assert "val/loss ↓" in text
        assert "finished" in text
    assert "digits" in wide
    assert "digits" not in narrow


def test_a_list_shows_the_metric_that_it_is_sorted_by() -> None:
    train("a")
    assert "speed/" in as_text(trackhooks.runs().table(80, "speed/train_s"), 80)


def test_a_list_as_json_holds_what_json_has_no_number_for() -> None:
    log("a", loss=[math.nan], up=[math.inf], down=[-math.inf])
    metrics = json.loads(trackhooks.runs().to_json())[0]["metrics"]
    assert [metrics[name]["last"] for name in ("loss", "up", "down")] == ["NaN", "Infinity", "-Infinity"]


def test_a_list_as_csv_has_a_row_for_each_run() -> None:
    train("a")
    log("b", loss=[math.nan])
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(trackhooks.runs().to_csv()))}
    assert float(rows["a"]["best/val/loss"]) == 0.2
    assert rows["a"]["best_epoch/val/loss"] == "1"
    assert rows["a"]["param/lr"] == "0.1"
    assert rows["a"]["last/loss"] == rows["b"]["param/lr"] == ""
    assert math.isnan(float(rows["b"]["last/loss"]))


# Comparisons


def test_only_parameters_that_differ_are_shown() -> None:
    train("a")
    train("b", lr=0.2)
    comparison = trackhooks.compare(["a", "b"])
    assert comparison.params == ["lr"]
    assert comparison.to_dict()["params"] == {"lr": [0.1, 0.2]}
    assert "Not shown: 1 equal parameter (--all-params)" in str(comparison)
    assert trackhooks.compare(["a", "b"], all_params=True).params == ["lr", "epochs"]


def test_a_parameter_that_one_run_lacks_differs() -> None:
    train("a")
    log("b", loss=[1.0])
    assert trackhooks.compare(["a", "b"]).to_dict()["params"] == {"lr": [0.1, None], "epochs": [3, None]}


def test_nan_is_no_difference_between_parameters() -> None:
    for name in ("a", "b"):
        with trackhooks.run(name=name, params={"limit": math.nan}):
            pass
    assert trackhooks.compare(["a", "b"]).params == []


def test_last_and_best_of_each_metric_with_an_empty_cell_where_a_run_has_none() -> None:
    train("a")
    train("b", losses=(0.4, 0.1))
    log("c", dice=[0.5])
    comparison = trackhooks.compare(["a", "b", "c"])
    metrics = comparison.to_dict()["metrics"]
    assert metrics["val/loss"]["last"] == [0.3, 0.1, None]
    assert metrics["val/loss"]["best"] == [0.2, 0.1, None]
    assert metrics["val/loss"]["best_epoch"] == [1, 1, None]
    assert metrics["dice"]["last"] == [None, None, 0.5]
    rows = [line.split("  ") for line in str(comparison).splitlines()]
    assert [[cell.strip() for cell in row if cell] for row in rows if row[0] == "val/loss ↓"] == [
        ["val/loss ↓", "0.2 (1)", "0.1 (1)"]
    ]
    assert "0.5 (step 0)" in str(comparison)


def test_like_things_of_two_loops_stand_in_one_row() -> None:
    """A loop in Keras' words, and one of one's own."""
    train("own", losses=(0.5,))
    with trackhooks.run(name="keras") as run:
        run.callbacks.on_train_begin()
        run.callbacks.on_epoch_begin(0)
        run.callbacks.on_train_batch_end(0, {"loss": 2.0})
        run.callbacks.on_test_begin()
        run.callbacks.on_test_end({"loss": 0.25})
        run.callbacks.on_epoch_end(0, {"loss": 2.0, "val_loss": 0.25})
        run.callbacks.on_train_end()
    metrics = trackhooks.compare(["own", "keras"]).to_dict()["metrics"]
    assert metrics["train/loss"]["last"] == [1.5, 2.0]
    assert metrics["val/loss"]["last"] == [0.5, 0.25]


@pytest.mark.parametrize("hidden", ["speed/train_s", "best/val/loss", "batch/loss"])
def test_what_repeats_or_is_seldom_asked_for_is_shown_on_demand(hidden: str) -> None:
    train("a")
    assert hidden not in trackhooks.compare(["a"]).metrics
    assert hidden in trackhooks.compare(["a"], metrics=f"{hidden.partition('/')[0]}/*").metrics


def test_the_metrics_of_batches_are_shown_where_there_is_no_mean_of_the_epoch() -> None:
    log("a", **{"batch/loss": [1.0, 2.0]})
    assert trackhooks.compare(["a"]).metrics == ["batch/loss"]
    assert "batch/loss" in str(trackhooks.runs())


def test_brackets_in_a_pattern_are_those_of_the_name() -> None:
    log("a", **{"iou[0]": [1.0], "iou0": [1.0]})
    assert trackhooks.compare(["a"], metrics="iou[0]").metrics == ["iou[0]"]


def test_a_pattern_that_matches_nothing_names_the_nearest_metric() -> None:
    train("a")
    with pytest.raises(trackhooks.UnknownNameError, match="Did you mean 'val/loss'"):
        trackhooks.compare(["a"], metrics="val/los")


def test_runs_are_given_as_paths_names_summaries_directories_or_runs(here: Path) -> None:
    train("a")
    with trackhooks.run(name="b") as b:
        b.log(loss=1.0)
    given: list[Any] = ["a", "runs/a", here / "runs" / "a", trackhooks.runs()[1], b]
    assert trackhooks.compare(given).labels == ["a", "b"]
    assert trackhooks.compare("runs").labels == ["a", "b"]


def test_runs_of_one_name_are_told_apart_by_their_folders() -> None:
    train("a")
    train("a", dir="others")
    assert trackhooks.compare(["runs/a", "others/a"]).labels == ["runs/a", "others/a"]


@pytest.mark.parametrize(("given", "message"), [
    ("lr=0.11", r"unknown run 'lr=0.11'. Did you mean 'lr=0.1'\?"),
    ("runs/lr=0.11", r"unknown run 'runs/lr=0.11'. Did you mean 'runs/lr=0.1'\?"),
    ("zzz", r"unknown run 'zzz'. List the runs in runs: trackhooks runs runs"),
    (3, "a run must be given by its folder, its name or a run object, got 3"),
])  # fmt: skip
def test_a_run_that_does_not_exist_is_an_error_with_the_nearest_name(given: Any, message: str) -> None:
    train("lr=0.1")
    with pytest.raises(trackhooks.TrackhooksError, match=message):
        trackhooks.compare(["lr=0.1", given])


def test_where_there_are_no_runs_the_error_says_so() -> None:
    with pytest.raises(trackhooks.UnknownNameError, match=r"No runs found in runs"):
        trackhooks.compare(["a"])
    with pytest.raises(trackhooks.InvalidValueError, match="no runs to compare"):
        trackhooks.compare([])


def test_many_runs_are_compared_in_tables_that_fit_below_each_other() -> None:
    for number in range(9):
        train(f"attempt-{number}", lr=number)
    table = trackhooks.compare("runs").table()
    text = as_text(table, 80)
    assert max(map(len, text.splitlines())) <= 80
    assert all(f"attempt-{number}" in text for number in range(9))
    assert text.count("\nstatus ") > 1
    assert as_text(table, None).count("\nstatus ") == 1


def test_thousands_of_parameters_are_compared_and_the_table_stays_short() -> None:
    for name in ("a", "b"):
        with trackhooks.run(name=name, params={f"p{n}": f"{name}{n}" for n in range(3000)}):
            pass
    comparison = trackhooks.compare(["a", "b"])
    assert len(comparison.to_dict()["params"]) == 3000
    assert len(str(comparison).splitlines()) < 150
    assert "Not shown: 2,900 differing parameters (--all-params)" in str(comparison)


def test_texts_cannot_break_the_table_or_command_the_terminal() -> None:
    with trackhooks.run(name="a[red]", params={"x": "one\ntwo\x1b[2J[bold]" + "y" * 500}):
        pass
    text = str(trackhooks.compare(["a[red]"]))
    assert r"one\ntwo\x1b[2J[bold]" in text
    assert "a[red]" in text
    assert max(map(len, text.splitlines())) < 80


def test_a_notebook_shows_tables_with_everything_escaped() -> None:
    with trackhooks.run(name="a", params={"x": "<b>"}) as run:
        run.log(loss=1.0)
    assert "&lt;b&gt;" in trackhooks.compare(["a"])._repr_html_()
    assert "<b>" not in trackhooks.runs()._repr_html_()
    assert "<td" in trackhooks.runs()._repr_html_()


def test_a_comparison_as_json_and_csv() -> None:
    train("a")
    log("b", loss=[math.nan])
    comparison = trackhooks.compare(["a", "b"])
    found = json.loads(comparison.to_json())
    assert found["runs"] == ["a", "b"]
    assert found["metrics"]["loss"]["last"] == [None, "NaN"]
    rows = list(csv.DictReader(io.StringIO(comparison.to_csv())))
    assert [row["name"] for row in rows] == ["a", "b"]
    assert "last/speed/train_s" not in rows[0]


def test_reading_back_imports_neither_rich_nor_click(program: Any) -> None:
    log("a", loss=[1.0])
    found = program(
        """
        import sys, trackhooks
        print(repr(trackhooks.runs()[0]), trackhooks.compare(["a"]).to_csv())
        print({"rich", "click"} & set(sys.modules))
        """
    )
    assert found.splitlines()[-1] == "set()"
