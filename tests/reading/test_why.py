"""`compare` says why: where curves part, and what differs in the code, the data, the packages and the machine."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click.testing
import pytest

import trackhooks
from trackhooks.cli.main import main
from trackhooks.errors import InvalidValueError
from trackhooks.reading.code import differing_changes
from trackhooks.reading.comparison import Comparison
from trackhooks.reading.partings import Parting
from trackhooks.reading.summary import summarize
from trackhooks.reading.table import as_text
from trackhooks.storage.journal import path_of
from trackhooks.storage.run_folder import read_info, write_info

Value = Callable[[int], float]


def train(name: str, loss: Value, steps: int = 10, epochs: int = 3, **options: Any) -> Path:
    """Record a run whose loss in each batch is a function of its step."""
    with trackhooks.run(name=name, **options) as run:
        for _ in run.epochs(epochs):
            for _ in run.train(range(steps)):
                run.log(loss=loss(run.step + 1))
    return run.path


def smooth(step: int) -> float:
    return math.exp(-step / 10)


def compare(*names: str, **options: Any) -> Comparison:
    return trackhooks.compare([f"runs/{name}" for name in names], **options)


def parting(comparison: Comparison, metric: str, column: int = 1) -> Parting:
    return next(found for found in comparison.partings[column] if found.metric == metric)


def text(comparison: Comparison) -> str:
    return as_text(comparison.table(), None)


def block(comparison: Comparison, title: str) -> str:
    """The rows below a title."""
    return text(comparison).split(f"\n{title}\n")[1].split("\n\n")[0]


# Where curves part


def test_the_first_step_and_the_first_epoch_at_which_two_runs_differ() -> None:
    train("a", smooth)
    train("b", lambda step: smooth(step) * (1 + 1e-9 * (step == 14) + 0.1 * (step >= 17)))
    found = compare("a", "b")
    batch = parting(found, "train_batch/loss")
    assert (batch.axis, batch.first, batch.apart, batch.shared) == ("step", 14, 17, 18)
    assert batch.values == (smooth(14), smooth(14) * (1 + 1e-9))
    assert parting(found, "train/loss").first == 1
    assert found.partings[0] == []
    assert "train_batch/loss" in block(found, "curves part at").splitlines()[0]
    assert f"step 14, by 1 % at 17 ({smooth(14):.12g} → {smooth(14) * (1 + 1e-9):.12g})" in text(found)


def test_curves_that_are_the_same_are_said_to_be() -> None:
    for name in ("a", "b"):
        train(name, smooth)
    found = compare("a", "b")
    assert [each.first for each in found.partings[1]] == [None, None]
    assert "the same (30 steps)" in block(found, "curves part at")
    assert "the same (3 epochs)" in block(found, "curves part at")


def test_only_steps_that_both_runs_have_are_compared() -> None:
    train("short", smooth, epochs=1)
    train("long", smooth, epochs=3)
    for names in (("short", "long"), ("long", "short")):
        assert parting(compare(*names), "train_batch/loss").shared == 10


def test_metrics_at_different_rates_are_compared_where_they_meet() -> None:
    for name, every in (("a", 2), ("b", 3)):
        with trackhooks.run(name=name) as run:
            for step in range(0, 30, every):
                run.log({"x": float(step)}, step=step)
    assert parting(compare("a", "b"), "x").shared == 5


def test_a_metric_of_one_run_only_does_not_part() -> None:
    train("a", smooth)
    with trackhooks.run(name="b") as run:
        run.log(other=1.0)
    assert compare("a", "b").partings == [[], []]
    assert "curves part at" not in text(compare("a", "b"))


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        (math.nan, math.nan, False),
        (math.inf, math.inf, False),
        (math.nan, 1.0, True),
        (math.inf, -math.inf, True),
        (math.inf, 1.0, True),
        (0.0, -0.0, False),
        (0.0, 1e-300, True),
    ],
)
def test_values_that_are_not_finite_are_compared(one: float, other: float, differ: bool) -> None:
    train("a", lambda _: one)
    train("b", lambda _: other)
    found = parting(compare("a", "b"), "train_batch/loss")
    assert (found.first is not None, found.apart is not None) == (differ, differ)


def test_a_resumed_run_counts_with_what_it_recorded_first() -> None:
    for name in ("a", "b"):
        with trackhooks.run(name=name) as run:
            for value in (1.0, 2.0, 3.0):
                run.log(x=value)
    with trackhooks.run(name="b", resume="runs/b") as run:
        run.step = 0
        run.log({"x": 9.0}, step=1)
    assert parting(compare("a", "b"), "x").first is None


def test_of_more_than_two_runs_curves_are_compared_on_request() -> None:
    for name, start in (("a", 99), ("b", 5), ("c", 8)):
        train(name, lambda step, start=start: smooth(step) + (step >= start))  # type: ignore[misc]
    assert compare("a", "b", "c").partings == [[], [], []]
    found = compare("a", "b", "c", why=True)
    assert [parting(found, "train_batch/loss", column).first for column in (1, 2)] == [5, 8]
    based = compare("a", "b", "c", why=True, baseline="runs/c")
    assert based.labels == ["c", "a", "b"]
    assert [parting(based, "train_batch/loss", column).first for column in (1, 2)] == [8, 5]


@pytest.mark.slow
def test_long_journals_are_read_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        train(name, smooth)
    monkeypatch.setattr("trackhooks.reading.partings.LARGE", 100)
    assert compare("a", "b").partings == [[], []]
    assert compare("a", "b", why=True).partings[1]


def test_journals_are_read_no_further_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    train("a", smooth, steps=500)
    train("b", lambda step: smooth(step) + 1, steps=500)
    found = compare("a", "b", metrics="train_batch/*")
    for name in ("a", "b"):  # everything after the first quarter is damaged
        path = path_of(f"runs/{name}")
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 4])
    assert parting(found, "train_batch/loss").first == 0


def test_a_damaged_journal_is_named_and_the_rest_is_compared() -> None:
    for name in ("a", "b"):
        train(name, smooth)
    path_of("runs/b").write_bytes(b"not a journal at all")
    found = compare("a", "b", why=True)
    assert found.partings == [[], []]
    assert "Damaged journals: b" in text(found)


def test_groups_have_no_partings() -> None:
    for seed in range(3):
        train(f"s{seed}", smooth, params={"seed": seed})
    assert trackhooks.compare("runs", why=True).partings == [[]]
    assert trackhooks.compare("runs", group_by=None, why=True).partings[1]


def test_the_data_have_the_partings_of_each_metric() -> None:
    train("a", smooth)
    train("b", lambda step: smooth(step) + (step >= 4))
    found = compare("a", "b").to_dict()["partings"]["train_batch/loss"]
    assert found[0] is None
    assert found[1]["first"] == found[1]["apart"] == 4
    assert "Infinity" not in compare("a", "b").to_json()


def test_metrics_can_be_chosen() -> None:
    train("a", smooth)
    train("b", smooth)
    assert [found.metric for found in compare("a", "b", metrics="train/*").partings[1]] == ["train/loss"]


def test_why_is_a_switch() -> None:
    train("a", smooth)
    with pytest.raises(InvalidValueError, match="why must be True or False, got 'yes'"):
        compare("a", why="yes")


def test_the_command_line_has_the_option() -> None:
    for name in ("a", "b", "c"):
        train(name, smooth)
    paths = ["runs/a", "runs/b", "runs/c"]
    without = click.testing.CliRunner().invoke(main, ["compare", *paths])
    found = click.testing.CliRunner().invoke(main, ["compare", "--why", *paths])
    assert "curves part at" not in without.output
    assert "curves part at" in found.output
    assert "the same (30 steps)" in found.output


# What else differs


def described(name: str, environment: dict[str, Any], facts: dict[str, Any] | None = None) -> None:
    """Record a run, and give it another environment."""
    with trackhooks.run(name=name) as run:
        run._recorder.record({"loss": 1.0}, facts=facts or {})
    info = read_info(run.path)
    info.environment = environment
    write_info(run.path, info)


def test_packages_machine_and_data_have_blocks_of_their_own() -> None:
    described(
        "a",
        {"package/torch": "2.9", "packages": "attr 25.1, monai 1.4", "cpu": "EPYC", "gpu": "NVIDIA A100"},
        {"data/train/samples": 100, "data/train/fingerprint": "aa", "model/parameters": 3},
    )
    described(
        "b",
        {
            "package/torch": "2.9",
            "packages": "attr 25.1, monai 1.5",
            "cpu": "Xeon",
            "variable/PYTHONHASHSEED": "0",
        },
        {"data/train/samples": 90, "data/train/fingerprint": "bb", "model/parameters": 4},
    )
    found = compare("a", "b")
    assert block(found, "packages").split() == ["monai", "1.4", "1.5"]
    assert [line.split()[0] for line in block(found, "machine").splitlines()] == [
        "cpu", "gpu", "variable/PYTHONHASHSEED",
    ]  # fmt: skip
    assert [line.split() for line in block(found, "data").splitlines()] == [
        ["data/train/samples", "100", "90"], ["data/train/fingerprint", "aa", "bb"],
    ]  # fmt: skip
    assert found.to_dict()["environment"]["package/monai"] == ["1.4", "1.5"]


def test_what_an_earlier_version_did_not_record_is_not_a_difference() -> None:
    described("old", {"package/torch": "2.9"})
    described(
        "new",
        {
            "package/torch": "2.9",
            "packages": "attr 25.1",
            "cpu": "EPYC",
            "cpus/usable": 8,
            "memory_gib": 62.0,
        },
    )
    assert compare("old", "new").to_dict()["environment"] == {}


def test_seeds_that_choose_the_samples_are_still_one_group() -> None:
    for seed in range(3):
        with trackhooks.run(name=f"s{seed}", params={"seed": seed}) as run:
            run._recorder.record(
                {"loss": 1.0}, facts={"data/train/fingerprint": f"{seed}", "data/train/samples": 9}
            )
    assert [len(column.runs) for column in trackhooks.compare("runs").columns] == [3]


def git(*words: str) -> None:
    person = ("git", "-c", "user.name=me", "-c", "user.email=me@example.org")
    subprocess.run([*person, *words], check=True, capture_output=True)


@pytest.fixture
def repository(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a committed program, whose changes are recorded."""
    monkeypatch.delenv("TRACKHOOKS_PATCH")
    write({"train.py": ["lr = 0.1", "epochs = 3"], "model.py": ["width = 8"], ".gitignore": ["runs/"]})
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "first")
    return here


