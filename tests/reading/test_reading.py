"""Reading runs: summaries, lists and comparisons."""

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


def train(name: str, *, lr: float = 0.1, losses: tuple[float, ...] = (0.5, 0.2, 0.3), **more: Any) -> Path:
    """Record a run with one epoch per loss."""
    with trackhooks.run(name=name, params={"lr": lr, "epochs": len(losses)}, **more) as run:
        for epoch in run.epochs(len(losses)):
            for _ in run.train(range(4)):
                run.log(loss=losses[epoch] + 1)
            for _ in run.validate(range(2)):
                run.log(loss=losses[epoch], accuracy=1 - losses[epoch])
    return run.path


def log(name: str, **values: Any) -> Path:
    """Record a run without a loop, with the values of each metric."""
    with trackhooks.run(name=name) as run:
        for step in range(max(map(len, values.values()), default=0)):
            run.log({metric: given[step] for metric, given in values.items() if step < len(given)})
    return run.path


@contextlib.contextmanager
def running(here: Path, *, delivery: str = "off") -> Iterator[subprocess.Popen[str]]:
    """Start a process with the run `alive`, which logs three losses and then waits until it is killed."""
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


# Summaries


def test_a_metric_has_its_last_and_its_best_value_with_their_steps_and_epochs() -> None:
    train("a")
    loss = only(trackhooks.runs()).metrics["val/loss"]
    assert (loss.last, loss.step, loss.epoch) == (0.3, 11, 2)
    assert (loss.best, loss.best_step, loss.best_epoch) == (0.2, 7, 1)
    assert (loss.goal, loss.axis) == ("min", "epoch")


def test_the_best_accuracy_is_the_highest() -> None:
    train("a")
    accuracy = only(trackhooks.runs()).metrics["val/accuracy"]
    assert (accuracy.best, accuracy.best_epoch, accuracy.goal) == (0.8, 1, "max")


@pytest.mark.parametrize("name", ["lr/0", "speed/train_s", "system/gpu", "best/val/loss", "train_batch/loss"])
def test_a_metric_without_a_goal_has_no_best_value(name: str) -> None:
    metric = summarize(log("a", **{name: [3.0, 1.0, 2.0]})).metrics[name]
    assert (metric.last, metric.best, metric.goal) == (2.0, None, "")


def test_the_first_of_equally_good_values_is_the_best() -> None:
    metric = summarize(log("a", loss=[2.0, 1.0, 1.0])).metrics["loss"]
    assert (metric.best, metric.best_step) == (1.0, 1)


def test_nan_can_be_the_last_value_but_not_the_best() -> None:
    metric = summarize(log("a", loss=[2.0, math.nan])).metrics["loss"]
    assert math.isnan(metric.last)
    assert metric.best == 2.0


def test_a_metric_with_only_nan_has_no_best_value() -> None:
    assert summarize(log("a", loss=[math.nan])).metrics["loss"].best is None


def test_infinity_counts_as_a_value() -> None:
    assert summarize(log("a", accuracy=[1.0, math.inf])).metrics["accuracy"].best == math.inf


def test_a_summary_has_epochs_steps_parameters_and_duration() -> None:
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


def test_a_run_without_records_can_be_read() -> None:
    with trackhooks.run(name="empty"):
        pass
    run = only(trackhooks.runs())
    assert (run.status, run.metrics, run.params, run.length) == ("finished", {}, {}, "")
    assert "empty" in str(trackhooks.compare(["empty"]))


def test_the_repr_of_a_summary_identifies_the_run() -> None:
    assert repr(summarize(train("a"))).startswith("<run 'a', finished, 3 epochs, in '")


