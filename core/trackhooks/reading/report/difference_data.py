"""What differs between runs besides the parameters, for the page: curves, model, data, code, machine, packages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .. import formats
from ..code import differing_changes
from ..compared import Compared
from ..differences import block_of, block_of_fact, environment_of, value_of

_MOST_RUNS = 20
"""The largest number of runs whose patches are read."""
_BLOCKS = ("curves", "model and optimizer", "data", "code", "machine", "packages")


def differences(of: Compared) -> list[dict[str, Any]]:
    """Return what differs, with the runs that have each value: where curves part first, packages last."""
    found = sorted(_rows(of), key=lambda row: _BLOCKS.index(row[0]))
    return [
        {"block": block, "name": formats.plain(name), "values": _by_value(texts)}
        for block, name, texts in found
    ]


def _rows(of: Compared) -> Iterator[tuple[str, str, list[str | None]]]:
    """Yield a block, a name, and the text of each run; None for a run that the row is not about."""
    runs = of.runs
    yield from _partings(of)
    changes = differing_changes(runs) if len(runs) <= _MOST_RUNS else {}
    for name in of.shown.facts:
        if name != "code/patch" or not changes:  # the files say more than the hash
            yield block_of_fact(name), name, [_text(value_of(run, name)) for run in runs]
    for name in of.shown.environment:
        yield (
            block_of(name),
            name.removeprefix("package/"),
            [_text(environment_of(run).get(name)) for run in runs],
        )
    for name, row in changes.items():
        yield "code", f"uncommitted: {name}", ["" if change is None else str(change) for change in row]


def _partings(of: Compared) -> Iterator[tuple[str, str, list[str | None]]]:
    found = [{parting.metric: str(parting) for parting in of_column} for of_column in of.partings]
    for name in formats.unique(name for by_name in found for name in by_name):
        texts = [
            by_name.get(name) for by_name, column in zip(found, of.columns, strict=True) for _ in column.runs
        ]
        yield "curves", f"{name} parts from {of.base.label} at", texts


def _text(value: Any) -> str:
    return "" if value is None else formats.parameter(value)


def _by_value(texts: Sequence[str | None]) -> list[dict[str, Any]]:
    return [
        {"text": text, "runs": [number for number, other in enumerate(texts) if other == text]}
        for text in formats.unique(text for text in texts if text is not None)
    ]
