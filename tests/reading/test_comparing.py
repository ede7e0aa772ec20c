"""Comparing runs: what counts as a difference, winners, filters, groups, a baseline, and the table's shape."""

from __future__ import annotations

import csv
import io
import math
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.cells import cell_len

import trackhooks
from trackhooks.reading.comparison import Comparison
from trackhooks.reading.table import as_text
from trackhooks.storage.run_folder import read_info, write_info

LOSSES = {"best": (0.5, 0.1, 0.3), "middle": (0.5, 0.3, 0.2), "worst": (0.9, 0.8, 0.7)}


def record(
    name: str, params: Mapping[str, Any] | None = None, losses: Sequence[float] = (0.5, 0.2, 0.3), **more: Any
) -> Path:
    """Record a run with one epoch per loss, in which the accuracy is the highest in the last one."""
    with trackhooks.run(name=name, params=params, **more) as run:
        for epoch in run.epochs(len(losses)):
            for _ in run.train(range(2)):
                run.log(loss=losses[epoch] + 1)
            for _ in run.validate(range(2)):
                run.log(loss=losses[epoch], accuracy=epoch / 10)
    return run.path


def log(name: str, params: Mapping[str, Any] | None = None, /, **metrics: Any) -> Path:
    """Record a run with one value of each metric, without a loop."""
    with trackhooks.run(name=name, params=params) as run:
        run.log(metrics)
    return run.path


def compared(*names: str, **options: Any) -> Comparison:
    return trackhooks.compare(names or ["runs"], **options)


def shown(comparison: Comparison, width: int | None = None) -> str:
    return as_text(comparison.table(), width)


def row(text: str, title: str, number: int = 0) -> list[str]:
    """The cells of a row; of several with this title, the one with this number."""
    found = [line for line in text.splitlines() if line.startswith(f"{title}  ")]
    return [cell.strip() for cell in found[number].removeprefix(title).split("  ") if cell.strip()]


# What counts as a difference


def train(name: str, kind: type[torch.optim.Optimizer], params: Mapping[str, Any], **settings: Any) -> None:
    """Record a loop of one epoch that watches its model and optimizer."""
    net = torch.nn.Linear(2, len(name))
    with trackhooks.run(name=name, params=params) as run:
        run.watch(net, kind(net.parameters(), **settings))
        for _ in run.epochs(1):
            for _ in run.train(range(2)):
                run.log(loss=1.0)


def test_the_learning_rate_is_one_row_in_a_loop_that_watches_its_optimizer() -> None:
    for lr in (0.1, 0.2):
        train(f"lr={lr}", torch.optim.SGD, {"lr": lr}, lr=lr)
    comparison = compared("lr=0.1", "lr=0.2")
    assert comparison.params == ["lr"]
    assert [name for name in comparison.metrics if name.startswith("lr/")] == []
    assert "lr/0" in compared("lr=0.1", "lr=0.2", metrics="*").metrics


def test_the_learning_rate_is_one_row_if_only_one_run_names_it_as_a_parameter() -> None:
    train("named", torch.optim.SGD, {"learning_rate": 0.1}, lr=0.1)
    train("not-named", torch.optim.SGD, {}, lr=0.2)
    found = compared("named", "not-named").to_dict()
    assert found["params"] == {"optimizer/lr": [0.1, 0.2]}
    assert list(found["facts"]) == ["model/parameters", "model/trainable"]


def test_the_defaults_of_two_optimizers_are_not_differences_but_what_the_user_set_is() -> None:
    train("sgd", torch.optim.SGD, {}, lr=0.1, momentum=0.9)
    train("ada", torch.optim.Adam, {}, lr=0.1)
    found = compared("sgd", "ada").to_dict()["params"]
    assert found == {"optimizer/name": ["SGD", "Adam"], "optimizer/momentum": [0.9, None]}