def write(files: dict[str, Sequence[str]]) -> None:
    for name, lines in files.items():
        Path(name).write_text("".join(f"{line}\n" for line in lines))


def test_files_whose_uncommitted_changes_differ_are_listed(repository: Path) -> None:
    write({"train.py": ["lr = 0.2", "epochs = 3"], "model.py": ["width = 9"]})
    train("a", smooth)
    write({"train.py": ["lr = 0.3", "epochs = 3"], "new.py": ["x = 1"]})
    git("add", "new.py")
    train("b", smooth)
    found = compare("a", "b")
    assert found.to_dict()["uncommitted"] == {"train.py": ["+1 −1", "+1 −1"], "new.py": [None, "+1 −0"]}
    assert [line.split("  ")[0] for line in block(found, "code").splitlines()] == [
        "code/changed", "train.py", "new.py",
    ]  # fmt: skip
    assert "+1 −1 (other lines)" in block(found, "code")


def test_the_same_changes_are_not_a_difference(repository: Path) -> None:
    write({"train.py": ["lr = 0.2", "epochs = 3"]})
    train("a", smooth)
    train("b", smooth)
    found = compare("a", "b")
    assert found.to_dict()["uncommitted"] == {}
    assert "\ncode\n" not in text(found)


def test_a_run_without_changes_differs_from_one_with_them(repository: Path) -> None:
    train("clean", smooth)
    write({"train.py": ["lr = 0.2", "epochs = 3"]})
    train("dirty", smooth)
    found = compare("clean", "dirty")
    assert found.to_dict()["uncommitted"] == {"train.py": [None, "+1 −1"]}
    assert found.to_dict()["environment"]["git/dirty"] == [False, True]


