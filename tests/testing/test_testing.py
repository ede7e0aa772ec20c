"""The test suite for trackers: a tracker that breaks a promise fails, with a clear message."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from folders import SUPPORT, THIRD_PARTY, importing

from trackhooks import InvalidValueError, UnknownNameError
from trackhooks.testing import TrackerPromises

BROKEN = {
    "TestDoubling": "test_after_an_outage_everything_is_there_once[flush 5]",
    "TestHoarding": "test_after_a_delivery_that_was_killed_everything_is_there_once[flush 5]",
    "TestMixing": "test_two_runs_one_after_the_other_stay_apart",
    "TestOneAxis": "test_metrics_of_batches_are_over_steps_and_those_of_epochs_over_epochs",
    "TestFirstColumns": "test_a_metric_that_appears_late_is_at_its_own_steps",
    "TestFinite": "test_nan_is_kept",
    "TestShortening": "test_a_thousand_parameters_and_long_ones_are_kept",
    "TestCheerful": "test_a_run_has_the_status_with_which_it_ended[exception]",
    "TestModest": "test_nan_is_kept",
}
"""The trackers of `faulty.py`, and the promise that each of them breaks."""


@pytest.fixture(scope="module")
def report() -> str:
    """Run pytest on the broken trackers in a separate process, and return its output."""
    ids = [f"{SUPPORT / 'faulty.py'}::{suite}::{promise}" for suite, promise in BROKEN.items()]
    command = [sys.executable, "-m", "pytest", "-rA", "-q", "-p", "no:cacheprovider", *ids]
    done = subprocess.run(
        command, env=importing(SUPPORT, THIRD_PARTY), capture_output=True, text=True, check=False
    )
    return done.stdout


@pytest.mark.slow
def test_a_tracker_that_breaks_a_promise_fails_the_test_of_this_promise(report: str) -> None:
    failed = re.findall(r"^FAILED .*faulty\.py::(\w+)::(.*?)(?: - .*)?$", report, re.MULTILINE)
    assert dict(failed) == BROKEN, report


@pytest.mark.slow
def test_a_failure_shows_both_sides_of_the_assertion(report: str) -> None:
    assert re.search(r"assert \{'early'.* == \{'early'", report)


def test_a_backend_that_has_an_ability_listed_in_cannot_fails(report: str) -> None:
    assert "[XPASS(strict)] labbook cannot hold NaN as a metric: so it is said" in report


SUITE = """
from trackhooks.testing import Seen, TrackerPromises

class TestAbsent(TrackerPromises):
    tracker = "labbook:Labbook"

    def read(self, run, options):
        return Seen()
"""


@pytest.mark.slow
def test_a_failure_shows_both_sides_in_other_projects_too(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers -W error\n")
    (tmp_path / "test_mine.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "appears_late"]
    environment = importing(THIRD_PARTY)
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "1 failed" in done.stdout
    assert "AssertionError: assert {} == {'early'" in done.stdout


def test_an_unknown_ability_is_an_error_that_suggests_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown ability 'image'\. Did you mean 'images'"):
        type("TestMine", (TrackerPromises,), {"cannot": {"image": "no place"}})


def test_a_missing_ability_needs_a_reason() -> None:
    with pytest.raises(InvalidValueError, match=r"cannot\['images'\] must give the reason"):
        type("TestMine", (TrackerPromises,), {"cannot": {"images": ""}})


def test_without_pytest_the_import_says_what_to_install(program: Callable[..., str]) -> None:
    script = """
        import sys, trackhooks
        sys.modules["pytest"] = None
        try:
            import trackhooks.testing
        except trackhooks.MissingPackageError as error:
            print(error)
    """
    assert program(script).endswith("pip install pytest\n")