@pytest.mark.parametrize("given", ["learning_rate", "lr0", "train/lr", "base_lr"])
def test_other_names_of_the_learning_rate_are_one_row_too(given: str) -> None:
    for lr in (0.1, 0.2):
        log(f"{lr}", {given: lr, "optimizer/lr": lr, "optimizer/initial_lr": lr}, loss=1.0)
    assert compared("0.1", "0.2").params == [given]


def test_a_learning_rate_that_only_the_optimizer_has_is_one_row_for_all_frameworks() -> None:
    """One run has `lr` and the optimizer's settings, the other, as from Keras, only the latter."""
    log("own", {"lr": 0.1, "optimizer/lr": 0.1}, loss=1.0)
    log("keras", {"optimizer/lr": 0.2}, loss=1.0)
    comparison = compared("own", "keras")
    assert comparison.to_dict()["params"] == {"optimizer/lr": [0.1, 0.2]}


def test_a_setting_that_the_optimizer_chose_itself_is_a_difference() -> None:
    log("a", {"lr0": 0.01, "optimizer/lr": 0.001}, loss=1.0)
    log("b", {"lr0": 0.01, "optimizer/lr": 0.002}, loss=1.0)
    assert compared("a", "b").params == ["optimizer/lr"]


def test_the_optimizer_is_one_row_in_whichever_case_it_is_written() -> None:
    for name in ("SGD", "AdamW"):
        log(name, {"optimizer": name.lower(), "optimizer/name": name}, loss=1.0)
    assert compared("SGD", "AdamW").params == ["optimizer"]


@pytest.mark.parametrize(
    "params",
    [
        {"save_dir": "/x/runs/detect/{}", "name": "{}", "project": "/x/runs/detect"},
        {"output_dir": "{}"},
        {"logging_dir": "logs/{}"},
        {"trainer/default_root_dir": "/x/{}"},
        {"run_name": "{}"},
    ],
)
def test_output_folders_and_the_names_of_runs_are_not_differences(params: dict[str, str]) -> None:
    for name in ("train", "train2"):
        log(name, {key: value.format(name) for key, value in params.items()} | {"lr": len(name)}, loss=1.0)
    comparison = compared("train", "train2")
    assert comparison.params == ["lr"]
    assert "save_dir" not in str(comparison)
    assert set(compared("train", "train2", all_params=True).params) == {"lr", *params}


@pytest.mark.parametrize("name", ["data_dir", "name", "model", "weights_path", "dataset/name"])
def test_inputs_and_names_that_the_user_chose_are_differences(name: str) -> None:
    for value in ("small", "large"):
        log(f"run-{value}", {name: value}, loss=1.0)
    assert compared("run-small", "run-large").params == [name]


def test_generated_names_of_models_are_not_differences_but_their_sizes_are() -> None:
    for number, width in enumerate((10, 20)):
        log(f"run-{number}", {"model/name": f"sequential_{number}", "model/parameters": width}, loss=1.0)
    comparison = compared("run-0", "run-1")
    assert comparison.params == []
    assert comparison.to_dict()["facts"] == {"model/parameters": [10, 20]}
    assert row(str(comparison), "model/parameters") == ["10", "20"]


def test_facts_are_named_in_filters_too() -> None:
    train("a", torch.optim.SGD, {}, lr=0.1)
    train("large", torch.optim.SGD, {}, lr=0.1)
    assert trackhooks.compare("runs", where="facts.model/parameters > 10").labels == ["large"]


def test_models_of_two_classes_are_a_difference() -> None:
    log("a", {"model/name": "ResNet18"}, loss=1.0)
    log("b", {"model/name": "ResNet34"}, loss=1.0)
    assert compared("a", "b").to_dict()["facts"] == {"model/name": ["ResNet18", "ResNet34"]}


