"""Runs read back from the four bundled trackers, each with its backend's own reader."""

from __future__ import annotations

import csv
import hashlib
import html
import json
import re
import struct
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from trackhooks.event import RunInfo
from trackhooks.testing import Seen
from trackhooks.testing.trial import Trial
from trackhooks_integrations.trackers.mlflow.names import legal
from trackhooks_integrations.trackers.wandb.names import called

Options = Mapping[str, Any]


def home(run: RunInfo, folder: Any) -> Path:
    """The run's own folder, or its place in the one that an option names."""
    return Path(folder, Path(run.path).name) if folder else Path(run.path)


def series(items: Iterable[tuple[str, int, Any]]) -> dict[str, list[tuple[int, Any]]]:
    """(name, step, value), by name."""
    found: dict[str, list[tuple[int, Any]]] = {}
    for name, step, value in items:
        found.setdefault(name, []).append((step, value))
    return found


def png_size(path: Path) -> tuple[int, int]:
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    return width, height


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# CSV, with Python's csv module


def read_csv(run: RunInfo, options: Options) -> Seen:
    folder = home(run, options.get("dir"))
    files = rows(folder / "files.csv")
    pictures = [row for row in files if row["kind"] == "image"]
    batches = curves(folder / "metrics.csv", "step", ("time", "epoch", "batch", "hook")) | curves(
        folder / "batches.csv", "step", ("epoch", "batch", "time")
    )
    epochs = curves(folder / "epochs.csv", "epoch", ("step", "time"))
    return Seen(
        status=pairs(folder / "run.csv")["status"],
        params=pairs(folder / "params.csv"),
        facts=pairs(folder / "facts.csv"),
        metrics=batches | {f"{name} (epoch)" if name in batches else name: curve for name, curve in epochs.items()},
        files={row["name"]: row["sha256"] for row in files if row["kind"] != "image"},
        images=series((row["name"], int(row["step"]), png_size(Path(run.path, row["kept"]))) for row in pictures),
        texts=series((row["name"], int(row["step"]), row["text"]) for row in rows(folder / "texts.csv")),
        tables={path.stem: csv_table(path) for path in folder.glob("tables/*.csv")},
        histograms=csv_histograms(folder / "histograms.csv"),
    )  # fmt: skip


def called_in_csv(name: str) -> str:
    return f"logged/{name}" if name in ("time", "step", "epoch", "batch", "hook") else name


def rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def pairs(path: Path) -> dict[str, str]:
    return {row["name"]: row["value"] for row in rows(path)}


