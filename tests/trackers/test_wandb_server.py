"""The W&B tracker online, on the server that `TRACKHOOKS_TEST_WANDB_URL` and `WANDB_API_KEY` name."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backends import called_in_wandb, keep_wandb_apart
from wandb_server import URL, axes, held, is_openwandb, read_wandb_server

from trackhooks.storage.run_folder import read_info
from trackhooks.testing import TrackerPromises
from trackhooks.testing.trial import Interruption, Trial

pytestmark = pytest.mark.slow
if not URL:
    pytest.skip(
        "no W&B server is named by TRACKHOOKS_TEST_WANDB_URL and WANDB_API_KEY: see CONTRIBUTING.md",
        allow_module_level=True,
    )
PROJECT = f"trackhooks-tests-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module", autouse=True)
def _apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        keep_wandb_apart(patch, tmp_path_factory.mktemp("home"))
        patch.setenv("WANDB_BASE_URL", URL)
        yield


OPENWANDB_LACKS = {
    "killed": "does not tell how far a run is, so what comes again is there twice",
    "infinities": "cannot show a run that has an infinity",
    "texts_whose_names_look_alike": "does not find a file again that has a % in its name",
}
"""What W&B's own server has, by a part of the test's name."""


class TestWandBOnAServer(TrackerPromises):
    tracker = "wandb"
    cannot = {"rewind": "its rows stay", "earlier": "it takes no step before its last"}
    read = staticmethod(read_wandb_server)
    called = staticmethod(called_in_wandb)

    @pytest.fixture
    def options(self) -> dict[str, Any]:
        return {"mode": "online", "project": PROJECT}

    @pytest.fixture(autouse=True)
    def _expect_of_the_server(self, request: pytest.FixtureRequest) -> None:
        test = request.function.__name__
        if "while_the_run_goes_on" in test:
            pytest.skip("W&B uploads some seconds behind")
        for part, why in OPENWANDB_LACKS.items():
            if part in test and is_openwandb():
                pytest.skip(f"openwandb {why}")


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    options = {"mode": "online", "project": PROJECT, "job_type": "training"}
    return Trial("wandb", options, tmp_path / "runs", read_wandb_server, called_in_wandb)


def test_the_run_has_its_identity_and_the_source_of_the_training(trial: Trial) -> None:
    with trial.record(name="r1", tags=["base"], notes="Why.", group="g", params={"lr": 0.1}) as run:
        run.log(loss=1.0)
    trial.deliver(run.path)
    found, info = held(read_info(run.path)), read_info(run.path)
    assert (found.tags, found.notes, found.config["lr"]) == (["base"], "Why.", 0.1)
    about = json.loads(found.file("wandb-metadata.json"))
    assert (about["program"], about["host"]) == (info.environment["program"], info.environment["host"])
    assert " ".join(about.get("args", [])) == str(info.environment["arguments"]).replace("'", "")
    if found.more is not None:
        assert (found.more.name, found.more.group, found.more.job_type) == ("r1", "g", "training")


def test_the_summary_of_a_killed_run_has_the_best_values(trial: Trial) -> None:
    run = trial.record()
    for epoch in run.epochs(3):
        for _ in run.train(range(2)):
            run.log(loss=(3.0, 1.0, 2.0)[epoch], accuracy=(0.25, 0.75, 0.5)[epoch])
    run.close("killed")
    trial.deliver(run.path)
    summary = held(read_info(run.path)).summary
    assert (summary["best/train/loss"], summary["best/train/accuracy"]) == (1.0, 0.75)
    assert (summary["train/loss"], summary["status"]) == (2.0, "killed")


def test_an_export_is_logged_after_its_checkpoint_which_the_run_uses(trial: Trial, tmp_path: Path) -> None:
    checkpoint, export = tmp_path / "last.pt", tmp_path / "last.onnx"
    checkpoint.write_text("weights")
    export.write_text("exported")
    with trial.record() as run:
        run.log_model(checkpoint, aliases=["last"])
        run.log_export(export)
        run.log_export(export, parent=tmp_path / "unknown.pt")
        run.log(loss=1.0)
    trial.deliver(run.path)
    found = held(read_info(run.path))
    names = [f"run-{run.id}-last.pt", f"run-{run.id}-export-last.onnx"]
    assert list(dict.fromkeys(artifact.name for artifact in found.artifacts)) == names
    if found.more is not None:
        assert [used.name for used in found.more.used_artifacts()] == [f"{names[0]}:v0"]
        assert sorted(found.artifacts[0].aliases) == ["last", "latest"]


def test_an_export_after_the_end_uses_the_checkpoint_that_was_uploaded_before(
    trial: Trial, tmp_path: Path
) -> None:
    checkpoint, export = tmp_path / "last.pt", tmp_path / "last.onnx"
    checkpoint.write_text("weights")
    export.write_text("exported")
    with trial.record() as run:
        run.log_model(checkpoint, aliases=["last"])
    trial.deliver(run.path)
    with trial.record(resume=run.path) as resumed:
        resumed.log_export(export, parent=checkpoint)
    trial.deliver(run.path)
    found = held(read_info(run.path))
    assert [artifact.name for artifact in found.artifacts] == [
        f"run-{run.id}-last.pt",
        f"run-{run.id}-export-last.onnx",
    ]
    if found.more is not None:
        assert [used.name for used in found.more.used_artifacts()] == [f"run-{run.id}-last.pt:v0"]


def test_a_run_that_is_resumed_keeps_the_axes_of_its_metrics(trial: Trial) -> None:
    with trial.record() as run:
        for _ in run.epochs(1):
            for _ in run.train(range(2)):
                run.log(loss=1.0)
    trial.deliver(run.path)
    with trial.record(resume=run.path) as resumed:
        resumed.log(note=1.0)
    trial.deliver(run.path)
    over = axes(held(read_info(run.path)).config)
    assert (over["train_batch/loss"], over["train/loss"], over["note"]) == ("step", "epoch", "step")


@pytest.mark.skipif(bool(URL) and is_openwandb(), reason="openwandb does not tell how far a run is")
def test_rows_that_a_killed_delivery_has_not_uploaded_are_uploaded_by_the_next(trial: Trial) -> None:
    with trial.record(params={"lr": 0.1}) as run:
        for step in range(200):
            run.log(loss=float(step))
    trial.kill(run.path, Interruption("flush", 20))
    assert trial.delivered(run.path).metrics == {"loss": [(step, float(step)) for step in range(200)]}


@pytest.mark.skipif(bool(URL) and is_openwandb(), reason="openwandb takes any key")
def test_a_key_that_the_server_rejects_is_an_error(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    with trial.record() as run:
        run.log(loss=1.0)
    known = os.environ["WANDB_API_KEY"]
    monkeypatch.setenv("WANDB_API_KEY", "0" * len(known))
    done = trial.program(
        "import sys, json; from trackhooks.delivery.catch_up import deliver\n"
        "from trackhooks.delivery.cursor import Spec\n"
        "path, options = json.load(sys.stdin); print(deliver(path, [Spec('wandb', options)]))",
        str(run.path), trial.spec.options,
    )  # fmt: skip
    assert b"Check WANDB_API_KEY, or run: wandb login --relogin" in done.stdout, done.stderr