def test_differences_of_the_code_and_the_environment_have_their_own_block(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(here, "init", "--quiet")
    for name in ("a", "b"):
        (here / "train.py").write_text(name)
        git(here, "add", "train.py")
        git(here, "commit", "--quiet", "--message", name)
        monkeypatch.setenv("LOGNAME", f"user-{name}")
        log(name, {"lr": 0.1}, loss=1.0)
    comparison = compared("a", "b")
    found = comparison.to_dict()["environment"]
    assert comparison.params == []
    assert list(found) == ["git/commit", "user"]
    assert found["user"] == ["user-a", "user-b"]
    assert str(comparison).split("\ncode\n")[1].startswith("git/commit ")
    assert str(comparison).split("\nmachine\n")[1].startswith("user ")
    assert row(str(comparison), "git/commit") == [commit[:10] for commit in found["git/commit"]]


def test_a_package_that_one_run_has_not_imported_is_not_a_difference_but_another_version_is() -> None:
    for name, versions in {"a": {"torch": "2.1", "numpy": "2"}, "b": {"torch": "2.2"}}.items():
        path = log(name, loss=1.0)
        info = read_info(path)
        info.environment = {f"package/{package}": version for package, version in versions.items()}
        write_info(path, info)
    assert compared("a", "b").to_dict()["environment"] == {"package/torch": ["2.1", "2.2"]}


@pytest.mark.parametrize(
    ("first", "second", "differ"),
    [
        ("--lr 0.1", "--lr 0.2", False),
        ("--lr=1e-1 --fast", "--lr=0.20 --fast", False),
        ("--lr 0.1 --data small", "--lr 0.2 --data large", True),
        ("--lr 0.1 --fast", "--lr 0.2", True),
    ],
)
def test_the_arguments_of_the_program_are_a_difference_unless_parameters_have_them(
    first: str, second: str, differ: bool
) -> None:
    for name, lr, arguments in (("a", 0.1, first), ("b", 0.2, second)):
        path = log(name, {"lr": lr}, loss=1.0)
        info = read_info(path)
        info.environment = {"arguments": arguments, "command": f"train.py {arguments}"}
        write_info(path, info)
    found = compared("a", "b").to_dict()["environment"]
    assert found == ({"arguments": [first, second]} if differ else {})


def test_a_single_run_shows_what_the_user_set() -> None:
    train("sgd", torch.optim.SGD, {"lr": 0.1, "width": 8}, lr=0.1)
    assert compared("sgd").params == ["lr", "width", "optimizer/name"]


def test_a_loss_comes_before_those_that_it_is_the_sum_of() -> None:
    log("a", **{"val/box_loss": 1.0, "val/loss": 2.0, "val/accuracy": 0.5})
    assert compared("a").metrics == ["val/loss", "val/accuracy", "val/box_loss"]


def git(here: Path, *words: str) -> None:
    person = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *person, *words], cwd=here, check=True)


# The order


def test_a_directory_is_compared_in_the_order_of_runs_and_named_runs_as_they_are_named() -> None:
    for name in ("b", "c", "a"):
        record(name)
    assert trackhooks.compare("runs").labels == [run.name for run in trackhooks.runs()] == ["a", "c", "b"]
    assert compared("b", "a").labels == ["b", "a"]


def test_runs_can_be_sorted_as_in_runs() -> None:
    for name, losses in LOSSES.items():
        record(name, losses=losses)
    key = "best.val/loss"
    labels = compared(sort=key).labels
    assert labels == [run.name for run in trackhooks.runs().sorted_by(key)] == ["best", "middle", "worst"]


def test_the_important_metrics_come_first() -> None:
    names = ["lr/0", "train/loss", "custom", "val/loss", "metrics/mAP50(B)", "fitness", "val/accuracy"]
    log("a", dict.fromkeys(["epochs"], 1), **dict.fromkeys(names, 0.5))
    log("b", dict.fromkeys(["epochs"], 2), **dict.fromkeys(names, 0.6))
    expected = ["fitness", "metrics/mAP50(B)", "val/loss", "val/accuracy", "custom", "train/loss", "lr/0"]
    assert compared("a", "b").metrics == expected


# Winners


