"""A tracker in a separate package, which keeps every promise."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import pytest
from folders import THIRD_PARTY

from trackhooks.delivery import registry

pytestmark = pytest.mark.usefixtures("third_party")


def test_it_is_found_by_its_entry_point() -> None:
    assert registry.find("labbook").__module__ == "labbook"
    assert importlib.metadata.distribution("labbook").version == "1.0"


def test_it_is_shorter_than_forty_lines() -> None:
    assert len((THIRD_PARTY / "labbook.py").read_text().splitlines()) < 40


@pytest.mark.slow
def test_additions_to_sys_path_reach_a_running_delivery_process(
    tmp_path: Path, program: Callable[..., str]
) -> None:
    script = """
        import sys, trackhooks
        home, package = sys.argv[1:]
        with trackhooks.run("csv", dir=home) as run:
            run.log(x=1)
        sys.path.insert(0, package)
        with trackhooks.run("labbook", dir=home) as run:
            run.log(x=1)
        print(run.wait(100), run.url("labbook"))
    """
    assert program(script, tmp_path, THIRD_PARTY) == "True None\n"
