"""The figures of a comparison: what they draw, what they refuse, and that no extreme value is lost."""

from __future__ import annotations

import importlib
import itertools
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import trackhooks
from trackhooks.reading.figures import axes
from trackhooks.reading.figures.bands import band
from trackhooks.reading.figures.colors import MOST_TOLD_APART, run_styles, style
from trackhooks.reading.figures.figure import Figure
from trackhooks.reading.figures.reduction import Grid, grid, kept, means
from trackhooks.reading.figures.smoothing import smooth


def train(lr: float, seed: int = 0, loss: Callable[[int], float] | None = None, **params: Any) -> Path:
    """Record a run with three epochs of two batches."""
    value = loss or (lambda step: lr + seed + 1 / (step + 1))
    with trackhooks.run(name=f"lr={lr}-seed={seed}", params={"lr": lr, "seed": seed, **params}) as run:
        for epoch in run.epochs(3):
            for batch in run.train(range(2)):
                run.log(loss=value(2 * epoch + batch))
            for _ in run.validate(range(1)):
                run.log(loss=value(2 * epoch + 1), accuracy=1 - lr)
    return run.path


def data(figure: Figure, name: str = "lines") -> dict[str, Any]:
    """What a renderer of a figure draws."""
    found: Any = figure.figure.select_one({"name": name})
    columns: dict[str, Any] = found.data_source.data
    return columns


# Curves


@pytest.mark.slow
def test_a_plot_has_one_line_for_each_run_with_all_its_points() -> None:
    train(0.1)
    train(0.2)
    drawn = data(trackhooks.compare(["runs/lr=0.1-seed=0", "runs/lr=0.2-seed=0"]).plot("val/loss"))
    assert drawn["run"] == ["lr=0.1-seed=0", "lr=0.2-seed=0"]
    assert [list(x) for x in drawn["xs"]] == [[1, 3, 5], [1, 3, 5]]
    np.testing.assert_allclose(drawn["ys"][0], [0.1 + 1 / 2, 0.1 + 1 / 4, 0.1 + 1 / 6])
    assert len(set(drawn["color"])) == 2


def test_over_epochs_the_batches_of_an_epoch_are_fractions_of_it() -> None:
    train(0.1)
    compared = trackhooks.compare("runs")
    assert list(data(compared.plot("val/loss", over="epoch"))["xs"][0]) == [0, 1, 2]
    assert list(data(compared.plot("train_batch/loss", over="epoch"))["xs"][0]) == [0, 0.5, 1, 1.5, 2, 2.5]


def test_over_time_and_relative_time_the_points_are_where_they_were_recorded() -> None:
    path = train(0.1)
    times = [event.time for event in trackhooks.journal.read(path) if "train_batch/loss" in event.metrics]
    compared = trackhooks.compare("runs")
    created = compared.runs[0].created
    local = time.localtime(created).tm_gmtoff
    np.testing.assert_allclose(
        data(compared.plot("train_batch/loss", over="time"))["xs"][0], (np.array(times) + local) * 1000
    )
    np.testing.assert_allclose(
        data(compared.plot("train_batch/loss", over="relative"))["xs"][0],
        np.array(times) - created,
        atol=1e-6,
    )


def test_a_pattern_gives_a_chart_for_each_metric_with_the_same_horizontal_range() -> None:
    train(0.1)
    figure: Any = trackhooks.compare("runs").plot("val/*").figure
    assert [chart.title.text for chart in figure.children] == ["val/loss", "val/accuracy"]
    assert figure.children[0].x_range is figure.children[1].x_range


def test_a_group_of_seeds_is_its_mean_with_a_band_of_the_sample_standard_deviation() -> None:
    for seed in range(3):
        train(0.1, seed)
    compared = trackhooks.compare("runs")
    figure = compared.plot("val/loss")
    drawn, area = data(figure), data(figure, "band")
    last = [0.1 + seed + 1 / 6 for seed in range(3)]
    spread = compared.columns[0].spread("val/loss", "last")
    assert spread is not None
    assert drawn["ys"][0][-1] == pytest.approx(statistics.fmean(last)) == pytest.approx(spread.mean)
    assert (
        area["ys"][0][3] - drawn["ys"][0][-1]
        == pytest.approx(statistics.stdev(last))
        == pytest.approx(spread.std)
    )


def test_on_a_logarithmic_axis_a_band_stays_above_zero() -> None:
    for seed in range(3):
        train(0.1, seed, loss=lambda step, seed=seed: 0.01 + seed)  # type: ignore[misc]
    area = data(trackhooks.compare("runs").plot("val/loss", log=True), "band")
    assert min(area["ys"][0]) == pytest.approx(0.101)


