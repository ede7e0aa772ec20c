"""A server of MLflow that does what it is asked, and whose answer is lost on the way back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import backends
import pytest
from mlflow_server import LateRelay, LossyRelay, Server

from trackhooks.delivery.catch_up import deliver
from trackhooks.event import RunInfo
from trackhooks.storage.run_folder import read_info
from trackhooks.testing.sample_runs import among, everything, log_everything, written
from trackhooks.testing.trial import Trial

pytestmark = pytest.mark.slow  # every request is sent twice

MOST_ATTEMPTS = 100


@pytest.fixture
def relay(server: Server) -> Iterator[LossyRelay]:
    relay = LossyRelay(server)
    yield relay
    relay.shutdown()
    relay.server_close()


@pytest.mark.parametrize("retries", ["0", "5"], ids=["we retry", "its client retries"])
def test_whichever_answer_is_lost_the_run_and_all_that_belongs_to_it_exist_once(
    tmp_path: Path, server: Server, relay: LossyRelay, monkeypatch: pytest.MonkeyPatch, retries: str
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", retries)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    project = model = f"lost-{retries}"
    trial = Trial("mlflow", {"tracking_uri": relay.uri, "register": model}, tmp_path, backends.read_mlflow)
    with trial.record(project=project, group="a group", params={"data": "coco8.yaml"}) as run:
        log_everything(run)
        run.log_export(written(tmp_path / "last.onnx", "exported"))
    attempts = 1
    while deliver(run.path, [trial.spec]):
        attempts += 1
        assert attempts < MOST_ATTEMPTS
    assert any(kind.endswith("/runs/create HTTP/1") for kind in relay.lost)

    seen = backends.read_mlflow(read_info(run.path), {"tracking_uri": server.uri})
    assert seen.status == "finished"
    assert among(seen.metrics, everything(1).metrics) == everything(1).metrics
    assert held(server, project, read_info(run.path), model) == {
        "runs": ["a group FINISHED", "run FINISHED"],
        "models": ["last-onnx READY", "last-pt READY"],
        "outputs": 2,
        "datasets": ["coco8"],
        "versions": ["1"],
    }


def test_a_run_that_the_server_creates_too_late_is_not_left_beside_the_one_that_is_used(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    relay = LateRelay(server, b"/runs/create", seconds=6)
    trial = Trial("mlflow", {"tracking_uri": relay.uri}, tmp_path, backends.read_mlflow)
    with trial.record(project="late") as run:
        run.log(loss=1.0)
        assert deliver(run.path, [trial.spec]) == {"mlflow": f"no answer from {relay.uri}"}
        trial.deliver(run.path)
        assert relay.passed.wait(60)
    trial.deliver(run.path)
    client = MlflowClient(server.uri)
    runs = client.search_runs([client.get_experiment_by_name("late").experiment_id])
    assert [(found.info.status, found.data.metrics) for found in runs] == [("FINISHED", {"loss": 1.0})]
    relay.shutdown()
    relay.server_close()


def held(server: Server, project: str, run: RunInfo, model: str) -> dict[str, Any]:
    """What the server has, including what was deleted."""
    from mlflow import MlflowClient
    from mlflow.entities import ViewType

    client = MlflowClient(server.uri)
    (experiment,) = client.search_experiments(filter_string=f"name = '{project}'", view_type=ViewType.ALL)
    runs = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL)
    (own,) = [found for found in runs if found.data.tags["trackhooks.id"] == run.id]
    models = client.search_logged_models([experiment.experiment_id])
    return {
        "runs": sorted(f"{found.info.run_name} {found.info.status}" for found in runs),
        "models": sorted(f"{found.name} {found.status}" for found in models),
        "outputs": len(own.outputs.model_outputs),
        "datasets": [found.dataset.name for found in own.inputs.dataset_inputs],
        "versions": [found.version for found in client.search_model_versions(f"name = '{model}'")],
    }
