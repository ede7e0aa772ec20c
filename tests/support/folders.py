"""The folders of the project, and environments in which other processes find the helpers in this folder."""

from __future__ import annotations

import os
from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
TESTS = SUPPORT.parent
ROOT = TESTS.parent
THIRD_PARTY = TESTS / "third_party"
STARTUP = SUPPORT / "startup"


def importing(*folders: Path) -> dict[str, str]:
    """Return the environment variables of this process, with `folders` added in front of PYTHONPATH."""
    paths = [*map(str, folders), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
