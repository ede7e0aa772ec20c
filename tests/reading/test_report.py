"""The report in a real browser: what it shows, what it can be asked, and that nothing in a name can harm it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import chromium
from click.testing import CliRunner

import trackhooks
from trackhooks.cli.main import main
from trackhooks.reading.figures.reduction import Grid

HOSTILE = [
    "</script><script>window.harmed = 1</script>",
    "<!-- <script> <img src=x onerror='window.harmed = 1'>",
    "quotes \" ' ` & &amp; ${harmed} \\u003c \u2028 \u2029",
    "\u202egnp.exe עברית",
    "lone \ud800 surrogate",
    "__proto__",
]
USUAL = {"viewport": {"width": 1300, "height": 1000}, "timezone_id": "UTC"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium("--disable-gpu") as browser:
        yield browser


@pytest.fixture(scope="module")
def tab(browser: Any) -> Any:
    """The tab in which most tests open their report: it keeps the scripts that it has compiled."""
    return browser.new_page(**USUAL)


@pytest.fixture
def opened(browser: Any, tab: Any) -> Iterator[Callable[..., Any]]:
    """Opens a report. At the end, the page must not have logged an error, nor asked the network for anything."""
    pages: list[Any] = []
    problems: list[str] = []

    def note_error(error: Any) -> None:
        problems.append(f"{error} {error.stack}")

    def note_message(message: Any) -> None:
        if message.type in ("error", "warning"):
            problems.append(message.text)

    def note_request(request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            problems.append(request.url)

    listeners = {"pageerror": note_error, "console": note_message, "request": note_request}

    def open_page(path: Path, **options: Any) -> Any:
        page = browser.new_page(**USUAL | options) if options or tab in pages else tab
        pages.append(page)
        page.set_default_timeout(60_000)
        for name, listener in listeners.items():
            page.on(name, listener)
        page.goto(path.as_uri())
        page.locator("html[data-ready]").wait_for(state="attached")
        return page

    yield open_page
    if tab in pages:
        pages.remove(tab)
        for name, listener in listeners.items():
            tab.remove_listener(name, listener)
    for page in pages:
        page.close()
    assert problems == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six runs: two learning rates with three seeds each; one has a gap, one has failed."""
    folder = tmp_path_factory.mktemp("runs")
    for lr in (0.01, 0.1):
        for seed in range(3):
            with suppress(ZeroDivisionError):
                train(folder, lr, seed)
    return folder


def train(folder: Path, lr: float, seed: int) -> None:
    params = {"lr": lr, "seed": seed, "optimizer": "adam" if lr < 0.05 else "sgd"}
    with trackhooks.run(
        dir=folder, name=f"lr={lr}-seed={seed}", params=params, project="digits", delivery="off"
    ) as run:
        for epoch in run.epochs(4):
            for batch in run.train(range(5)):
                loss = math.exp(-lr * (5 * epoch + batch)) + seed / 100
                run.log(loss=math.nan if (lr, seed, epoch) == (0.01, 1, 2) else loss)
            for _ in run.validate(range(1)):
                run.log(loss=math.exp(-lr * 5 * (epoch + 1)) + seed / 100, accuracy=1 - lr / (epoch + 1))
            if seed == 0:
                run.log_image("sample", np.full((8, 8), epoch / 4))
        model = folder / f"model-{lr}.onnx"
        model.write_bytes(b"model")
        run.log_export(model, format="onnx")
        if (lr, seed) == (0.1, 2):
            raise ZeroDivisionError("the loss is <b>gone</b>")


