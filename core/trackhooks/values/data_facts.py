"""Facts about the data of a training: what it is, how many samples it has, and a fingerprint.

| fact | meaning |
|---|---|
| `data/train` | the arrays with their shapes and types, or the class of the dataset |
| `data/train/samples` | the number of samples |
| `data/train/batch_size` | that of a PyTorch `DataLoader` |
| `data/train/fingerprint` | a hash of the arrays; equal data have equal fingerprints |

A fingerprint covers the names, shapes and types of the arrays, and at most 4,096 elements of each, which are spread
evenly over it: a change of a few elements of a large array may not change the fingerprint. Arrays that are not in the
memory of the host, such as memory-mapped files and tensors on an accelerator, have none. Nothing is iterated over, and
no random state is used.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors.foreign import Failure, attempt
from ..event import Scalar
from .digests import sha256

_MOST_ELEMENTS = 4096
_MOST_ARRAYS = 16
_GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, are spread evenly, and are in step with no dimension of an array."""
_PLAIN = frozenset("biufcSUMm")
"""The kinds of NumPy's types whose elements are in the array itself."""


def array_facts(split: str, data: Mapping[str, Any]) -> dict[str, Scalar]:
    """Describe the data of a split.

    Args:
        split: `"train"` or `"val"`.
        data: name → array, or nested lists or mappings of arrays, or any other object.
    """
    arrays = dict(itertools.islice(_flat(data), _MOST_ARRAYS))
    found: dict[str, Scalar] = {f"data/{split}": ", ".join(map(_described, arrays, arrays.values()))}
    samples = next((shape[0] for shape in map(_shape, arrays.values()) if shape), None)
    if samples is not None:
        found[f"data/{split}/samples"] = samples
    hashed = [attempt(_array_parts, name, value) for name, value in arrays.items()]
    parts = [part for part in hashed if isinstance(part, list)]
    if parts and len(parts) == len(hashed):
        found[f"data/{split}/fingerprint"] = fingerprint(itertools.chain(*parts))
    return found if arrays else {}


def loader_facts(split: str, loader: Any) -> dict[str, Scalar]:
    """Describe the data of a `DataLoader` of PyTorch, or of an object like it; nothing is known of other iterables."""
    dataset, size = attempt(getattr, loader, "dataset", None), attempt(getattr, loader, "batch_size", None)
    if dataset is None or isinstance(dataset, Failure):
        return {}
    found: dict[str, Scalar] = {f"data/{split}": type(dataset).__name__}
    # The length of a dataset without `__getitem__` is only an estimate, and asking for it has an effect in PyTorch.
    count = attempt(len, dataset) if hasattr(type(dataset), "__getitem__") else None
    if isinstance(count, int):
        found[f"data/{split}/samples"] = count
    if type(size) is int:
        found[f"data/{split}/batch_size"] = size
    if type(dataset).__name__ == "TensorDataset" and type(dataset).__module__.startswith("torch."):
        known = array_facts(split, {"": dataset.tensors})
        found |= {name: value for name, value in known.items() if name.endswith("/fingerprint")}
    return found


def fingerprint(parts: Iterable[bytes]) -> str:
    """Return a hash of what describes the data."""
    digest = sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()[:16]


def spread(count: int, most: int) -> Iterable[int]:
    """Return the indices of at most this many items, which are spread evenly over all."""
    return range(count) if count <= most else (int(number * _GOLDEN % 1.0 * count) for number in range(most))


def _flat(data: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the arrays of nested lists, tuples and mappings by name. A list of numbers is one value."""
    if isinstance(data, Mapping):
        items = [(str(key), value) for key, value in itertools.islice(data.items(), _MOST_ARRAYS)]
    elif isinstance(data, (list, tuple)) and not (data and isinstance(data[0], (int, float, str))):
        items = [(str(number), value) for number, value in enumerate(data[:_MOST_ARRAYS])]
    else:
        items = []
        if data is not None:
            yield name, data
    for key, value in items:
        yield from _flat(value, "/".join(filter(None, [name, key])))


def _described(name: str, value: Any) -> str:
    shape, kind = _shape(value), attempt(getattr, value, "dtype", None)
    if shape is None:
        return f"{name} {type(value).__name__}".strip()
    named = attempt(getattr, kind, "name", None)
    text = named if isinstance(named, str) else attempt(str, kind)
    written = str(text).removeprefix("torch.") if kind is not None else type(value).__name__
    return f"{name} {shape} {written}".strip()


def _shape(value: Any) -> tuple[int, ...] | None:
    found = attempt(lambda: tuple(map(int, value.shape)))
    return found if isinstance(found, tuple) else None


def _array_parts(name: str, value: Any) -> list[bytes] | None:
    """Return what a fingerprint covers of one array; None if its elements are not at hand."""
    array = _on_host(value)
    if array is None:
        return None
    numpy, size = sys.modules["numpy"], array.size
    positions = (numpy.arange(min(size, _MOST_ELEMENTS)) * _GOLDEN % 1.0 * size).astype(numpy.int64)
    elements = array.ravel() if size <= _MOST_ELEMENTS else array.flat[positions]
    return [f"{name} {array.shape} {array.dtype.str}".encode(), elements.tobytes()]


def _on_host(value: Any) -> Any:
    """Return the elements as an array of NumPy, without a copy; None if that is not possible."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        value = value.detach().numpy() if value.device.type == "cpu" else None
    if numpy is None or not isinstance(value, numpy.ndarray) or isinstance(value, numpy.memmap):
        return None
    array = numpy.asarray(value)
    return array if array.dtype.kind in _PLAIN else None
