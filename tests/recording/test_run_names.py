"""The name of a run that is given parameters and no name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import trackhooks


def name_of(folder: Path, **params: Any) -> str:
    with trackhooks.run(dir=folder, delivery="off", params=params) as run:
        return run.name


def test_it_is_made_of_the_parameters(tmp_path: Path) -> None:
    assert name_of(tmp_path, lr=0.1, batch=32) == "lr=0.1-batch=32"


@pytest.mark.slow
def test_it_says_what_differs_from_the_newest_run(tmp_path: Path) -> None:
    name_of(tmp_path, lr=0.1, batch=32, net={"units": 64}, epochs=3)
    assert name_of(tmp_path, lr=0.1, batch=32, net={"units": 128}, epochs=3) == "units=128"
    assert name_of(tmp_path, lr=0.01, batch=32, net={"units": 128}, epochs=3, new=True) == "lr=0.01-new=True"


def test_runs_with_the_same_parameters_are_numbered(tmp_path: Path) -> None:
    assert [name_of(tmp_path, lr=0.1, seed=seed) for seed in range(3)] == ["lr=0.1", "lr=0.1-2", "lr=0.1-3"]


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"lr": 1e-5, "decay": 0.123456}, "lr=1e-05-decay=0.1235"),
        ({"a/lr": 0.1, "b/lr": 0.2}, "a.lr=0.1-b.lr=0.2"),
        ({"optimizer": "a very long name of an optimizer"}, "optimizer=a very long "),
        ({"one": 1, "two": 2, "three": 3, "four": 4}, "one=1-two=2-three=3"),
        ({"x" * 100: 1}, "x" * 40),
        ({"lr": 0.1, "some_long_name_of_a_parameter": 123456, "batch": 3}, "lr=0.1"),
        ({"nesterov": False, "note": "a\nb", "path": "here", "data": "/tmp/x", "none": None}, "nesterov=False"),
    ],
    ids=str,
)  # fmt: skip
def test_it_is_short_and_every_value_is_readable(tmp_path: Path, params: dict[str, Any], name: str) -> None:
    assert name_of(tmp_path, **params) == name.strip()


@pytest.mark.parametrize("params", [{}, {"seed": 3}, {"api_key": "sk-123"}, {"data": "/tmp/x"}], ids=str)
def test_without_a_telling_parameter_it_is_invented(tmp_path: Path, params: dict[str, Any]) -> None:
    assert name_of(tmp_path, **params).count("-") == 2
    assert "=" not in name_of(tmp_path, **params)


def test_a_given_name_is_kept(tmp_path: Path) -> None:
    with trackhooks.run(dir=tmp_path, delivery="off", name="mine", params={"lr": 0.1}) as run:
        assert run.name == "mine"


@pytest.mark.parametrize("content", [b"", b"nonsense", None], ids=["empty", "damaged", "missing"])
def test_whatever_lies_in_the_directory_does_not_matter(tmp_path: Path, content: bytes | None) -> None:
    name_of(tmp_path, lr=0.1)
    journal = tmp_path / "lr=0.1" / "journal"
    journal.unlink() if content is None else journal.write_bytes(content)
    assert name_of(tmp_path, lr=0.1) == "lr=0.1-2"