def curves(path: Path, axis: str, others: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
    return series(
        (name, int(row[axis]), float(cell))
        for row in rows(path)
        for name, cell in row.items()
        if cell and name != axis and name not in others
    )


def csv_table(path: Path) -> list[tuple[int, list[dict[str, str]]]]:
    return stacked((int(row.pop("step")), row) for row in without(rows(path), "time", "epoch"))


def csv_histograms(path: Path) -> dict[str, list[tuple[int, Any]]]:
    bins = series((row["name"], int(row["step"]), row) for row in rows(path))
    return {
        name: [
            (step, ([float(bins[0]["left"]), *(float(row["right"]) for row in bins)], numbers(bins, "count")))
            for step, bins in stacked(found)
        ]
        for name, found in bins.items()
    }


def numbers(rows: Iterable[Mapping[str, str]], column: str) -> list[float]:
    return [float(row[column]) for row in rows]


def without(rows: Iterable[dict[str, str]], *columns: str) -> Iterable[dict[str, str]]:
    return ({name: cell for name, cell in row.items() if name not in columns} for row in rows)


def stacked(items: Iterable[tuple[int, Any]]) -> list[tuple[int, list[Any]]]:
    """What follows each other at one step, put together."""
    found: list[tuple[int, list[Any]]] = []
    for step, item in items:
        if not found or found[-1][0] != step:
            found.append((step, []))
        found[-1][1].append(item)
    return found


# TensorBoard, with its event accumulator


def read_tensorboard(run: RunInfo, options: Options) -> Seen:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    unlimited = dict.fromkeys(("scalars", "images", "tensors"), 0)
    held = EventAccumulator(str(home(run, options.get("log_dir"))), size_guidance=unlimited).Reload()
    tags = held.Tags()
    texts = tensors(held, "text", lambda tensor: tensor.string_val[0].decode())
    logged = {tag: points for tag, points in texts.items() if not tag.startswith(("run/", "files/"))}
    tables = {tag for tag, points in logged.items() if is_markdown_table(points[0][1])}
    return Seen(
        status=tensorboard_status(texts),
        params=tensorboard_pairs(texts, "run/params") | hparams(held),
        facts=tensorboard_pairs(texts, "run/facts"),
        metrics={tag: [(event.step, event.value) for event in held.Scalars(tag)] for tag in tags["scalars"]},
        files={tag[6:]: facts(points[-1][1]).get("sha256", "") for tag, points in texts.items()
               if tag.startswith("files/")},
        images={tag: [(event.step, (event.width, event.height)) for event in held.Images(tag)]
                for tag in tags["images"]},
        texts={tag: logged[tag] for tag in logged if tag not in tables},
        tables={tag: [(step, markdown_rows(text)) for step, text in logged[tag]] for tag in tables},
        histograms=tensors(held, "histograms", bins),
    )  # fmt: skip


def tensors(held: Any, plugin: str, value: Callable[[Any], Any]) -> dict[str, list[tuple[int, Any]]]:
    kinds = {tag: held.SummaryMetadata(tag).plugin_data.plugin_name for tag in held.Tags()["tensors"]}
    tags = [tag for tag, kind in kinds.items() if kind == plugin]
    return {tag: [(event.step, value(event.tensor_proto)) for event in held.Tensors(tag)] for tag in tags}


def tensorboard_status(texts: Mapping[str, Sequence[tuple[int, str]]]) -> str:
    return texts["run/status"][-1][1].partition(":")[0] if "run/status" in texts else "running"


def hparams(held: Any) -> dict[str, Any]:
    from tensorboard.plugins.hparams import metadata

    if not tensors(held, "hparams", str):
        return {}
    content = held.PluginTagToContent("hparams")[metadata.SESSION_START_INFO_TAG]
    found = metadata.parse_session_start_info_plugin_data(content).hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in found.items()}


def tensorboard_pairs(texts: Mapping[str, Sequence[tuple[int, str]]], tag: str) -> dict[str, str]:
    """The last table of names and values with this tag."""
    found = facts(texts[tag][-1][1]) if tag in texts else {}
    return {name.replace("\\n", "\n"): value.replace("\\n", "\n") for name, value in found.items()}


def is_markdown_table(text: str) -> bool:
    return all(line.startswith("| ") for line in text.split("\n"))


def markdown_rows(text: str) -> list[dict[str, str]]:
    lines = [
        [re.sub(r"\\(.)", r"\1", cell) for cell in re.split(r"(?<!\\) \| ", line[2:-2])]
        for line in text.split("\n")
    ]
    return [dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]]


def facts(text: str) -> dict[str, str]:
    """The table that describes a file: a row is a fact and its value."""
    return {name: cell for row in markdown_rows(text) for name, cell in [tuple(row.values())]}


def bins(tensor: Any) -> tuple[list[float], list[float]]:
    left, right, counts = (list(tensor.double_val[column::3]) for column in range(3))
    return [left[0], *right], counts


# MLflow, with its client


def read_mlflow(run: RunInfo, options: Options) -> Seen:
    from mlflow import MlflowClient

    client = MlflowClient(options["tracking_uri"])
    held = mlflow_run(client, run)
    with tempfile.TemporaryDirectory() as downloads:
        folder = Path(client.download_artifacts(held.info.run_id, "", downloads))
        return Seen(
            status=held.info.status.lower(),
            params=mlflow_params(held, folder / "params"),
            facts=held.data.tags | mlflow_texts(folder / "facts"),
            metrics={name: mlflow_curve(client, held, name) for name in held.data.metrics},
            files=mlflow_files(client, held, folder),
            images=series((name.replace("~", "/"), int(step), png_size(path))
                          for path in sorted(folder.glob("images/*.png"))
                          for name, _, step, *_ in [path.name.split("+")]),
            texts=mlflow_series(folder / "texts", Path.read_text),
            tables=mlflow_series(folder / "tables", table_rows),
            histograms=mlflow_series(folder / "histograms", mlflow_histogram),
        )  # fmt: skip