def test_the_best_value_of_each_row_is_marked_without_color_too() -> None:
    for name in ("best", "worst"):
        record(name, losses=LOSSES[name])
    text = shown(compared("best", "worst"))
    assert row(text, "val/loss ↓") == ["0.1 (1) *", "0.7 (2)"]
    assert row(text, "val/loss ↓", 1) == ["0.3 *", "0.7"]
    assert row(text, "val/accuracy ↑") == ["0.2 (2)", "0.2 (2)"]  # a tie has no winner
    assert "* the best of its row" in text


def test_nan_never_wins_and_all_who_share_the_best_value_do() -> None:
    for name, loss in {"a": 1.0, "b": math.nan, "c": 1.0, "d": 2.0}.items():
        log(name, loss=loss)
    assert row(shown(compared("a", "b", "c", "d")), "loss ↓", 1) == ["1 *", "nan", "1 *", "2"]


def test_a_metric_that_only_one_run_has_and_one_without_a_goal_have_no_winner() -> None:
    log("a", loss=1.0, **{"lr/0": 0.1})
    log("b", **{"lr/0": 0.2})
    text = shown(compared("a", "b"))
    assert row(text, "loss ↓") == ["1 (step 0)"]
    assert row(text, "lr/0") == ["0.1", "0.2"]


# Many runs


def test_with_more_than_six_runs_each_run_is_a_row() -> None:
    for number in range(7):
        record(f"attempt-{number}", {"lr": number}, losses=[number + 1])
    text = shown(trackhooks.compare("runs"))
    assert row(text, "attempt-0")[:3] == ["0", "1 (0) *", "0 (0)"]
    assert text.splitlines()[1].split()[:4] == ["run", "lr", "val/loss", "↓"]
    assert "* the best of its column" in text
    six = [f"attempt-{number}" for number in range(6)]
    assert row(shown(compared(*six)), "lr") == ["0", "1", "2", "3", "4", "5"]


@pytest.mark.parametrize("runs", [2, 6, 7, 20])
@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_a_comparison_fits_into_the_terminal(runs: int, width: int) -> None:
    for number in range(runs):
        log(f"attempt-{number}", {f"p{name}": number for name in range(10)}, loss=number, accuracy=number)
    text = shown(trackhooks.compare("runs"), width)
    assert max(map(len, text.splitlines())) <= width
    assert all(f"attempt-{number}" in text for number in range(runs))


def test_wide_characters_line_up_and_fit() -> None:
    for number in range(5):
        log(f"実験-学習率-番号-{number}", {"最適化": "確率的勾配降下法", "lr": number}, loss=number)
    for table in (trackhooks.compare("runs").table(), trackhooks.runs().table(80)):
        lines = as_text(table, 80).splitlines()
        assert max(map(cell_len, lines)) <= 80
    places = {cell_len(line[: line.index("実験")]) for line in lines if "実験" in line}
    assert places == {0}


# At the best epoch of one metric


def test_all_metrics_are_shown_at_the_best_epoch_of_one() -> None:
    record("a", losses=(0.5, 0.1, 0.3))
    record("b", losses=(0.2, 0.5, 0.9))
    comparison = compared("a", "b", at="best:val/loss")
    metrics = comparison.to_dict()["metrics"]
    assert metrics["val/loss"]["last"] == [0.1, 0.2]
    assert metrics["val/accuracy"]["last"] == [0.1, 0.0]
    assert metrics["train/loss"]["last"] == [1.1, 1.2]
    text = shown(comparison)
    assert row(text, "epoch") == ["1", "0"]
    assert row(text, "val/accuracy ↑") == ["0.1 *", "0"]
    assert "at the best val/loss" in text
    assert "best (at epoch)" not in text


def test_without_epochs_the_metrics_are_those_up_to_the_best_step() -> None:
    with trackhooks.run(name="a") as run:
        for loss, score in ((0.5, 1.0), (0.1, 2.0), (0.9, 3.0)):
            run.log(score=score)
            run.log(loss=loss)
    metrics = compared("a", at="best:loss").to_dict()["metrics"]
    assert (metrics["loss"]["last"], metrics["score"]["last"]) == ([0.1], [2.0])


