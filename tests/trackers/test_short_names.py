"""The names that the backends get: these must not change, because earlier runs have them."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from trackhooks_integrations._shared.short_names import NameRule
from trackhooks_integrations.trackers.csv.tracker import _table_file
from trackhooks_integrations.trackers.mlflow.names import experiment_name, legal
from trackhooks_integrations.trackers.wandb.names import as_artifact, as_path


def as_checkpoint(path: str) -> str:
    return as_artifact("id", path, "model")


def as_export(path: str) -> str:
    return as_artifact("id", path, "export")


@pytest.mark.parametrize(
    ("rule", "name", "expected"),
    [
        (legal, "train/loss", "train/loss"),
        (legal, "metrics/mAP50(B)", "metrics/mAP50_B_"),
        (legal, "größe", "größe"),
        (legal, "a/../b", "a/_/b"),
        (legal, "", "_"),
        (legal, "a" * 250, "a" * 250),
        (legal, "a" * 251, "a" * 241 + "-eb813b94"),
        (legal, "é" * 251, "é" * 241 + "-9734a66f"),
        (legal, "(" * 251, "_" * 241 + "-ee74c0d3"),
        (experiment_name, "a: b (1)", "a: b (1)"),
        (experiment_name, "a" * 251, "a" * 241 + "-eb813b94"),
        (as_path, "train/loss", "train/loss"),
        (as_path, "a/../b", "a/_/b"),
        (as_path, "step", "logged/step"),
        (as_path, "é" * 50, "é" * 50),
        (as_path, "é" * 61, "é" * 45 + "-d3ef10c4"),
        (as_checkpoint, "/tmp/last.pt", "run-id-last.pt"),
        (as_checkpoint, "/tmp/größe.pt", "run-id-gr--e.pt-3e0563c5"),
        (as_checkpoint, "a" * 121, "run-id-" + "a" * 121),
        (as_checkpoint, "a" * 128, "run-id-" + "a" * 112 + "-ff289e24"),
        (as_export, "/tmp/last.onnx", "run-id-export-last.onnx"),
        (_table_file, "lr=0.1", "lr=0.1"),
        (_table_file, "a/b", "a-b-07f4401c"),
        (_table_file, "", "run-00000000"),
        (_table_file, "a" * 120, "a" * 120),
        (_table_file, "a" * 121, "a" * 120 + "-00d6f204"),
        (_table_file, "é" * 61, "é" * 60 + "-d3ef10c4"),
    ],
)
def test_a_name_is_changed_only_as_the_backend_requires(
    rule: Callable[[str], str], name: str, expected: str
) -> None:
    assert rule(name) == expected


RULES = [
    NameRule(40),
    NameRule(40, in_bytes=True),
    NameRule(40, forbidden=r"[^\w\-.:/ ]", is_path=True),
    NameRule(40, forbidden=r"(?a)[^\w.-]", substitute="-", mark_changes=True),
]


def odd_names(count: int) -> list[str]:
    letters = "ab/.é漢🙂\0 (-_"
    chosen = random.Random(7)
    return ["".join(chosen.choices(letters, k=chosen.randint(0, 90))) for _ in range(count)]


@pytest.mark.parametrize("rule", RULES)
def test_every_name_fits_and_two_long_names_remain_two(rule: NameRule) -> None:
    names = set(odd_names(2000))
    short = {name: rule.apply(name) for name in names}
    assert all(len(found.encode() if rule.in_bytes else found) <= rule.longest for found in short.values())
    changed = [found for name, found in short.items() if rule.mark_changes or len(name) > rule.longest]
    assert len(set(changed)) == len(changed)


@pytest.mark.parametrize("rule", RULES)
def test_a_name_that_fits_and_has_only_allowed_characters_is_not_changed(rule: NameRule) -> None:
    assert rule.apply("model_1.v-2") == "model_1.v-2"
