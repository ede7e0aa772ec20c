"""What things are called in W&B, and how values are written there: the rules of `wandb`."""

from __future__ import annotations

import math
import re
import zlib
from pathlib import Path

from trackhooks.event import Scalar

_LONGEST_PATH = 100
_LONGEST_ARTIFACT = 128


def called(name: str) -> str:
    """The name of a metric."""
    free = name.replace("*", "\u2217")
    return f"logged/{free}" if free in ("", "step", "epoch") or free.startswith("_") else free


def as_path(name: str) -> str:
    """The name of what W&B makes a file and an artifact of (`Media.bind_to_run`, `Table.bind_to_run`)."""
    clean = "/".join("_" if part in ("", ".", "..") else part for part in name.split("/"))
    if len(clean.encode()) > _LONGEST_PATH:
        start = clean.encode()[: _LONGEST_PATH - 9].decode(errors="ignore")
        clean = f"{start}-{zlib.crc32(name.encode()):08x}"
    return called(clean)


def as_artifact(run_id: str, path: str, kind: str) -> str:
    """`run-<id>-last.pt`, `run-<id>-export-last.onnx`: to W&B, all versions of one name are of one type.

    It takes ASCII letters, digits, `_`, `-` and `.`, 128 in all; a checksum keeps two changed names apart.
    """
    given = "-".join(["run", run_id, *([] if kind == "model" else [kind]), Path(path).name])
    name = re.sub(r"[^\w.-]", "-", given, flags=re.ASCII)
    if name == given and len(name) <= _LONGEST_ARTIFACT:
        return name
    return f"{name[: _LONGEST_ARTIFACT - 9]}-{zlib.crc32(given.encode()):08x}"


def as_json(value: Scalar) -> Scalar:
    """NaN and infinities as texts."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
