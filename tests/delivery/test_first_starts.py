"""Trackers start for the first time one after the other, and one whose client is stuck gets a new process."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import lines
import pytest

import trackhooks
from trackhooks.delivery.cursor import cursors

DEADLINE_S = 120


@pytest.mark.slow
@pytest.mark.parametrize("delivery", ["process", "inline"])
def test_trackers_start_for_the_first_time_one_after_the_other(
    tmp_path: Path, delivery: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trackhooks.delivery import first_starts

    monkeypatch.setattr(first_starts.first_starts, "_started", set())
    names = ["starters:Alone", "starters:Other", "starters:Requiring"]
    with trackhooks.run(*names, dir=tmp_path, delivery=delivery, system=None) as run:
        run.log(loss=1.0)
    assert run.wait(DEADLINE_S)
    starts = (run.path / "starts").read_text().splitlines()
    assert sorted(starts) == ["alone alone", "other alone", "requiring alone"]


@pytest.mark.parametrize(("delivery", "while_it_starts"), [("process", False), ("inline", True)])
def test_the_delivery_process_imports_a_backend_without_what_its_tracker_does_not_need(
    tmp_path: Path, delivery: str, while_it_starts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "modulefinder", raising=False)
    with trackhooks.run("starters:Sparing", dir=tmp_path, delivery=delivery, system=None) as run:
        run.log(loss=1.0)
    assert run.wait(DEADLINE_S)
    assert (run.path / "starts").read_text().splitlines() == [f"start {while_it_starts}", "later True"]


@pytest.mark.slow
def test_a_tracker_whose_client_is_stuck_continues_in_a_new_process_and_the_others_where_they_are(
    tmp_path: Path,
) -> None:
    runs = []
    for _ in range(2):
        with trackhooks.run("starters:Stuck", "csv", dir=tmp_path, system=None) as run:
            for step in range(5):
                run.log(loss=1.0, step=step)
        runs.append(run)
    for run in runs:
        assert run.wait(DEADLINE_S)
        assert lines.steps(run.path) == list(range(5))
        assert [line["finish"] for line in lines.read(run.path) if "finish" in line] == ["finished"]
        assert (run.path / "metrics.csv").read_text().count("\n") == 6
    started = [set((run.path / "starts").read_text().split()) for run in runs]
    assert len(started[0] | started[1]) == 2  # one new process for both runs
    assert str(os.getpid()) not in started[0]


@pytest.mark.slow
def test_a_tracker_that_starts_in_no_process_is_reported_and_the_others_are_delivered(tmp_path: Path) -> None:
    run = trackhooks.run("starters:NeverStarts", "csv", dir=tmp_path, system=None)
    with pytest.warns(trackhooks.TrackhooksWarning, match="'Client' object has no attribute 'connect'"):
        log_until(run, lambda: len(set(starts(run.path))) == 2 and len(starts(run.path)) > 6)
    run.close()
    assert not run.wait(1)
    assert len(set(starts(run.path))) == 2
    assert [cursor.status for cursor in cursors(run.path, "csv")] == ["finished"]
    shutil.rmtree(run.path)  # so that the processes give up


def log_until(run: trackhooks.Run, reached: Callable[[], bool]) -> None:
    while not reached():
        run.log(loss=1.0)
        time.sleep(0.1)


def starts(run: Path) -> list[str]:
    path = run / "starts"
    return path.read_text().split() if path.exists() else []
