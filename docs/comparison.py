"""Makes the pictures of a comparison in a terminal, and of a run and a comparison in a notebook, light and dark.

    python docs/comparison.py

Needs what requirements/dev.txt holds, and Chromium (`playwright install chromium`, or its path in CHROMIUM).
"""

from __future__ import annotations

import io
import math
import os
import random
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from rich.console import Console
from rich.text import Text

import trackhooks
from trackhooks.reading.comparison import Comparison
from trackhooks.reading.table import as_text

IMAGES = Path(__file__).resolve().parent / "images"
COLUMNS = 80
THEMES = {"light": "background: #fff; color: #000", "dark": "background: #111; color: #ddd"}


def train(lr: float, seed: int) -> trackhooks.Run:
    """A run whose curves look like those of a training."""
    noise = random.Random(f"{lr} {seed}")
    params = {"lr": lr, "batch_size": 32, "seed": seed}
    with trackhooks.run(name=f"lr={lr}-seed={seed}", params=params, project="digits", delivery="off") as run:
        for epoch in run.epochs(20):
            loss = math.exp(-3 * lr * (epoch + 1)) + noise.random() / 20
            for _ in run.train(range(5)):
                run.log(loss=loss * 0.9)
            for _ in run.validate(range(2)):
                run.log(loss=loss, accuracy=1 - loss / 2)
    return run


def terminal(browser: Browser, comparison: Comparison) -> None:
    """The comparison as a terminal shows it."""
    console = Console(file=io.StringIO(), record=True, width=COLUMNS, force_terminal=True)
    console.print(Text.from_ansi(as_text(comparison.table(), COLUMNS, color=True)))
    picture = console.export_svg(title="trackhooks compare runs")
    shoot(browser, picture, "svg", "compare-terminal")


def notebook(browser: Browser, comparison: Comparison) -> None:
    """A run and the comparison as a notebook shows them, on a light and on a dark page."""
    run = trackhooks.run(resume=comparison.runs[0].path, delivery="off")
    shown = f"{run._repr_html_()}<hr style='opacity: 0.3'>{comparison._repr_html_()}"
    run.close()
    for theme, style in THEMES.items():
        page = f'<body style="font-family: sans-serif; {style}"><main style="padding: 8px">{shown}</main>'
        shoot(browser, page, "main", f"notebook-{theme}")


def shoot(browser: Browser, html: str, element: str, name: str) -> None:
    """A picture of one element of a page."""
    page = browser.new_page(viewport={"width": 960, "height": 800})
    page.set_content(html)
    page.locator(element).first.screenshot(path=IMAGES / f"{name}.png")
    page.close()


def main() -> None:
    """Records six runs in a temporary folder, and makes all pictures."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        os.chdir(folder)
        for lr in (0.01, 0.1):
            for seed in range(3):
                train(lr, seed)
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        comparison = trackhooks.compare("runs")
        terminal(browser, comparison)
        notebook(browser, comparison)
        browser.close()


if __name__ == "__main__":
    main()