def test_an_epoch_is_not_counted_twice_when_a_run_is_resumed() -> None:
    path = train("a")
    with trackhooks.run(resume=path) as run:
        for _ in run.epochs(2):
            for _ in run.train(range(4)):
                run.log(loss=0.1)
    found = summarize(path)
    assert (found.epochs, found.steps, found.status) == (5, 20, "finished")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_steps(here: Path) -> None:
    path = log("a")

    def peak(steps: int) -> int:
        (path / "journal").unlink()
        writer = journal.Writer(path)
        for step in range(steps):
            writer.append(
                Event("on_train_batch_end", step, float(step), step, 0, step, {"train_batch/loss": 1.0})
            )
        writer.close()
        tracemalloc.start()
        assert summarize(path).steps == steps
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few = peak(20_000)
    assert peak(60_000) < 1.2 * few


# The status


def test_a_run_whose_process_is_alive_is_running(here: Path) -> None:
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


def test_a_run_on_another_machine_without_recent_records_is_lost() -> None:
    path = log("a", loss=[1.0])
    rewrite_info(path, host="elsewhere", status="running", ended=None, created=time.time() - 10_000)
    rewrite_journal(path, time=time.time() - 9_000)
    assert summarize(path).status == "lost"


def test_a_run_on_another_machine_with_recent_records_is_running() -> None:
    path = log("a", loss=[1.0])
    rewrite_info(path, host="elsewhere", status="running", ended=None)
    rewrite_journal(path, time=time.time())
    assert summarize(path).status == "running"


@pytest.mark.slow
def test_a_final_status_in_the_journal_counts_if_run_json_lacks_it() -> None:
    path = train("a")
    rewrite_info(path, status="running", ended=None, pid=2**22 + 1)
    assert summarize(path).status == "finished"


def test_a_run_that_raised_an_exception_has_failed_with_the_reason() -> None:
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
    """Rewrite the journal without the records of the status."""
    events = [event for event in journal.read(path) if not event.status]
    (path / "journal").unlink()
    writer = journal.Writer(path)
    for event in events:
        for name, value in changes.items():
            setattr(event, name, value)
        writer.append(event)
    writer.close()


# Damaged journals


def damage(path: Path) -> None:
    content = bytearray((path / "journal").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8] = b"\0" * 8
    (path / "journal").write_bytes(content)


def test_a_damaged_journal_is_read_around_the_damage_which_is_reported() -> None:
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


@pytest.mark.slow
def test_not_all_of_many_damaged_journals_are_named() -> None:
    for number in range(22):
        (log(f"a{number:02}") / "journal").unlink()
    assert str(trackhooks.runs()).endswith("a03, a02, and 2 more. For details, run: trackhooks doctor")


def test_a_run_without_its_journal_is_still_listed() -> None:
    path = log("a", loss=[1.0])
    (path / "journal").unlink()
    run = only(trackhooks.runs())
    assert (run.status, run.metrics) == ("finished", {})
    assert "no journal" in run.journal.error


def test_an_incomplete_last_record_is_not_damage() -> None:
    path = log("a", loss=[1.0, 2.0])
    with (path / "journal").open("ab") as file:
        file.write((path / "journal").read_bytes()[16:30])
    run = summarize(path)
    assert (run.journal.torn, run.journal.damage) == (14, [])


def test_an_unreadable_run_json_hides_only_that_run() -> None:
    log("good", loss=[1.0])
    (log("bad", loss=[1.0]) / "run.json").write_text("{")
    with pytest.warns(trackhooks.TrackhooksWarning, match=r"run skipped: .*run\.json"):
        assert only(trackhooks.runs()).name == "good"


# Lists


def test_runs_are_listed_newest_first_and_other_folders_are_ignored(here: Path) -> None:
    names = ["first", "second", "third"]
    for name in names:
        log(name, loss=[1.0])
    (here / "runs" / "detect" / "train").mkdir(parents=True)
    (here / "runs" / "note.txt").write_text("mine")
    assert [run.name for run in trackhooks.runs()] == names[::-1]


def test_the_default_directory_comes_from_the_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKHOOKS_DIR", "elsewhere")
    log("a", loss=[1.0])
    assert only(trackhooks.runs()).path.parent.name == "elsewhere"


def test_the_folder_of_a_run_lists_only_that_run() -> None:
    path = log("a", loss=[1.0])
    log("b", loss=[1.0])
    assert only(trackhooks.runs(path)).name == "a"