def test_a_run_without_the_metric_has_no_values_at_its_best() -> None:
    record("a")
    log("b", loss=1.0)
    assert compared("a", "b", at="best:val/loss").to_dict()["metrics"]["val/loss"]["last"] == [0.2, None]


@pytest.mark.parametrize(("at", "message"), [
    ("best:val/los", r"unknown metric with a best value 'val/los'. Did you mean 'val/loss'\?"),
    ("best:", "at must be 'best:METRIC'"),
    ("val/loss", "at must be 'best:METRIC'"),
    (3, "at must be 'best:METRIC'"),
])  # fmt: skip
def test_an_unknown_moment_is_an_error_that_tells_what_is_accepted(at: Any, message: str) -> None:
    record("a")
    with pytest.raises(ValueError, match=message):
        compared("a", at=at)


# Filters


@pytest.fixture
def three(here: Path) -> None:
    """Three runs with different learning rates, tags and results."""
    record(
        "small", {"lr": 0.01, "opt": "adam", "amp": True}, LOSSES["worst"], tags=["baseline"], group="first"
    )
    record("middle", {"lr": 0.1, "opt": "sgd", "amp": False}, LOSSES["middle"], tags=["try", "baseline"])
    record("large", {"lr": "1", "opt": "sgd"}, LOSSES["best"], project="digits")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("params.lr < 0.1", "small"),
        ("lr<=0.1", "middle small"),
        ("params.lr > 0.01 and tag:baseline", "middle"),
        ("tag:base*", "middle small"),
        ("tag == try", "middle"),
        ("not tag:baseline", "large"),
        ("lr == 1", "large"),
        ("lr >= 1e-1 or name:sm*", "large middle small"),
        ("(lr == 1 or lr == .01) and opt == adam", "small"),
        ("NOT (opt:sgd AND status == finished)", "small"),
        ("not (lr < 0.1) and not lr == 1", "middle"),
        ("amp == true", "small"),
        ("amp != true", "large middle"),
        ("amp == none", "large"),
        ("best.val/loss < 0.3", "large middle"),
        ("val/loss < 0.3", "large middle"),
        ("last.val/loss < 0.3", "middle"),
        ("'val/loss' < 0.15", "large"),
        ('name = "middle"', "middle"),
        ("name:'lr *'", ""),
        ("project:digits", "large"),
        ("group == first", "small"),
        ("epochs == 3 and steps > 5", "large middle small"),
        ("created > 2020-01-31", "large middle small"),
        ("created > '2020-01-31 10:30' and created < 2021-01-01", ""),
        ("created > 2020-01-31T10:30 and name == middle", "middle"),
        ("environment.python:*.*", "large middle small"),
        ("duration < 60", "large middle small"),
        ("opt < b", "small"),
    ],
)
def test_runs_can_be_filtered(three: None, text: str, expected: str) -> None:
    names = [run.name for run in trackhooks.runs(where=text)]
    assert " ".join(names) == expected
    assert names == [run.name for run in trackhooks.runs().where(text)]
    if names:
        assert trackhooks.compare("runs", where=text).labels == names


@pytest.mark.parametrize("name", ["metrics/mAP50(B)", "iou[0]", "val_loss", "a.b-c/d"])
def test_filters_name_metrics_with_special_characters(name: str) -> None:
    log("a", **{name: 0.7})
    log("b", **{name: 0.2})
    for text in (
        f"{name} > 0.5",
        f"({name}>0.5)",
        f"'{name}' > 0.5",
        f"last.{name} > 0.5 and (best.{name} > 0)",
    ):
        assert [run.name for run in trackhooks.runs(where=text)] == ["a"], text


