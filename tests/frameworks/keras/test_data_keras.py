"""Keras: the facts about the data that `fit` was given."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras_models import X, Y, sequential
from torch.utils.data import DataLoader, TensorDataset

import trackhooks
from trackhooks.reading.summary import summarize


def facts_of(run: trackhooks.Run, *data: Any, **more: Any) -> dict[str, Any]:
    sequential().fit(*data, epochs=1, verbose=0, callbacks=[run.keras], **more)
    facts = summarize(run.path).facts
    return {name: value for name, value in facts.items() if name.startswith("data/")}


def test_arrays_have_their_shapes_and_a_fingerprint(run: trackhooks.Run) -> None:
    found = facts_of(run, X, Y, validation_data=(X[:8], Y[:8]))
    assert found["data/train"] == "x (20, 4) float32, y (20, 1) float32"
    assert (found["data/train/samples"], found["data/val/samples"]) == (20, 8)
    assert len({found["data/train/fingerprint"], found["data/val/fingerprint"]}) == 2


def test_the_data_stay_as_they_were_and_so_does_the_training(run: trackhooks.Run) -> None:
    x, y = X.copy(), Y.copy()
    keras.utils.set_random_seed(1)
    recorded = sequential().fit(x, y, epochs=2, verbose=0, callbacks=[run.keras]).history["loss"]
    keras.utils.set_random_seed(1)
    assert recorded == sequential().fit(x, y, epochs=2, verbose=0).history["loss"]
    assert np.array_equal(x, X)


def test_a_loader_is_described_by_its_dataset(run: trackhooks.Run) -> None:
    loader = DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)), batch_size=5)
    found = facts_of(run, loader, validation_data=loader, shuffle=False)
    assert found["data/train"] == "TensorDataset"
    assert (found["data/train/samples"], found["data/train/batch_size"]) == (20, 5)
    assert found["data/train/fingerprint"] == found["data/val/fingerprint"]


class Batches(keras.utils.PyDataset):  # type: ignore[misc] # Keras has no types
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return X[:10], Y[:10]


@pytest.mark.parametrize("kind", ["PyDataset", "generator"])
def test_what_is_not_an_array_is_named_by_its_type(run: trackhooks.Run, kind: str) -> None:
    data = Batches() if kind == "PyDataset" else ((X, Y) for _ in range(2))
    found = facts_of(run, data, steps_per_epoch=2, shuffle=False)
    assert found == {"data/train": f"x {'Batches' if kind == 'PyDataset' else 'generator'}"}
