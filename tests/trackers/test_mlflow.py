"""The MLflow tracker on a SQLite store and on a running server, read back with MLflow's own client."""

from __future__ import annotations

import json
import logging
import math
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from feeding import CREATED, Feeding, at_epoch, batch, kept, outside, run_info
from folders import SUPPORT
from mlflow_server import Server, SlowRelay

from trackhooks.delivery.registry import load
from trackhooks.errors import InvalidValueError, UnknownNameError
from trackhooks.event import Event, File, Graph, Histogram, Node, RunInfo, Table, Text
from trackhooks_integrations.trackers.mlflow.names import legal
from trackhooks_integrations.trackers.mlflow.tracker import MLflow

LARGEST = 1.7976931348623157e308


DATABASE = os.environ.get("TRACKHOOKS_TEST_MLFLOW_DB")
"""A database of another kind, such as `postgresql+psycopg2://user@host/name`: see CONTRIBUTING.md."""


@pytest.fixture(params=["sqlite", "server", *(["database"] if DATABASE else [])])
def uri(request: pytest.FixtureRequest) -> str:
    if request.param == "database":
        return str(request.getfixturevalue("database"))
    if request.param == "sqlite":
        return str(request.getfixturevalue("store"))
    return str(request.getfixturevalue("server").uri)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The database that the variable names; the tests create experiments and models in it."""
    if DATABASE is None:
        pytest.skip("TRACKHOOKS_TEST_MLFLOW_DB names no database: see CONTRIBUTING.md")
    monkeypatch.chdir(tmp_path)  # for the artifacts
    return DATABASE


@pytest.fixture
def feed(tmp_path: Path, uri: str) -> Feeding:
    return feeding(uri, run_info(tmp_path / "run", project=str(tmp_path)))


def feeding(uri: str, run: RunInfo, **options: Any) -> Feeding:
    return Feeding(lambda: MLflow(uri, **options), run)


# Reading back


def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(uri)


def stored(feed: Feeding) -> Any:
    """The run in MLflow."""
    return reader(feed).get_run(feed.tracker._id)  # type: ignore[attr-defined]


def reader(feed: Feeding) -> Any:
    return client(feed.tracker._store.uri)  # type: ignore[attr-defined]


def history(feed: Feeding, name: str) -> list[tuple[int, int, float]]:
    """Return the rows of a metric: step, milliseconds since the start of the run, value."""
    rows = reader(feed).get_metric_history(stored(feed).info.run_id, name)
    return [(row.step, row.timestamp - int(CREATED * 1000), row.value) for row in rows]


def models(feed: Feeding) -> dict[str, Any]:
    """The LoggedModels of the run by name."""
    info = stored(feed).info
    found = reader(feed).search_logged_models([info.experiment_id], f"source_run_id = '{info.run_id}'")
    return {model.name: model for model in found}


def content(feed: Feeding, place: str, tmp_path: Path) -> bytes:
    got = reader(feed).download_artifacts(stored(feed).info.run_id, place, str(tmp_path))
    return Path(got).read_bytes()


def model_files(feed: Feeding, model: Any) -> list[str]:
    return [file.path for file in reader(feed).list_logged_model_artifacts(model.model_id)]


# Metrics


@pytest.mark.slow
def test_metrics_are_read_back_at_their_steps_epochs_and_times(feed: Feeding) -> None:
    feed.give(*(batch(index, index, loss=1 / (index + 1)) for index in range(3)))
    feed.give(at_epoch("on_fit_epoch_end", 3, 0, {"val/loss": 0.25})).flush()
    assert history(feed, "train_batch/loss") == [(0, 0, 1.0), (1, 1000, 0.5), (2, 2000, 1 / 3)]
    assert history(feed, "val/loss") == [(0, 3000, 0.25)]


@pytest.mark.slow
def test_nan_is_kept_and_infinity_is_the_largest_number_of_the_store(feed: Feeding) -> None:
    feed.give(batch(0, 0, a=math.nan, b=math.inf, c=-math.inf)).finish()
    assert math.isnan(history(feed, "train_batch/a")[0][2])
    assert history(feed, "train_batch/b") == [(0, 0, LARGEST)]
    assert history(feed, "train_batch/c") == [(0, 0, -LARGEST)]


@pytest.mark.slow
def test_more_metrics_than_fit_in_one_request_are_delivered(feed: Feeding) -> None:
    feed.give(*(batch(index, index, loss=index, accuracy=index) for index in range(1234))).flush()
    assert [row[2] for row in history(feed, "train_batch/loss")] == list(range(1234))
    assert len(history(feed, "train_batch/accuracy")) == 1234


@pytest.mark.slow
def test_events_that_are_delivered_again_after_a_crash_give_the_same_rows(feed: Feeding) -> None:
    feed.give(batch(0, 0, loss=1.0), at_epoch("on_val_end", 1, 0, {"val/loss": math.nan})).flush()
    again = [
        batch(2, 1, loss=math.nan),
        at_epoch("on_fit_epoch_end", 3, 0, {"val/loss": math.nan, "lr/0": 0.1}),
    ]
    feed.give(*again)
    feed.tracker.flush()
    feed.crash().give(*again).flush()
    assert [row[:2] for row in history(feed, "train_batch/loss")] == [(0, 0), (1, 2000)]
    assert [row[:2] for row in history(feed, "val/loss")] == [(0, 1000)]
    assert history(feed, "lr/0") == [(0, 3000, 0.1)]


def measured(index: int) -> Event:
    return Event("log", index, CREATED + index, index, metrics={"system/cpu_percent": 50.0 + index})


def first_logged(feed: Feeding) -> list[str]:
    """The metrics in the order in which SQLite has them, which is that of MLflow's compare page."""
    with closing(sqlite3.connect(str(feed.tracker.destination).removeprefix("sqlite:///"))) as database:
        of_run = "SELECT key FROM latest_metrics WHERE run_uuid = ?"
        return [key for (key,) in database.execute(of_run, (stored(feed).info.run_id,))]


