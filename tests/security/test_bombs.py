"""A file that is made to take all memory or time is refused, or costs no more than its own size."""

from __future__ import annotations

import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import trackhooks
from trackhooks.errors import TrackhooksError
from trackhooks.reading.points_file import FILE_NAME, _fingerprint, load
from trackhooks.storage.journal import Reader
from trackhooks.storage.run_folder import read_info

LIMIT = 300 << 20
"""How much memory a reader may take: Python, NumPy and what is imported take half of it."""


def finished(folder: Path) -> Path:
    with trackhooks.run("csv", dir=folder, name="r", delivery="off", system=None) as run:
        for step in range(3):
            run.log(loss=step)
    return run.path


def archive(run: Path, member: bytes, how: int = zipfile.ZIP_STORED) -> None:
    """Write a `points.npz` that fits the journal, with this in the place of each column."""
    size, crc = _fingerprint(run / "journal")
    index = {"version": 1, "size": size, "crc32": crc, "blocks": [["loss"]]}
    content = io.BytesIO()
    np.save(content, np.frombuffer(json.dumps(index).encode(), np.uint8))
    with zipfile.ZipFile(run / FILE_NAME, "w", how) as made:
        made.writestr("index.npy", content.getvalue(), zipfile.ZIP_STORED)
        for name in ("order", "step", "epoch", "time", "0"):
            made.writestr(f"0/{name}.npy", member)


def column(array: Any, **options: bool) -> bytes:
    content = io.BytesIO()
    np.save(content, array, **options)
    return content.getvalue()


def header(shape: str, kind: str = "<f8") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    ("member", "how"),
    [
        (column(np.zeros(10_000_000)), zipfile.ZIP_DEFLATED),
        (header("(1000000000000,)"), zipfile.ZIP_STORED),
        (header("(-1,)"), zipfile.ZIP_STORED),
        (header("()") + b"12345678", zipfile.ZIP_STORED),
        (header("(1, 1)") + b"12345678", zipfile.ZIP_STORED),
        (header("(1,)", "<M8[s]") + b"12345678", zipfile.ZIP_STORED),
        (header("(1,)", "|O") + b"12345678", zipfile.ZIP_STORED),
        (column(np.array([{"a": 1}], dtype=object), allow_pickle=True), zipfile.ZIP_STORED),
        (column(np.array(["text"])), zipfile.ZIP_STORED),
        (column(np.zeros(1, [("a", "f8")])), zipfile.ZIP_STORED),
        (b"PK\x03\x04 an archive in the archive", zipfile.ZIP_STORED),
        (b"\x80\x04cos\nsystem\n(S'false'\ntR.", zipfile.ZIP_STORED),
        (b"", zipfile.ZIP_STORED),
    ],
)  # fmt: skip
def test_points_that_are_not_plain_columns_are_ignored(tmp_path: Path, member: bytes, how: int) -> None:
    run = finished(tmp_path)
    archive(run, member, how)
    assert load(run, lambda _: True) is None
    assert list(trackhooks.history(run)["loss"]) == [0.0, 1.0, 2.0]


def test_columns_of_different_lengths_are_ignored(tmp_path: Path) -> None:
    run = finished(tmp_path)
    archive(run, column(np.zeros(3)))
    assert load(run, lambda _: True) is not None
    with zipfile.ZipFile(run / FILE_NAME) as made:
        members = {name: made.read(name) for name in made.namelist()}
    members["0/0.npy"] = column(np.zeros(2))
    with zipfile.ZipFile(run / FILE_NAME, "w") as made:
        for name, content in members.items():
            made.writestr(name, content)
    assert load(run, lambda _: True) is None


@pytest.mark.slow
def test_a_length_that_is_too_large_takes_no_memory(tmp_path: Path, program: Callable[..., str]) -> None:
    run = finished(tmp_path)
    with (run / "journal").open("ab") as journal:
        for size in (2**32 - 1, 16 << 20, (16 << 20) + 1):
            journal.write(struct.pack("<4sII", b"\xf7TH\x1a", size, 0))
        record = b"\xc1" * 100
        crc = zlib.crc32(record, zlib.crc32(struct.pack("<I", 100)))
        journal.write(struct.pack("<4sII", b"\xf7TH\x1a", 100, crc) + record)
        journal.write(b"\xdf\xff\xff\xff\xff" * 10)  # a map of four billion items
    source = """
        import resource, sys
        import trackhooks
        resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]),) * 2)
        print(len(trackhooks.journal.read(sys.argv[1])), len(trackhooks.runs(sys.argv[1] + "/..")))
    """
    with Reader(run) as reader:
        assert [event.metrics["loss"] for event in reader if event.metrics] == [0.0, 1.0, 2.0]
    counted = program(source, run, LIMIT * 4).split()
    assert counted == [str(len(trackhooks.journal.read(run))), "1"]


def test_a_large_file_in_the_place_of_a_small_one_is_not_read(tmp_path: Path) -> None:
    run = finished(tmp_path)
    with (run / "run.json").open("r+b") as file:
        file.truncate(1 << 40)  # without a block on the disk
    with pytest.raises(TrackhooksError, match="large"):
        read_info(run)


@pytest.mark.parametrize(
    "data", [b"[" * 1_000_000, b'{"id":' * 100_000, b"\x91" * 1_000_000], ids=["lists", "maps", "arrays"]
)
def test_deep_nesting_is_damage(tmp_path: Path, data: bytes) -> None:
    run = finished(tmp_path)
    size = len(data)
    crc = zlib.crc32(data, zlib.crc32(struct.pack("<I", size)))
    with (run / "journal").open("ab") as journal:
        journal.write(struct.pack("<4sII", b"\xf7TH\x1a", size, crc) + data)
    assert sum(1 for event in trackhooks.journal.read(run) if event.metrics) == 3
    (run / "run.json").write_bytes(data)
    with pytest.raises(TrackhooksError, match="damaged"):
        read_info(run)
