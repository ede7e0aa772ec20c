"""What the dashboards show first of two runs that differ in the learning rate, in a real browser.

`test_tensorboard.py` has the same for TensorBoard.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from feeding import CREATED, Feeding, at_epoch, batch, outside, run_info
from mlflow_server import Server

from trackhooks.delivery.registry import load

pytestmark = pytest.mark.slow  # a server and a browser
CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(100_000)
        yield page
        browser.close()


def deliver(folder: Path, number: int, uri: str) -> Feeding:
    """A run with a learning rate of its own and everything else the same. MLflow is updated during its long epochs."""
    lr = 0.1 ** (number + 1)
    run = run_info(folder / f"lr={lr:g}", created=CREATED + number, project="digits")
    feed = Feeding(lambda: load("mlflow", tracking_uri=uri), run)
    feed.give(outside(0, params={"lr": lr, "epochs": 3, "optimizer/eps": 1e-8}, defaults=["optimizer/eps"]))
    feed.give(outside(1, facts={"model/name": f"sequential_{number}", "model/parameters": 13}))
    for epoch in range(3):
        loss = {"val/loss": 1 / (1 + epoch) + number}
        for second in range(50 * epoch, 50 * epoch + 50):
            feed.give(batch(2 + second, second, epoch, loss=loss["val/loss"]))
            if second % 10 == 0:
                feed.flush()
        feed.give(at_epoch("on_train_epoch_end", 52 + 50 * epoch, epoch, {"train/loss": 0.5, "lr/0": lr}))
        feed.give(at_epoch("on_fit_epoch_end", 52 + 50 * epoch, epoch, loss, best=loss))
    return feed.finish()


def test_mlflow_opens_on_what_differs_and_on_which_was_better(
    tmp_path: Path, mlflow_tables: Path, page: Any
) -> None:
    server = Server(tmp_path, mlflow_tables)
    try:
        feeds = [deliver(tmp_path / "runs", number, server.uri) for number in range(2)]
        runs = [feed.tracker._id for feed in feeds]  # type: ignore[attr-defined]
        url = str(feeds[0].tracker.url)
        page.goto(url)  # the run: the view of trainings, although this browser has never been here
        page.get_by_text("best/val/loss", exact=True).first.wait_for()
        experiment = url.split("/experiments/")[1].split("/")[0]
        page.goto(f"{server.uri}/#/experiments/{experiment}/runs?compareRunsMode=CHART")
        page.get_by_text("best/val", exact=False).first.wait_for()
        sections = page.locator("[role=button], h3, h4").all_inner_texts()
        assert next(text for text in sections if "/" in text or text.startswith("train")).startswith(
            "best/val"
        )
        chosen = f"runs={quote(json.dumps(runs))}&experiments={quote(json.dumps([experiment]))}"
        page.goto(f"{server.uri}/#/compare-runs?{chosen}")
        page.get_by_text("Parallel Coordinates Plot").first.wait_for()
        parameters, metrics = (
            page.get_by_role("combobox").nth(number).locator("xpath=ancestor::*[3]").inner_text().split()
            for number in range(2)
        )
        assert "lr" in parameters
        assert "model/name" not in parameters
        assert metrics[0] == "best/val/loss"
    finally:
        page.screenshot(path=tmp_path / "mlflow.png", full_page=True)
        server.stop()
