"""Fuzz the reader of journals, guided by its coverage: `make fuzz`. The corpus is `tests/storage/data/fuzz`.

Half of the mutations keep the framing and the checksums, so that they reach the decoder of records.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["trackhooks.storage", "trackhooks.event"]):
    from journal_checks import FRAME, MARKER, check, framed


_HEADER = 16
_folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))


def one_input(data: bytes) -> None:
    """Check one file."""
    check(_folder, data)


def mutate(data: bytes, most: int, seed: int) -> bytes:
    """Change the bytes of a journal, or the payload of one of its records."""
    chance = random.Random(seed)
    starts = _records(data)
    if not starts or chance.random() < 0.5:
        return bytes(atheris.Mutate(data, most))
    start, end = chance.choice(starts)
    payload = bytes(atheris.Mutate(data[start + FRAME.size : end], max(end - start, 64)))
    record = framed(payload)
    places = {0: (start, end), 1: (start, start), 2: (end, end)}
    left, right = places[chance.randrange(3)]
    return (data[:left] + record + data[right:])[:most]


def _records(data: bytes) -> list[tuple[int, int]]:
    """Where intact frames start and end."""
    found, start = [], _HEADER
    while (start := data.find(MARKER, start)) >= 0 and len(data) >= start + FRAME.size:
        end = start + FRAME.size + FRAME.unpack_from(data, start)[1]
        if end > len(data):
            start += 1
            continue
        found.append((start, end))
        start = end
    return found


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input, custom_mutator=mutate)
    atheris.Fuzz()
