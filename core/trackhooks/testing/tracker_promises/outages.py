"""Promises about exactly-once delivery when a delivery is repeated or fails."""

from __future__ import annotations

from contextlib import suppress

import pytest

from ..sample_runs import everything, log_everything
from ..trial import INTERRUPTIONS, Interruption, Trial
from .suite import TrackerSuite


class OutagePromises(TrackerSuite):
    def test_delivered_and_closed_twice_is_delivered_once(self, trial: Trial) -> None:
        with trial.record() as run:
            log_everything(run)
            run.close()
            run.close()
        for _ in range(2):
            trial.deliver(run.path)
            self.assert_all_once(trial.read(run.path), everything(1))

    @pytest.mark.parametrize(
        "error",
        [
            ConnectionError("refused\nby the peer"),
            OSError(28, "No space left on device"),
            KeyError(),
            SystemExit(1),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_a_failure_is_explained_in_one_plain_line(self, trial: Trial, error: BaseException) -> None:
        tracker = trial.spec.make()
        reason = tracker.explain(error)
        assert reason.strip()
        assert len(reason.splitlines()) == 1

    @pytest.mark.parametrize("at", INTERRUPTIONS, ids=str)
    def test_after_an_outage_everything_is_there_once(self, trial: Trial, at: Interruption) -> None:
        def fail() -> None:
            raise ConnectionError("the backend is down")

        with trial.record() as run:
            log_everything(run)
        with pytest.raises(ConnectionError):
            trial.interrupt(run.path, at, fail)
        with suppress(ConnectionError):  # the cursor may have come so far that less than this is left
            trial.interrupt(run.path, at, fail)
        self.assert_all_once(trial.delivered(run.path), everything(1))
