"""The ranks of a run are read together: values per rank, over all ranks, and the rank that the others wait for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

import trackhooks
from trackhooks.cli.main import main
from trackhooks.event import Event, RunInfo
from trackhooks.reading.ranks import Slowest
from trackhooks.storage.journal import SYSTEM, Writer
from trackhooks.storage.rank_folders import path_of
from trackhooks.storage.run_folder import write_info

Value = Callable[[int, int], float]
"""The loss of a rank at a step."""


def made(
    run: Path, ranks: int = 2, *, loss: Value = lambda rank, step: 10.0 * rank + step,
    between: Value = lambda rank, step: 0.001, length: Value = lambda rank, step: 0.1, steps: int = 5, size: int = 0,
) -> Path:  # fmt: skip
    """Write a run of several ranks with the given losses and times in seconds."""
    for rank in range(ranks):
        folder = path_of(run, rank)
        folder.mkdir(parents=True)
        write_info(
            folder, RunInfo(f"id-{rank}", f"rank{rank}", status="finished", world_size=size, host="node")
        )
        events = [Event("on_train_epoch_start", 0, 99.0, epoch=0)]
        end = 100.0
        for step in range(steps):
            start, end = end + between(rank, step), end + length(rank, step)
            events.append(Event("on_train_batch_start", len(events), start, step - 1, 0))
            metrics = {"train_batch/loss": loss(rank, step)}
            events.append(Event("on_train_batch_end", len(events), end, step, 0, step, metrics))
        events.append(
            Event("on_fit_epoch_end", len(events), end, steps - 1, 0, metrics={"val/loss": 1.0 + rank})
        )
        events.append(Event("log", len(events), end, steps - 1, 0, status="finished"))
        writer = Writer(folder)
        for event in events:
            writer.append(event)
        writer.close()
    return run


# Values


def test_a_history_is_that_of_rank_zero_unless_another_one_is_asked_for(tmp_path: Path) -> None:
    run = made(tmp_path / "a")
    assert list(trackhooks.history(run)["train_batch/loss"]) == [0, 1, 2, 3, 4]
    assert list(trackhooks.history(run, rank=0)["train_batch/loss"]) == [0, 1, 2, 3, 4]
    assert list(trackhooks.history(run, rank=1)["train_batch/loss"]) == [10, 11, 12, 13, 14]


def test_the_points_of_all_ranks_have_a_column_with_the_rank(tmp_path: Path) -> None:
    found = trackhooks.history(made(tmp_path / "a"), "val/loss", rank="all")
    assert (list(found["rank"]), list(found["val/loss"])) == ([0, 1], [1.0, 2.0])
    assert "run" not in found
    exact = trackhooks.history(made(tmp_path / "b"), "train_batch/loss", rank="all", form="long")
    assert (list(exact["rank"]), len(exact["value"])) == ([0] * 5 + [1] * 5, 10)


@pytest.mark.parametrize(
    ("how", "expected"), [("min", [0, 1, 2]), ("mean", [10, 11, 12]), ("max", [20, 21, 22])]
)
def test_values_are_combined_at_each_step(tmp_path: Path, how: str, expected: list[float]) -> None:
    found = trackhooks.history(made(tmp_path / "a", 3, steps=3), rank=how)  # type: ignore[arg-type]
    assert list(found["train_batch/loss"]) == expected
    assert list(found["step"]) == [0, 1, 2]
    assert found["val/loss"][-1] == {"min": 1.0, "mean": 2.0, "max": 3.0}[how]


def test_ranks_with_different_steps_are_combined_at_each_epoch(tmp_path: Path) -> None:
    made(tmp_path / "a", 1, steps=3)
    made(tmp_path / "b", 2, steps=5)
    path_of(tmp_path / "b", 1).rename(tmp_path / "rank1")
    (tmp_path / "a" / "ranks").mkdir()
    (tmp_path / "rank1").rename(path_of(tmp_path / "a", 1))
    assert list(trackhooks.history(tmp_path / "a", "val/loss", rank="mean")["val/loss"]) == [1.0, 2.0]
    assert list(trackhooks.history(tmp_path / "a", "val/loss", rank="mean", over="epoch")["val/loss"]) == [
        1.5
    ]


def test_of_a_step_that_was_trained_again_the_last_value_counts(tmp_path: Path) -> None:
    run = made(tmp_path / "a", steps=2)
    writer = Writer(path_of(run, 1))
    writer.append(Event("on_train_batch_end", 20, 200.0, 1, 0, 1, {"train_batch/loss": 100.0}))
    writer.close()
    assert list(trackhooks.history(run, "train_batch/loss", rank="max")["train_batch/loss"]) == [10.0, 100.0]


def test_a_nan_on_one_rank_is_seen(tmp_path: Path) -> None:
    run = made(tmp_path / "a", loss=lambda rank, step: math.nan if (rank, step) == (1, 2) else 1.0)
    for how in ("min", "mean", "max"):
        losses = trackhooks.history(run, rank=how)["train_batch/loss"]
        assert [math.isnan(loss) for loss in losses] == [False, False, True, False, False]


def test_several_runs_are_told_apart(tmp_path: Path) -> None:
    found = trackhooks.history([made(tmp_path / "a"), made(tmp_path / "b", 1)], "val/loss", rank="all")
    assert list(found["rank"]) == [0, 1, 0]
    assert len(set(found["run"])) == 2


def test_what_is_not_a_rank_is_refused(tmp_path: Path) -> None:
    run = made(tmp_path / "a")
    with pytest.raises(
        trackhooks.InvalidValueError, match=r"no records of rank 7. Ranks that recorded: 0, 1"
    ):
        trackhooks.history(run, rank=7)
    with pytest.raises(
        trackhooks.InvalidValueError, match="rank must be a number or one of all, min, mean, max"
    ):
        trackhooks.history(run, rank="median")  # type: ignore[arg-type]
    with pytest.raises(trackhooks.InvalidValueError, match="rank must be a whole number"):
        trackhooks.history(run, rank=1.5)  # type: ignore[arg-type]
    with pytest.raises(trackhooks.InvalidValueError, match="over='time' has neither"):
        trackhooks.history(run, rank="mean", over="time")


# The ranks next to each other


def test_the_rank_that_loads_its_data_slowly_is_named(tmp_path: Path) -> None:
    """All ranks end a step together, because each waits for the others when the gradients are averaged."""
    run = made(tmp_path / "a", 4, between=lambda rank, step: 0.04 if rank == 2 else 0.001)
    found = trackhooks.ranks(run)
    assert found.slowest == Slowest(
        2, "It needs 40 ms between two steps, the other ranks 1 ms: they wait for it."
    )
    assert "Slowest: rank 2. It needs 40 ms" in str(found)


def test_the_rank_whose_steps_take_longer_is_named_if_they_do_not_wait_for_each_other(tmp_path: Path) -> None:
    found = trackhooks.ranks(made(tmp_path / "a", 3, length=lambda rank, step: 0.2 if rank == 1 else 0.1))
    assert found.slowest == Slowest(1, "A step takes 200 ms, on the other ranks 100 ms.")


def test_no_rank_is_blamed_without_a_reason(tmp_path: Path) -> None:
    assert trackhooks.ranks(made(tmp_path / "a")).slowest is None
    assert "no rank stands out" in str(trackhooks.ranks(tmp_path / "a"))
    assert trackhooks.ranks(made(tmp_path / "b", steps=2)).slowest is None
    assert "Slowest" not in str(trackhooks.ranks(tmp_path / "b"))


def test_the_time_of_a_validation_is_not_that_of_a_step(tmp_path: Path) -> None:
    run = made(tmp_path / "a", 1)
    writer = Writer(run)
    for index, (hook, time) in enumerate(
        [("on_train_epoch_start", 500.0), ("on_train_batch_start", 900.0), ("on_train_batch_end", 901.0)]
    ):
        writer.append(Event(hook, 20 + index, time, 5, 1))
    writer.close()
    (found,) = trackhooks.ranks(run)
    assert found.times is not None
    assert found.times.step == pytest.approx(0.1)


def test_the_measurements_of_each_rank_are_shown(tmp_path: Path) -> None:
    run = made(tmp_path / "a")
    for rank in (0, 1):
        writer = Writer(path_of(run, rank), SYSTEM)
        for number, percent in enumerate((10.0, 50.0 + rank, 90.0)):
            metrics = {"system/cpu_percent": percent, "system/memory_mib": 1000.0}
            writer.append(Event("log", number, 100.0 + number, number, metrics=metrics))
        writer.close()
    assert [rank.system["system/cpu_percent"] for rank in trackhooks.ranks(run)] == [50.0, 51.0]
    assert "51%  1.0 GB" in str(trackhooks.ranks(run))


def test_a_run_of_one_process_has_one_rank(run: trackhooks.Run) -> None:
    run.log(loss=1.0)
    assert [found.rank for found in trackhooks.ranks(run)] == [0]


def test_several_runs_are_refused(tmp_path: Path) -> None:
    made(tmp_path / "a")
    made(tmp_path / "b")
    with pytest.raises(trackhooks.InvalidValueError, match="one run is needed, and there are 2"):
        trackhooks.ranks(tmp_path)


def test_the_command_prints_the_table_or_json(tmp_path: Path) -> None:
    run = made(tmp_path / "a", size=3, between=lambda rank, step: 0.05 * rank)
    printed = CliRunner().invoke(main, ["ranks", str(run)])
    assert printed.exit_code == 0
    assert printed.stdout.splitlines()[-2:] == [
        "Slowest: rank 1. It needs 50 ms between two steps, the other ranks 0 ms: they wait for it.",
        "Without records: 2 of 3 ranks",
    ]
    found = json.loads(CliRunner().invoke(main, ["ranks", str(run), "--json"]).stdout)
    assert (found["missing"], found["slowest"]["rank"]) == ([2], 1)
    assert [rank["metrics"]["val/loss"]["last"] for rank in found["ranks"]] == [1.0, 2.0]