def test_the_means_of_two_groups_do_not_depend_on_each_other() -> None:
    for lr in (0.1, 0.2):
        for seed in range(3):
            train(lr, seed)
    both = data(trackhooks.compare("runs").plot("val/loss"))
    one = data(trackhooks.compare("runs", where="lr = 0.1").plot("val/loss"))
    place = both["run"].index("lr=0.1")
    assert list(both["ys"][place]) == list(one["ys"][0])


def test_a_smoothed_curve_has_the_raw_one_behind_it() -> None:
    train(0.1)
    figure = trackhooks.compare("runs").plot("train_batch/loss", smoothing=0.9)
    raw = [0.1 + 1 / (step + 1) for step in range(6)]
    np.testing.assert_allclose(data(figure, "raw")["ys"][0], raw)
    smoothed = list(data(figure)["ys"][0])
    assert smoothed[0] == pytest.approx(raw[0])
    assert smoothed[1] == pytest.approx((0.9 * 0.1 * raw[0] + 0.1 * raw[1]) / (1 - 0.9**2))


def test_values_that_are_not_finite_are_marked_and_not_joined() -> None:
    train(0.1, loss=lambda step: math.nan if step in (2, 3) else math.inf if step == 5 else float(step))
    figure = trackhooks.compare("runs").plot("train_batch/loss")
    assert np.isnan(data(figure)["ys"][0][[2, 3, 5]]).all()
    marks = data(figure, "marks")
    assert list(zip(marks["x"], marks["y"], marks["value"], strict=True)) == [(2, 1, "nan"), (5, 4, "inf")]


def test_a_logarithmic_axis_marks_what_it_cannot_show() -> None:
    train(0.1, loss=lambda step: float(step - 1))
    figure = trackhooks.compare("runs").plot("train_batch/loss", log=True)
    assert data(figure, "marks")["x"] == [0]
    assert type(figure.figure.y_scale).__name__ == "LogScale"  # type: ignore[attr-defined]


def test_a_metric_without_any_finite_value_makes_no_error() -> None:
    train(0.1, loss=lambda _: math.nan)
    assert len(data(trackhooks.compare("runs").plot("train_batch/loss", smoothing=0.5))["xs"]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": "val/los"}, "val/loss"),
        ({"metrics": 5}, "metrics must be a non-empty string, got 5"),
        ({"over": "steps"}, "Did you mean 'step'"),
        ({"over": None}, "over must be one of step, epoch, time, relative, got None"),
        ({"smoothing": 1}, "smoothing must be a number from 0 to below 1, such as 0.9, got 1"),
        ({"smoothing": -0.5}, "got -0.5"),
        ({"smoothing": "much"}, "got 'much'"),
        ({"log": "y"}, "log must be True or False, got 'y'"),
    ],
)
def test_a_wrong_argument_is_named(options: dict[str, Any], message: str) -> None:
    train(0.1)
    with pytest.raises((trackhooks.InvalidValueError, trackhooks.UnknownNameError), match=message):
        trackhooks.compare("runs").plot(**{"metrics": "val/loss", **options})


def test_without_bokeh_the_message_has_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_bokeh(name: str) -> Any:
        if name == "bokeh":
            raise ImportError(name)
        return importlib.import_module(name)

    train(0.1)
    compared = trackhooks.compare("runs")
    monkeypatch.setattr("trackhooks.reading.packages.import_module", without_bokeh)
    for draw in (
        lambda: compared.plot("val/loss"),
        compared.parallel,
        lambda: compared.scatter("params.lr", "best.val/loss"),
        compared.report,
    ):
        with pytest.raises(trackhooks.MissingPackageError, match=r"pip install 'trackhooks\[report\]'"):
            draw()


# Parallel coordinates and scatter plots


def test_parallel_coordinates_have_an_axis_for_what_differs_and_for_the_results() -> None:
    train(0.1, optimizer="adam")
    train(0.2, optimizer="sgd")
    figure: Any = trackhooks.compare(["runs/lr=0.1-seed=0", "runs/lr=0.2-seed=0"]).parallel()
    labels = list(figure.figure.xaxis[0].major_label_overrides.values())
    assert labels == ["params.lr", "params.optimizer", "best.val/loss", "best.val/accuracy"]
    drawn = data(figure)
    assert drawn["ys"] == [[0, 0, 0, 1], [1, 1, 1, 0]]
    assert drawn["values"][0].startswith("params.lr 0.1, params.optimizer adam, best.val/loss 0.26")


