"""Store records that are too large for the journal as files of the run."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

from ..event import Event
from .inside import inside

_IN_THE_JOURNAL = ("hook", "index", "time", "step", "epoch", "batch", "status")


def store(folder: Path, event: Event, payload: bytes) -> Event:
    """Store an encoded event as a file. Returns what the journal gets: its place, and the name and CRC of the file.

    Raises:
        OSError: The file could not be written. Nothing is left of it.
    """
    name = f"files/records/{event.index}.msgpack"
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        path.unlink(missing_ok=True)
        raise
    place = {field: getattr(event, field) for field in _IN_THE_JOURNAL}
    return Event(**place, overflow=name, overflow_crc32=zlib.crc32(payload))


def load(folder: Path, event: Event) -> bytes:
    """Return the encoded event that `store` stored; empty if its file is missing or damaged.

    Records of earlier versions do not have a CRC, and are not checked.
    """
    path = inside(folder, event.overflow)
    try:
        payload = path.read_bytes() if path is not None and path.is_file() else b""
    except OSError:
        return b""
    return payload if event.overflow_crc32 in (None, zlib.crc32(payload)) else b""
