"""How large a report is, how soon it shows its curves, and how fast they are zoomed.

Run: python benchmarks/report.py [--sizes 200x10000,20x1000] [--rounds 5] [--json]

The curves are noisy, as those of training batches. The page is opened as a file by Chromium without a GPU; a curve is
shown when pixels of its color are in the canvas, and zoomed when these have changed. The first opening is not counted.

Promised: 200 curves of 10,000 points in ≤ 4 MB, shown in ≤ 1 s and zoomed in ≤ 0.2 s; 20 of 1,000 in ≤ 1.5 MB.

Needs what requirements/dev.txt holds, and Chromium (`playwright install chromium`, or its path in CHROMIUM).
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
import time
from pathlib import Path

from measuring import arguments, median, spread
from playwright.sync_api import Browser, CDPSession, sync_playwright
from results import Results, Taken

import trackhooks
from trackhooks.event import Event, RunInfo
from trackhooks.storage import run_folder
from trackhooks.storage.journal import Writer

METRIC = "train/loss"
PROMISED = "200 × 10,000"
WATCH = """
window.pixels = () => {
  const canvases = [];
  const search = (root) => {
    for (const element of root.querySelectorAll("*")) {
      if (element.tagName === "CANVAS") canvases.push(element);
      if (element.shadowRoot) search(element.shadowRoot);
    }
  };
  search(document.querySelector("#charts") ?? document);
  let colored = 0, sum = 0;
  for (const canvas of canvases) {
    if (!canvas.width || !canvas.height) continue;
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let i = 0; i < data.length; i += 16) {
      const isColor = Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]) > 60;
      if (data[i + 3] && isColor) colored++;
      sum = (sum * 31 + data[i] + data[i + 1] + data[i + 2]) | 0;
    }
  }
  return {colored, sum};
};
window.changed = (isDone) => new Promise((done) => {
  const look = () => isDone(window.pixels()) ? done(performance.now()) : requestAnimationFrame(look);
  requestAnimationFrame(look);
});
"""


def record(folder: Path, number: int, points: int) -> None:
    """A run with one metric of so many points."""
    noise = random.Random(number)
    path = folder / f"run-{number}"
    path.mkdir(parents=True)
    info = RunInfo(id=f"id{number}", name=path.name, created=1e9, ended=1e9 + points / 10, status="finished")
    run_folder.write_info(path, info)
    writer = Writer(path)
    writer.append(Event("on_pretrain_routine_start", 0, 1e9, params={"lr": noise.uniform(1e-4, 1e-1)}))
    level = noise.uniform(0.5, 2)
    for step in range(points):
        value = level / (1 + step / points * 5) + noise.gauss(0, 0.1)
        moment = 1e9 + step / 10 + noise.random() / 100
        writer.append(Event("on_train_batch_end", step + 1, moment, step, 0, step, {METRIC: abs(value)}))
    writer.close()


def opened(browser: Browser, path: Path) -> dict[str, float]:
    """Seconds until curves are shown, and until a zoom is."""
    page = browser.new_page(viewport={"width": 1300, "height": 1400})
    page.add_init_script(WATCH)
    clock = page.context.new_cdp_session(page)
    clock.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(path.as_uri(), wait_until="commit")
    shown = page.evaluate("changed(({colored}) => colored > 100)")
    shown_cpu = cpu(clock)
    page.locator("html[data-ready]").wait_for(state="attached")
    before = cpu(clock)
    zoomed = page.evaluate(
        """async () => {
          const {sum} = pixels();
          const {start, end} = limitsOf(state.over);
          const before = performance.now();
          zoomTo({start: start + (end - start) * 0.3, end: start + (end - start) * 0.6});
          return await changed((now) => now.sum !== sum) - before;
        }"""
    )
    zoomed_cpu = cpu(clock) - before
    page.close()
    return {"shown_s": shown / 1000, "shown_cpu": shown_cpu, "zoom_s": zoomed / 1000, "zoom_cpu": zoomed_cpu}


def cpu(clock: CDPSession) -> float:
    """Seconds of processor time that the page has taken so far."""
    metrics = clock.send("Performance.getMetrics")["metrics"]
    return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))


def measure(browser: Browser, runs: int, points: int, rounds: int) -> dict[str, list[float]]:
    """The figures of a report of so many runs."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(runs):
            record(Path(folder, "runs"), number, points)
        compared = trackhooks.compare([Path(folder, "runs")], metrics=METRIC)
        since = time.process_time()
        path = compared.report(Path(folder, "report.html"))
        found: dict[str, list[float]] = {
            "made_s": [time.process_time() - since],
            "size_mb": [path.stat().st_size / 1e6],
        }
        opened(browser, path)
        for _ in range(rounds):
            for name, value in opened(browser, path).items():
                found.setdefault(name, []).append(value)
    return found


def main() -> None:
    """Measures and prints."""
    parser = arguments(__doc__, 5, "openings of each report")
    parser.add_argument("--sizes", default="200x10000,20x1000", help="runs x points of each report")
    options = parser.parse_args()
    with sync_playwright() as playwright:
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        rows, taken = [], Taken()
        for size in options.sizes.split(","):
            runs, points = map(int, size.split("x"))
            found = measure(browser, runs, points, options.rounds)
            name = f"{runs:,} × {points:,}"
            taken[name] = found
            rows.append((name, *(spread(values) for values in found.values())))
        browser.close()
    columns = ("runs × points", "made, CPU s", "MB", "shown, s", "CPU s", "zoom, s", "CPU s")
    results = Results("report", options.json)
    results.table("The report of one metric", columns, rows, taken)
    claim = "a report of 200 curves of 10,000 points is shown"
    results.promise("Reading", claim, median(taken, PROMISED, "shown_s"), at_most=1, unit="s")
    results.end()


if __name__ == "__main__":
    main()