def test_a_run_without_a_value_skips_that_axis() -> None:
    train(0.1, momentum=0.9)
    train(0.2)
    drawn = data(
        trackhooks.compare("runs", sort="lr").parallel("params.lr", "params.momentum", "best.val/loss")
    )
    assert drawn["xs"] == [[0, 1, 2], [0, 2]]


def test_numbers_of_many_magnitudes_are_on_a_logarithmic_scale() -> None:
    for lr in (0.001, 0.01, 0.1):
        train(lr)
    drawn = data(trackhooks.compare("runs", sort="lr").parallel("params.lr", "steps"))
    np.testing.assert_allclose([y[0] for y in drawn["ys"]], [0, 0.5, 1])


def test_a_scatter_plot_has_a_point_for_each_run_that_has_both_values() -> None:
    train(0.1)
    train(0.2, momentum=0.9)
    compared = trackhooks.compare("runs", sort="lr")
    drawn = data(compared.scatter("params.lr", "best.val/loss"), "points")
    assert drawn["x"] == [0.1, 0.2]
    np.testing.assert_allclose(drawn["y"], [0.1 + 1 / 6, 0.2 + 1 / 6])
    assert data(compared.scatter("params.momentum", "duration"), "points")["run"] == ["lr=0.2-seed=0"]


def test_a_run_has_the_same_color_in_all_figures() -> None:
    for lr in (0.1, 0.2, 0.3):
        train(lr)
    compared = trackhooks.compare("runs", group_by=None)
    plotted, parallel = data(compared.plot("val/loss")), data(compared.parallel())
    scattered = data(compared.scatter("params.lr", "best.val/loss"), "points")
    assert plotted["color"] == parallel["color"] == scattered["color"]
    assert plotted["run"] == parallel["run"] == scattered["run"]


def test_runs_with_the_same_name_are_called_by_their_folders() -> None:
    for folder in ("a", "b"):
        with trackhooks.run(dir=folder, name="same") as run:
            run.log({"val/loss": 1.0})
    drawn = data(trackhooks.compare(["a", "b"]).scatter("best.val/loss", "steps"), "points")
    assert drawn["run"] == ["a/same", "b/same"]


def test_names_are_resolved_as_in_filters() -> None:
    train(0.1)
    train(0.2)
    compared = trackhooks.compare("runs")
    with pytest.raises(trackhooks.UnknownNameError, match=r"Did you mean 'best\.val/loss'"):
        compared.scatter("params.lr", "best.val/los")
    with pytest.raises(trackhooks.UnknownNameError, match=r"Did you mean 'params\.lr'"):
        compared.parallel("params.l", "steps")
    with pytest.raises(trackhooks.InvalidValueError, match="at least two"):
        compared.parallel("params.lr")
    with pytest.raises(trackhooks.InvalidValueError, match="x must be a non-empty string, got None"):
        compared.scatter(None, "steps")  # type: ignore[arg-type]


def test_as_many_runs_as_there_are_styles_can_be_told_apart() -> None:
    assert len({style(number) for number in range(MOST_TOLD_APART)}) == MOST_TOLD_APART
    for seed in range(3):
        train(0.1, seed)
    assert len({found.color for found in run_styles(trackhooks.compare("runs").columns)}) == 3


# Files and notebooks


def test_a_figure_is_saved_as_a_page_that_needs_no_network(here: Path) -> None:
    train(0.1)
    figure = trackhooks.compare("runs").plot("val/loss")
    path = figure.save("plot.html")
    assert path == here / "plot.html"
    text = path.read_text()
    assert "default-src 'none'" in text or "default-src &#x27;none&#x27;" in text
    assert "src=" not in text.replace("srcdoc=", "").partition("<script")[0]
    assert len(text) < 600_000
    figure.save("plot.html")  # its own page is replaced


def test_the_file_of_somebody_else_is_not_replaced(here: Path) -> None:
    train(0.1)
    (here / "mine.html").write_text("mine")
    figure = trackhooks.compare("runs").plot("val/loss")
    with pytest.raises(trackhooks.TrackhooksError, match="trackhooks did not make it"):
        figure.save("mine.html")
    assert (here / "mine.html").read_text() == "mine"
    assert {path.name for path in here.iterdir()} == {"runs", "mine.html"}
    with pytest.raises(trackhooks.InvalidValueError, match=r"must end with \.html, got 'plot\.png'"):
        figure.save("plot.png")
    with pytest.raises(trackhooks.TrackhooksError, match="there is no directory"):
        figure.save("nowhere/plot.html")