def mlflow_run(client: Any, run: RunInfo) -> Any:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (held,) = client.search_runs(experiments, f"tags.`trackhooks.id` = '{run.id}'")
    return held


def mlflow_params(held: Any, folder: Path) -> dict[str, str]:
    """The parameters, their later values, which are tags, and the whole of those that are long."""
    tags = {
        name.partition("changed/")[2]: value for name, value in held.data.tags.items() if "changed/" in name
    }
    return {**held.data.params, **tags, **mlflow_texts(folder)}


def mlflow_texts(folder: Path) -> dict[str, str]:
    """The values that are too long for a parameter or a tag."""
    return {str(path.relative_to(folder).with_suffix("")): path.read_text() for path in folder.rglob("*.txt")}


def mlflow_curve(client: Any, held: Any, name: str) -> list[tuple[int, float]]:
    """The points of a metric. A best value is one number, at step 0: MLflow shows the last that was sent."""
    if name.startswith("best/"):
        return [(0, held.data.metrics[name])]
    rows = client.get_metric_history(held.info.run_id, name)
    return [(row.step, row.value) for row in sorted(rows, key=lambda row: (row.timestamp, row.step))]


called_in_mlflow = legal


def mlflow_series(folder: Path, value: Callable[[Path], Any]) -> dict[str, list[tuple[int, Any]]]:
    """`<name>/step-7.txt` and `<name>.txt`, which has no step."""
    found = []
    for path in filter(Path.is_file, folder.rglob("*")):
        at_step = path.stem.startswith("step-")
        name = path.parent if at_step else path.with_suffix("")
        step = int(path.stem.removeprefix("step-")) if at_step else -1
        found.append((str(name.relative_to(folder)), step, path))
    return series((name, step, value(path)) for name, step, path in sorted(found))


def mlflow_histogram(path: Path) -> tuple[list[float], list[float]]:
    found = json.loads(path.read_text())
    return found["edges"], found["counts"]


def table_rows(path: Path) -> list[dict[str, Any]]:
    table = json.loads(path.read_text())
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]


def mlflow_files(client: Any, held: Any, folder: Path) -> dict[str, str]:
    """The artifacts of the run, and those of its LoggedModels."""
    found = {path.name: sha256(path) for path in folder.glob("files/*")}
    return found | {path.name: sha256(path) for _, path in mlflow_model_files(client, held, folder)}


def mlflow_model_files(client: Any, held: Any, folder: Path) -> Iterator[tuple[Any, Path]]:
    """The LoggedModels of a run, oldest first, each with the files that it has, in that folder."""
    from mlflow.artifacts import download_artifacts

    models = client.search_logged_models([held.info.experiment_id], f"source_run_id = '{held.info.run_id}'")
    for model in sorted(models, key=lambda model: int(model.tags["trackhooks.event"])):
        target = tempfile.mkdtemp(dir=folder)
        download_artifacts(model.artifact_location, tracking_uri=client.tracking_uri, dst_path=target)
        yield from ((model, path) for path in Path(target).rglob("*") if path.is_file())


# W&B, with its `wandb leet inspect`


def read_wandb(run: RunInfo, options: Options) -> Seen:
    held = wandb_held(run)
    axes = wandb_axes(held)
    points = [
        (name, row, value)
        for _, found in of_kind(held, "history")
        for row in [found["item"]]
        for name, value in row.items()
    ]
    artifacts = {artifact["name"]: artifact for _, artifact in of_kind(held, "artifact")}
    return Seen(
        status=wandb_status(held),
        params={name: value for _, config in of_kind(held, "config") for name, value in config["update"].items()
                if not name.startswith(("_wandb", "trackhooks"))},
        facts={name: value for _, summary in of_kind(held, "summary") for name, value in summary["update"].items()},
        metrics=series((name, row[axes[name]], float(value)) for name, row, value in points if axes.get(name)
                       and name + "._type" not in row),
        files={file["path"]: sha256(Path(file["local_path"])) for artifact in artifacts.values()
               if artifact["type"] in ("model", "export", "file") for file in artifact["manifest"]["contents"]},
        images=series((name, row["step"], (row[f"{name}.width"], row[f"{name}.height"]))
                      for kind in ("image-file", "images/separated")
                      for name, _, row in wandb_media(held, kind) for _ in range(row.get(f"{name}.count", 1))),
        texts=series((name, row["step"], wandb_text((folder / row[f"{name}.path"]).read_text()))
                     for name, folder, row in wandb_media(held, "html-file")),
        tables=series((name, row["step"], table_rows(folder / row[f"{name}.path"]))
                      for name, folder, row in wandb_media(held, "table-file")),
        histograms=series((name, row["step"], (row[f"{name}.bins"], row[f"{name}.values"]))
                          for name, _, row in wandb_media(held, "histogram")),
    )  # fmt: skip


