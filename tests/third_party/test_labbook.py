"""Labbook keeps the promises of a tracker. Its own package would have this test."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from trackhooks.event import RunInfo
from trackhooks.testing import Seen, TrackerPromises

pytestmark = pytest.mark.usefixtures("third_party")


class TestLabbook(TrackerPromises):
    tracker = "labbook"
    cannot = {
        "facts": "it has no place for them",
        "files": "it has no place for them",
        "images": "it has no place for them",
        "tables": "it has no place for them",
        "histograms": "it has no place for them",
        "repeats": "the last one replaces the others",
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
