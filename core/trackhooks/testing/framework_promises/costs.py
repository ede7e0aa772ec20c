"""Promises about what recording costs. Nothing is timed: calls, records and values that are waited for are counted."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

from ...session.run import Run
from ...values import numbers
from .base import FrameworkTrial, events, needs

MOST_CALLS: Final = 200
"""The most calls of functions of trackhooks and its integration for a batch that no callback of the run hears."""
WAITING: Final = (
    "item",
    "tolist",
    "cpu",
    "numpy",
    "__float__",
    "__int__",
    "__bool__",
    "__index__",
    "__array__",
)
"""The methods of a tensor that wait for the accelerator."""
_PACKAGES: Final = tuple(f"{os.sep}{name}{os.sep}" for name in ("trackhooks", "trackhooks_integrations"))


class OneBatch:
    """Is called in each batch, and counts what happens from the first batch to the second one.

    Args:
        start: starts counting.
        stop: stops counting.
    """

    def __init__(self, start: Callable[[], None], stop: Callable[[], None]) -> None:
        self._steps = [start, stop]

    def __call__(self) -> None:
        if self._steps:
            self._steps.pop(0)()


class CostPromises(FrameworkTrial):
    """Promises about what recording costs."""

    @needs("batches", "steps")
    def test_a_batch_that_no_callback_hears_takes_few_calls(self, open_run: Callable[[], Run]) -> None:
        assert self.batches >= 2
        calls: Counter[str] = Counter()

        def count(frame: FrameType, event: str, _: Any) -> None:
            if event == "call" and any(package in frame.f_code.co_filename for package in _PACKAGES):
                calls[frame.f_code.co_name] += 1

        between = OneBatch(lambda: sys.setprofile(count), lambda: sys.setprofile(None))
        with open_run() as run:
            self.train(self.make(), 1, run=run, in_batch=between)
        assert 0 < calls.total() <= MOST_CALLS, calls.most_common()

    def test_a_record_is_written_at_once_and_in_one_piece(
        self, open_run: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: list[int] = []
        write = os.write

        def counted(descriptor: int, data: Any) -> int:
            written.append(descriptor)
            return write(descriptor, data)

        with open_run() as run:
            journal = Path(run.path, "journal").stat()
            monkeypatch.setattr(os, "write", counted)
            before = len(events(run.path))
            self.train(self.make(), 2, run=run)
            writes = [descriptor for descriptor in written if _is(descriptor, journal)]
            recorded = len(events(run.path)) - before
            monkeypatch.undo()
        assert 0 < len(writes) <= recorded

    @needs("steps", "batches without waiting")
    def test_recording_a_batch_waits_for_no_value(
        self, open_run: Callable[[], Run], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain, recorded = self._waits(None, monkeypatch), 0
        with open_run() as run:
            recorded = self._waits(run, monkeypatch)
        assert recorded == plain

    def _waits(self, run: Run | None, monkeypatch: pytest.MonkeyPatch) -> int:
        """Return how often a value is waited for in a batch."""
        waits: list[str] = []
        torch = sys.modules.get("torch")
        if torch is None:
            return 0
        with monkeypatch.context() as patch:
            between = OneBatch(lambda: _count(torch.Tensor, waits, patch), patch.undo)
            self.train(self.make(), 1, run=run, in_batch=between)
        return len(waits)


def _is(descriptor: int, file: os.stat_result) -> bool:
    try:
        found = os.fstat(descriptor)
    except OSError:  # closed since
        return False
    return (found.st_ino, found.st_dev) == (file.st_ino, file.st_dev)


def _count(cls: Any, calls: list[str], patch: pytest.MonkeyPatch) -> None:
    for name in WAITING:
        patch.setattr(cls, name, _counting(getattr(cls, name), calls))


def _counting(method: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    """Count calls, but those of the core for values on the CPU: it fetches those on an accelerator in another way."""

    def counted(*args: Any, **kwargs: Any) -> Any:
        if sys._getframe(1).f_code.co_filename != numbers.__file__:
            calls.append(method.__name__)
        return method(*args, **kwargs)

    return counted
