"""The documents' table of what each hook stores: every hook, every tracker, and what a real run stores."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.metadata import distribution
from typing import Any

import backends
import pytest
from delivered import Delivered
from folders import ROOT
from places import PLACES, Fact, facts, kinds

from trackhooks.delivery.registry import ENTRY_POINTS
from trackhooks.event import Event
from trackhooks.hooks.vocabulary import BY_NAME
from trackhooks.storage.run_folder import read_info

FROM_TORCH = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)
"""torch warns when it exports, which the runs of the loops do."""

SCRIPT = ROOT / "docs" / "stored_page.py"


def _page() -> Any:
    spec = importlib.util.spec_from_file_location("stored_page", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


page = _page()


def test_every_hook_has_a_row_and_every_bundled_tracker_a_column() -> None:
    assert set(page.STORED) == set(BY_NAME)
    assert set(page.TRACKERS) == distribution("trackhooks").entry_points.select(group=ENTRY_POINTS).names
    assert {len(places) for places in page.PLACES.values()} == {len(page.TRACKERS)}


@pytest.mark.slow
def test_the_page_holds_the_table() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


LATE = {("teardown", "image")}
"""Plots that Ultralytics draws in a thread: there by then, or earlier."""
stored_in_any_loop: dict[str, set[str]] = {}


@pytest.mark.slow
@FROM_TORCH
def test_each_hook_stores_what_the_table_says(delivered: Delivered) -> None:
    for event in delivered.events:
        if event.hook in BY_NAME:
            found = set(kinds(event))
            assert found <= set(page.STORED[event.hook][1]), event.hook
            stored_in_any_loop.setdefault(event.hook, set()).update(found)


@pytest.mark.slow
@FROM_TORCH
@pytest.mark.parametrize("tracker", page.TRACKERS)
def test_what_a_hook_stores_is_where_the_table_says(tracker: str, delivered: Delivered) -> None:
    run, options = read_info(delivered.path), delivered.options[tracker]
    held = PLACES[tracker](run, options, backends.delivered(delivered.path, tracker, options))
    column = list(page.TRACKERS).index(tracker)
    changed = changed_params(delivered.events)
    missing = {
        (event.hook, kind): lacking
        for event in delivered.events
        for kind in kinds(event)
        if page.PLACES[kind][column] and (lacking := facts(event, kind, tracker) - changed - held[kind])
    }
    assert missing == {}


def changed_params(events: list[Event]) -> set[Fact]:
    """The parameters that have another value later, which is the one that counts."""
    given = [fact for event in events for fact in facts(event, "params", "csv")]
    last = {fact[0]: fact for fact in given}
    return set(given) - set(last.values())


@pytest.mark.slow
@FROM_TORCH
@pytest.mark.parametrize("tracker", page.TRACKERS)
def test_a_run_that_has_not_ended_has_the_status_running(tracker: str, delivered: Delivered) -> None:
    assert delivered.amid[tracker] == "running"


@pytest.mark.slow
def test_each_cell_of_the_table_was_stored_by_one_of_the_loops_at_least() -> None:
    if len(stored_in_any_loop) < len([hook for hook in BY_NAME.values() if hook.journaled]):
        pytest.skip("the runs of the three loops were not all made: this needs the whole file")
    cells = {(hook, kind) for hook, (_, found) in page.STORED.items() for kind in found}
    stored = {(hook, kind) for hook, found in stored_in_any_loop.items() for kind in found}
    assert cells - LATE - stored == {("on_train_start", "running"), ("optimizer_step", "histograms")}
