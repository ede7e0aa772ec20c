"""A tracker in a separate package, which keeps every promise."""

from __future__ import annotations

import importlib.metadata
import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from trackhooks.delivery import registry
from trackhooks.event import RunInfo
from trackhooks.testing import Seen, TrackerPromises

PACKAGE = Path(__file__).parent / "third_party"


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the package to the path as if it were installed."""
    monkeypatch.syspath_prepend(PACKAGE)


def test_it_is_found_by_its_entry_point() -> None:
    assert registry.find("labbook").__module__ == "labbook"
    assert importlib.metadata.distribution("labbook").version == "1.0"


def test_it_is_shorter_than_forty_lines() -> None:
    assert len((PACKAGE / "labbook.py").read_text().splitlines()) < 40


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
    assert program(script, tmp_path, PACKAGE) == "True None\n"


class TestLabbook(TrackerPromises):
    tracker = "labbook"
    cannot = {
        "files": "it has no place for them",
        "images": "it has no place for them",
        "tables": "it has no place for them",
        "histograms": "it has no place for them",
    }

    def read(self, run: RunInfo, options: Mapping[str, Any]) -> Seen:
        with closing(sqlite3.connect(Path(run.path, "labbook.db"))) as db:
            notes = db.execute("SELECT kind, name, x, value FROM notes ORDER BY x").fetchall()
        of = {kind: dict[str, Any]() for kind in ("status", "param", "step", "epoch", "text")}
        for kind, name, x, value in notes:
            of[kind].setdefault(name, []).append((x, json.loads(value)))
        epochs = {
            f"{name} (epoch)" if name in of["step"] else name: points for name, points in of["epoch"].items()
        }
        return Seen(
            status=of["status"][""][0][1],
            params={name: values[0][1] for name, values in of["param"].items()},
            metrics=of["step"] | epochs,
            texts=of["text"],
        )