called_in_wandb = called


def keep_wandb_apart(patch: pytest.MonkeyPatch, home: Path) -> None:
    """W&B's caches and settings are the tests' own, and nothing is reported to anyone."""
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        patch.setenv(name, str(home))
    patch.setenv("WANDB_ERROR_REPORTING", "false")
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_PROJECT"):
        patch.delenv(name, raising=False)


Held = list[tuple[Path, dict[str, Any]]]
"""The records of a run, each with the folder of its files."""


def wandb_held(run: RunInfo) -> Held:
    logs = sorted(Path(run.path).glob(f"wandb/offline-run-*/run-{run.id}.wandb"))
    return [(log.parent / "files", record) for log in logs for record in wandb_records(log)]


def of_kind(held: Held, kind: str) -> Held:
    return [(folder, record[kind]) for folder, record in held if record["type"] == kind]


def wandb_axes(held: Held) -> dict[str, str]:
    return {metric["name"]: metric.get("step_metric", "") for _, metric in of_kind(held, "metric")}


def wandb_media(held: Held, kind: str) -> list[tuple[str, Path, dict[str, Any]]]:
    return [
        (name.removesuffix("._type"), folder, found["item"])
        for folder, found in of_kind(held, "history")
        for name, value in found["item"].items()
        if name.endswith("._type") and value == kind
    ]


def wandb_records(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in wandb_inspect(log).splitlines()]


def wandb_inspect(log: Path, *options: str) -> str:
    """Return what `wandb leet inspect` prints of a log: its program is called without W&B's command line."""
    from wandb.util import get_core_path

    command = [get_core_path(), "leet", "inspect", "--no-observability", "--json", *options]
    done = subprocess.run(
        [*command, "--run-file", log, log.parent.parent], capture_output=True, text=True, check=True
    )
    return done.stdout


def wandb_status(held: Held) -> str:
    last = held[-1][0]
    exits = [record["exit_code"] for folder, record in of_kind(held, "exit") if folder == last]
    if not exits:
        return "running"
    told = [found["update"]["status"] for _, found in of_kind(held, "summary") if "status" in found["update"]]
    assert exits == [{"finished": 0, "failed": 1}.get(told[-1], 255)]
    return str(told[-1])


def wandb_text(page: str) -> str:
    text = html.unescape(page)
    return text[text.index("<pre>") + len("<pre>") : text.rindex("</pre>")]


# All of them


class Backend(NamedTuple):
    """How a backend is read, what it calls a metric, and the numbers that it holds."""

    read: Callable[[RunInfo, Options], Seen]
    called: Callable[[str], str] = str
    number: Callable[[float], float] = float


def single(value: float) -> float:
    """The nearest 32-bit float."""
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    return float(rounded)


BACKENDS = {
    "csv": Backend(read_csv, called_in_csv),
    "tensorboard": Backend(read_tensorboard, number=single),
    "mlflow": Backend(read_mlflow, called_in_mlflow),
    "wandb": Backend(read_wandb, called_in_wandb),
}


def delivered(path: Path, tracker: str, options: Options) -> Seen:
    """What a tracker holds of a run, when the delivery process has closed the run in it."""
    backend = BACKENDS[tracker]
    trial = Trial(tracker, options, path.parent, backend.read, backend.called)
    trial.wait(path)
    return trial.read(path)