@pytest.mark.parametrize("name", ["lr=0.1", "a:b", "m(1)", "x<y", "two words"])
def test_filters_compare_with_values_with_special_characters(name: str) -> None:
    log("other", {"note": "none of them"}, loss=1.0)
    log("wanted", {"note": name}, loss=1.0)
    value = f"'{name}'" if " " in name else name
    for text in (f"note == {value}", f"note:{value}", f"(params.note=={value}) and loss > 0"):
        assert [run.name for run in trackhooks.runs(where=text)] == ["wanted"], text


@pytest.mark.parametrize(
    "text",
    ["", "lr", "lr <", "lr < 0.1 and", "(lr < 0.1", "lr < 0.1)", "lr < 0.1 opt:sgd", "< 3", "not", "lr ! 3",
     "created > yesterday", "tag:", "'lr < 0.1", "lr < 0.1 & lr > 0"],
)  # fmt: skip
def test_a_filter_that_cannot_be_read_is_an_error_with_examples(three: None, text: str) -> None:
    with pytest.raises(
        trackhooks.InvalidValueError, match=r"the filter .* is not valid: .* Examples: 'params.lr"
    ):
        trackhooks.compare("runs", where=text)


@pytest.mark.parametrize(("text", "nearest"), [
    ("params.lrr < 1", "params.lr"), ("best.val/los < 1", "best.val/loss"), ("statsu:failed", "status"),
    ("environment.pyton:3", "environment.python"),
])  # fmt: skip
def test_an_unknown_name_in_a_filter_suggests_the_nearest(three: None, text: str, nearest: str) -> None:
    with pytest.raises(trackhooks.UnknownNameError, match=f"Did you mean '{nearest}'"):
        trackhooks.runs(where=text)


def test_a_filter_must_be_a_string_and_leave_a_run_to_compare(three: None) -> None:
    with pytest.raises(trackhooks.InvalidValueError, match="where must be a string"):
        trackhooks.compare("runs", where=3)  # type: ignore[arg-type]
    with pytest.raises(trackhooks.InvalidValueError, match="no run matches the filter 'lr > 5'"):
        trackhooks.compare("runs", where="lr > 5")
    assert trackhooks.runs(where="lr > 5") == []


# Groups


@pytest.fixture
def seeds(here: Path) -> None:
    """Two learning rates with three seeds each."""
    for lr in (0.1, 0.2):
        for seed in (1, 2, 3):
            record(f"lr={lr}-seed={seed}", {"lr": lr, "seed": seed}, losses=(lr * seed,))


def test_runs_that_differ_only_in_the_seed_are_one_column_of_means(seeds: None) -> None:
    comparison = trackhooks.compare("runs")
    found = comparison.to_dict()
    assert comparison.labels == ["lr=0.2", "lr=0.1"]
    assert found["n"] == [3, 3]
    assert found["metrics"]["val/loss"]["best"] == pytest.approx([0.4, 0.2])
    assert found["metrics"]["val/loss"]["best_std"] == pytest.approx([0.2, 0.1])
    assert found["params"] == {"lr": [0.2, 0.1], "seed": [[3, 2, 1], [3, 2, 1]]}
    text = shown(comparison)
    assert re.split(" {2,}", text.splitlines()[0].strip()) == ["lr=0.2 (n=3)", "lr=0.1 (n=3)"]
    assert row(text, "status") == ["3 finished", "3 finished"]
    assert row(text, "val/loss ↓") == ["0.40 ± 0.20", "0.20 ± 0.10 *"]


@pytest.mark.parametrize("seed", ["seed", "random_state", "data/seed", "torch.seed", "train-seed", "SEED"])
def test_seeds_have_many_names(seed: str) -> None:
    for number in (1, 2, 3):
        log(f"run-{number}", {"lr": 0.1, seed: number}, loss=number)
    assert trackhooks.compare("runs").to_dict()["n"] == [3]


def test_two_runs_are_compared_even_if_only_their_seed_differs(seeds: None) -> None:
    comparison = compared("runs/lr=0.1-seed=1", "runs/lr=0.1-seed=2")
    assert comparison.labels == ["lr=0.1-seed=1", "lr=0.1-seed=2"]
    assert comparison.to_dict()["params"] == {"seed": [1, 2]}
    assert row(shown(comparison), "val/loss ↓") == ["0.1 (0) *", "0.2 (0)"]


