"""One run, of every kind of loop, is the same run in all four trackers, by each backend's own reader."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import backends
import pytest
from backends import BACKENDS, Backend
from delivered import Delivered
from places import best

from trackhooks.event import Event, Histogram, Text
from trackhooks.testing import Seen
from trackhooks.testing.trial import plain
from trackhooks.tracker import axis_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]  # torch's, when it exports


@pytest.fixture(scope="module", params=BACKENDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def backend(name: str) -> Backend:
    return BACKENDS[name]


@pytest.fixture(scope="module")
def seen(name: str, delivered: Delivered) -> Seen:
    return backends.delivered(delivered.path, name, delivered.options[name])


def metrics(events: list[Event]) -> dict[str, dict[int, float]]:
    """Every metric of the journal at its step or epoch, other than best values."""
    found: dict[str, dict[int, float]] = {}
    for event in events:
        for name in event.metrics.keys() - best(event).keys():
            value = event.metrics[name]
            found.setdefault(name, {})[event.epoch if axis_of(event) == "epoch" else event.step] = value
    return found


def as_text(curves: Mapping[str, Any], number: Callable[[float], float] = float) -> dict[str, list[str]]:
    """So that NaN is NaN."""
    return {
        name: [
            f"{x}: {number(value)!r}" for x, value in (curve.items() if isinstance(curve, dict) else curve)
        ]
        for name, curve in curves.items()
        # `system/…` is measured by the delivery, and not in the journal of the loop.
        if not name.startswith(("system/", "best/"))
    }


def test_the_run_contains_everything_that_is_compared(delivered: Delivered) -> None:
    curves = metrics(delivered.events)
    assert {"train_batch/loss", "train/loss", "val/loss", "lr/0", "predict/samples"} <= set(curves)
    assert any(name.startswith("test/") for name in curves)
    assert list(curves["train/loss"]) == list(curves["val/loss"]) == [0, 1, 2]
    assert list(curves["train_batch/loss"]) == list(range(len(curves["train_batch/loss"])))
    if "train_batch/late(B)" in curves:
        assert list(curves["train_batch/late(B)"]) == list(range(5, 15))
        assert any(math.isnan(value) for value in curves["val/diverged"].values())


def test_every_metric_is_the_same_at_every_step_and_epoch(
    backend: Backend, seen: Seen, delivered: Delivered
) -> None:
    expected = metrics(delivered.events)
    assert as_text(seen.metrics, backend.number) == as_text(expected, backend.number)


def test_every_best_value_is_the_same(backend: Backend, seen: Seen, delivered: Delivered) -> None:
    expected = {name: value for event in delivered.events for name, value in best(event).items()}
    curves = {name: points[-1][1] for name, points in seen.metrics.items()}
    found = {name: value for name, value in {**seen.facts, **curves}.items() if name.startswith("best/")}
    assert plain(found) == plain({name: backend.number(value) for name, value in expected.items()})


def test_what_was_found_out_is_the_same(seen: Seen, delivered: Delivered) -> None:
    facts = {name: value for event in delivered.events for name, value in event.facts.items()}
    assert facts["model/parameters"]
    assert plain(seen.facts).items() >= plain(facts).items()


def test_every_parameter_is_the_same(seen: Seen, delivered: Delivered) -> None:
    params = {name: value for event in delivered.events for name, value in event.params.items()}
    assert {"lr", "net/hidden", "net/bias", "decay"} <= set(params)
    assert seen.params == plain(params)


def test_every_file_has_the_same_hash(seen: Seen, delivered: Delivered) -> None:
    files = [file for event in delivered.events for file in event.files if file.kind != "image"]
    assert {file.kind for file in files} == {"model", "export", "file"}
    assert seen.files == {file.name: file.sha256 for file in files if not file.superseded}


def test_the_status_is_the_same(seen: Seen) -> None:
    assert seen.status == "finished"


def test_the_run_had_the_status_running_until_it_ended(name: str, delivered: Delivered) -> None:
    assert delivered.amid[name] == "running"


def test_pictures_texts_and_tables_are_the_same(seen: Seen, delivered: Delivered) -> None:
    pictures = [file for event in delivered.events for file in event.files if file.kind == "image"]
    # In TensorBoard, further pictures of one series at one step are called `<series> (2)`, ….
    series = {re.sub(r" \(\d+\)$", "", name) for name in seen.images}
    assert series == {picture.name for picture in pictures if not picture.superseded}
    last = delivered.events[-2].step
    assert seen.images["samples"] == [(last, (8, 8))]
    assert seen.texts["notes"] == [(last, "the loss\nhas become | NaN")]
    (model,) = {
        media.text
        for event in delivered.events
        for media in event.media
        if isinstance(media, Text) and media.name == "model"
    }
    assert [text for _, text in seen.texts["model"]] == [model]
    columns = ("class", "count", "share")
    rows = [plain(dict(zip(columns, row, strict=True))) for row in (["one", 1, 0.5], ["two", 2, 1 / 3])]
    assert seen.tables["confusion"] == [(last, rows)]


def test_histograms_are_the_same(seen: Seen, delivered: Delivered) -> None:
    logged = {
        (media.name, event.step): (media.edges, media.counts)
        for event in delivered.events
        for media in event.media
        if isinstance(media, Histogram)
    }
    assert ("rates", delivered.events[-2].step) in logged
    assert logged == {
        (name, step): (list(edges), list(counts))
        for name, series in seen.histograms.items()
        for step, (edges, counts) in series
    }
