"""Promises about the status of a run."""

from __future__ import annotations

from typing import Final

import pytest

from ..sample_runs import TrialPruned, train
from ..trial import Trial, plain
from .suite import TrackerSuite, needs

ENDS: Final = (
    pytest.param(None, "finished", id="return"),
    pytest.param(ValueError("no"), "failed", id="exception"),
    pytest.param(SystemExit(3), "failed", id="sys.exit"),
    pytest.param(KeyboardInterrupt(), "killed", id="Ctrl-C"),
)


class StatusPromises(TrackerSuite):
    @needs("status")
    @pytest.mark.parametrize(("error", "status"), ENDS)
    def test_a_run_has_the_status_with_which_it_ended(
        self, trial: Trial, error: BaseException | None, status: str
    ) -> None:
        def end() -> None:
            with trial.record() as run:
                train(run, epochs=1)
                if error is not None:
                    raise error

        if error is None:
            end()
        else:
            with pytest.raises(type(error)):
                end()
        assert trial.delivered(trial.home / "run").status == status

    @needs("status")
    def test_a_run_that_was_lost_is_lost_or_killed(self, trial: Trial) -> None:
        run = trial.record()
        train(run, epochs=1)
        run.close("lost", "nothing was heard of it any more")
        assert trial.delivered(run.path).status in ("lost", "killed")

    @needs("status")
    def test_a_trial_that_was_pruned_is_pruned_or_killed(self, trial: Trial) -> None:
        def end() -> None:
            with trial.record() as run:
                train(run, epochs=1)
                raise TrialPruned

        with pytest.raises(TrialPruned):
            end()
        assert trial.delivered(trial.home / "run").status in ("pruned", "killed")

    @needs("status", "params")
    @pytest.mark.parametrize("params", [{}, {"lr": 0.5}], ids=["nothing", "parameters"])
    def test_a_run_without_metrics_has_its_status(self, trial: Trial, params: dict[str, float]) -> None:
        with trial.record(params=params) as run:
            pass
        seen = trial.delivered(run.path)
        assert (seen.status, seen.params, seen.metrics) == ("finished", plain(params), {})