def first_epoch(length_s: float) -> list[Event]:
    """What a loop records in an epoch, in its order: the best values come last."""
    loss = {"val/loss": 0.5}
    events = [
        measured(0),
        *(batch(1 + part, part, loss=1.0) for part in range(3)),
        at_epoch("on_train_epoch_end", 4, 0, {"train/loss": 1.0}),
        at_epoch("on_fit_epoch_end", 5, 0, {"lr/0": 0.1, **loss}, best=loss),
    ]
    for event in events[4:]:
        event.time = CREATED + length_s
    return events


def test_the_best_value_comes_before_all_other_metrics(tmp_path: Path, store: str) -> None:
    feed = feeding(store, run_info(tmp_path / "r"))
    for event in first_epoch(length_s=50):
        feed.give(event).flush().crash()
    assert first_logged(feed) == [
        "best/val/loss",
        "val/loss",
        "train/loss",
        "lr/0",
        "train_batch/loss",
        "system/cpu_percent",
    ]
    assert len(history(feed, "train_batch/loss")) == 3
    assert history(feed, "train/loss") == [(0, 50_000, 1.0)]


def test_metrics_of_a_long_first_epoch_are_shown_after_a_minute(tmp_path: Path, store: str) -> None:
    *during, end = first_epoch(length_s=100)
    feed = feeding(store, run_info(tmp_path / "r")).give(*during[:4]).flush()
    assert not first_logged(feed)
    feed.give(*during[4:]).flush()
    assert len(history(feed, "train_batch/loss")) == 3
    feed.give(end).flush()
    assert first_logged(feed)[-1] != "best/val/loss" != first_logged(feed)[0]
    feed.finish()
    assert first_logged(feed)[0] == "best/val/loss"
    assert len(first_logged(feed)) == 6


def test_a_best_value_is_one_bar(tmp_path: Path, store: str) -> None:
    feed = feeding(store, run_info(tmp_path / "r"))
    feed.give(measured(0)).flush().crash()
    for epoch, loss in enumerate([1.0, 2.0, 0.5]):
        best = {"val/loss": min(1.0, loss)}
        feed.give(
            at_epoch("on_fit_epoch_end", 1 + epoch, epoch, {"val/loss": loss}, best=best)
        ).flush().crash()
    feed.give(measured(4)).finish()
    assert stored(feed).data.metrics["best/val/loss"] == 0.5
    assert {step for step, *_ in history(feed, "best/val/loss")} == {0}
    assert [row[2] for row in history(feed, "system/cpu_percent")] == [50.0, 54.0]


def test_a_run_without_epochs_has_the_measurements_of_its_system_too(tmp_path: Path, store: str) -> None:
    feed = feeding(store, run_info(tmp_path / "r")).give(*(measured(index) for index in range(3))).finish()
    assert [row[2] for row in history(feed, "system/cpu_percent")] == [50.0, 51.0, 52.0]


def test_measurements_are_not_kept_back_for_ever(tmp_path: Path, store: str) -> None:
    feed = feeding(store, run_info(tmp_path / "r")).give(*(measured(index) for index in range(1200))).flush()
    assert len(history(feed, "system/cpu_percent")) == 1200


def test_each_run_has_a_colour_that_it_keeps(tmp_path: Path, store: str) -> None:
    colours = []
    for number, name in enumerate("abc"):
        run = run_info(tmp_path / name, created=CREATED + number, project="colours")
        feed = feeding(store, run).give(outside(0, params={"lr": 1})).flush()
        colours.append(stored(feed).data.tags["mlflow.runColor"])
    assert len(set(colours)) == 3
    feed.crash().give(outside(1, params={"x": 1})).flush()
    assert stored(feed).data.tags["mlflow.runColor"] == colours[-1]


# Names


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("train/loss", "train/loss"),
        ("metrics/mAP50(B)", "metrics/mAP50_B_"),
        ("AR@100", "AR_100"),
        ("größe: a-b.c d", "größe: a-b.c d"),
        ("/a//b/../c/", "_/a/_/b/_/c/_"),
        ("", "_"),
        ("x" * 300, "x" * 241 + "-1b432d13"),
    ],
)
def test_a_name_that_mlflow_does_not_accept_is_changed_by_the_rule(name: str, called: str) -> None:
    assert legal(name) == called


@pytest.mark.slow
def test_two_names_that_would_become_equal_remain_two(
    feed: Feeding, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "trackhooks")
    first = Event("log", 0, CREATED, 0, metrics={"a(b)": 1.0, "a_b_": 2.0})
    feed.give(first).flush().crash()
    feed.give(Event("log", 1, CREATED + 1, 1, metrics={"a_b_": 4.0, "a(b)": 3.0})).flush()
    assert [row[2] for row in history(feed, "a_b_")] == [1.0, 3.0]
    assert [row[2] for row in history(feed, "a_b_-692163b7")] == [2.0, 4.0]
    assert caplog.text.count("'a(b)' is called 'a_b_'") == 1


def test_the_store_accepts_names_of_every_kind(feed: Feeding) -> None:
    names = ["a/", "//", "..", "x" * 400, "ä ö", "a:b", "100%", "\n", "日本", "a/./b", "[0]", ""]
    feed.give(
        Event("log", 0, CREATED, 0, metrics=dict.fromkeys(names, 1.0), params=dict.fromkeys(names, "v"))
    ).flush()
    assert len(stored(feed).data.metrics) == len(stored(feed).data.params) == len(names)