def test_runs_are_grouped_only_if_nothing_but_the_seed_differs() -> None:
    log("a", {"seed": 1, "width": 8}, loss=1.0)
    log("b", {"seed": 2, "width": 16}, loss=1.0)
    log("c", {"seed": 3, "model/parameters": 5}, loss=1.0)
    log("d", {"lr": 0.1}, loss=1.0)
    log("e", {"lr": 0.1}, loss=1.0)
    assert compared("a", "b", "c", "d", "e").labels == ["a", "b", "c", "d", "e"]


def test_the_mean_of_a_group_does_not_depend_on_the_others(seeds: None) -> None:
    every = trackhooks.compare("runs").to_dict()["metrics"]["val/loss"]
    one = trackhooks.compare("runs", where="lr == 0.1").to_dict()["metrics"]["val/loss"]
    assert one["best"] == every["best"][1:]
    assert one["best_std"] == every["best_std"][1:]


def test_a_group_of_identical_values_has_no_deviation() -> None:
    for seed in range(3):
        log(f"run-{seed}", {"seed": seed}, loss=0.1)
    assert row(shown(trackhooks.compare("runs")), "loss ↓") == ["0.1 ± 0"]


def test_a_metric_that_not_all_runs_of_a_group_have_says_of_how_many_the_mean_is() -> None:
    log("run-1", {"seed": 1}, loss=1.0, score=1.0)
    log("run-2", {"seed": 2}, loss=2.0)
    log("run-3", {"seed": 3}, loss=3.0)
    text = shown(trackhooks.compare("runs"))
    assert row(text, "score ↑") == ["1 n=1"]
    assert row(text, "loss ↓") == ["2.0 ± 1.0"]


def test_nan_in_a_group_is_not_hidden_in_its_mean() -> None:
    log("run-1", {"seed": 1}, loss=1.0)
    log("run-2", {"seed": 2}, loss=math.nan)
    log("run-3", {"seed": 3}, loss=1.0)
    assert row(shown(trackhooks.compare("runs")), "loss ↓", 1) == ["nan ± nan"]


@pytest.mark.slow
def test_runs_can_be_grouped_by_parameters_and_fields(seeds: None) -> None:
    record("other", {"lr": 0.1}, group="fold")
    assert trackhooks.compare("runs", group_by="lr").labels == ["lr=0.1", "lr=0.2"]
    assert trackhooks.compare("runs", group_by="params.lr").to_dict()["n"] == [4, 3]
    assert trackhooks.compare("runs", group_by=["seed"]).labels == ["seed=none", "seed=3", "seed=2", "seed=1"]
    assert trackhooks.compare("runs", group_by="group").labels == ["group=fold", "group=none"]
    assert trackhooks.compare("runs", group_by="lr, status").labels[0] == "lr=0.1, status=finished"


@pytest.mark.parametrize("nothing", [None, "none", ""])
def test_without_groups_each_run_is_compared_by_itself(seeds: None, nothing: Any) -> None:
    comparison = trackhooks.compare("runs", group_by=nothing)
    assert comparison.to_dict()["n"] == [1] * 6
    assert comparison.labels == [run.name for run in trackhooks.runs()]


def test_wrong_groups_are_errors_that_tell_what_is_accepted(seeds: None) -> None:
    with pytest.raises(trackhooks.UnknownNameError, match="Did you mean 'seed'"):
        trackhooks.compare("runs", group_by="sead")
    with pytest.raises(trackhooks.InvalidValueError, match="group_by must be names"):
        trackhooks.compare("runs", group_by=3)  # type: ignore[arg-type]


