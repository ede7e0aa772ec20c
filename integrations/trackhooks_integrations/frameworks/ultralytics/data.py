"""Facts about the dataset of an Ultralytics training.

| fact | meaning |
|---|---|
| `data/file` | a hash of the content of the data YAML |
| `data/classes`, `data/names` | the number of classes, and their names |
| `data/train/samples`, `data/val/samples` | the number of images |
| `data/train/fingerprint`, `data/val/fingerprint` | a hash of the images' names and of their labels |

A fingerprint covers the number of images, and of at most 1,000 of them, which are spread evenly over the dataset, the
file names, relative to the folder of the dataset, and the classes and boxes as Ultralytics has loaded them. It does not
cover the pixels.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trackhooks.event import Scalar
from trackhooks.frameworks.helpers import Lookups, fingerprint, spread

_MOST_IMAGES = 1000
_MOST_BYTES = 1 << 20
_LONGEST = 200


def facts(trainer: Any, lookups: Lookups) -> dict[str, Scalar]:
    """Return what is known of the data of a trainer whose loaders have been created."""
    found: dict[str, Scalar] = lookups.find("the data of the trainer", {}, _classes, trainer)
    for split, name in (("train", "train_loader"), ("val", "test_loader")):
        found |= lookups.find(f"the images for {split}", {}, _images, trainer, split, name)
    return found


def _classes(trainer: Any) -> dict[str, Scalar]:
    data = trainer.data
    if not isinstance(data, Mapping):
        return {}
    names = data.get("names")
    listed = list(names.values()) if isinstance(names, Mapping) else list(names or ())
    found: dict[str, Scalar] = {"data/classes": len(listed)} if listed else {}
    if listed:
        text = ", ".join(map(str, listed))
        found["data/names"] = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    path = data.get("yaml_file")
    if path and Path(path).is_file():
        with Path(path).open("rb") as file:
            found["data/file"] = fingerprint([file.read(_MOST_BYTES)])
    return found


def _images(trainer: Any, split: str, loader: str) -> dict[str, Scalar]:
    dataset = getattr(getattr(trainer, loader, None), "dataset", None)
    images = _paths(dataset)
    if not images:
        return {}
    root = trainer.data.get("path") if isinstance(trainer.data, Mapping) else None
    parts = _parts(images, getattr(dataset, "labels", None), str(root or ""))
    return {f"data/{split}/samples": len(images), f"data/{split}/fingerprint": fingerprint(parts)}


def _paths(dataset: Any) -> list[tuple[str, str]]:
    """Return the images, each with the class that it has as a whole: those of a classification have one."""
    files = getattr(dataset, "im_files", None)
    if isinstance(files, list):
        return [(str(path), "") for path in files]
    samples = getattr(dataset, "samples", None)
    return [(str(sample[0]), str(sample[1])) for sample in samples] if isinstance(samples, list) else []


def _parts(images: list[tuple[str, str]], labels: Any, root: str) -> Iterator[bytes]:
    yield str(len(images)).encode()
    for number in spread(len(images), _MOST_IMAGES):
        path, kind = images[number]
        name = path.removeprefix(root).lstrip(os.sep) if root else os.path.basename(path)  # noqa: PTH119 — many
        yield f"{name} {kind}".encode(errors="replace")
        label = labels[number] if isinstance(labels, list) and number < len(labels) else {}
        for part in ("cls", "bboxes"):
            yield label[part].tobytes() if part in label else b""
