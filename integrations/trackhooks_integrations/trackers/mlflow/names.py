"""Turn names into names that MLflow accepts."""

from __future__ import annotations

import re
from collections.abc import Iterable

from trackhooks.errors import log

from ..._shared.short_names import NameRule

LONGEST = 250

# `mlflow.utils.validation`
_RULE = NameRule(LONGEST, forbidden=r"[^\w\-.:/ ]", is_path=True)
_EXPERIMENT = NameRule(LONGEST)


class Names(dict[str, str]):
    """A mapping from names to different names in MLflow, filled when a name is looked up.

    Args:
        known: the names so far, in the order in which they were added.
    """

    def __init__(self, known: Iterable[str]) -> None:
        super().__init__()
        self._taken: set[str] = set()
        for name in known:
            self._add(name)

    def __missing__(self, name: str) -> str:
        found = self._add(name)
        if found != name:
            log.warning("mlflow: %r is called %r in MLflow, which does not accept the name.", name, found)
        return found

    def _add(self, name: str) -> str:
        found = legal(name)
        if found in self._taken:
            found = _RULE.with_checksum(found, name)
        self._taken.add(found)
        self[name] = found
        return found


def legal(name: str) -> str:
    """Return the name with `_` for everything that MLflow does not accept: `metrics/mAP50(B)` → `metrics/mAP50_B_`."""
    return _RULE.apply(name)


def of_ultralytics(name: str) -> str:
    """Return the name that Ultralytics' own MLflow logger gives a metric: `metrics/mAP50B`, `lr/pg0`."""
    plain = name.replace("(", "").replace(")", "")
    return re.sub(r"^lr/(\d+)$", r"lr/pg\1", plain)


def experiment_name(name: str) -> str:
    """Return the name of an experiment, shortened if necessary; all characters are allowed."""
    return _EXPERIMENT.apply(name)


def model_name(name: str) -> str:
    """Return the name of a LoggedModel with `-` for characters that MLflow does not accept."""
    return re.sub(r"[/:.%\"']", "-", name)


def legal_file(name: str) -> str:
    """Return the name of a file with `_` for `#`, `?`, `%` and control characters.

    MLflow reads them as parts of the artifact's address (`mlflow.utils.uri`).
    """
    return re.sub(r"[#?%\x00-\x1f]", "_", name)


def storable(text: str) -> str:
    """Return the text without null characters, which PostgreSQL does not accept."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