def test_a_grouped_comparison_as_csv_has_a_row_for_each_group(seeds: None) -> None:
    rows = list(csv.DictReader(io.StringIO(trackhooks.compare("runs").to_csv())))
    assert [(line["name"], line["n"], line["param/seed"]) for line in rows] == [
        ("lr=0.2", "3", "3, 2, 1"),
        ("lr=0.1", "3", "3, 2, 1"),
    ]
    assert float(rows[1]["best_std/val/loss"]) == pytest.approx(0.1)


# A baseline


def test_the_baseline_comes_first_and_the_others_show_their_difference_in_per_cent(three: None) -> None:
    comparison = compared(baseline="middle")
    text = shown(comparison)
    assert comparison.labels == ["middle", "large", "small"]
    assert "middle (baseline)" in text
    assert row(text, "val/loss ↓") == ["0.2 (2)", "0.1 (1) −50% *", "0.7 (2) +250%"]
    assert comparison.to_dict()["metrics"]["val/loss"]["best_change"] == pytest.approx([None, -50, 250])


def test_a_baseline_that_is_not_among_the_runs_is_added(three: None) -> None:
    assert compared("large", baseline="runs/small").labels == ["small", "large"]
    assert trackhooks.compare("runs", where="lr == 1", baseline="small").labels == ["small", "large"]


def test_a_group_can_be_the_baseline(seeds: None) -> None:
    comparison = trackhooks.compare("runs", baseline="lr=0.1-seed=2")
    assert "lr=0.1 (n=3, baseline)" in shown(comparison)
    assert comparison.labels == ["lr=0.1", "lr=0.2"]
    assert row(shown(comparison), "val/loss ↓") == ["0.20 ± 0.10 *", "0.40 ± 0.20 +100%"]


def test_without_a_number_to_compare_with_there_are_no_per_cent() -> None:
    log("zero", loss=0.0, score=math.nan)
    log("one", loss=1.0, score=1.0)
    assert row(shown(compared("one", baseline="zero")), "loss ↓", 1) == ["0 *", "1"]
    assert "%" not in shown(compared("one", baseline="zero"))


def test_a_baseline_must_be_one_run_that_exists(three: None) -> None:
    with pytest.raises(
        trackhooks.InvalidValueError, match="the baseline must be one run, but runs contains 3"
    ):
        compared(baseline="runs")
    with pytest.raises(trackhooks.UnknownNameError, match="Did you mean 'small'"):
        compared(baseline="smal")


# DataFrames


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_runs_and_comparisons_convert_to_data_frames(three: None, kind: str) -> None:
    for table in (trackhooks.runs(), trackhooks.compare("runs")):
        frame = getattr(table, f"to_{kind}")()
        assert frame["name"].to_list() == ["large", "middle", "small"]
        assert frame["best/val/loss"].to_list() == [0.1, 0.2, 0.7]
        assert frame["created"][0].year >= 2026
        assert list(map(str, frame["param/lr"].to_list())) == ["1", "0.1", "0.01"]


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_data_frames_hold_missing_and_odd_values(kind: str) -> None:
    log("a", {"mixed": 1, "big": 2**80, "number": 1, "flag": True}, loss=math.nan)
    log("b", {"mixed": "x", "number": 0.5, "flag": None})
    frame = getattr(trackhooks.runs(), f"to_{kind}")()
    assert len(frame) == 2
    assert [str(value) for value in frame["param/mixed"].to_list()] == ["x", "1"]
    assert str(frame["param/big"].to_list()[1]) == str(2**80)
    assert frame["param/number"].to_list() == [0.5, 1.0]


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_without_runs_a_data_frame_is_empty(kind: str) -> None:
    assert len(getattr(trackhooks.runs(), f"to_{kind}")()) == 0


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_a_missing_package_is_an_error_with_the_command_that_installs_it(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log("a", loss=1.0)
    monkeypatch.setitem(__import__("sys").modules, kind, None)
    with pytest.raises(trackhooks.MissingPackageError, match=f"pip install {kind}"):
        getattr(trackhooks.compare("a"), f"to_{kind}")()
