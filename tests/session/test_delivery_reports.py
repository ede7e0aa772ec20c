"""The training shows that a tracker fails, wherever it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import trackhooks
from trackhooks.delivery.cursor import cursors
from trackhooks.tracker import Tracker

DEADLINE_S = 120


class Unmakeable(Tracker):
    """Has no destination, as a client whose account is invalid."""

    @property
    def destination(self) -> str:
        raise ConnectionRefusedError("not today")

    def explain(self, error: BaseException) -> str:
        return f"the bank is closed\n{error}"


def batches(run: trackhooks.Run) -> None:
    for _ in run.epochs(1):
        for step in run.train(range(10**9)):
            run.log(loss=float(step))


def records(run: trackhooks.Run) -> None:
    while True:
        run.log(loss=1.0)


def texts(run: trackhooks.Run) -> None:
    while True:
        run.log_text("note", "again")


@pytest.mark.slow
@pytest.mark.parametrize("loop", [batches, records, texts])
def test_a_tracker_that_cannot_be_opened_is_reported_in_any_loop(
    tmp_path: Path, loop: Callable[[trackhooks.Run], None]
) -> None:
    options: dict[str, Any] = {"dir": tmp_path, "delivery": "inline", "system": None}
    run = trackhooks.run(Unmakeable(), **options)
    with pytest.raises(
        trackhooks.TrackhooksWarning, match=r"^unmakeable: the bank is closed\. Delivery of run"
    ):
        loop(run)
    (cursor,) = cursors(run.path, "unmakeable")
    assert (cursor.tracker, cursor.error) == ("unmakeable", "the bank is closed")
    run.close()


def test_a_tracker_that_could_not_be_opened_at_first_leaves_no_error_behind(tmp_path: Path) -> None:
    class Later(Unmakeable):
        opens = False

        @property
        def destination(self) -> str:
            return "a bank" if self.opens else super().destination

    tracker = Later()
    run = trackhooks.run(tracker, dir=tmp_path, delivery="inline", system=None)
    until(lambda: any(cursor.failures for cursor in cursors(run.path)))
    Later.opens = True
    run.close()
    assert run.wait(DEADLINE_S)
    assert [(cursor.destination, cursor.error) for cursor in cursors(run.path, "later")] == [("a bank", None)]


def until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.05)
