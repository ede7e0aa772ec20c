"""Makes the pictures of the dashboards: two runs of a PyTorch, a Keras and an Ultralytics training in each of them.

    python docs/dashboards.py                # trains in a temporary folder first
    python docs/dashboards.py FOLDER         # trains in FOLDER/pytorch, …/keras and …/ultralytics, if they are missing
    python docs/dashboards.py FOLDER keras   # the pictures of some trainings only

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
from typing import NamedTuple
from urllib.parse import quote

from PIL import Image
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


class Training(NamedTuple):
    """What is trained, and what its pictures show."""

    name: str
    script: tuple[str, ...]
    """What trains, from the root of the repository, and its arguments."""
    project: str
    shows: str
    """The name of a run, which each page shows when it is complete."""
    curves: str
    """The metrics of the pictures of curves, as a regular expression."""
    pictures: frozenset[str]

    def picture(self, of: str) -> Path:
        """Return the place of a picture; those of the demo have no prefix."""
        return IMAGES / (f"{of}.png" if self.name == "pytorch" else f"{self.name}-{of}.png")


TRAININGS = (
    Training(
        "pytorch", ("examples/quickstart.py",), "digits", "lr=0.1", "^(train|val)/",
        frozenset({"tensorboard-time-series", "tensorboard-hparams", "mlflow-runs", "mlflow-compare", "wandb-leet"}),
    ),
    Training(
        "keras", ("docs/trainings.py", "keras"), "digits", "lr=0.1", "^(train|val)/",
        frozenset({"tensorboard-hparams", "mlflow-runs", "wandb-leet"}),
    ),
    Training(
        "ultralytics", ("docs/trainings.py", "ultralytics"), "squares", "lr0=0.002", "^(train|val|metrics)/",
        frozenset({"tensorboard-time-series", "mlflow-runs", "wandb-leet"}),
    ),
)  # fmt: skip


def train(training: Training, folder: Path) -> None:
    """Train in that folder, unless it is there."""
    if not folder.exists():
        folder.mkdir(parents=True)
        script, *arguments = training.script
        command = [sys.executable, str(HERE.parent / script), *arguments]
        env = {**os.environ, "KERAS_BACKEND": "torch", "TRACKHOOKS_WAIT": "300"}
        subprocess.run(command, cwd=folder, check=True, env=env)


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


def keep(page: Page, path: Path) -> None:
    """The page as a small PNG file, when it has drawn its charts."""
    page.wait_for_timeout(DRAW_MS)
    save(page.screenshot(), path)


def save(png: bytes, path: Path) -> None:
    """A picture with few colors: a quarter of the size, and no difference to see."""
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def tensorboard(page: Page, training: Training, folder: Path) -> None:
    """Time Series and HParams."""
    with server("tensorboard", "--logdir", "runs", cwd=folder) as address:
        # Headless, there is no WebGL to draw the lines with.
        page.goto(f"{address}?forceSVG=true&smoothing=0&tagFilter={quote(training.curves)}#timeseries")
        page.locator(".settings-button").click()  # more room for the charts
        for name, place in (("time-series", page.url), ("hparams", f"{address}#hparams")):
            if f"tensorboard-{name}" in training.pictures:
                if name == "hparams":  # its ten columns fit in a wide window only, and the metrics come last
                    page.set_viewport_size({"width": 1960, "height": 560})
                page.goto(place)
                page.get_by_text(training.shows).first.wait_for()
                keep(page, training.picture(f"tensorboard-{name}"))


def mlflow(page: Page, training: Training, folder: Path) -> None:
    """The runs with their charts, and the page that compares them."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    experiment, runs = mlflow_ids(uri, training.project)
    with server("mlflow", "server", "--backend-store-uri", uri, cwd=folder) as address:
        view = "workflowType=machine_learning"
        chosen = f"runs={as_query(runs)}&experiments={as_query([experiment])}"
        page.goto(f"{address}#/experiments/{experiment}/runs?compareRunsMode=CHART&{view}")
        page.get_by_text(training.shows).first.wait_for()
        close_assistant(page)
        keep(page, training.picture("mlflow-runs"))
        if "mlflow-compare" in training.pictures:
            page.goto(f"{address}#/compare-runs?{chosen}&{view}")
            close_assistant(page)
            page.set_viewport_size(
                {"width": 1280, "height": 1100}
            )  # with the names of the runs below the plot
            keep(page, training.picture("mlflow-compare"))


def close_assistant(page: Page) -> None:
    """Close MLflow's assistant if it is open, so that the charts get its space."""
    page.wait_for_timeout(DRAW_MS)
    for button in page.get_by_role("button", name="Close").all()[:1]:
        button.click()


def mlflow_ids(uri: str, project: str) -> tuple[str, list[str]]:
    """The experiment of a project, and its runs."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(project).experiment_id
    return experiment, [run.info.run_id for run in client.search_runs([experiment], order_by=["start_time"])]


def as_query(values: list[str]) -> str:
    """As MLflow's addresses hold lists."""
    return quote(json.dumps(values))


def leet(page: Page, training: Training, folder: Path) -> None:
    """W&B's terminal dashboard with both runs: the first is shown from the start, and the second switched on.

    It works on a copy of the runs only, since it keeps beside them what was chosen.
    """
    with tempfile.TemporaryDirectory() as copy:
        kept = shutil.ignore_patterns(".wandb-leet.json")
        shutil.copytree(folder / "runs" / "wandb", Path(copy, "wandb"), ignore=kept)
        command = f"cd {copy} && HOME={copy} TERM=xterm-256color {BIN / 'wandb'} leet wandb"
        screen = in_terminal(command, ["]", "/", training.curves, "Enter", "Down", "Space"])
        drawn = Path(copy, "leet.svg")
        draw(screen, drawn)
        page.goto(drawn.as_uri())
        save(page.locator("svg").first.screenshot(), training.picture("wandb-leet"))


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
        given, *names = sys.argv[1:] or [temporary]
        chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for training in TRAININGS:
            if not names or training.name in names:
                folder = Path(given).resolve() / training.name
                train(training, folder)
                for dashboard in (tensorboard, mlflow, leet):
                    dashboard(browser.new_page(viewport={"width": 1280, "height": 760}), training, folder)
        browser.close()


if __name__ == "__main__":
    main()
