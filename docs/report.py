"""Makes the pictures of a report, light, dark and narrow, and of the figures in Python.

    python docs/report.py

Needs what requirements/dev.txt holds, and Chromium (`playwright install chromium`, or its path in CHROMIUM).
"""

from __future__ import annotations

import math
import os
import random
import shutil
import tempfile
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, sync_playwright

import trackhooks
from trackhooks.reading.comparison import Comparison

IMAGES = Path(__file__).resolve().parent / "images"
EPOCHS, BATCHES = 20, 50


def train(lr: float, optimizer: str, seed: int) -> None:
    """A run whose curves and pictures look like those of a training."""
    noise = random.Random(f"{lr} {optimizer} {seed}")
    rate = lr * (3 if optimizer == "adam" else 1)
    params = {"lr": lr, "optimizer": optimizer, "seed": seed}
    name = f"{optimizer}-lr={lr}-seed={seed}"
    with trackhooks.run(name=name, params=params, project="digits", delivery="off") as run:
        for epoch in run.epochs(EPOCHS):
            for batch in run.train(range(BATCHES)):
                progress = epoch + batch / BATCHES
                run.log(loss=2.3 * math.exp(-3 * rate * progress) + 0.1 + noise.gauss(0, 0.04) ** 2 * 20)
            loss = 2.3 * math.exp(-3 * rate * (epoch + 1)) + 0.1 + noise.random() / 8
            for _ in run.validate(range(2)):
                run.log(loss=loss, accuracy=1 - loss / 2.6)
            if seed == 0 and epoch % 5 == 4:
                run.log_image("prediction", blob(loss))


def blob(noise: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """A ring that is hidden by noise."""
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    ring = np.exp(-(((np.hypot(x, y) - 0.55) / 0.12) ** 2))
    grain = np.random.default_rng(0).random((48, 48))
    found: np.ndarray[tuple[int, int], np.dtype[np.float64]] = np.clip(
        ring * (1 - noise / 3) + grain * noise / 2.5, 0, 1
    )
    return found


def shoot(browser: Browser, path: Path, name: str, width: int, height: int, scheme: str = "light") -> None:
    """A picture of the upper part of a page that is drawn."""
    page = browser.new_page(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page.goto(path.as_uri())
    page.locator("html[data-ready]").wait_for(state="attached")
    page.wait_for_timeout(500)
    page.screenshot(path=IMAGES / f"{name}.png")
    page.close()


def figure(browser: Browser, compared: Comparison) -> None:
    """A plot as a notebook shows it."""
    drawn = compared.plot("train_batch/loss", smoothing=0.9)._repr_html_()
    page = browser.new_page(viewport={"width": 900, "height": 370})
    page.set_content(drawn)
    frame = page.frame_locator("iframe")
    frame.locator("html[data-ready]").wait_for(state="attached")
    page.wait_for_timeout(500)
    page.screenshot(path=IMAGES / "plot.png")
    page.close()


def main() -> None:
    """Records eight runs in a temporary folder, and makes all pictures."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        os.chdir(folder)
        for optimizer in ("sgd", "adam"):
            for lr in (0.02, 0.08):
                for seed in range(2):
                    train(lr, optimizer, seed)
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        compared = trackhooks.compare("runs", metrics="val/*,train/loss,train_batch/loss")
        path = compared.report("report.html")
        shoot(browser, path, "report-light", 1280, 1200)
        shoot(browser, path, "report-dark", 1280, 1200, "dark")
        figure(browser, compared)
        browser.close()


if __name__ == "__main__":
    main()
