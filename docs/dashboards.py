"""Makes the pictures of docs/topics/dashboards.md: the two runs of `make demo` in each tracker's own dashboard.

    python docs/dashboards.py          # trains the two runs in a temporary folder first
    python docs/dashboards.py FOLDER   # in which `python examples/quickstart.py` was run before

Needs what requirements/dev.txt holds, Chromium (`playwright install chromium`, or its path in CHROMIUM) and tmux, in
which W&B's terminal dashboard runs. Servers listen on this machine only, on free ports, and are ended again.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.text import Text

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
IMAGES = HERE / "images"
COLUMNS, ROWS = 110, 30
"""Of the terminal that W&B's dashboard gets."""
START_S = 120.0
"""How long a server may take to answer."""
DRAW_MS = 6000
"""How long a page takes to draw its charts after everything is loaded."""


def train(folder: Path) -> None:
    """The demo's two runs, in that folder."""
    subprocess.run([sys.executable, HERE.parent / "examples" / "quickstart.py"], cwd=folder, check=True)


@contextmanager
def server(name: str, *arguments: str, cwd: Path) -> Iterator[str]:
    """The address of a dashboard's server, for as long as it is needed."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/"
    command = [str(BIN / name), *arguments, "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_for(address)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)  # MLflow starts workers, which do not end with it
        process.wait()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def wait_for(address: str) -> None:
    """Waits until the server answers.

    Raises:
        TimeoutError: it does not.
    """
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(address).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
        else:
            return
    raise TimeoutError(f"{address} did not answer in {START_S:.0f} s.")


def picture(page: Page, name: str, address: str, shows: str) -> None:
    """The page at that address as a PNG file, when it shows that text and has drawn its charts."""
    page.goto(address)
    page.get_by_text(shows).first.wait_for()
    keep(page, name)


def keep(page: Page, name: str) -> None:
    """The page as a PNG file, when it has drawn its charts."""
    page.wait_for_timeout(DRAW_MS)
    page.screenshot(path=IMAGES / f"{name}.png")


def tensorboard(page: Page, folder: Path) -> None:
    """Time Series and HParams."""
    with server("tensorboard", "--logdir", "runs", cwd=folder) as address:
        # Headless, there is no WebGL to draw the lines with.
        page.goto(f"{address}?forceSVG=true&smoothing=0&tagFilter=%5E(train%7Cval)%2F#timeseries")
        page.locator(".settings-button").click()  # more room for the charts
        picture(page, "tensorboard-time-series", page.url, "lr=0.1")
        picture(page, "tensorboard-hparams", f"{address}#hparams", "lr=0.1")


def mlflow(page: Page, folder: Path) -> None:
    """The runs with their charts, and the page that compares them."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    experiment, runs = mlflow_ids(uri)
    with server("mlflow", "server", "--backend-store-uri", uri, cwd=folder) as address:
        trainings = "workflowType=machine_learning"
        charts = f"{address}#/experiments/{experiment}/runs?compareRunsMode=CHART&{trainings}"
        chosen = f"runs={as_query(runs)}&experiments={as_query([experiment])}"
        page.goto(charts)
        close_assistant(page)
        picture(page, "mlflow-runs", charts, "lr=0.1")
        page.goto(f"{address}#/compare-runs?{chosen}&{trainings}")
        close_assistant(page)
        page.set_viewport_size({"width": 1280, "height": 1100})  # with the names of the runs below the plot
        keep(page, "mlflow-compare")


def close_assistant(page: Page) -> None:
    """Close MLflow's assistant if it is open, so that the charts get its space."""
    page.wait_for_timeout(DRAW_MS)
    for button in page.get_by_role("button", name="Close").all()[:1]:
        button.click()


def mlflow_ids(uri: str) -> tuple[str, list[str]]:
    """The demo's experiment and its runs."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("digits").experiment_id
    return experiment, [run.info.run_id for run in client.search_runs([experiment], order_by=["start_time"])]


def as_query(values: list[str]) -> str:
    """As MLflow's addresses hold lists."""
    return quote(json.dumps(values))


def leet(page: Page, folder: Path) -> None:
    """W&B's terminal dashboard with both runs: the first is shown from the start, and the second switched on.

    It works on a copy of the runs only, since it keeps beside them what was chosen.
    """
    with tempfile.TemporaryDirectory() as copy:
        kept = shutil.ignore_patterns(".wandb-leet.json")
        shutil.copytree(folder / "runs" / "wandb", Path(copy, "wandb"), ignore=kept)
        command = f"cd {copy} && HOME={copy} TERM=xterm-256color {BIN / 'wandb'} leet wandb"
        screen = in_terminal(command, ["]", "/", "^(train|val)/", "Enter", "Down", "Space"])
        drawn = Path(copy, "leet.svg")
        draw(screen, drawn)
        page.goto(drawn.as_uri())
        page.locator("svg").first.screenshot(path=IMAGES / "wandb-leet.png")


def draw(screen: str, path: Path) -> None:
    """A terminal's text as an SVG picture."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(screen), soft_wrap=True)
    console.save_svg(str(path), title="wandb leet runs/wandb")


def in_terminal(command: str, keys: list[str]) -> str:
    """What a terminal shows, with its colours, when the program runs and the keys were pressed."""
    tmux = ["tmux", "-L", f"dashboards-{os.getpid()}"]
    size = ["-x", str(COLUMNS), "-y", str(ROWS)]
    subprocess.run([*tmux, "new-session", "-d", *size, command], check=True)
    try:
        time.sleep(8)
        for key in keys:
            subprocess.run([*tmux, "send-keys", key], check=True)
            time.sleep(2)
        shown = [*tmux, "capture-pane", "-p", "-e"]
        return subprocess.run(shown, check=True, capture_output=True, text=True).stdout
    finally:
        subprocess.run([*tmux, "kill-server"], check=True)


def main() -> None:
    """Makes every picture."""
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else temporary).resolve()
        if folder == Path(temporary).resolve():
            train(folder)
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for dashboard in (tensorboard, mlflow, leet):
            dashboard(browser.new_page(viewport={"width": 1280, "height": 760}), folder)
        browser.close()


if __name__ == "__main__":
    main()
