"""Promises about parameters and facts: types, odd names, number and length, later values."""

from __future__ import annotations

from typing import Any

from ..sample_runs import ODD_NAMES, PARAMS, RECORDED_PARAMS
from ..trial import Trial, plain
from .suite import TrackerSuite, needs


class ParamPromises(TrackerSuite):
    @needs("params")
    def test_parameters_of_every_type_are_kept(self, trial: Trial) -> None:
        with trial.record(params=PARAMS) as run:
            run.log(loss=1.0)
        assert trial.delivered(run.path).params == plain(RECORDED_PARAMS)

    @needs("params")
    def test_parameters_with_odd_names_are_kept_or_called_as_the_rule_says(self, trial: Trial) -> None:
        params = {name: position for position, name in enumerate(ODD_NAMES)}
        with trial.record(params=params) as run:
            run.log(loss=1.0)
        assert trial.delivered(run.path).params == plain(params)

    @needs("params")
    def test_a_thousand_parameters_and_long_ones_are_kept(self, trial: Trial) -> None:
        params = {f"layer{number}": number for number in range(1000)} | {"prompt": "long " * 4000}
        with trial.record(params=params) as run:
            run.log(loss=1.0)
        assert trial.delivered(run.path).params == plain(params)

    def test_secrets_do_not_reach_the_backend(self, trial: Trial) -> None:
        secret = "hunter2-hunter2"
        options: dict[str, Any] = {
            "tags": [f"token={secret}"],
            "notes": f"lr: 0.1\npassword: {secret}",
            "group": f"pwd={secret}",
        }
        with trial.record(params={"api_key": secret, "url": f"http://me:{secret}@host"}, **options) as run:
            run.log({f"password={secret}": 1.0})
            run.log_text(f"token={secret}", f"login(password='{secret}')")
            run.log_table("users", [["ann", secret]], columns=["user", "password"])
            run.close("failed", f"password: {secret}")
        assert secret not in repr(trial.delivered(run.path))

    @needs("params")
    def test_the_later_value_of_a_parameter_counts(self, trial: Trial) -> None:
        with trial.record(params={"lr": 0.5, "layers": 3}) as run:
            run.log(loss=1.0)
        trial.deliver(run.path)
        with trial.record(resume=run.path, params={"lr": 0.25}):
            pass
        assert trial.delivered(run.path).params == plain({"lr": 0.25, "layers": 3})

    @needs("facts")
    def test_what_was_found_out_is_kept_apart_from_the_parameters(self, trial: Trial) -> None:
        odd = {name: position for position, name in enumerate(ODD_NAMES)}
        facts = {**RECORDED_PARAMS, **odd, "long": "long " * 4000}
        with trial.record(params={"lr": 0.5}) as run:
            run.run_callbacks("on_pretrain_routine_end", facts={"layers": 3, "model/parameters": 1})
            run.log(loss=1.0)
            run.run_callbacks("on_pretrain_routine_end", facts={**facts, "model/parameters": 13})
        seen = trial.delivered(run.path)
        expected = plain({**facts, "layers": 3, "model/parameters": 13})
        assert {name: seen.facts.get(name) for name in expected} == expected
        assert seen.params == plain({"lr": 0.5}) or "params" in self.cannot

    @needs("params")
    def test_parameters_that_have_the_default_of_the_framework_are_kept(self, trial: Trial) -> None:
        with trial.record() as run:
            run.run_callbacks("on_pretrain_routine_start", params={"lr": 0.5, "eps": 0.25}, defaults=["eps"])
            run.log(loss=1.0)
        assert trial.delivered(run.path).params == plain({"lr": 0.5, "eps": 0.25})
