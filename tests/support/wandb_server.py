"""Runs read back from a W&B server: through W&B's own API, or openwandb's if the server is that one."""

from __future__ import annotations

import json
import os
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends import Options, series, wandb_text

from trackhooks.delivery.cursor import cursors
from trackhooks.event import RunInfo
from trackhooks.testing import Seen

URL = os.environ.get("TRACKHOOKS_TEST_WANDB_URL", "").rstrip("/")
"""The server; `WANDB_API_KEY` is the key for it."""


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One version of an artifact that a run has logged."""

    name: str
    """Without the version."""
    type: str
    aliases: list[str]
    """Empty if the server does not say."""
    about: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Held:
    """What a server holds of one run."""

    state: str
    config: dict[str, Any]
    """W&B's own `_wandb` is in it."""
    summary: dict[str, Any]
    tags: list[str]
    notes: str
    rows: list[dict[str, Any]]
    artifacts: list[Artifact]
    """In the order in which they were logged."""
    file: Callable[[str], bytes]
    """The content of one of the run's files."""
    more: Any = None
    """The run in W&B's own API, if the server supports it."""


def held(run: RunInfo) -> Held:
    """What the server holds of a run, found by the address that its delivery has noted."""
    (cursor,) = cursors(run.path, "wandb")
    entity, project, _, run_id = urllib.parse.urlparse(str(cursor.url)).path.strip("/").split("/")
    return (_from_openwandb if is_openwandb() else _from_api)(entity, project, run_id)


def is_openwandb() -> bool:
    """Return whether the server is openwandb, which has its own API for reading."""
    try:
        return "projects" in json.loads(_get("api/v2/projects"))
    except (urllib.error.HTTPError, ValueError):
        return False


def _get(path: str) -> bytes:
    with urllib.request.urlopen(f"{URL}/{urllib.parse.quote(path)}", timeout=30) as answer:
        content: bytes = answer.read()
        return content


def _from_openwandb(entity: str, project: str, run_id: str) -> Held:
    run = json.loads(_get(f"api/v2/runs/{run_id}"))["run"]
    artifacts = json.loads(_get(f"api/v2/runs/{run_id}/artifacts"))["artifacts"]

    def file(name: str) -> bytes:
        return _get(f"files/{entity}/{project}/{run_id}/{name}")

    try:
        history = file("wandb-history.jsonl")
    except urllib.error.HTTPError:  # nothing was logged
        history = b""

    return Held(
        state=run["state"], config=_values(run["config"]), summary=run["summary"], tags=run["tags"],
        notes=run["notes"], file=file,
        rows=[json.loads(line) for line in history.decode().splitlines() if line],
        artifacts=[Artifact(name=found["name"], type=found["artifact_type"], aliases=[],
                            about=json.loads(found["metadata_json"] or "{}"))
                   for found in sorted(artifacts, key=lambda found: int(found["id"]))],
    )  # fmt: skip


def _values(config: dict[str, Any]) -> dict[str, Any]:
    return {name: entry["value"] for name, entry in config.items()}


def _from_api(entity: str, project: str, run_id: str) -> Held:
    import wandb

    run = wandb.Api().run(f"{entity}/{project}/{run_id}")

    def file(name: str) -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            run.file(name).download(folder, replace=True).close()
            return Path(folder, name).read_bytes()

    return Held(
        state=run.state, config=run.rawconfig, summary=dict(run.summary), tags=run.tags, notes=run.notes or "",
        rows=list(run.scan_history(use_cache=False)), file=file, more=run,
        artifacts=[Artifact(name=found.name.partition(":")[0], type=found.type, aliases=found.aliases,
                            about=dict(found.metadata))
                   for found in sorted(run.logged_artifacts(), key=lambda found: str(found.created_at))],
    )  # fmt: skip


def axes(config: dict[str, Any]) -> dict[str, str]:
    """What each metric is drawn over, as W&B writes its definitions: names by number, the step's counted from 1."""
    metrics = config["_wandb"].get("m", [])
    return {metric["1"]: metrics[metric["5"] - 1]["1"] for metric in metrics if "5" in metric}


def read_wandb_server(run: RunInfo, options: Options) -> Seen:
    found = held(run)
    over = axes(found.config)
    return Seen(
        status=_status(found),
        params={name: value for name, value in found.config.items() if name not in ("_wandb", "trackhooks")},
        metrics=series((name, row[over[name]], float(value)) for row in found.rows for name, value in row.items()
                       if name in over and value is not None and not isinstance(value, dict)),
        files={Path(artifact.about["path"]).name: artifact.about["sha256"] for artifact in found.artifacts
               if artifact.type in ("model", "export", "file")},
        images=series((name, step, (value["width"], value["height"]))
                      for name, step, value in _media(found, "image-file")),
        texts=series((name, step, wandb_text(found.file(value["path"]).decode()))
                     for name, step, value in _media(found, "html-file")),
        tables=series((name, step, _rows(json.loads(found.file(value["path"]))))
                      for name, step, value in _media(found, "table-file")),
        histograms=series((name, step, (value["bins"], value["values"]))
                          for name, step, value in _media(found, "histogram")),
    )  # fmt: skip


def _status(found: Held) -> str:
    if found.state == "running":
        return "running"
    status = str(found.summary.get("status", "running"))
    if not is_openwandb():  # it calls every run finished
        assert (found.state == "finished") == (status == "finished")
    return status


def _media(found: Held, kind: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
    for row in found.rows:
        for name, value in row.items():
            if isinstance(value, dict) and value.get("_type") == kind:
                yield name, row["step"], value


def _rows(table: dict[str, Any]) -> list[dict[str, Any]]:
    return [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
