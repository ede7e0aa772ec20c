"""A signal handler that logs in a run interrupts any line of the recording."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

import trackhooks
from trackhooks import journal
from trackhooks.testing.tracker_promises.metrics import interrupted


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this platform has no timer signals")
def test_every_record_has_its_own_index_and_step_and_every_file_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("cat")

    def aside() -> None:
        run.log(aside=1.0)
        run.log_file(tmp_path / "labels.txt")

    with trackhooks.run(dir=tmp_path, delivery="off") as run, interrupted(aside):
        for _ in range(5000):
            run.log(loss=1.0)
    events = list(journal.read(run.path))
    assert sorted(event.index for event in events) == list(range(len(events)))
    assert sorted(event.step for event in events if event.metrics) == list(
        range(sum(bool(event.metrics) for event in events))
    )
    assert any("aside" in event.metrics for event in events)