# Parameters


def test_parameters_of_any_number_and_length_are_kept(feed: Feeding, tmp_path: Path) -> None:
    many = {f"layer/{number}": number for number in range(230)}
    feed.give(outside(0, params=many | {"long": "ü" * 6001, "none": None, "empty": "", "on": True})).flush()
    found = stored(feed).data.params
    assert found.items() >= {name: str(value) for name, value in many.items()}.items()
    assert (found["none"], found["empty"], found["on"]) == ("None", "", "True")
    assert found["long"] == "ü" * 6000
    assert content(feed, "params/long.txt", tmp_path).decode() == "ü" * 6001


def test_a_changed_parameter_becomes_a_tag(feed: Feeding) -> None:
    feed.give(outside(0, params={"lr": 0.1, "epochs": 3})).flush().crash()
    feed.give(outside(1, params={"lr": 0.01, "epochs": 3})).flush()
    assert stored(feed).data.params == {"lr": "0.1", "epochs": "3"}
    assert stored(feed).data.tags["changed/lr"] == "0.01"
    assert "changed/epochs" not in stored(feed).data.tags


def test_a_null_character_is_replaced_because_not_every_database_accepts_it(feed: Feeding) -> None:
    feed.run.notes = "a\0b"
    feed.crash().give(outside(0, params={"text": "a\0b"})).flush()
    assert stored(feed).data.params["text"] == "a\N{REPLACEMENT CHARACTER}b"
    assert stored(feed).data.tags["mlflow.note.content"] == "a\N{REPLACEMENT CHARACTER}b"


def test_the_data_is_a_dataset_input(feed: Feeding) -> None:
    feed.give(outside(0, params={"data": "/data/coco8.yaml"})).flush()
    (given,) = stored(feed).inputs.dataset_inputs
    assert (given.dataset.name, json.loads(given.dataset.source)) == ("coco8", {"uri": "/data/coco8.yaml"})
    assert {tag.key: tag.value for tag in given.tags} == {"mlflow.data.context": "training"}


# The run


def test_the_run_has_its_identity_and_the_source_of_the_training(tmp_path: Path, uri: str) -> None:
    environment = {"program": "train.py", "user": "ada", "git/commit": "abc123", "package/torch": "2.14"}
    run = run_info(tmp_path / "r1", project="p1", tags=["base", "x@y"], notes="Why.", environment=environment)
    found = stored(feeding(uri, run))
    assert (found.info.run_name, found.info.start_time) == ("r1", int(CREATED * 1000))
    assert client(uri).get_experiment(found.info.experiment_id).name == "p1"
    expected = {
        "base": "true", "x_y": "true", "mlflow.note.content": "Why.", "mlflow.user": "ada",
        "mlflow.source.name": "train.py", "mlflow.source.git.commit": "abc123", "environment.package/torch": "2.14",
    }  # fmt: skip
    assert found.data.tags.items() >= expected.items()