def test_without_runs_the_list_is_empty_and_a_missing_directory_is_an_error() -> None:
    assert trackhooks.runs() == []
    assert str(trackhooks.runs()) == "no runs"
    with pytest.raises(trackhooks.TrackhooksError, match="no such directory: nope"):
        trackhooks.runs("nope")


def test_runs_can_be_filtered_by_project() -> None:
    train("a", project="digits")
    train("b", project="faces")
    assert only(trackhooks.runs(project="faces")).name == "b"


def test_a_moved_folder_is_the_same_run(here: Path) -> None:
    before = summarize(train("a"))
    shutil.move(before.path, here / "archive")
    after = summarize(here / "archive")
    assert (after.id, after.name, after.metrics) == (before.id, before.name, before.metrics)
    assert after.path == here / "archive"


def test_sorting_by_a_metric_puts_the_best_first_and_runs_without_it_last() -> None:
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
def test_runs_can_be_sorted_by_a_parameter_or_a_field(key: str, first: str) -> None:
    train("fast", lr=0.5, losses=(0.1, 0.1))
    train("slow", lr=0.01, losses=(0.1,))
    assert trackhooks.runs().sorted_by(key)[0].name == first


def test_sorting_by_an_unknown_key_suggests_the_nearest() -> None:
    train("a")
    with pytest.raises(trackhooks.UnknownNameError, match="Did you mean 'val/loss'"):
        trackhooks.runs().sorted_by("val/los")


def test_a_list_shows_the_columns_that_fit_into_80_or_140_characters() -> None:
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


def test_nan_and_infinities_are_strings_in_json() -> None:
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


def test_parameters_that_are_nan_in_all_runs_do_not_differ() -> None:
    for name in ("a", "b"):
        with trackhooks.run(name=name, params={"limit": math.nan}):
            pass
    assert trackhooks.compare(["a", "b"]).params == []


def test_a_comparison_shows_last_and_best_values_and_leaves_missing_ones_empty() -> None:
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
        ["val/loss ↓", "0.2 (1)", "0.1 (1) *"],
        ["val/loss ↓", "0.3", "0.1 *"],
    ]
    assert "0.5 (step 0)" in str(comparison)


@pytest.mark.slow
def test_the_same_metric_of_two_frameworks_shares_a_row() -> None:
    """One uses the hooks of Keras, the other is a custom loop."""
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


@pytest.mark.parametrize("hidden", ["speed/train_s", "best/val/loss", "train_batch/loss"])
def test_redundant_and_rarely_used_metrics_are_shown_on_request(hidden: str) -> None:
    train("a")
    assert hidden not in trackhooks.compare(["a"]).metrics
    assert hidden in trackhooks.compare(["a"], metrics=f"{hidden.partition('/')[0]}/*").metrics


def test_metrics_of_batches_are_shown_if_there_is_no_mean_of_the_epoch() -> None:
    log("a", **{"train_batch/loss": [1.0, 2.0]})
    assert trackhooks.compare(["a"]).metrics == ["train_batch/loss"]
    header, names = str(trackhooks.runs()).splitlines()[:2]
    assert header.strip() == "train_batch/"
    assert names.split()[-1] == "loss"


def test_brackets_in_a_pattern_match_literally() -> None:
    log("a", **{"iou[0]": [1.0], "iou0": [1.0]})
    assert trackhooks.compare(["a"], metrics="iou[0]").metrics == ["iou[0]"]


def test_a_pattern_that_matches_nothing_suggests_the_nearest_metric() -> None:
    train("a")
    with pytest.raises(trackhooks.UnknownNameError, match="Did you mean 'val/loss'"):
        trackhooks.compare(["a"], metrics="val/los")


def test_runs_can_be_paths_names_summaries_directories_or_run_objects(here: Path) -> None:
    train("a")
    with trackhooks.run(name="b") as b:
        b.log(loss=1.0)
    given: list[Any] = ["a", "runs/a", here / "runs" / "a", trackhooks.runs()[1], b]
    assert trackhooks.compare(given).labels == ["a", "b"]
    assert trackhooks.compare("runs").labels == ["b", "a"]


