"""What a backend holds of a run, by the kinds of the documents' table: in the documented place, and nowhere else.

A fact is a name and what belongs to it: a metric's place and value, a file's hash.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import backends
from backends import BACKENDS, Options

from trackhooks.event import Event, Graph, Histogram, RunInfo, Text
from trackhooks.testing import Seen
from trackhooks.testing.trial import plain
from trackhooks.tracker import axis_of

Fact = tuple[str, ...]
Places = Mapping[str, set[Fact]]
"""Kind → the facts of that kind."""


def kinds(event: Event) -> Iterable[str]:
    """What the event holds, in the table's words."""
    if event.params:
        yield "params"
    if event.facts:
        yield "facts"
    if any(not name.startswith("best/") for name in event.metrics):
        yield metrics_kind(event)
    if best(event):
        yield "best"
    yield from dict.fromkeys(file.kind for file in event.files if file.kind != "file")
    yield from ("summary" for media in event.media[:1] if isinstance(media, (Text, Graph)))
    yield from ("histograms" for media in event.media[:1] if isinstance(media, Histogram))
    if event.status:
        yield "status"


def best(event: Event) -> dict[str, float]:
    """The best values of an event, by the names under which trackers log them."""
    found = {f"best/{name}": value for name, value in event.best.items()}
    return found | {name: value for name, value in event.metrics.items() if name.startswith("best/")}


def metrics_kind(event: Event) -> str:
    steps = "batch" if event.hook == "on_train_batch_end" else "other"
    return "epoch" if axis_of(event) == "epoch" else steps


def facts(event: Event, kind: str, tracker: str) -> set[Fact]:
    """What the event gives to a tracker of this kind."""
    if kind == "params":
        return set(plain(event.params).items())
    if kind == "facts":
        return set(plain(event.facts).items())
    if kind == "best":
        return {(name,) for name in best(event)}
    if kind in ("batch", "epoch", "other"):
        x = event.epoch if kind == "epoch" else event.step
        number = BACKENDS[tracker].number
        return {
            (name, str(x), repr(number(value)))
            for name, value in event.metrics.items()
            if name not in best(event)
        }
    if kind == "summary":
        return {(media.name,) for media in event.media if isinstance(media, Text)} | {
            (f"graph of {len(media.nodes)} nodes",) for media in event.media if isinstance(media, Graph)
        }
    if kind == "histograms":
        return {(media.name, str(event.step)) for media in event.media if isinstance(media, Histogram)}
    files = [file for file in event.files if file.kind == kind and not file.superseded]
    if kind == "image":
        return {(file.name,) for file in event.files if file.kind == "image" and not file.superseded}
    return {(file.name, file.sha256) for file in files} if kind != "status" else {(event.status,)}


def series_facts(series: Mapping[str, Iterable[tuple[int, Any]]]) -> set[Fact]:
    return {(name, str(x), repr(value)) for name, points in series.items() for x, value in points}


def common(seen: Seen) -> dict[str, set[Fact]]:
    """What is in one place whichever the backend."""
    metrics = series_facts(seen.metrics)
    return {
        "params": set(plain(seen.params).items()),
        "facts": set(plain(seen.facts).items()),
        "best": {(name,) for name in (*seen.metrics, *seen.facts) if name.startswith("best/")},
        "batch": metrics,
        "epoch": metrics,
        "other": metrics,
        "histograms": {(name, str(x)) for name, points in seen.histograms.items() for x, _ in points},
        "image": {(name,) for name in seen.images},
        "status": {(seen.status,)},
    }


def in_csv(run: RunInfo, options: Options, seen: Seen) -> Places:
    folder = Path(run.path)
    files = backends.rows(folder / "files.csv")
    nodes = len(backends.rows(folder / "graph.csv"))
    tables = {
        "batch": backends.curves(folder / "batches.csv", "step", ("epoch", "batch", "time")),
        "epoch": backends.curves(folder / "epochs.csv", "epoch", ("step", "time")),
        "other": backends.curves(folder / "metrics.csv", "step", ("time", "epoch", "batch", "hook")),
    }
    return {
        **common(seen),
        **{kind: series_facts(curves) for kind, curves in tables.items()},
        "summary": {(name,) for name in seen.texts} | {(f"graph of {nodes} nodes",)},
        "model": {(row["name"], row["sha256"]) for row in files if row["kind"] == "model"},
        "export": {(row["name"], row["sha256"]) for row in files if row["kind"] == "export"},
    }


def in_tensorboard(run: RunInfo, options: Options, seen: Seen) -> Places:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    held = EventAccumulator(run.path, size_guidance={"tensors": 0}).Reload()
    texts = backends.tensors(held, "text", lambda tensor: tensor.string_val[0].decode())
    files = [
        (tag.removeprefix("files/"), backends.facts(text))
        for tag, points in texts.items()
        if tag.startswith("files/")
        for _, text in points
    ]
    return {
        **common(seen),
        "summary": {(name,) for name in seen.texts} | {(f"graph of {len(held.Graph().node)} nodes",)},
        "model": {(name, told.get("sha256", "")) for name, told in files if told["kind"] == "model"},
        "export": {(name, told["sha256"]) for name, told in files if told["kind"] == "export"},
    }


def in_mlflow(run: RunInfo, options: Options, seen: Seen) -> Places:
    from mlflow import MlflowClient

    client = MlflowClient(options["tracking_uri"])
    held: dict[str, set[Fact]] = {"model": set(), "export": set()}
    with tempfile.TemporaryDirectory() as folder:
        stored = backends.mlflow_run(client, run)
        for model, path in backends.mlflow_model_files(client, stored, Path(folder)):
            held[model.model_type].add((path.name, backends.sha256(path)))
        downloaded = Path(client.download_artifacts(stored.info.run_id, "graphs", folder))
        graphs = [json.loads(path.read_text()) for path in downloaded.rglob("*.json")]
    drawn = {(f"graph of {len(graph['nodes'])} nodes",) for graph in graphs}
    return {**common(seen), **held, "summary": {(name,) for name in seen.texts} | drawn}


def in_wandb(run: RunInfo, options: Options, seen: Seen) -> Places:
    held = backends.wandb_held(run)
    axes = backends.wandb_axes(held)
    over = {
        axis: series_facts({name: points for name, points in seen.metrics.items() if axes[name] == axis})
        for axis in ("step", "epoch")
    }
    artifacts = [artifact for _, artifact in backends.of_kind(held, "artifact")]
    media = backends.wandb_media(held, "graph-file")
    graphs = [json.loads((folder / row[f"{name}.path"]).read_text()) for name, folder, row in media]
    return {
        **common(seen),
        "batch": over["step"],
        "other": over["step"],
        "epoch": over["epoch"],
        "summary": {(name,) for name in seen.texts}
        | {(f"graph of {len(graph['nodes'])} nodes",) for graph in graphs},
        "model": wandb_files(artifacts, "model"),
        "export": wandb_files(artifacts, "export"),
    }


def wandb_files(artifacts: Iterable[Mapping[str, Any]], kind: str) -> set[Fact]:
    return {
        (file["path"], backends.sha256(Path(file["local_path"])))
        for artifact in artifacts
        if artifact["type"] == kind
        for file in artifact["manifest"]["contents"]
    }


PLACES: Mapping[str, Callable[[RunInfo, Options, Seen], Places]] = {
    "csv": in_csv,
    "tensorboard": in_tensorboard,
    "mlflow": in_mlflow,
    "wandb": in_wandb,
}
