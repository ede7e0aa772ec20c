"""One PyTorch run, delivered to all four trackers, is the same run in each of them, by the backend's own reader."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import backends
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import trackhooks
from trackhooks.event import Event
from trackhooks.testing import Seen
from trackhooks.trial import Trial, plain
from trackhooks.vocabulary import BY_NAME

pytestmark = pytest.mark.slow

EPOCHS = 3
PARAMS = {"lr": 0.05, "net": {"hidden": [16], "bias": True}, "optimizer": "SGD", "seed": 0, "decay": None}
DEADLINE_S = 300


def loader(count: int) -> DataLoader[Any]:
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images[:count], dtype=torch.float32) / 16, torch.tensor(labels[:count]))
    return DataLoader(data, batch_size=32)


def train(run: trackhooks.Run, folder: Path) -> None:
    """A training that logs what there is, some of it late, and a loss that becomes NaN."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    run.watch(net, optimizer, gradient_norm=True)
    for epoch in run.epochs(EPOCHS):
        for x, y in run.train(loader(160)):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            run.log({"loss": loss, "late(B)": loss / 3} if epoch else {"loss": loss})
        with torch.no_grad():
            for x, y in run.validate(loader(64)):
                run.log(loss=nn.functional.cross_entropy(net(x), y), weight=len(x))
        run.log({"val/diverged": math.nan if epoch == 1 else 1 / (epoch + 3)})
        torch.save(net.state_dict(), folder / "last.pt")
        run.log_model(folder / "last.pt", aliases=["last"])
        run.flush()
    run.log_image("val/samples", x[0].reshape(8, 8))
    run.log_histogram("weights", net[0].weight, bins=8)
    run.log_text("notes", "the loss\nhas become | NaN")
    run.log_table("confusion", [["one", 1, 0.5], ["two", 2, 1 / 3]], columns=["class", "count", "share"])
    torch.jit.trace(net, x[:1]).save(folder / "net.torchscript")  # type: ignore[no-untyped-call]
    run.log_export(folder / "net.torchscript")
    (folder / "labels.txt").write_text("0\n1\n")
    run.log_file(folder / "labels.txt")


class Recorded(NamedTuple):
    """The run, and where its files were written."""

    path: Path
    folder: Path
    events: list[Event]
    options: dict[str, Any]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """The run, when the delivery process has delivered it to all four."""
    folder = tmp_path_factory.mktemp("run")
    options: dict[str, Any] = {
        "csv": {},
        "tensorboard": {},
        "mlflow": {"tracking_uri": f"sqlite:///{folder}/mlflow.db"},
        "wandb": {"mode": "offline"},
    }
    with trackhooks.run(dir=folder / "runs", params=PARAMS, every=1, **options) as run:
        train(run, folder)
    assert run.wait(DEADLINE_S)
    return Recorded(run.path, folder, list(trackhooks.journal.read(run.path)), options)


class Backend(NamedTuple):
    """How a backend is read, and the numbers that it holds."""

    read: Callable[..., Seen]
    called: Callable[[str], str] = str
    number: Callable[[float], float] = float


def single(value: float) -> float:
    """The nearest 32-bit float."""
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    return float(rounded)


BACKENDS = {
    "csv": Backend(backends.read_csv, backends.called_in_csv),
    "tensorboard": Backend(backends.read_tensorboard, number=single),
    "mlflow": Backend(backends.read_mlflow, backends.called_in_mlflow),
    "wandb": Backend(backends.read_wandb, backends.called_in_wandb),
}


@pytest.fixture(scope="module", params=BACKENDS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def seen(name: str, recorded: Recorded) -> Seen:
    backend = BACKENDS[name]
    trial = Trial(name, recorded.options[name], recorded.path.parent, backend.read, backend.called)
    trial.wait(recorded.path)
    return trial.read(recorded.path)


def metrics(events: list[Event]) -> dict[str, dict[int, float]]:
    """Every metric of the journal at its step or epoch."""
    found: dict[str, dict[int, float]] = {}
    for event in events:
        over_epochs = event.hook in BY_NAME and BY_NAME[event.hook].axis == "epoch" and event.epoch >= 0
        for name, value in event.metrics.items():
            found.setdefault(name, {})[event.epoch if over_epochs else event.step] = value
    return found


def as_text(curves: Mapping[str, Any], number: Callable[[float], float] = float) -> dict[str, list[str]]:
    """So that NaN is NaN."""
    return {
        name: [
            f"{x}: {number(value)!r}" for x, value in (curve.items() if isinstance(curve, dict) else curve)
        ]
        for name, curve in curves.items()
        if not name.startswith("system/")  # measured by the delivery, and not in the journal of the loop
    }


def test_the_run_has_what_this_is_about(recorded: Recorded) -> None:
    curves = metrics(recorded.events)
    assert {"batch/loss", "train/loss", "val/loss", "val/diverged", "lr/0", "batch/late(B)"} <= set(curves)
    assert list(curves["batch/loss"]) == list(range(5 * EPOCHS))
    assert list(curves["batch/late(B)"]) == list(range(5, 5 * EPOCHS))
    assert list(curves["val/loss"]) == list(range(EPOCHS))
    assert any(math.isnan(value) for value in curves["val/diverged"].values())


def test_every_metric_is_the_same_at_every_step_and_epoch(name: str, seen: Seen, recorded: Recorded) -> None:
    number = BACKENDS[name].number
    assert as_text(seen.metrics, number) == as_text(metrics(recorded.events), number)


def test_every_parameter_is_the_same(seen: Seen, recorded: Recorded) -> None:
    params = {name: value for event in recorded.events for name, value in event.params.items()}
    assert {"lr", "net/hidden", "net/bias", "decay"} <= set(params)
    assert seen.params == plain(params)


def test_every_file_has_the_same_hash(seen: Seen, recorded: Recorded) -> None:
    names = ("last.pt", "net.torchscript", "labels.txt")
    assert {name: seen.files.get(name) for name in names} == {
        name: hashlib.sha256((recorded.folder / name).read_bytes()).hexdigest() for name in names
    }


def test_the_status_is_the_same(seen: Seen) -> None:
    assert seen.status == "finished"


def test_pictures_texts_and_tables_are_the_same(seen: Seen) -> None:
    last = 5 * EPOCHS - 1
    assert seen.images == {"val/samples": [(last, (8, 8))]}
    assert seen.texts["notes"] == [(last, "the loss\nhas become | NaN")]
    assert seen.texts["model"][0][1].startswith("```\nSequential(")
    columns = ("class", "count", "share")
    rows = [plain(dict(zip(columns, row, strict=True))) for row in (["one", 1, 0.5], ["two", 2, 1 / 3])]
    assert seen.tables == {"confusion": [(last, rows)]}


def test_histograms_are_the_same(seen: Seen, recorded: Recorded) -> None:
    (weights,) = [
        media for event in recorded.events for media in event.media if getattr(media, "name", "") == "weights"
    ]
    ((step, (edges, counts)),) = seen.histograms["weights"]
    assert (step, list(edges), list(counts)) == (5 * EPOCHS - 1, weights.edges, weights.counts)  # type: ignore[union-attr]
