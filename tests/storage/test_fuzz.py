"""Any bytes in the place of a journal are read, continued and refused as promised: see `journal_checks`.

`make fuzz` searches for more inputs, guided by coverage. Those that failed, and some of those that reached new code,
are in `data/fuzz`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from journal_checks import check, framed

FOUND = sorted(Path(__file__).with_name("data").joinpath("fuzz").iterdir())
HEADER = b"trackhooks\0\x01\0\0\0\0"


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.name)
def test_what_the_fuzzer_found_keeps_every_promise(path: Path, tmp_path: Path) -> None:
    check(tmp_path, path.read_bytes())


@given(payloads=st.lists(st.binary(max_size=60), max_size=4), rest=st.binary(max_size=30))
def test_records_of_any_content_keep_every_promise(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], rest: bytes
) -> None:
    check(tmp_path_factory.getbasetemp(), HEADER + b"".join(map(framed, payloads)) + rest)
