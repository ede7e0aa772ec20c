"""Name a run after its parameters, such as `lr=0.1-batch=32`: what differs from the run before it."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import JournalError
from ..errors.secrets import is_secret_name
from ..event import Scalar
from ..storage import journal, run_folder
from ..values.params import flat_params

_MOST_PARAMS = 3
_LONGEST = 40
_LONGEST_VALUE = 12
_FIRST_RECORDS = 5
"""The parameters that a run was given are among its first records."""
_UNTELLING = frozenset({
    "seed", "path", "dir", "directory", "folder", "root", "file", "name", "project", "device", "workers", "verbose",
    "output", "out", "host", "port",
})  # fmt: skip
"""Last words of parameters that say nothing about what a run tries out."""


def from_params(directory: Path, params: Mapping[str, Any]) -> str | None:
    """Return a name for a new run: the first parameters whose value the newest run in the directory does not have.

    None if no parameter tells anything, or if they are secret.
    """
    telling = {name: value for name, value in flat_params(params, _ignore).items() if _tells(name, value)}
    before = _params_of(_newest(directory)) if telling else {}
    new = {name: value for name, value in telling.items() if name not in before or before[name] != value}
    return _joined(new or telling) or None


def _ignore(message: str) -> None:
    """Parameters that cannot be read are reported when they are recorded."""


def _tells(name: str, value: Scalar) -> bool:
    words = _short(name).lower().replace("-", "_").split("_")
    if is_secret_name(name) or not _UNTELLING.isdisjoint(words[-1:]) or value is None or value == "":
        return False
    return not isinstance(value, str) or (value.isprintable() and not {"/", "\\", "<", "{"} & set(value))


def _newest(directory: Path) -> Path | None:
    """Return the folder in which something was changed last."""
    try:
        with os.scandir(directory) as entries:
            folders = [
                (entry.stat().st_mtime_ns, entry.path)
                for entry in entries
                if entry.is_dir() and not entry.name.startswith(".")
            ]
    except OSError:
        return None
    return Path(max(folders)[1]) if folders else None


def _params_of(run: Path | None) -> dict[str, Scalar]:
    """Return the parameters that a run was given; none if the folder does not contain a run."""
    if run is None or not (run / run_folder.INFO).exists():
        return {}
    try:
        with journal.Reader(run) as reader:
            first = list(islice(reader, _FIRST_RECORDS))
    except (JournalError, OSError):
        return {}
    return {name: value for event in first for name, value in event.params.items()}


def _joined(params: Mapping[str, Scalar]) -> str:
    """Return `name=value-name=value`, with as many parameters as fit."""
    parts: list[str] = []
    for part in islice(_parts(params), _MOST_PARAMS):
        if parts and len("-".join([*parts, part])) > _LONGEST:
            break
        parts.append(part)
    return run_folder.as_file_name("-".join(parts)[:_LONGEST]) if parts else ""


def _parts(params: Mapping[str, Scalar]) -> Iterator[str]:
    often = Counter(map(_short, params))
    for name, value in params.items():
        short = _short(name) if often[_short(name)] == 1 else name.replace("/", ".")
        yield f"{short}={_text(value)}"


def _short(name: str) -> str:
    return name.rpartition("/")[2]


def _text(value: Scalar) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:_LONGEST_VALUE]
