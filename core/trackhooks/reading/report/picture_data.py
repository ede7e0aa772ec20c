"""The pictures of runs, by their names and steps, as far as they fit into the page."""

from __future__ import annotations

import base64
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import JournalError
from ...storage.checkpoints import bytes_of
from ...storage.journal import Reader, path_of
from .. import formats
from ..summary import RunSummary

_TYPES = {
    b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp",
}  # fmt: skip


class Picture(NamedTuple):
    """A picture of a run."""

    run: int
    name: str
    step: int
    epoch: int
    path: Path | None
    """None if it is not there any more."""


def pictures(runs: Sequence[RunSummary], most_bytes: int) -> dict[str, Any]:
    """Return the pictures as data URIs, the latest first until they exceed this size, and the number of the others."""
    found = sorted(_all(runs), key=lambda picture: picture.step, reverse=True)
    shown, used, left_out = [], 0, 0
    for picture in found:
        data = _content(picture.path, most_bytes - used)
        if data is None:
            left_out += 1
            continue
        used += len(data)
        shown.append(_as_json(picture, data))
    return {"pictures": shown, "leftOut": left_out, "limit": formats.size(most_bytes)}


def _as_json(picture: Picture, data: bytes) -> dict[str, Any]:
    kind = next(name for start, name in _TYPES.items() if data.startswith(start))
    return {
        "run": picture.run,
        "name": formats.plain(picture.name),
        "step": picture.step,
        "epoch": picture.epoch,
        "source": f"data:image/{kind};base64,{base64.b64encode(data).decode()}",
    }


def _content(path: Path | None, most_bytes: int) -> bytes | None:
    """Return a picture; None if it is too large, not there any more, or of a kind that browsers do not show."""
    if path is None or not path.is_file():
        return None
    try:
        data = path.read_bytes() if path.stat().st_size <= most_bytes else b""
    except OSError:
        return None
    return data if data.startswith(tuple(_TYPES)) else None


def _all(runs: Sequence[RunSummary]) -> Iterator[Picture]:
    for number, run in enumerate(runs):
        try:
            if _has_pictures(path_of(run.path)):
                yield from _of_run(number, run)
        except (JournalError, OSError):  # the summary reports errors
            continue


def _has_pictures(journal: Path) -> bool:
    """Return whether the kind of a file is an image in any record, which is much faster than decoding all."""
    if not journal.stat().st_size:
        return False
    with journal.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"image") >= 0 or content.find(b"overflow") >= 0


def _of_run(number: int, run: RunSummary) -> Iterator[Picture]:
    with Reader(run.path) as reader:
        for event in reader:
            for file in event.files:
                if file.kind == "image":
                    path = bytes_of(run.path, file)
                    yield Picture(number, file.name, event.step, event.epoch, path)