def test_runs_with_the_same_name_are_labeled_by_their_folders() -> None:
    train("a")
    train("a", dir="others")
    assert trackhooks.compare(["runs/a", "others/a"]).labels == ["runs/a", "others/a"]


@pytest.mark.parametrize(("given", "message"), [
    ("lr=0.11", r"unknown run 'lr=0.11'. Did you mean 'lr=0.1'\?"),
    ("runs/lr=0.11", r"unknown run 'runs/lr=0.11'. Did you mean 'runs/lr=0.1'\?"),
    ("zzz", r"unknown run 'zzz'. List the runs in runs: trackhooks runs runs"),
    (3, "a run must be given by its folder, its name or a run object, got 3"),
])  # fmt: skip
def test_an_unknown_run_is_an_error_that_suggests_the_nearest_name(given: Any, message: str) -> None:
    train("lr=0.1")
    with pytest.raises(trackhooks.TrackhooksError, match=message):
        trackhooks.compare(["lr=0.1", given])


def test_the_error_says_if_there_are_no_runs() -> None:
    with pytest.raises(trackhooks.UnknownNameError, match=r"No runs found in runs"):
        trackhooks.compare(["a"])
    with pytest.raises(trackhooks.InvalidValueError, match="no runs to compare"):
        trackhooks.compare([])


def test_comparisons_that_are_too_wide_are_split_into_tables_that_fit() -> None:
    for number in range(6):
        train(f"attempt-{number}-of-several", lr=number)
    table = trackhooks.compare("runs").table()
    text = as_text(table, 80)
    assert max(map(len, text.splitlines())) <= 80
    assert all(f"attempt-{number}-of-several" in text for number in range(6))
    assert text.count("\nstatus ") > 1
    assert as_text(table, None).count("\nstatus ") == 1


def test_the_table_stays_short_with_thousands_of_parameters() -> None:
    for name in ("a", "b"):
        with trackhooks.run(name=name, params={f"p{n}": f"{name}{n}" for n in range(3000)}):
            pass
    comparison = trackhooks.compare(["a", "b"])
    assert len(comparison.to_dict()["params"]) == 3000
    assert len(str(comparison).splitlines()) < 150
    assert "Not shown: 2,900 differing parameters (--all-params)" in str(comparison)


def test_strings_cannot_break_the_table_or_control_the_terminal() -> None:
    with trackhooks.run(name="a[red]", params={"x": "one\ntwo\x1b[2J[bold]" + "y" * 500}):
        pass
    text = str(trackhooks.compare(["a[red]"]))
    assert r"one\ntwo\x1b[2J[bold]" in text
    assert "a[red]" in text
    assert max(map(len, text.splitlines())) < 80


def test_html_tables_are_escaped() -> None:
    with trackhooks.run(name="a", params={"x": "<b>"}) as run:
        run.log(loss=1.0)
    assert "&lt;b&gt;" in trackhooks.compare(["a"])._repr_html_()
    assert "<b>" not in trackhooks.runs()._repr_html_()
    assert "<td" in trackhooks.runs()._repr_html_()


def test_a_comparison_converts_to_json_and_csv() -> None:
    train("a")
    log("b", loss=[math.nan])
    comparison = trackhooks.compare(["a", "b"])
    found = json.loads(comparison.to_json())
    assert found["runs"] == ["a", "b"]
    assert found["metrics"]["loss"]["last"] == [None, "NaN"]
    rows = list(csv.DictReader(io.StringIO(comparison.to_csv())))
    assert [row["name"] for row in rows] == ["a", "b"]
    assert "last/speed/train_s" not in rows[0]


def test_reading_runs_imports_neither_rich_nor_click(program: Any) -> None:
    log("a", loss=[1.0])
    found = program(
        """
        import sys, trackhooks
        print(repr(trackhooks.runs()[0]), trackhooks.compare(["a"]).to_csv())
        print({"rich", "click"} & set(sys.modules))
        """
    )
    assert found.splitlines()[-1] == "set()"