def test_a_resume_with_clean_code_has_no_changes(repository: Path) -> None:
    write({"train.py": ["lr = 0.2", "epochs = 3"]})
    train("a", smooth)
    git("checkout", "train.py")
    train("a", smooth, resume="runs/a")
    train("b", smooth)
    found = compare("a", "b").to_dict()
    assert found["uncommitted"] == {}
    assert "code/changed" not in found["facts"]


def test_many_files_are_counted_and_the_table_stays_short(repository: Path) -> None:
    train("a", smooth)
    write({f"m{number:02}.py": ["x = 1"] for number in range(15)})
    git("add", ".")
    train("b", smooth)
    lines = block(compare("a", "b"), "code").splitlines()
    assert lines[-1].startswith("and 5 files more")
    assert len(compare("a", "b").uncommitted) == 15


def test_the_patch_of_a_run_from_somebody_else_stays_in_its_folder(repository: Path) -> None:
    write({"train.py": ["lr = 0.2", "epochs = 3"], "secret.txt": ["#\t1\t1\tprivate.py"]})
    path = train("a", smooth)
    train("b", smooth)
    run = summarize(path)
    for file in run.files:
        file.kept = "../../../secret.txt"
    other = summarize("runs/b")
    found = differing_changes([run, other])
    assert "private.py" not in found


def test_the_report_has_the_same_reasons(repository: Path) -> None:
    pytest.importorskip("bokeh")
    from trackhooks.reading.report.difference_data import differences

    train("a", smooth)
    write({"train.py": ["lr = 0.2", "epochs = 3"]})
    train("b", lambda step: smooth(step) + (step >= 4))
    found = {row["name"]: row["values"] for row in differences(compare("a", "b"))}
    assert next(iter(found)) == "train_batch/loss parts from a at"
    assert found["train_batch/loss parts from a at"] == [{"text": "step 4 (0.67032 → 1.6703)", "runs": [1]}]
    assert "code/patch" not in found
    assert found["git/dirty"] == [{"text": "False", "runs": [0]}, {"text": "True", "runs": [1]}]
    assert found["uncommitted: train.py"][1] == {"text": "+1 −1", "runs": [1]}
