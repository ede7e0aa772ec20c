"""What the dashboards show first of two runs that differ in the learning rate, in a real browser or terminal."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import struct
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from chromium import chromium
from folders import SUPPORT
from long_epochs import deliver
from mlflow_server import Server

pytestmark = pytest.mark.slow  # a server and a browser


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.set_default_timeout(100_000)
        yield page


def test_mlflow_opens_on_what_differs_and_on_which_was_better(
    tmp_path: Path, mlflow_tables: Path, page: Any
) -> None:
    server = Server(tmp_path, mlflow_tables)
    try:
        feeds = [deliver(tmp_path / "runs", number, "mlflow", tracking_uri=server.uri) for number in range(2)]
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


@contextmanager
def tensorboard(folder: Path) -> Iterator[str]:
    """The address of a TensorBoard that has loaded the two runs."""
    arguments = ["--logdir", str(folder), "--port", "0", "--host", "localhost"]
    command = [sys.executable, "-m", "tensorboard.main", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        found = (re.search(r"http://localhost:\d+/", line) for line in server.stderr)
        address = next(match[0] for match in found if match)
        try:
            while len(json.load(urllib.request.urlopen(f"{address}data/runs"))) < 2:
                time.sleep(0.1)
            yield address
        finally:
            server.terminate()


def test_tensorboard_opens_on_what_differs_and_on_which_was_better(tmp_path: Path, page: Any) -> None:
    for number in range(2):
        deliver(tmp_path / "runs", number, "tensorboard")
    with tensorboard(tmp_path / "runs") as address:
        page.goto(f"{address}#timeseries")
        for shown in ("lr=0.1", "lr=0.01", "best/val/loss"):
            page.get_by_text(shown, exact=True).first.wait_for()
        page.goto(f"{address}#hparams")
        for shown in ("Trial ID", "lr", "0.10000", "0.010000", "best/val/loss", "0.33333", "1.3333"):
            page.get_by_text(shown, exact=True).locator("visible=true").first.wait_for()
        page.screenshot(path=tmp_path / "hparams.png")
        for hidden in ("optimizer/eps", "model/name"):
            assert not page.get_by_text(hidden, exact=True).count()


SCREEN = struct.pack("HHHH", 45, 160, 0, 0)
"""Rows and columns of a terminal."""
CONTROLS = re.compile(
    rb"\x1b(\[[0-9;?>=<]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[P_^][^\x1b]*\x1b\\|[()].|.)"
)


def first_screen(command: list[str], folder: Path, last: str) -> str:
    """What a program draws in a new terminal until the pattern `last` appears, in its order, without controls."""
    pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, SCREEN)
    env = {**os.environ, "HOME": str(folder), "TERM": "xterm-256color"}
    with subprocess.Popen(
        command, stdin=its, stdout=its, stderr=its, cwd=folder, env=env, start_new_session=True
    ) as program:
        os.close(its)
        drawn, until = b"", time.monotonic() + 120
        try:
            while not re.search(last, text := CONTROLS.sub(b"", drawn).decode(errors="ignore")):
                assert time.monotonic() < until, text
                if select.select([ours], [], [], 1)[0]:
                    drawn += os.read(ours, 1 << 16)
        finally:
            os.killpg(program.pid, signal.SIGKILL)  # the program may have started another
            os.close(ours)
    return text


IN_A_SEPARATE_PROCESS = """
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from long_epochs import deliver
    for number in range(2):
        deliver(Path(sys.argv[2], "runs"), number, "wandb", mode="offline", dir=sys.argv[2])
"""
"""As the delivery process: W&B's own part of the config grows with what its process has imported."""


def test_wandb_opens_on_the_newest_run_with_its_name_its_config_and_its_best_value(
    tmp_path: Path, program: Callable[..., str]
) -> None:
    program(IN_A_SEPARATE_PROCESS, SUPPORT, tmp_path)
    leet = [sys.executable, "-m", "wandb", "leet", "wandb"]
    text = first_screen(leet, tmp_path, last=r"best/val\S* +1\.33")
    assert len(set(re.findall(r"offline-run-\d+_\d+-\w+", text))) == 2
    assert "Name: lr=0.01" in text
    config = text[text.index("Config") : text.index("Summary")]
    assert re.search(r"\blr +0\.01", config)
    assert "model/name" not in config
    charts = re.findall(r"│((?:epoch|step|lr|train|val)[^\s│]*)", text)
    assert list(dict.fromkeys(charts)) == ["epoch", "lr/0", "step", "train/loss", "train_batc...", "val/loss"]
