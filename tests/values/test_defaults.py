"""What a user set, what a framework filled in, and what repeats a parameter of the user."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trackhooks.values.defaults import at_default, told_apart


def test_what_the_constructor_fills_in_is_a_default_and_what_was_passed_is_not() -> None:
    optimizer = torch.optim.AdamW([torch.zeros(1)], betas=(0.5, 0.9))
    found = at_default(type(optimizer), optimizer.defaults)
    assert {"eps", "weight_decay", "amsgrad"} <= set(found)
    assert "betas" not in found


def test_the_learning_rate_never_counts_as_a_default() -> None:
    assert at_default(torch.optim.SGD, {"lr": 0.001, "momentum": 0}) == ["momentum"]


def test_what_the_constructor_cannot_be_passed_is_a_default() -> None:
    class Closed:
        def __init__(self, lr: float) -> None:
            pass

    class Open:
        def __init__(self, lr: float, **more: Any) -> None:
            pass

    assert at_default(Closed, {"decoupled": True}) == ["decoupled"]
    assert at_default(Open, {"decoupled": True}) == []


@pytest.mark.parametrize("kind", [int, object, type("Odd", (), {"__signature__": 3})], ids=str)
def test_a_class_without_a_readable_constructor_has_no_surprises(kind: Any) -> None:
    assert isinstance(at_default(kind, {"a": 1}), list)


@pytest.mark.parametrize(
    "given",
    [{"lr": 0.5}, {"learning_rate": 0.5}, {"lr0": 0.5}, {"hparams": {"lr": 0.5}}, {"optim.lr": 0.5}],
    ids=str,
)
def test_a_setting_of_the_optimizer_that_repeats_a_parameter_is_a_fact(given: dict[str, Any]) -> None:
    settings = {"optimizer/lr": 0.5, "optimizer/eps": 1e-8, "epochs": 3}
    assert told_apart(settings, given, ["optimizer/eps"]) == {
        "params": {"optimizer/eps": 1e-8, "epochs": 3},
        "defaults": ["optimizer/eps"],
        "facts": {"optimizer/lr": 0.5},
    }


@pytest.mark.parametrize("given", [{}, {"lr": 0.25}, {"lr": "0.5"}, {"lr": None}, {"rate": 0.5}], ids=str)
def test_a_setting_that_says_something_else_is_a_parameter(given: dict[str, Any]) -> None:
    assert told_apart({"optimizer/lr": 0.5}, given, [])["params"] == {"optimizer/lr": 0.5}
