"""The documents' table of what each hook stores: every hook, every tracker, and what a real run stores."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import torch

import trackhooks
from trackhooks.event import Event, Graph, Text
from trackhooks.tracker import ENTRY_POINTS, axis_of
from trackhooks.vocabulary import BY_NAME

SCRIPT = Path(__file__).resolve().parents[1] / "docs" / "stored_page.py"


def _page() -> Any:
    spec = importlib.util.spec_from_file_location("stored_page", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


page = _page()


def kinds(event: Event) -> Iterator[str]:
    """What the event holds, in the table's words."""
    if event.params:
        yield "params"
    if event.metrics:
        steps = "batch" if event.hook == "on_train_batch_end" else "other"
        yield "epoch" if axis_of(event) == "epoch" else steps
    yield from (file.kind for file in event.files)
    yield from ("summary" for media in event.media if isinstance(media, (Text, Graph)))
    if event.status:
        yield "status"


def test_every_hook_has_a_row_and_every_bundled_tracker_a_column() -> None:
    assert set(page.STORED) == set(BY_NAME)
    assert set(page.TRACKERS) == distribution("trackhooks").entry_points.select(group=ENTRY_POINTS).names
    assert {len(places) for places in page.PLACES.values()} == {len(page.TRACKERS)}


def test_the_page_holds_the_table() -> None:
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_pytorch_run_stores_at_each_hook_what_the_table_says(run: trackhooks.Run, tmp_path: Path) -> None:
    net = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    checkpoint = tmp_path / "last.pt"
    run.log_params({"lr": 0.1})
    run.watch(net, optimizer)
    for _ in run.epochs(2):
        for x in run.train([torch.ones(1, 2)]):
            net(x).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            run.log(loss=1.0)
        for _ in run.validate([0]):
            run.log(loss=2.0)
        torch.save(net.state_dict(), checkpoint)
        run.log_model(checkpoint)
    for _ in run.predict([0, 1]):
        pass
    run.log_export(checkpoint, format="pt")
    run.close()

    stored: dict[str, set[str]] = {}
    for event in trackhooks.journal.read(run.path):
        stored.setdefault(event.hook, set()).update(kinds(event))
    for hook in BY_NAME:
        assert stored.get(hook, set()) <= set(page.STORED[hook][1]), hook
    for hook in ("on_train_batch_end", "on_fit_epoch_end", "on_model_save", "on_export_end", "teardown"):
        assert stored[hook] == set(page.STORED[hook][1])