def test_a_notebook_shows_a_figure_in_a_frame() -> None:
    train(0.1)
    frame = trackhooks.compare("runs").plot("val/loss")._repr_html_()
    assert frame.startswith('<iframe srcdoc="&lt;!doctype html')
    assert 'sandbox="allow-scripts"' in frame


# Reduction


values = st.one_of(
    st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf]), st.integers(-3, 3).map(float)
)


@pytest.mark.slow
@given(st.lists(values, min_size=1, max_size=300), st.integers(1, 20))
def test_each_bucket_keeps_its_exact_minimum_and_maximum(listed: list[float], buckets: int) -> None:
    value = np.array(listed)
    x = np.arange(len(value), dtype=float)
    on = grid([x], buckets)
    places = kept(x, value, on)
    assert list(places) == sorted(set(places))
    for bucket in range(buckets):
        there = (on.of(x) == bucket) & np.isfinite(value)
        drawn = value[places][(on.of(x[places]) == bucket) & np.isfinite(value[places])]
        if there.any():
            assert drawn.min() == value[there].min()
            assert drawn.max() == value[there].max()


@given(st.lists(values, min_size=1, max_size=300), st.integers(1, 20))
def test_no_two_values_are_joined_across_a_gap(listed: list[float], buckets: int) -> None:
    value = np.array(listed)
    x = np.arange(len(value), dtype=float)
    places = kept(x, value, grid([x], buckets))
    for before, after in itertools.pairwise(places):
        if np.isfinite(value[before]) and np.isfinite(value[after]):
            assert np.isfinite(value[before:after]).all()
    if not np.isfinite(value).all():
        assert not np.isfinite(value[places]).all()


@given(st.lists(values, min_size=1, max_size=2000))
def test_a_reduced_curve_is_short(listed: list[float]) -> None:
    x = np.arange(len(listed), dtype=float)
    assert len(kept(x, np.array(listed), grid([x], 10))) <= max(20, 10 * 2 * 2 * 2 + 4)


def test_a_short_curve_next_to_a_long_one_keeps_its_form() -> None:
    on = Grid(0, 1e6, 1000)
    x = np.arange(5000, dtype=float)
    places = kept(x, np.random.default_rng(0).normal(size=5000), on)
    assert 1000 <= len(places) <= 4000
    assert set(np.unique(on.finer(x).of(x))) == set(np.unique(on.finer(x).of(x[places])))


def test_the_mean_of_a_bucket_is_that_of_all_its_points() -> None:
    x = np.arange(10.0)
    found = means(x, np.array([1.0, 3, math.nan, 5, 7, 9, 1, 1, 1, 1]), Grid(0, 10, 5))
    np.testing.assert_allclose(found.value, [2, 5, 8, 1, 1])
    np.testing.assert_allclose(found.x, [0.5, 3, 4.5, 6.5, 8.5])
    assert list(found.size) == [2, 1, 2, 2, 2]


# Smoothing, bands and axes


@given(st.floats(-1e6, 1e6), st.integers(1, 50), st.floats(0, 0.999))
def test_a_constant_stays_as_it_is_when_it_is_smoothed(level: float, size: int, weight: float) -> None:
    np.testing.assert_allclose(smooth(np.full(size, level), weight), level, rtol=1e-9, atol=1e-300)


def test_smoothing_continues_after_a_gap() -> None:
    found = smooth(np.array([1.0, math.nan, 1.0]), 0.9)
    assert found[0] == found[2] == pytest.approx(1)
    assert math.isnan(found[1])


def test_a_band_has_no_width_where_there_is_one_run() -> None:
    found = band([(np.array([0.0, 1, 2]), np.array([1.0, 2, 3])), (np.array([0.0, 1]), np.array([3.0, 2]))])
    np.testing.assert_allclose(found.mean, [2, 2, 3])
    np.testing.assert_allclose(found.std, [math.sqrt(2), 0, math.nan])


def test_curves_at_different_positions_are_compared_on_a_grid() -> None:
    x = np.linspace(0, 1, 100)
    found = band([(x, np.full(100, 1.0)), (x + 1e-4, np.full(100, 3.0)), (x + 2e-4, np.full(100, 5.0))])
    np.testing.assert_allclose(found.mean[5:-5], 3)
    np.testing.assert_allclose(found.std[5:-5], 2)


def test_epochs_before_the_first_are_not_drawn() -> None:
    step, epoch = np.array([0.0, 1, 2, 3]), np.array([-1.0, 0, 0, 1])
    np.testing.assert_allclose(axes.epochs(step, epoch), [math.nan, 0, 0.5, 1])
