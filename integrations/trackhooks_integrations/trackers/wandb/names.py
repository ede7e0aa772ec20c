"""Turn names and values into those that W&B accepts."""

from __future__ import annotations

import math
import re
from pathlib import Path

from trackhooks.event import Scalar

from ..._shared.short_names import NameRule

_MEDIA = NameRule(100, in_bytes=True, is_path=True)
_ARTIFACT = NameRule(128, forbidden=r"(?a)[^\w.-]", substitute="-", mark_changes=True)
_LONGEST_PROJECT = 128
_LONGEST_TAG = 64


def called(name: str) -> str:
    """Return the name of a metric. W&B has columns `step`, `epoch` and `_…`, and reads `*` as any name."""
    free = name.replace("*", "\u2217")
    return f"logged/{free}" if free in ("", "step", "epoch") or free.startswith("_") else free


def as_path(name: str) -> str:
    """Return the name of a media object, from which W&B makes the names of a file and of an artifact.

    See `Media.bind_to_run` and `Table.bind_to_run`.
    """
    return called(_MEDIA.apply(name))


def as_artifact(run_id: str, path: str, kind: str) -> str:
    """Return the name of an artifact: `run-<id>-last.pt`, `run-<id>-export-last.onnx`.

    W&B requires all versions of a name to have the same type. It accepts ASCII letters, digits, `_`, `-` and `.`.
    """
    return _ARTIFACT.apply("-".join(["run", run_id, *([] if kind == "model" else [kind]), Path(path).name]))


def as_project(name: str | None) -> str | None:
    """Return the name of a project, or None for W&B's default."""
    return re.sub(r"[/\\#?%:]", "-", name)[:_LONGEST_PROJECT] if name else None


def as_tag(tag: str) -> str:
    """Return a tag, cut to the length that W&B accepts."""
    return tag[:_LONGEST_TAG]


def as_json(value: Scalar) -> Scalar:
    """Return the value, with NaN and infinities as strings."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
