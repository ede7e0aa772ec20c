"""Trackers that each break one promise, as real ones do, and their test suites: see test_testing."""

from __future__ import annotations

import math
import sqlite3
from pathlib import Path
from typing import Any

from labbook import Labbook
from test_labbook import TestLabbook


class Doubling(Labbook):
    """Stores repeated records twice."""

    def start(self, run: Any, state: Any) -> None:
        self.db = sqlite3.connect(f"{run.path}/labbook.db")
        self.db.execute("CREATE TABLE IF NOT EXISTS notes (kind, name, x, value)")


class Hoarding(Labbook):
    """Writes nothing to disk before the end."""

    def flush(self) -> dict[str, Any]:
        return {}


class Mixing(Labbook):
    """Stores all runs in the same database."""

    def start(self, run: Any, state: Any) -> None:
        book = Path(run.path, "labbook.db")
        if not book.exists():
            book.symlink_to("../labbook.db")
        super().start(run, state)


class OneAxis(Labbook):
    """Stores all metrics at steps."""

    def log_metrics(self, metrics: Any, axis: str, event: Any) -> None:
        super().log_metrics(metrics, "step", event)


class FirstColumns(Labbook):
    """Stores only the metrics of the first record."""

    known: frozenset[str] = frozenset()

    def log_metrics(self, metrics: Any, axis: str, event: Any) -> None:
        self.known = self.known or frozenset(metrics)
        super().log_metrics({name: metrics[name] for name in metrics if name in self.known}, axis, event)


class Finite(Labbook):
    """Leaves out NaN."""

    def log_metrics(self, metrics: Any, axis: str, event: Any) -> None:
        super().log_metrics(
            {name: value for name, value in metrics.items() if not math.isnan(value)}, axis, event
        )


class Shortening(Labbook):
    """Truncates long parameters."""

    def log_params(self, params: Any, event: Any) -> None:
        super().log_params({name: str(value)[:250] for name, value in params.items()}, event)


class Cheerful(Labbook):
    """Stores every run as finished."""

    def finish(self, status: str, reason: str) -> None:
        super().finish("finished", reason)


class TestDoubling(TestLabbook):
    tracker = "faulty:Doubling"


class TestHoarding(TestLabbook):
    tracker = "faulty:Hoarding"


class TestMixing(TestLabbook):
    tracker = "faulty:Mixing"


class TestOneAxis(TestLabbook):
    tracker = "faulty:OneAxis"


class TestFirstColumns(TestLabbook):
    tracker = "faulty:FirstColumns"


class TestFinite(TestLabbook):
    tracker = "faulty:Finite"


class TestShortening(TestLabbook):
    tracker = "faulty:Shortening"


class TestCheerful(TestLabbook):
    tracker = "faulty:Cheerful"


class TestModest(TestLabbook):
    """Lists an ability in `cannot` that it has."""

    cannot = {**TestLabbook.cannot, "nan": "so it is said"}
