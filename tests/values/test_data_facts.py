"""Facts about data: what is known is right, what is not known is absent, and nothing is iterated or changed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from trackhooks.values.data_facts import array_facts, loader_facts, spread

IMAGES = np.arange(100 * 28 * 28, dtype="float32").reshape(100, 28, 28)
LABELS = np.arange(100)


def print_of(*arrays: Any) -> Any:
    return array_facts("train", dict(zip("xyz", arrays, strict=False))).get("data/train/fingerprint")


def test_arrays_are_described_with_their_number_of_samples() -> None:
    found = array_facts("train", {"x": IMAGES, "y": LABELS, "sample_weight": None})
    assert found["data/train"] == "x (100, 28, 28) float32, y (100,) int64"
    assert found["data/train/samples"] == 100
    assert len(str(found["data/train/fingerprint"])) == 16


def test_equal_data_have_equal_fingerprints_whatever_their_layout() -> None:
    known = print_of(IMAGES)
    assert print_of(IMAGES.copy()) == known
    assert print_of(np.asfortranarray(IMAGES)) == known
    assert print_of(np.concatenate([IMAGES, IMAGES])[:100]) == known
    assert print_of(torch.from_numpy(IMAGES)) == known
    assert print_of(torch.from_numpy(IMAGES).requires_grad_()) == known


@pytest.mark.parametrize(
    "other",
    [IMAGES + 1, IMAGES.astype("float64"), IMAGES.reshape(100, 784), IMAGES[:99], IMAGES[::-1], -IMAGES],
)
def test_other_data_have_other_fingerprints(other: Any) -> None:
    assert print_of(other) != print_of(IMAGES)
    assert print_of(IMAGES, LABELS) not in (print_of(IMAGES), print_of(LABELS, IMAGES))


def test_a_fingerprint_is_not_in_step_with_the_rows() -> None:
    """The border of every image is zero: a sample of every 784th element would see nothing else."""
    images = np.zeros((4096, 784))
    images[:, 100:200] = 1
    assert print_of(images) != print_of(np.zeros((4096, 784)))


def test_a_small_array_is_covered_completely() -> None:
    small = np.zeros(4096)
    small[3000] = 1
    assert print_of(small) != print_of(np.zeros(4096))


def test_nested_data_have_a_name_for_each_array() -> None:
    found = array_facts("val", {"x": {"image": IMAGES, "text": [LABELS, LABELS]}, "y": LABELS})
    described = str(found["data/val"])
    assert described.startswith(
        "x/image (100, 28, 28) float32, x/text/0 (100,) int64, x/text/1 (100,) int64, y "
    )


@pytest.mark.parametrize(
    "unknown",
    [
        np.array([{}, None], dtype=object),
        torch.ones(3, device="meta"),
        torch.ones(3, dtype=torch.bfloat16),
        torch.eye(3).to_sparse(),
        [1, 2, 3],
        object(),
        (number for number in range(3)),
    ],
)
def test_what_has_no_elements_at_hand_has_no_fingerprint(unknown: Any) -> None:
    found = array_facts("train", {"x": unknown, "y": LABELS})
    assert "data/train/fingerprint" not in found
    assert str(found["data/train"]).endswith("y (100,) int64")


def test_a_memory_mapped_file_is_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", IMAGES)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert array_facts("train", {"x": mapped}) == {
        "data/train": "x (100, 28, 28) float32", "data/train/samples": 100,
    }  # fmt: skip


def test_no_data_have_no_facts() -> None:
    assert array_facts("val", {"x": None, "y": None}) == {}
    assert array_facts("val", {"x": np.zeros((0, 3))})["data/val/samples"] == 0


class Odd:
    """Raises wherever it can."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __len__(self) -> int:
        raise RuntimeError("length")


def test_odd_objects_do_no_harm() -> None:
    assert array_facts("train", {"x": Odd()}) == {"data/train": "x Odd"}
    assert loader_facts("train", Odd()) == {}
    assert loader_facts("train", range(10)) == {}


class Squares(Dataset[int]):
    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int) -> int:
        raise AssertionError("was read")


class Stream(IterableDataset[int]):
    def __iter__(self) -> Iterator[int]:
        raise AssertionError("was iterated")

    def __len__(self) -> int:
        raise AssertionError("was asked for its length")


def test_a_loader_is_described_and_not_iterated() -> None:
    loader = DataLoader(Squares(), batch_size=8)
    assert loader_facts("train", loader) == {
        "data/train": "Squares", "data/train/samples": 50, "data/train/batch_size": 8,
    }  # fmt: skip
    assert loader_facts("train", DataLoader(Stream(), batch_size=8)) == {
        "data/train": "Stream", "data/train/batch_size": 8,
    }  # fmt: skip


def test_a_dataset_of_tensors_has_the_fingerprint_of_its_tensors() -> None:
    found = [
        loader_facts("train", DataLoader(TensorDataset(torch.from_numpy(images)), shuffle=True))
        for images in (IMAGES, IMAGES.copy(), IMAGES + 1)
    ]
    assert found[0] == found[1] != found[2]
    assert found[0]["data/train/samples"] == 100


def test_random_states_stay_as_they_are() -> None:
    before = random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist()  # type: ignore[index]
    array_facts("train", {"x": IMAGES, "y": LABELS})
    loader_facts("train", DataLoader(TensorDataset(torch.from_numpy(IMAGES)), shuffle=True))
    assert before == (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state().tolist())  # type: ignore[index]


def test_few_items_are_all_taken_and_many_are_spread() -> None:
    assert list(spread(3, 5)) == [0, 1, 2]
    found = sorted(spread(1000, 10))
    assert len(set(found)) == 10
    assert max(after - before for before, after in itertools.pairwise(found)) < 200
