"""A custom loop records what is known about its loaders, once."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader, TensorDataset

import trackhooks
from trackhooks.event import Event
from trackhooks.storage import journal


def loader(count: int, batch_size: int = 4) -> DataLoader[tuple[torch.Tensor, ...]]:
    return DataLoader(TensorDataset(torch.arange(count)), batch_size=batch_size)


def described(run: trackhooks.Run) -> list[Event]:
    return [event for event in journal.read(run.path) if event.facts]


def test_each_loader_is_described_once(run: trackhooks.Run) -> None:
    train, val = loader(12), loader(8)
    for _ in run.epochs(2):
        for _ in run.train(train):
            pass
        for _ in run.validate(val):
            pass
    first, second = described(run)
    assert {name: value for name, value in first.facts.items() if "fingerprint" not in name} == {
        "data/train": "TensorDataset", "data/train/samples": 12, "data/train/batch_size": 4,
    }  # fmt: skip
    assert second.facts["data/val/samples"] == 8


def test_a_loader_that_is_made_anew_each_epoch_is_recorded_only_if_it_differs(run: trackhooks.Run) -> None:
    for epoch in run.epochs(4):
        for _ in run.train(loader(12, batch_size=4 if epoch < 2 else 6)):
            pass
    assert [event.facts["data/train/batch_size"] for event in described(run)] == [4, 6]


def test_other_iterables_are_not_described(run: trackhooks.Run) -> None:
    for _ in run.epochs(1):
        for _ in run.train(range(3)):
            pass
        for _ in run.validate(iter([1, 2])):
            pass
    assert described(run) == []


def test_an_evaluation_outside_of_a_training_is_that_of_a_test(run: trackhooks.Run) -> None:
    for _ in run.validate(loader(8)):
        pass
    (event,) = described(run)
    assert event.facts["data/test/samples"] == 8