@pytest.fixture(scope="module")
def report(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    compared = trackhooks.compare([folder], metrics="val/*,train/loss,train_batch/loss")
    return compared.report(tmp_path_factory.mktemp("report") / "report.html")


pytestmark = pytest.mark.slow  # a browser


def column(page: Any, title: str) -> list[str]:
    """The cells of a column of the table of runs."""
    titles = page.locator("#table thead th").all_inner_texts()
    number = next(i for i, text in enumerate(titles) if text.strip(" ↑↓▲▼\n") == title)
    return [
        text.strip() for text in page.locator(f"#table tbody tr > :nth-child({number + 1})").all_inner_texts()
    ]


def drawn(page: Any, metric: str = "train_batch/loss", name: str = "lines") -> dict[str, list[Any]]:
    """What a renderer of the chart of a metric draws."""
    show(page, metric)
    found: dict[str, list[Any]] = page.evaluate(
        """([metric, name]) => {
          const isList = (value) => Array.isArray(value) || ArrayBuffer.isView(value);
          const plain = (value) => isList(value) ? Array.from(value, plain) : Number.isNaN(value) ? null : value;
          const chart = charts.find((chart) => chart.metric === metric);
          const {data} = chart.sources[name];
          return Object.fromEntries(Object.entries(data).map(([key, values]) => [key, plain(values)]));
        }""",
        [metric, name],
    )
    return found


def until(page: Any, condition: str) -> None:
    """Wait until an expression is true. The policy of the page forbids `wait_for_function`, which uses `eval`."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


def show(page: Any, metric: str) -> None:
    """Scroll to the chart of a metric: those that are not in view follow later."""
    chart = f"charts.find((chart) => chart.metric === {json.dumps(metric)})"
    page.evaluate(f"{chart}.element.scrollIntoView()")
    until(page, f"{chart}.isVisible && !{chart}.isStale")


def x_range(page: Any, metric: str) -> tuple[float, float]:
    show(page, metric)
    start, end = page.evaluate(
        "(metric) => { const {start, end} = charts.find((chart) => chart.metric === metric).plot.x_range;"
        " return [start, end]; }",
        metric,
    )
    return start, end


# What it shows


def test_the_answer_is_first(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    assert page.title() == "Comparison of 6 runs of digits"
    answer = page.locator(".answer").inner_text()
    assert answer.startswith("Best val/loss: lr=0.1, optimizer=sgd ★ 0.145 ± 0.010 over 3 runs")
    assert "Next: lr=0.01, optimizer=adam with 0.829 ± 0.010" in answer
    assert "lr: 0.1 instead of 0.01; optimizer: sgd instead of adam" in answer
    assert "Failed: lr=0.1-seed=2 (ZeroDivisionError: the loss is <b>gone</b>)." in answer


def test_the_table_has_what_differs_and_the_exact_results(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    assert column(page, "lr") == ["0.1"] * 3 + ["0.01"] * 3
    assert column(page, "optimizer") == ["sgd"] * 3 + ["adam"] * 3
    best = page.locator("#table td.best").first
    assert best.inner_text() == "0.13534 ★"
    assert float(best.get_attribute("title")) == math.exp(-2)
    assert page.locator("#table td", has_text="ZeroDivisionError").inner_text().startswith("failed\n")


def test_a_column_is_sorted_by_a_click_and_by_the_keyboard(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    page.get_by_role("button", name="best val/loss").click()
    ascending = list(map(float, (text.split()[0] for text in column(page, "best val/loss"))))
    assert ascending == sorted(ascending)
    assert page.locator("th[aria-sort=ascending]").count() == 1
    page.keyboard.press("Enter")  # the title has kept the focus
    assert column(page, "best val/loss")[0] == page.locator("#table tbody td").nth(4).inner_text()
    assert page.locator("th[aria-sort=descending]").count() == 1


def test_a_filter_hides_runs_in_the_table_and_in_the_charts(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    page.get_by_label("Filter").fill("adam seed=1")
    page.get_by_text("1 of 6 runs").wait_for()
    assert column(page, "run") == ["lr=0.01-seed=1"]
    assert drawn(page)["run"] == ["lr=0.01-seed=1"]


def test_runs_are_drawn_or_not_as_chosen(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    page.get_by_label("mean ± std of groups").uncheck()
    page.get_by_label("draw lr=0.1-seed=0").uncheck()
    assert "lr=0.1-seed=0" not in drawn(page)["run"]
    assert len(drawn(page)["run"]) == 5
    page.locator("#draw").select_option("none")
    assert drawn(page)["run"] == []
    page.locator("#draw").select_option("best")
    assert len(drawn(page)["run"]) == 5


def test_rows_are_grouped_with_the_mean_of_each_group(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    page.get_by_label("Group by").select_option("optimizer")
    groups = page.locator("tr.group")
    assert groups.count() == 2
    assert groups.first.inner_text().split("\t")[:2] == ["optimizer = sgd", "n=3"]
    assert "0.14534 ± 0.01" in groups.first.inner_text()


def test_a_comparison_at_the_best_value_of_a_metric_says_so(
    folder: Path, tmp_path: Path, opened: Callable[..., Any]
) -> None:
    compared = trackhooks.compare([folder], at="best:val/accuracy", group_by=None)
    page = opened(compared.report(tmp_path / "report.html"))
    answer = page.locator(".answer").inner_text()
    assert answer.startswith("Best val/loss: lr=0.1-seed=0 ★ 0.13534 at the best val/accuracy")


def test_the_command_takes_the_same_options_as_a_comparison(
    folder: Path, tmp_path: Path, opened: Callable[..., Any]
) -> None:
    path, base = tmp_path / "report.html", folder / "lr=0.01-seed=2"
    options = ["--group-by", "none", "--at", "best:val/accuracy", "--baseline", str(base)]
    done = CliRunner().invoke(main, ["report", str(folder), "-o", str(path), *options])
    assert done.exit_code == 0, done.output
    page = opened(path)
    assert "at the best val/accuracy" in page.locator(".answer").inner_text()
    assert column(page, "run")[0] == base.name


# Curves


def test_the_mean_of_seeds_has_a_band(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    lines, bands = drawn(page, "val/loss"), drawn(page, "val/loss", "band")
    assert lines["run"] == ["lr=0.1, optimizer=sgd, mean of 3", "lr=0.01, optimizer=adam, mean of 3"]
    assert lines["ys"][0] == pytest.approx(
        [math.exp(-0.5 * (epoch + 1)) + 0.01 for epoch in range(4)], rel=1e-3
    )
    half = len(bands["ys"][0]) // 2
    assert bands["ys"][0][0] - lines["ys"][0][0] == pytest.approx(0.01, rel=0.05)
    assert half == 4


def test_the_axis_can_be_changed(report: Path, folder: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    page.get_by_label("mean ± std of groups").uncheck()
    assert drawn(page)["xs"][0] == list(range(20))
    page.get_by_label("Axis").select_option("epoch")
    assert drawn(page)["xs"][0] == pytest.approx([step / 5 for step in range(20)], abs=1 / 256)
    assert drawn(page, "val/loss")["xs"][0] == [0, 1, 2, 3]
    page.get_by_label("Axis").select_option("time")
    times = [
        event.time
        for event in trackhooks.journal.read(folder / "lr=0.1-seed=2")
        if "train_batch/loss" in event.metrics
    ]
    assert drawn(page)["xs"][0] == pytest.approx([time * 1000 for time in times], abs=1, rel=0)
    page.get_by_label("Axis").select_option("relative")
    assert 0 <= drawn(page)["xs"][0][0] < drawn(page)["xs"][0][-1]


def test_smoothing_is_that_of_the_figures(report: Path, folder: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    page.get_by_label("mean ± std of groups").uncheck()
    page.get_by_label("Smoothing").fill("0.9")
    until(page, "state.smoothing === 0.9")
    figure: Any = trackhooks.compare([folder], group_by=None).plot("train_batch/loss", smoothing=0.9).figure
    expected = figure.select_one({"name": "lines"}).data_source.data
    lines = drawn(page)
    assert lines["run"] == expected["run"]
    for ours, theirs in zip(lines["ys"], expected["ys"], strict=True):
        found = [math.nan if value is None else value for value in ours]
        np.testing.assert_allclose(found, theirs, rtol=1e-3)
    assert len(drawn(page, name="raw")["run"]) == 6


def test_a_gap_is_marked_and_not_joined(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    page.get_by_label("mean ± std of groups").uncheck()
    marks = drawn(page, name="marks")
    assert marks["run"] == ["lr=0.01-seed=1"]
    assert (marks["x"], marks["value"]) == ([10], ["NaN"])
    place = drawn(page)["run"].index("lr=0.01-seed=1")
    assert drawn(page)["ys"][place][10:15] == [None] * 5


def test_a_point_that_no_line_leads_to_is_a_dot(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    dots = drawn(page, "train/loss", "dots")
    assert (dots["x"], dots["run"]) == ([19], ["lr=0.01, optimizer=adam, mean of 3"])


def test_the_vertical_axis_may_be_logarithmic(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    page.get_by_label("log scale").check()
    assert page.evaluate("charts[0].plot.y_scale.type") == "LogScale"
    page.get_by_label("log scale").uncheck()
    assert page.evaluate("charts[0].plot.y_scale.type") == "LinearScale"


def test_dragging_zooms_all_charts_and_a_button_resets_them(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    before = x_range(page, "train/loss")
    show(page, "val/loss")
    box = page.locator(".chart", has_text="val/loss").locator(".canvas").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.4, middle - 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.7, middle + 50, steps=5)
    page.mouse.up()
    until(page, "state.zoom !== null")
    zoomed = x_range(page, "val/loss")
    assert zoomed[0] > before[0]
    assert zoomed[1] < before[1]
    assert x_range(page, "train/loss") == zoomed
    page.get_by_role("button", name="Reset zoom").click()
    assert x_range(page, "val/loss") == x_range(page, "train/loss") == before
    page.evaluate("zoomTo({start: 3, end: 4})")
    page.locator(".chart").first.hover()
    page.get_by_title("Reset").first.click()  # the tool of the chart itself
    until(page, "state.zoom === null")
    assert x_range(page, "val/loss") == x_range(page, "train/loss") == before


def test_the_keyboard_zooms_and_moves(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    before = x_range(page, "val/loss")
    page.locator(".chart").first.focus()
    page.keyboard.press("+")
    start, end = x_range(page, "val/loss")
    assert end - start == pytest.approx((before[1] - before[0]) / 2)
    page.keyboard.press("ArrowRight")
    assert x_range(page, "val/loss")[0] > start
    page.keyboard.press("0")
    assert x_range(page, "val/loss") == before


def test_patterns_choose_the_charts(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    page.get_by_label("Metrics").fill("val/*")
    until(page, "charts.some((chart) => chart.element.hidden)")
    assert [text.strip() for text in page.locator("#charts h3:visible").all_inner_texts()] == [
        "val/loss",
        "val/accuracy",
    ]


def test_each_extreme_value_of_a_long_curve_is_there(tmp_path: Path, opened: Callable[..., Any]) -> None:
    values = np.random.default_rng(0).normal(size=30_000)
    values[12_345], values[20_001], values[7] = 50, -50, math.nan
    with trackhooks.run(dir=tmp_path, name="long", delivery="off") as run:
        for step, value in enumerate(values):
            run.step = step
            run.log({"noise": float(value)})
    page = opened(trackhooks.compare([tmp_path / "long"]).report(tmp_path / "report.html"))
    [found] = page.evaluate(
        "charts[0].tracks.map(({step, value}) => [Array.from(step), Array.from(value, String)])"
    )
    steps, kept = np.array(found[0], int), np.array(list(map(float, found[1])))
    assert 4000 <= len(steps) <= 9000
    np.testing.assert_allclose(kept, values[steps], rtol=1 / 4000)
    bucket = Grid(0, 30_000, 2000).of(np.arange(30_000.0))
    for number in range(2000):
        inside, every = kept[bucket[steps] == number], values[bucket == number]
        assert np.nanmin(inside) == pytest.approx(np.nanmin(every), rel=1 / 4000)
        assert np.nanmax(inside) == pytest.approx(np.nanmax(every), rel=1 / 4000)
    assert math.isnan(kept[list(steps).index(7)])


def test_one_run_of_a_group_keeps_its_extreme_values(tmp_path: Path, opened: Callable[..., Any]) -> None:
    for seed in range(3):
        with trackhooks.run(
            dir=tmp_path / "runs", name=f"seed={seed}", params={"seed": seed}, delivery="off"
        ) as run:
            for step in range(5000):
                run.log({"val/x": 50.0 if step == 2500 + seed else step / 5000})
    page = opened(trackhooks.compare(tmp_path / "runs").report(tmp_path / "report.html"))
    assert max(drawn(page, "val/x")["ys"][0]) < 25  # the mean of three runs
    page.get_by_label("draw seed=0").uncheck()
    page.get_by_label("draw seed=1").uncheck()
    assert max(drawn(page, "val/x")["ys"][0]) == pytest.approx(50, rel=1e-3)


def test_wall_time_is_that_of_the_reader(report: Path, opened: Callable[..., Any]) -> None:
    found = []
    for zone in ("UTC", "Asia/Tokyo"):
        page = opened(report, timezone_id=zone)
        page.get_by_label("Axis").select_option("time")
        found.append((drawn(page)["xs"][0][0], x_range(page, "val/loss")[0]))
    assert [there - here for here, there in zip(*found, strict=True)] == [9 * 3600e3] * 2


# Parameters, pictures, files


def test_the_scatter_plot_has_the_chosen_axes(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    page.get_by_label("Horizontal").select_option("params.optimizer")
    page.get_by_label("Vertical").select_option("best.val/accuracy")
    label = page.locator("#scatter").get_attribute("aria-label")
    assert label.startswith("best.val/accuracy over params.optimizer, 6 runs.")


def test_pictures_of_a_step_are_side_by_side(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    assert page.locator("#picture-list img").count() == 2
    last = page.locator("#picture-list img").first.get_attribute("src")
    page.get_by_label("Step", exact=False).and_(page.locator("#picture-step")).focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#picture-list img").count() == 2
    assert page.locator("#picture-list img").first.get_attribute("src") != last
    alt = page.locator("#picture-list img").first.get_attribute("alt")
    assert re.fullmatch(r"sample of lr=0\.1-seed=0 at step 14, epoch 2", alt)


def test_a_run_without_a_picture_at_a_step_shows_its_latest_before(
    tmp_path: Path, opened: Callable[..., Any]
) -> None:
    for name, steps in {"long": 6, "short": 2}.items():
        with trackhooks.run(dir=tmp_path / "runs", name=name, delivery="off") as run:
            for step in range(steps):
                run.log(loss=1.0)
                run.log_image("sample", np.full((8, 8), step / 6))
    page = opened(trackhooks.compare(tmp_path / "runs").report(tmp_path / "report.html"))
    texts = [image.get_attribute("alt") for image in page.locator("#picture-list img").all()]
    assert texts == ["sample of short at step 1", "sample of long at step 5"]


def test_pictures_that_do_not_fit_are_counted(
    folder: Path, tmp_path: Path, opened: Callable[..., Any]
) -> None:
    page = opened(trackhooks.compare([folder]).report(tmp_path / "report.html", picture_mb=0))
    assert (
        page.locator("#pictures-left-out").inner_text().startswith("8 older or missing pictures are left out")
    )
    assert page.locator("#picture-list img").count() == 0


def test_exports_are_listed(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report)
    assert page.locator("#file-table tbody tr").count() == 6
    assert "export, onnx" in page.locator("#file-table").inner_text()


# Looks


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_follows_the_scheme_of_the_system_and_its_own_switch(
    report: Path, opened: Callable[..., Any], scheme: str
) -> None:
    page = opened(report, color_scheme=scheme)
    dark = {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 24, 28)"}

    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"))

    def ink() -> str:
        return str(page.evaluate("charts[0].plot.left[0].major_label_text_color"))

    assert background() == dark[scheme]
    before = ink()
    other = "dark" if scheme == "light" else "light"
    page.get_by_label("Theme").select_option(other)
    assert background() == dark[other]
    assert ink() != before


def test_it_fits_into_a_narrow_window(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report, viewport={"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_in_print_it_is_light_and_has_no_controls(report: Path, opened: Callable[..., Any]) -> None:
    page = opened(report, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.get_by_label("Filter").is_visible()
    assert page.evaluate("charts.every((chart) => chart.figure)")


def test_every_control_has_a_name_and_every_chart_a_description(
    report: Path, opened: Callable[..., Any]
) -> None:
    page = opened(report)
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, select')].filter((control) => !control.labels.length"
        " && !control.ariaLabel).map((control) => control.id)"
    )
    assert unnamed == []
    labels = [chart.get_attribute("aria-label") for chart in page.locator(".chart:visible").all()]
    assert len(labels) == 6
    assert all(labels)


@pytest.mark.parametrize("draw", ["plot", "parallel", "scatter"])
def test_a_saved_figure_draws_and_a_notebook_shows_it_in_its_frame(
    folder: Path, tmp_path: Path, opened: Callable[..., Any], browser: Any, draw: str
) -> None:
    compared = trackhooks.compare([folder])
    draws: dict[str, Callable[[], Any]] = {
        "plot": lambda: compared.plot("val/*", over="time", log=True),
        "parallel": compared.parallel,
        "scatter": lambda: compared.scatter("params.optimizer", "best.val/loss"),
    }
    figure = draws[draw]()
    page = opened(figure.save(tmp_path / "figure.html"))
    assert page.evaluate("Bokeh.documents.length") == 1
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<html data-ready>{figure._repr_html_()}", encoding="utf-8")
    frame = opened(notebook).frame_locator("iframe")
    frame.locator("html[data-ready]").wait_for(state="attached")


# Hostile and odd content


def test_names_and_values_are_only_text(tmp_path: Path, opened: Callable[..., Any]) -> None:
    for number, name in enumerate(HOSTILE):
        with suppress(ValueError), trackhooks.run(
            dir=tmp_path / "runs", name=name, delivery="off", tags=[name],
            params={"lr": number / 10, "text": name, name: 2**53 + number, "nan": math.nan},
        ) as run:  # fmt: skip
            run.log({f"val/{name}": 1.0 + number, "val/loss": 0.5 + number})
            run.log({f"val/{name}": math.inf, "val/loss": 0.25 + number})
            raise ValueError(name)
    page = opened(trackhooks.compare(tmp_path / "runs").report(tmp_path / "report.html", title=HOSTILE[0]))
    assert page.evaluate("window.harmed") is None
    assert page.title() == page.locator("h1").inner_text() == HOSTILE[0]
    table = page.locator("#table").inner_text()
    assert HOSTILE[0] in table
    assert HOSTILE[1] in table
    assert str(2**53 + 3) in page.locator("#table").inner_text()
    page.get_by_label("Filter").fill("<script>")
    page.get_by_text(re.compile("of 6 runs")).wait_for()


@pytest.mark.parametrize("size", [1e300, 1e-300, 1e38, 5e-324])
def test_numbers_of_any_size_are_drawn(tmp_path: Path, opened: Callable[..., Any], size: float) -> None:
    with trackhooks.run(dir=tmp_path / "runs", name="odd", delivery="off") as run:
        for step in range(4):
            run.log({"val/x": size * step})
    page = opened(trackhooks.compare(tmp_path / "runs").report(tmp_path / "report.html"))
    assert drawn(page, "val/x")["ys"][0] == pytest.approx([size * step for step in range(4)], rel=1e-3)


def test_small_differences_of_large_values_are_not_lost(tmp_path: Path, opened: Callable[..., Any]) -> None:
    values = [1e6 + step / 100 for step in range(50)] + [0.9999, 0.99991]
    with trackhooks.run(dir=tmp_path / "runs", name="close", delivery="off") as run:
        for step in range(50):
            run.log({"val/large": values[step], "val/near_one": 1 - 1e-6 * step})
    page = opened(trackhooks.compare(tmp_path / "runs").report(tmp_path / "report.html"))
    assert drawn(page, "val/large")["ys"][0] == pytest.approx(values[:50], rel=0, abs=0.49 / 4000)
    assert drawn(page, "val/near_one")["ys"][0] == pytest.approx(
        [1 - 1e-6 * s for s in range(50)], rel=0, abs=5e-5 / 2000
    )


def test_runs_without_metrics_or_params_have_a_report(tmp_path: Path, opened: Callable[..., Any]) -> None:
    for name in ("a", "b"):
        trackhooks.run(dir=tmp_path / "runs", name=name, delivery="off").close()
    page = opened(trackhooks.compare(tmp_path / "runs").report(tmp_path / "report.html"))
    assert "No metric of these runs has a best value" in page.locator(".answer").inner_text()
    assert sorted(column(page, "run")) == ["a", "b"]


def test_more_than_a_thousand_rows_are_shown_on_request(
    report: Path, tmp_path: Path, opened: Callable[..., Any]
) -> None:
    text = report.read_text()
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert found is not None
    data = json.loads(found[1])
    data["runs"] = [{**data["runs"][0], "name": f"run {number}"} for number in range(1200)]
    data["table"]["rows"] = [data["table"]["rows"][0]] * 1200
    data["dimensions"], data["groups"], data["files"], data["pictures"] = data["dimensions"][:0], [], [], []
    data["dimensions"] = [{"name": "steps", "values": [1] * 1200, "labels": [], "log": False}]
    data["differences"] = []
    copy = tmp_path / "copy.html"
    copy.write_text(text.replace(found[1], json.dumps(data).replace("<", "\\u003c")))
    page = opened(copy)
    assert page.locator("#table tbody tr").count() == 1000
    page.get_by_role("button", name="Show all 1200 runs").click()
    assert page.locator("#table tbody tr").count() == 1200


# The file and the command


def test_the_file_is_small_and_says_that_it_loads_nothing(report: Path) -> None:
    text = report.read_text()
    assert len(text) < 700_000
    assert "default-src &#x27;none&#x27;" in text
    assert not re.search(
        r"<(?:script|link|img|iframe)[^>]+(?:src|href)=", text.replace("application/json", "")
    )


def test_the_command_writes_the_report_and_prints_its_path(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.html"
    command = ["report", str(folder), "-o", str(path), "--metrics", "val/*", "--where", "params.lr > 0.05"]
    done = CliRunner().invoke(main, [*command, "--title", "Large rates"])
    assert (done.exit_code, done.output.startswith(str(path))) == (0, True)
    assert "<h1>Large rates</h1>" in path.read_text()
    assert CliRunner().invoke(main, command).exit_code == 0  # a report is replaced


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-o", "mine.html"], "trackhooks did not make it"),
        (["-o", "report.pdf"], "must end with .html, got 'report.pdf'"),
        (["-o", "nowhere/report.html"], "there is no directory"),
        (["--title", ""], "title must be a non-empty string, got ''"),
        (["--pictures", "-1"], "picture_mb must be a finite number from 0, got -1.0"),
        (["--metrics", "val/los"], "val/loss"),
        (["--where", "params.l > 1"], "params.lr"),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.html").write_text("mine")
    done = CliRunner().invoke(main, ["report", str(folder), *arguments])
    assert done.exit_code == 1
    assert message in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["mine.html"]
    assert (tmp_path / "mine.html").read_text() == "mine"


def test_any_file_is_replaced_with_force(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.html"
    path.write_text("mine")
    assert CliRunner().invoke(main, ["report", str(folder), "-o", str(path), "--force"]).exit_code == 0
    assert path.read_text().startswith("<!doctype html>")
