"""What several files of tests need."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from textwrap import dedent

import pytest


@pytest.fixture
def program() -> Callable[..., str]:
    """Runs a Python program in a process of its own: (source, *arguments) → what it printed."""

    def run(source: str, *arguments: object) -> str:
        command = [sys.executable, "-c", dedent(source), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
