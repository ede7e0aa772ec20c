"""What a backend cannot hold is reported in the training, and counted by `sync` and `doctor`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

import trackhooks
from trackhooks.cli.doctor import examine
from trackhooks.cli.sync import sync

WHAT = "values of a metric at a step for which it has a later value"


def test_sync_and_doctor_count_what_a_backend_cannot_hold_once(tmp_path: Path) -> None:
    with trackhooks.run("tensorboard", dir=tmp_path, delivery="off") as run:
        for value in (1.0, 2.0, 3.0):
            run.log(m=value, step=7)
    for said in ("delivered", "nothing new"):
        (delivery,) = sync(run.path, [], {}, None)
        assert str(delivery).startswith(f"{run.name} → tensorboard: {said}; it cannot hold 2 {WHAT} (")
        assert not delivery.error
    (finding,) = [found for found in examine([run.path]).sections["runs"] if WHAT in found.text]
    assert (finding.text, finding.good) == (f"tensorboard cannot hold 2 {WHAT}", None)


def test_the_training_reports_once_what_a_backend_cannot_hold(tmp_path: Path) -> None:
    run = trackhooks.run("tensorboard", dir=tmp_path, delivery="inline", system=None)
    with pytest.warns(trackhooks.TrackhooksWarning, match=f"^tensorboard cannot hold {WHAT}") as told:
        log_until_told(run, told)
    assert len(told) == 1
    run.close()
    assert run.wait(120)


def log_until_told(run: trackhooks.Run, told: pytest.WarningsRecorder) -> None:
    until = time.monotonic() + 120
    while not told and time.monotonic() < until:
        run.log(m=time.monotonic(), step=7)
        time.sleep(0.01)
    for _ in range(300):
        run.log(m=time.monotonic(), step=7)