def test_without_a_project_the_experiment_is_trackhooks_or_that_of_the_environment(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiments = []
    for number in range(2):
        found = stored(feeding(store, run_info(tmp_path / f"e{number}")))
        experiments.append(client(store).get_experiment(found.info.experiment_id).name)
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    assert experiments == ["trackhooks", "mine"]


@pytest.mark.slow
def test_the_experiment_of_the_environment_applies_only_to_its_own_store_and_without_a_project(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = client(store).create_experiment(f"chosen {tmp_path}")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", chosen)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    run = run_info(tmp_path / "a")
    assert stored(Feeding(MLflow, run)).info.experiment_id == chosen
    assert stored(feeding(f"sqlite:///{tmp_path}/other.db", run)).info.experiment_id != chosen
    ours = stored(Feeding(MLflow, run_info(tmp_path / "b", project="p1"))).info.experiment_id
    assert client(store).get_experiment(ours).name == "p1"


def test_a_project_with_a_name_that_is_too_long_is_an_experiment_with_the_start_of_the_name(
    tmp_path: Path, uri: str
) -> None:
    feeds = [feeding(uri, run_info(tmp_path / end, project="x" * 600 + end)) for end in ("a", "b", "a")]
    ids = [stored(feed).info.experiment_id for feed in feeds]
    assert ids[0] == ids[2] != ids[1]
    assert client(uri).get_experiment(ids[0]).name.startswith("x" * 241)


def test_a_run_of_a_deleted_experiment_is_delivered_once_the_experiment_is_restored(
    tmp_path: Path, uri: str
) -> None:
    from mlflow import MlflowException

    experiment = client(uri).create_experiment(f"deleted {tmp_path}")
    client(uri).delete_experiment(experiment)
    run = run_info(tmp_path / "a", project=f"deleted {tmp_path}")
    with pytest.raises(MlflowException, match=f"restore --experiment-id {experiment}"):
        feeding(uri, run)
    client(uri).restore_experiment(experiment)
    assert stored(feeding(uri, run)).info.experiment_id == experiment


def test_a_rejected_request_is_an_error_of_the_event_but_a_deleted_run_is_not(feed: Feeding) -> None:
    from mlflow import MlflowException

    with pytest.raises(ValueError, match="timestamp"):  # delivery skips it after some attempts
        feed.give(Event("log", 0, -5.0, 0, metrics={"a": 1.0})).flush()
    id_ = stored(feed.crash().flush()).info.run_id
    reader(feed).delete_run(id_)
    with pytest.raises(MlflowException, match="deleted"):
        feed.crash()
    reader(feed).restore_run(id_)
    feed.crash().give(batch(1, 1, loss=1.0)).finish()
    assert history(feed, "train_batch/loss") == [(1, 1000, 1.0)]


def test_long_notes_are_kept_completely(tmp_path: Path, uri: str) -> None:
    feed = feeding(uri, run_info(tmp_path / "run", project=str(tmp_path), notes="ü" * 10_000))
    assert stored(feed).data.tags["mlflow.note.content"] == "ü" * 6000
    assert content(feed, "notes.md", tmp_path).decode() == "ü" * 10_000


def test_the_artifacts_of_a_database_are_not_in_mlruns(tmp_path: Path, database: str) -> None:
    feed = feeding(database, run_info(tmp_path / "run", project=str(tmp_path)))
    feed.give(saved(feed, 0, 0, "last.pt", b"one", "last")).flush()
    assert downloaded(feed, models(feed)["last-pt"], "last.pt") == b"one"
    assert (tmp_path / "mlartifacts").is_dir()
    assert not (tmp_path / "mlruns").exists()


def test_runs_of_a_group_are_nested_in_one_run_with_its_name(tmp_path: Path, uri: str) -> None:
    project = str(tmp_path)
    runs = [
        stored(feeding(uri, run_info(tmp_path / f"g{n}", project=project, group="it's 5"))) for n in range(2)
    ]
    (parent,) = {run.data.tags["mlflow.parentRunId"] for run in runs}
    assert client(uri).get_run(parent).info.run_name == "it's 5"
    assert client(uri).get_run(parent).info.status == "FINISHED"


def test_a_run_inside_another_is_nested_in_it_in_either_order_of_delivery(tmp_path: Path, uri: str) -> None:
    inner = stored(
        feeding(uri, run_info(tmp_path / "inner", project=str(tmp_path), parent=f"outer {tmp_path.name}"))
    )
    outer = stored(
        feeding(uri, run_info(tmp_path / "outer", id=f"outer {tmp_path.name}", project=str(tmp_path)))
    )
    assert inner.data.tags["mlflow.parentRunId"] == outer.info.run_id
    assert (outer.info.run_name, outer.info.status) == ("outer", "RUNNING")


def test_a_run_whose_state_was_lost_is_found_again(feed: Feeding) -> None:
    first = stored(feed).info.run_id
    feed.state = {}
    assert stored(feed.crash()).info.run_id == first


@pytest.mark.parametrize(
    ("status", "called"),
    [
        ("finished", "FINISHED"),
        ("failed", "FAILED"),
        ("pruned", "KILLED"),
        ("killed", "KILLED"),
        ("lost", "KILLED"),
    ],
)
def test_the_status_is_that_of_the_run(tmp_path: Path, store: str, status: str, called: str) -> None:
    feed = feeding(store, run_info(tmp_path / status))
    assert stored(feed).info.status == "RUNNING"
    reason = "" if status == "finished" else "ValueError: x"
    feed.give(Event("teardown", 5, CREATED + 5, status=status)).finish(status, reason)
    found = stored(feed)
    assert (found.info.status, found.info.end_time) == (called, int(CREATED + 5) * 1000)
    assert found.data.tags.get("trackhooks.status") == (f"{status}: ValueError: x" if reason else None)


def test_the_reason_of_an_earlier_end_goes_when_a_resumed_run_ends(feed: Feeding) -> None:
    feed.give(Event("teardown", 5, CREATED + 5, status="killed")).finish("killed", "Ctrl-C")
    assert stored(feed).data.tags["trackhooks.status"] == "killed: Ctrl-C"
    feed.start().give(Event("teardown", 6, CREATED + 6, status="finished")).finish()
    found = stored(feed)
    assert (found.info.status, found.data.tags["trackhooks.status"]) == ("FINISHED", "finished")


def test_a_run_that_is_resumed_is_the_same_run_and_running_again(feed: Feeding) -> None:
    first = stored(feed.give(batch(0, 0, loss=1.0)).finish("failed")).info
    feed.crash().give(batch(1, 1, loss=2.0)).flush()
    assert (stored(feed).info.run_id, stored(feed).info.status) == (first.run_id, "RUNNING")
    feed.finish()
    assert len(history(feed, "train_batch/loss")) == 2


def test_an_existing_run_is_joined_and_left_open_with_its_name(tmp_path: Path, uri: str) -> None:
    theirs = client(uri).create_run(
        client(uri).create_experiment(f"theirs {tmp_path}", tmp_path.as_uri()), run_name="theirs"
    )
    run = run_info(tmp_path / "ours", tags=["more"], environment={"program": "ours.py"})
    feed = feeding(uri, run, run_id=theirs.info.run_id).give(batch(0, 0, loss=1.0)).finish()
    feed.crash().give(batch(1, 1, loss=2.0)).finish()
    found = stored(feed)
    assert found.info.run_id == theirs.info.run_id
    assert (found.info.run_name, found.info.status) == ("theirs", "RUNNING")
    assert len(history(feed, "train_batch/loss")) == 2
    assert found.data.tags["more"] == "true"
    assert "mlflow.source.name" not in found.data.tags


def test_the_artifacts_of_a_joined_run_are_kept_next_to_ours(tmp_path: Path, uri: str) -> None:
    theirs = client(uri).create_run(client(uri).create_experiment(f"artifacts {tmp_path}")).info.run_id
    places = ["notes.md", "params/p.txt", "files/a.txt", "texts/t/step-0.txt", "tables/t/step-0.json"]
    for place in places:
        client(uri).log_text(theirs, "theirs", place)
    runs = [run_info(tmp_path / name, notes="n" * 6001) for name in ("one", "two")]
    for run in runs:
        feed = feeding(uri, run, run_id=theirs).give(outside(0, params={"p": run.name * 6001}))
        file = kept(run, 1, "a.txt", run.name.encode(), kind="file")
        feed.give(
            Event("log", 1, CREATED, 0, files=[file], media=[Text("t", run.name), Table("t", ["x"], [[1]])])
        )
        feed.finish()
    for place in places:
        assert content(feed, place, tmp_path) == b"theirs"
    for run in runs:
        assert content(feed, f"trackhooks/{run.id}/files/a.txt", tmp_path).decode() == run.name
        assert content(feed, f"trackhooks/{run.id}/texts/t/step-0.txt", tmp_path).decode() == run.name


def test_runs_that_join_the_same_run_have_separate_checkpoints(tmp_path: Path, store: str) -> None:
    theirs = (
        client(store).create_run(client(store).create_experiment(f"two {tmp_path}", tmp_path.as_uri())).info
    )
    for name in ("a", "b"):
        feed = feeding(store, run_info(tmp_path / name), run_id=theirs.run_id)
        feed.give(saved(feed, 0, 0, "last.pt", name.encode(), "last")).finish()
    found = reader(feed).search_logged_models([theirs.experiment_id])
    assert sorted(model.tags["sha256"] for model in found) == ["sha-of-a", "sha-of-b"]


def test_the_url_is_the_runs_page_on_a_server_or_the_command_that_shows_the_file(
    tmp_path: Path, server: Server, store: str
) -> None:
    feed = feeding(server.uri, run_info(tmp_path / "page"))
    info = stored(feed).info
    page = f"{server.uri}/#/experiments/{info.experiment_id}/runs/{info.run_id}"
    assert feed.tracker.url == f"{page}?workflowType=machine_learning"
    of_a_file = feeding(store, run_info(tmp_path / "file")).tracker.url
    assert of_a_file == f"mlflow server --backend-store-uri {store}"


# Models


def after_first_epoch(feed: Feeding) -> Feeding:
    """Until its end, metrics are kept back."""
    return feed.give(at_epoch("on_fit_epoch_end", 0, 0, {"lr/0": 0.1}))


def saved(
    feed: Feeding, index: int, epoch: int, name: str, bytes_: bytes, *aliases: str, **metrics: float
) -> Event:
    file = kept(feed.run, index, name, bytes_, aliases=aliases, metrics=metrics)
    return at_epoch("on_model_save", index, epoch, files=[file])


def test_a_checkpoint_is_a_model_with_its_file_hash_aliases_and_metrics(
    feed: Feeding, tmp_path: Path
) -> None:
    after_first_epoch(feed).give(at_epoch("on_val_end", 0, 4, {"val/loss": 0.5, "val/gap": math.nan}))
    feed.give(
        saved(feed, 1, 4, "last.pt", b"one", "last", "best", **{"val/loss": 0.5, "val/gap": math.nan})
    ).flush()
    model = models(feed)["last-pt"]
    assert (model.status, model.model_type) == ("READY", "model")
    assert model_files(feed, model) == ["last.pt"]
    assert model.tags.items() >= {"aliases": "last, best", "sha256": "sha-of-one", "epoch": "4"}.items()
    assert [(metric.key, metric.value, metric.step) for metric in model.metrics] == [("val/loss", 0.5, 4)]
    assert [output.model_id for output in stored(feed).outputs.model_outputs] == [model.model_id]
    feed.give(at_epoch("on_fit_epoch_end", 2, 4, {"val/loss": 0.5})).flush()
    assert history(feed, "val/loss") == [(4, 1000, 0.5)]


def downloaded(feed: Feeding, model: Any, name: str) -> bytes:
    return download(reader(feed).tracking_uri, model.artifact_location, name)


def download(uri: str, folder: str, name: str) -> bytes:
    from mlflow.artifacts import download_artifacts

    return Path(download_artifacts(artifact_uri=folder, tracking_uri=uri), name).read_bytes()


def test_a_checkpoint_that_is_overwritten_is_the_same_model_with_the_metrics_of_each_epoch(
    feed: Feeding,
) -> None:
    after_first_epoch(feed).give(saved(feed, 0, 0, "last.pt", b"one", "last", **{"val/loss": 3.0}))
    feed.give(saved(feed, 1, 0, "best.pt", b"one", "best", **{"val/loss": 3.0})).flush()
    first = models(feed)
    feed.crash().give(saved(feed, 2, 1, "last.pt", b"two", "last", **{"val/loss": 4.0})).flush()
    found = models(feed)
    assert {name: model.model_id for name, model in found.items()} == {
        name: model.model_id for name, model in first.items()
    }
    assert {name: model.tags["aliases"] for name, model in found.items()} == {
        "last-pt": "last",
        "best-pt": "best",
    }
    assert downloaded(feed, found["last-pt"], "last.pt") == b"two"
    assert downloaded(feed, found["best-pt"], "best.pt") == b"one"
    assert sorted(metric.value for metric in found["last-pt"].metrics) == [3.0, 4.0]


def test_a_checkpoints_metrics_are_the_rows_of_the_run_that_have_these_values(feed: Feeding) -> None:
    """A checkpoint that is saved after an evaluation also has the metrics of the evaluation, which are over steps."""
    feed.give(at_epoch("on_fit_epoch_end", 0, 4, {"val/loss": 0.5}))
    feed.give(Event("on_val_end", 1, CREATED + 1, 10, -1, metrics={"test/loss": 0.25})).flush()
    metrics = {"val/loss": 0.5, "test/loss": 0.25}
    feed.crash().give(saved(feed, 2, 4, "last.pt", b"one", "last", **metrics)).flush()
    (model,) = models(feed).values()
    assert {(metric.key, metric.value, metric.step) for metric in model.metrics} == {
        ("val/loss", 0.5, 4), ("test/loss", 0.25, 10),
    }  # fmt: skip
    assert history(feed, "val/loss") == [(4, 0, 0.5)]
    assert history(feed, "test/loss") == [(10, 1000, 0.25)]
    assert set(stored(feed).data.metrics) == {"val/loss", "test/loss"}


def test_a_checkpoint_without_aliases_is_deleted_and_one_that_lost_some_is_kept(feed: Feeding) -> None:
    feed.give(saved(feed, 0, 0, "a.keras", b"a", "last", "best"), saved(feed, 1, 1, "b.keras", b"b", "last"))
    feed.give(saved(feed, 2, 2, "c.keras", b"c", "last")).flush()
    assert {name: model.tags["aliases"] for name, model in models(feed).items()} == {
        "a-keras": "best",
        "c-keras": "last",
    }


def test_no_checkpoint_is_a_model_if_none_is_kept(tmp_path: Path, store: str) -> None:
    feed = feeding(store, run_info(tmp_path / "none", keep="none", project=str(tmp_path)))
    feed.give(saved(feed, 0, 0, "last.pt", b"one", "last"))
    exported = kept(feed.run, 1, "last.onnx", b"exported", kind="export", parent="/x/last.pt")
    feed.give(Event("on_export_end", 1, CREATED, 9, files=[exported])).finish()
    assert set(models(feed)) == {"last-onnx"}


def test_every_checkpoint_is_a_model_if_all_are_kept(tmp_path: Path, store: str) -> None:
    feed = feeding(store, run_info(tmp_path / "all", keep="all"))
    feed.give(
        saved(feed, 0, 0, "last.pt", b"one", "last"), saved(feed, 1, 1, "last.pt", b"two", "last")
    ).flush()
    info = stored(feed).info
    found = reader(feed).search_logged_models([info.experiment_id], f"source_run_id = '{info.run_id}'")
    assert sorted(model.tags["aliases"] for model in found) == ["", "last"]


def test_a_checkpoint_that_is_delivered_again_after_a_crash_is_one_model(feed: Feeding) -> None:
    after_first_epoch(feed).flush()
    event = saved(feed, 0, 0, "last.pt", b"one", "last", **{"val/loss": 3.0})
    feed.give(event).tracker.flush()
    feed.crash().give(event).flush()
    assert len(models(feed)) == 1
    assert len(stored(feed).outputs.model_outputs) == 1
    assert history(feed, "val/loss") == [(0, 0, 3.0)]


def test_a_checkpoint_that_was_overwritten_before_it_was_copied_does_not_replace_the_older_one(
    feed: Feeding,
) -> None:
    feed.give(saved(feed, 0, 0, "last.pt", b"one", "last"))
    gone = File("/gone/last.pt", "model", "last.pt", aliases=("last",), superseded=True)
    feed.give(at_epoch("on_model_save", 1, 1, files=[gone])).flush()
    assert models(feed)["last-pt"].tags["sha256"] == "sha-of-one"


def test_an_export_is_a_model_that_names_its_checkpoint(feed: Feeding) -> None:
    feed.give(saved(feed, 0, 0, "best.pt", b"one", "best")).flush().crash()
    (best,) = models(feed).values()
    export = kept(feed.run, 1, "best.onnx", b"onnx", kind="export", parent=best.tags["path"], duration=1.5)
    feed.give(Event("on_export_end", 1, CREATED + 1, 9, files=[export])).flush()
    found = models(feed)["best-onnx"]
    assert (found.model_type, found.tags["parent"], found.tags["format"]) == ("export", best.model_id, "onnx")
    assert model_files(feed, found) == ["best.onnx"]


def test_an_exported_folder_is_uploaded_completely(feed: Feeding) -> None:
    folder = Path(feed.run.path, "files", "0-0-saved_model")
    (folder / "variables").mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"graph")
    (folder / "variables" / "data").write_bytes(b"weights")
    export = File("/x/saved_model", "export", "saved_model", kept="files/0-0-saved_model")
    feed.give(Event("on_export_end", 0, CREATED, 9, files=[export])).flush()
    assert downloaded(feed, models(feed)["saved_model"], "saved_model/variables/data") == b"weights"


def test_a_run_that_finishes_registers_its_checkpoints_with_their_aliases(tmp_path: Path, uri: str) -> None:
    name = "-".join(tmp_path.parts[-3:])
    feed = feeding(uri, run_info(tmp_path / "run"), register=name)
    feed.give(saved(feed, 0, 0, "best.pt", b"one", "best"), saved(feed, 1, 1, "last.pt", b"two", "last"))
    feed.finish()
    feed.crash().finish()  # an evaluation was added later
    versions = client(uri).search_model_versions(f"name = '{name}'")
    assert len(versions) == 2
    best = client(uri).get_model_version_by_alias(name, "best")
    assert (best.tags, best.run_id) == ({"sha256": "sha-of-one"}, stored(feed).info.run_id)
    assert client(uri).get_model_version_by_alias(name, "last").version != best.version


def test_a_version_of_a_registered_model_is_not_changed_when_the_training_continues(
    tmp_path: Path, uri: str
) -> None:
    name = "-".join(tmp_path.parts[-3:])
    feed = feeding(uri, run_info(tmp_path / "run"), register=name)
    feed.give(saved(feed, 0, 0, "last.pt", b"one", "last")).finish()
    feed.crash().give(saved(feed, 1, 1, "last.pt", b"two", "last")).finish()
    versions = client(uri).search_model_versions(f"name = '{name}'")
    held = {version.tags["sha256"]: download(uri, version.source, "last.pt") for version in versions}
    assert held == {"sha-of-one": b"one", "sha-of-two": b"two"}
    assert client(uri).get_model_version_by_alias(name, "last").tags == {"sha256": "sha-of-two"}


# Media


def test_pictures_are_in_the_image_grid_at_their_step(feed: Feeding) -> None:
    from PIL import Image

    files = []
    for number in range(2):
        picture = kept(feed.run, 0, f"val{number}.png", b"", kind="image", name="val/batch")
        Image.new("RGB", (600, 300), (number, 0, 0)).save(Path(feed.run.path, picture.kept))
        files.append(picture)
    event = at_epoch("on_val_end", 0, 3, files=files)
    feed.give(event).flush().crash().give(event).flush()
    paths = sorted(file.path for file in reader(feed).list_artifacts(stored(feed).info.run_id, "images"))
    assert len(paths) == 4
    series, *place, _mark = paths[0].removeprefix("images/").split("+")[:6]
    assert (series, place) == ("val~batch", ["step", "3", "timestamp", str(int(CREATED * 1000))])
    assert [path.endswith("+compressed.webp") for path in paths] == [True, False, True, False]
    assert stored(feed).data.tags["mlflow.loggedImages"] == "True"


def test_a_table_is_read_back_by_mlflow(feed: Feeding, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("confusion", ["truth", "score"], [["cat", 0.5], ["dog", None], ["cow", math.nan]])
    event = at_epoch("on_val_end", 0, 2, media=[table])
    feed.give(event).flush().crash().give(event).flush()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", reader(feed).tracking_uri)  # `load_table` asks the global one
    info = stored(feed).info
    frame = reader(feed).load_table(info.experiment_id, "tables/confusion/epoch-2.json", [info.run_id])
    assert frame["truth"].tolist() == ["cat", "dog", "cow"]
    assert frame["score"].isna().tolist() == [False, True, True]


def test_texts_histograms_graphs_and_files_are_artifacts_at_their_paths(
    feed: Feeding, tmp_path: Path
) -> None:
    graph = Graph("model", [Node("conv", "Conv2d"), Node("relu", "ReLU", ["conv"])])
    feed.give(outside(0, media=[Text("model/summary", "Conv2d → ReLU"), graph]))
    histogram = Histogram("weights/conv", [0.0, 1.0, 2.0], [3.0, 4.0])
    feed.give(
        Event("log", 1, CREATED, 7, media=[histogram], files=[kept(feed.run, 1, "a.txt", b"a", kind="file")])
    )
    feed.flush()
    assert content(feed, "texts/model/summary.txt", tmp_path).decode() == "Conv2d → ReLU"
    assert json.loads(content(feed, "graphs/model.json", tmp_path))["nodes"][1]["inputs"] == ["conv"]
    assert json.loads(content(feed, "histograms/weights/conv/step-7.json", tmp_path))["counts"] == [3.0, 4.0]
    assert content(feed, "files/a.txt", tmp_path) == b"a"


# Servers and stores


@pytest.mark.slow
def test_a_server_that_is_down_raises_soon_and_nothing_is_lost_or_repeated_when_it_is_back(
    tmp_path: Path, mlflow_tables: Path
) -> None:
    server = Server(tmp_path, mlflow_tables)
    script = """
        import sys
        sys.path[:0] = sys.argv[3:4]
        from pathlib import Path
        from feeding import Feeding, at_epoch, batch, run_info
        from trackhooks_integrations.trackers.mlflow import MLflow

        feed = Feeding(lambda: MLflow(sys.argv[1]), run_info(Path(sys.argv[2])))
        print("up", flush=True)
        feed.give(at_epoch("on_fit_epoch_end", 0, 0, {"lr/0": 0.1}))
        feed.give(batch(0, 0, loss=1.0)).flush().give(batch(1, 1, loss=2.0)).tracker.flush()
        input()
        from mlflow import MlflowException
        for down in range(2):
            try:
                feed.give(batch(2, 2, loss=3.0)).flush()
            except MlflowException:
                print("down", flush=True)
            else:
                print("no error", flush=True)
            try:
                feed.crash()
            except MlflowException:
                print("still down", flush=True)
                break
        input()
        feed.crash().give(batch(1, 1, loss=2.0), batch(2, 2, loss=3.0)).finish()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _dedent(script), server.uri, tmp_path / "run", SUPPORT],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    try:
        time.sleep(2)  # until it waits for the signal
        server.stop()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "down\n"
        assert process.stdout.readline() == "still down\n"
        server.start()
        process.communicate("\n", timeout=120)
        assert process.returncode == 0
        found = client(server.uri).search_runs(
            [client(server.uri).get_experiment_by_name("trackhooks").experiment_id]
        )
        rows = client(server.uri).get_metric_history(found[0].info.run_id, "train_batch/loss")
        assert [(row.step, row.value) for row in rows] == [(0, 1.0), (1, 2.0), (2, 3.0)]
        assert [run.info.status for run in found] == ["FINISHED"]
    finally:
        process.kill()
        server.stop()


@pytest.mark.slow
def test_a_server_may_need_a_long_time_to_store_a_file(
    tmp_path: Path, server: Server, program: Callable[..., str]
) -> None:
    relay = SlowRelay(server, seconds=25)  # other requests have 20
    script = """
        import sys
        sys.path[:0] = sys.argv[3:4]
        from pathlib import Path
        from feeding import Feeding, at_epoch, kept, run_info
        from trackhooks_integrations.trackers.mlflow import MLflow

        feed = Feeding(lambda: MLflow(sys.argv[1]), run_info(Path(sys.argv[2]), project="slow"))
        feed.give(at_epoch("on_model_save", 0, 0, files=[kept(feed.run, 0, "last.pt", b"x")])).finish()
        from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT
        print(MLFLOW_HTTP_REQUEST_TIMEOUT.get())
    """
    assert program(script, relay.uri, tmp_path / "run", SUPPORT).split()[-1] == "20"
    relay.shutdown()
    relay.server_close()
    (model,) = client(server.uri).search_logged_models(
        [client(server.uri).get_experiment_by_name("slow").experiment_id]
    )
    assert [file.path for file in client(server.uri).list_logged_model_artifacts(model.model_id)] == [
        "last.pt"
    ]


def _dedent(source: str) -> str:
    from textwrap import dedent

    return dedent(source)


@pytest.mark.slow
def test_processes_that_open_a_new_store_at_the_same_time_all_get_their_run(tmp_path: Path) -> None:
    script = """
        import sys
        sys.path[:0] = sys.argv[3:4]
        from pathlib import Path
        from feeding import Feeding, batch, run_info
        from trackhooks_integrations.trackers.mlflow import MLflow

        run = run_info(Path(sys.argv[2]), group="g")
        Feeding(lambda: MLflow(sys.argv[1]), run).give(batch(0, 0, loss=1.0)).finish()
    """
    uri = f"sqlite:///{tmp_path}/new.db"
    command = [sys.executable, "-c", _dedent(script), uri]
    processes = [
        subprocess.Popen([*command, tmp_path / f"r{n}", SUPPORT], stderr=subprocess.PIPE, text=True)
        for n in range(3)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    found = client(uri).search_runs([client(uri).get_experiment_by_name("trackhooks").experiment_id])
    assert sorted(run.info.run_name for run in found) == ["g", "r0", "r1", "r2"]


MAKING = """
    import sys
    from trackhooks.event import RunInfo
    from trackhooks_integrations.trackers.mlflow.store import Store
    Store(sys.argv[1]).open(RunInfo("a", "a", path=sys.argv[2]), None)
"""


def version(database: Path) -> str:
    """Of MLflow's tables."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as found:
        ((number,),) = found.execute("SELECT version_num FROM alembic_version").fetchall()
    return str(number)


@pytest.mark.slow
def test_a_new_store_does_not_exist_before_it_is_complete(tmp_path: Path) -> None:
    """MLflow cannot continue a database that a killed process left unfinished."""
    home = tmp_path / "store"
    home.mkdir()
    database = home / "new.db"
    command = [sys.executable, "-c", _dedent(MAKING), f"sqlite:///{database}", str(tmp_path)]
    for pattern in (".new.db.*.new", "new.db"):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while not any(home.glob(pattern)):
            assert process.poll() is None
        process.kill()
        process.wait()
    made = version(database)
    feed = feeding(f"sqlite:///{database}", run_info(tmp_path / "run")).give(batch(0, 0, loss=1.0)).finish()
    assert history(feed, "train_batch/loss") == [(0, 0, 1.0)]
    assert version(database) == made
    assert sorted(path.name for path in home.iterdir()) == [".new.db.lock", "new.db"]


@pytest.mark.slow
def test_the_default_is_a_store_in_the_working_directory_with_no_other_files(
    tmp_path: Path, program: Callable[..., str]
) -> None:
    script = """
        import os, sys
        sys.path[:0] = sys.argv[2:3]
        os.chdir(sys.argv[1])
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        from pathlib import Path
        from feeding import Feeding, batch, kept, run_info, at_epoch
        from trackhooks_integrations.trackers.mlflow import MLflow

        made = MLflow()
        assert "mlflow" not in sys.modules
        run = run_info(Path("runs", "a").absolute())
        feed = Feeding(lambda: made, run).give(batch(0, 0, loss=1.0))
        feed.give(at_epoch("on_model_save", 1, 0, files=[kept(run, 1, "last.pt", b"x")])).finish()
        print(made.destination)
        from mlflow.telemetry import get_telemetry_client
        print(get_telemetry_client())
    """
    printed = program(script, tmp_path, SUPPORT).splitlines()
    assert printed[-2:] == [f"sqlite:///{tmp_path}/mlflow.db", "None"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".mlflow.db.lock",
        "mlartifacts",
        "mlflow.db",
        "runs",
    ]


def test_the_environment_names_the_server_and_its_password_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ada:secret@mlflow.example")
    assert MLflow().destination == "https://ada:<redacted>@mlflow.example"
    assert MLflow("http://other").destination == "http://other"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tracking_uri": 5}, "tracking_uri must be a non-empty string, got 5"),
        ({"run_id": ""}, "run_id must be a non-empty string, got ''"),
        ({"register": "a/b"}, "register must not contain .*, got 'a/b'"),
        ({"metric_names": "ultralitics"}, "Did you mean 'ultralytics'"),
    ],
)
def test_an_invalid_option_is_rejected_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises((InvalidValueError, UnknownNameError), match=message):
        load("mlflow", **options)


def test_metrics_may_have_the_names_of_ultralytics_own_logger(tmp_path: Path, store: str) -> None:
    feed = feeding(store, run_info(tmp_path / "r"), metric_names="ultralytics")
    names = ["metrics/mAP50(B)", "lr/0", "val/loss", "system/cpu_percent"]
    feed.give(at_epoch("on_fit_epoch_end", 0, 0, dict.fromkeys(names, 0.5))).finish()
    assert set(stored(feed).data.metrics) == {"metrics/mAP50B", "lr/pg0", "val/loss", "system/cpu_percent"}


def test_an_option_that_does_not_exist_is_rejected_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'tracking_uri'"):
        load("mlflow", tracking_url="http://x")
