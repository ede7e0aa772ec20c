"""The W&B tracker offline, read back with W&B's own reader (`wandb leet inspect`)."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import psutil
import pytest
from backends import keep_wandb_apart, wandb_inspect
from feeding import CREATED, Feeding, at_epoch, batch, kept, outside, run_info
from folders import SUPPORT

from trackhooks.delivery.registry import load
from trackhooks.errors import InvalidValueError, UnknownNameError
from trackhooks.event import Event, File, Graph, Histogram, Node, RunInfo, Scalar, Table, Text
from trackhooks_integrations.trackers.wandb.opening import Opening
from trackhooks_integrations.trackers.wandb.tracker import WandB
from trackhooks_integrations.trackers.wandb.transaction_log import TransactionLog


@pytest.fixture(scope="module", autouse=True)
def _apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        keep_wandb_apart(patch, home)
        for name in ("WANDB_API_KEY", "WANDB_ENTITY"):
            patch.delenv(name, raising=False)
        patch.setenv("NETRC", str(home / "netrc"))
        yield


@pytest.fixture
def run(tmp_path: Path) -> RunInfo:
    return run_info(tmp_path / "run", project="digits")


@pytest.fixture
def feed(run: RunInfo) -> Feeding:
    return feeding(run)


def feeding(run: RunInfo, **options: Any) -> Feeding:
    return Feeding(lambda: WandB(**{"mode": "offline"} | options), run)


# Reading back


def files(run: RunInfo) -> list[Path]:
    """Return the run's transaction logs, oldest first."""
    found = Path(run.path).glob("wandb/offline-run-*/run-*.wandb")
    return sorted(found, key=lambda path: path.stat().st_mtime)


def records(run: RunInfo, kind: str) -> list[dict[str, Any]]:
    """Return the records of one kind in all files of the run, as W&B reads them."""
    lines = [json.loads(line) for path in files(run) for line in wandb_inspect(path).splitlines()]
    return [line[kind] for line in lines if line["type"] == kind]


def summary(run: RunInfo) -> dict[str, Any]:
    """Return what W&B reads from the run's newest file: its state, its summary, its config."""
    found: dict[str, Any] = json.loads(wandb_inspect(files(run)[-1], "--summary"))
    return found


def rows(run: RunInfo, *names: str) -> list[tuple[Any, ...]]:
    """Return the values of these names in each row of the history, or None if a row has none."""
    return [tuple(row["item"].get(name) for name in names) for row in records(run, "history")]


# Metrics


@pytest.mark.slow
def test_metrics_are_rows_numbered_by_the_journal_with_step_epoch_and_time(feed: Feeding) -> None:
    feed.give(batch(0, 0, loss=1.0), batch(3, 1, loss=0.5, accuracy=0.25))
    feed.give(at_epoch("on_fit_epoch_end", 7, 0, {"val/loss": 0.75})).finish()
    names = ("_step", "_timestamp", "step", "epoch", "train_batch/loss", "train_batch/accuracy", "val/loss")
    assert rows(feed.run, *names) == [
        (0, CREATED, 0, 0, 1.0, None, None),
        (3, CREATED + 3, 1, 0, 0.5, 0.25, None),
        (7, CREATED + 7, 9, 0, None, None, 0.75),
    ]


@pytest.mark.slow
def test_metrics_of_batches_are_drawn_over_steps_and_those_of_epochs_over_epochs(feed: Feeding) -> None:
    feed.give(batch(0, 0, loss=1.0), at_epoch("on_fit_epoch_end", 1, 0, {"val/loss": 1.0, "lr/0": 0.1}))
    feed.give(Event("log", 2, CREATED, 4, 0, metrics={"system/cpu": 1.0})).finish()
    axes = {metric["name"]: metric.get("step_metric") for metric in records(feed.run, "metric")}
    assert axes == {
        "step": None, "epoch": None, "train_batch/loss": "step", "val/loss": "epoch", "lr/0": "epoch",
        "system/cpu": "step",
    }  # fmt: skip


def test_nan_and_infinities_are_kept(feed: Feeding) -> None:
    feed.give(batch(0, 0, a=math.nan, b=math.inf, c=-math.inf)).finish()
    (found,) = rows(feed.run, "train_batch/a", "train_batch/b", "train_batch/c")
    assert found == ("NaN", "Infinity", "-Infinity")


def test_names_that_w_and_b_uses_itself_are_changed_by_the_rule(feed: Feeding) -> None:
    names = {"step": 8.0, "epoch": 9.0, "_step": 7.0, "": 6.0, "a*b": 5.0}
    feed.give(Event("log", 5, CREATED, 4, 0, metrics=names)).finish()
    columns = ("_step", "step", "epoch", "logged/step", "logged/epoch", "logged/_step", "logged/", "a\u2217b")
    assert rows(feed.run, *columns) == [(5, 4, 0, 8.0, 9.0, 7.0, 6.0, 5.0)]


# Exactly once


@pytest.mark.slow
def test_rows_that_are_delivered_again_after_a_crash_are_present_once(
    run: RunInfo, program: Callable[..., str]
) -> None:
    died = """
        import json, os, sys
        sys.path[:0] = sys.argv[2:3]
        from pathlib import Path
        from feeding import Feeding, batch, run_info
        from trackhooks_integrations.trackers.wandb import WandB

        feed = Feeding(lambda: WandB(mode="offline"), run_info(Path(sys.argv[1])))
        feed.give(*(batch(index, index, loss=index) for index in range(300))).flush()
        print(json.dumps(feed.state), flush=True)
        feed.give(*(batch(index, index, loss=index) for index in range(300, 400))).tracker.flush()
        Path(sys.argv[1], "wrote").write_text("")
        import psutil
        for process in [*psutil.Process().children(recursive=True), psutil.Process()]:
            process.kill()
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(died), run.path, SUPPORT],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert Path(run.path, "wrote").exists(), done.stderr
    feed = Feeding.__new__(Feeding)
    feed.make, feed.run, feed.state = (lambda: WandB(mode="offline")), run, json.loads(done.stdout)
    feed.start().give(*(batch(index, index, loss=index) for index in range(300, 450))).finish()
    assert rows(run, "_step", "train_batch/loss") == [(index, index) for index in range(450)]


def test_records_whose_indexes_are_repeated_or_reversed_are_all_rows_once_after_a_crash(
    feed: Feeding,
) -> None:
    """A signal handler that logs reverses two records; journals of earlier versions repeat indexes."""
    indexes = [0, 2, 1, 3, 3, 4, 9]
    events = [batch(index, step, loss=float(step)) for step, index in enumerate(indexes)]
    feed.give(*events[:2]).flush().give(*events[2:6]).tracker.flush()
    feed.crash().give(*events[2:]).finish()
    found = rows(feed.run, "_step", "train_batch/loss")
    assert found == [(0, 0.0), (2, 1.0), (3, 2.0), (4, 3.0), (5, 4.0), (6, 5.0), (9, 6.0)]


def test_an_attempt_after_a_failure_continues_the_open_run(feed: Feeding) -> None:
    feed.give(batch(0, 0, loss=1.0)).flush()
    feed.give(batch(1, 1, loss=2.0))
    feed.crash().give(batch(1, 1, loss=2.0), batch(2, 2, loss=3.0)).finish()
    assert rows(feed.run, "train_batch/loss") == [(1.0,), (2.0,), (3.0,)]
    assert len(files(feed.run)) == 1


@pytest.mark.slow
def test_everything_logged_before_a_flush_survives_a_kill(run: RunInfo) -> None:
    script = """
        import os, sys
        sys.path[:0] = sys.argv[2:3]
        from pathlib import Path
        from feeding import Feeding, batch, run_info
        from trackhooks_integrations.trackers.wandb import WandB

        feed = Feeding(lambda: WandB(mode="offline"), run_info(Path(sys.argv[1])))
        feed.give(*(batch(index, index, loss=index) for index in range(1000))).flush()
        import psutil
        for process in [*psutil.Process().children(recursive=True), psutil.Process()]:
            process.kill()
    """
    command = [sys.executable, "-c", dedent(script), run.path, str(SUPPORT)]
    subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert len(rows(run)) == 1000


def test_the_transaction_log_is_read_across_blocks(feed: Feeding) -> None:
    feed.give(outside(0, params={"long": "x" * 100_000}))
    feed.give(*(batch(index, index, loss=index) for index in range(1, 500))).finish()
    log = TransactionLog(files(feed.run)[0])
    log.read()
    assert (log.step, log.exited) == (499, True)


@pytest.mark.slow
def test_a_run_that_is_resumed_is_the_same_run_with_increasing_rows(feed: Feeding) -> None:
    feed.give(batch(0, 0, loss=1.0)).finish("failed")
    feed.crash().give(batch(1, 1, loss=2.0)).finish()
    assert {record["run_id"] for record in records(feed.run, "run")} == {feed.run.id}
    assert rows(feed.run, "_step", "train_batch/loss") == [(0, 1.0), (1, 2.0)]


# The run


def test_the_run_has_its_identity_and_the_source_of_the_training(tmp_path: Path) -> None:
    me = psutil.Process()
    environment = {"program": "train.py", "host": "gpu-7", "git/commit": "abc123", "python": "3.11"}
    run = run_info(
        tmp_path / "r1", project="a/b", tags=["base", "x@y"], notes="Why.", group="g", pid=me.pid,
        pid_created=me.create_time(), environment=environment,
    )  # fmt: skip
    feeding(run, job_type="train", entity="lab").give(
        outside(0, params={"lr": 0.1, "nan": math.nan})
    ).finish()
    first, found = records(run, "run")  # the second has the config
    expected = {
        "run_id": run.id, "display_name": "r1", "project": "a-b", "notes": "Why.", "run_group": "g",
        "job_type": "train", "entity": "lab", "tags": ["base", "x@y"], "host": "gpu-7", "git": {"commit": "abc123"},
    }  # fmt: skip
    assert first.items() >= expected.items()
    assert found.items() >= expected.items()
    assert found["config"]["update"]["lr"] == 0.1
    about = records(run, "environment")[0]
    assert (about["program"], about["host"], about["git"]) == ("train.py", "gpu-7", {"commit": "abc123"})
    assert summary(run)["config"] == {"trackhooks": {"environment": environment}, "lr": 0.1, "nan": "nan"}
    stats = [item for record in records(run, "stats") for item in record["item"]]
    assert any(name.startswith("proc.") for name in stats)


def test_the_arguments_are_those_of_the_training(tmp_path: Path) -> None:
    own = list(sys.argv)
    run = run_info(tmp_path / "r", environment={"arguments": "--lr 0.1 --name 'a b'"})
    feeding(run).give(outside(0, params={"lr": 0.1})).finish()
    (args,) = [about["args"] for about in records(run, "environment") if "args" in about]
    assert args == ["--lr", "0.1", "--name", "a b"]
    assert sys.argv == own


def test_the_summary_of_a_killed_run_has_the_best_values_so_far(feed: Feeding) -> None:
    values = [{"val/loss": 2.0, "val/accuracy": 0.5}, {"val/loss": math.nan, "val/accuracy": 0.75}]
    best = [values[0], {"val/loss": 2.0, "val/accuracy": 0.75}]
    for epoch in range(2):
        feed.give(at_epoch("on_fit_epoch_end", epoch, epoch, values[epoch], best=best[epoch]))
    feed.flush().crash()
    last = {"val/loss": 3.0, "val/accuracy": 0.25, "lr/0": 0.1}
    feed.give(at_epoch("on_fit_epoch_end", 2, 2, last, best=best[1]))
    feed.finish("killed")
    found = summary(feed.run)["summary"]
    assert {name: found[name] for name in found if name.startswith("best/")} == {
        "best/val/loss": 2.0, "best/val/accuracy": 0.75,
    }  # fmt: skip
    assert found["val/loss"] == 3.0
    assert rows(feed.run, "best/val/loss") == [(None,)] * 3  # it is not a chart


@pytest.mark.slow
def test_a_run_that_is_resumed_defines_the_axes_of_its_metrics_again(feed: Feeding) -> None:
    feed.give(at_epoch("on_fit_epoch_end", 0, 0, {"val/loss": 1.0})).finish()
    feed.crash().give(batch(1, 10, loss=1.0)).finish()
    lines = [json.loads(line) for line in wandb_inspect(files(feed.run)[-1]).splitlines()]
    again = [line["metric"] for line in lines if line["type"] == "metric"]
    assert {metric["name"]: metric.get("step_metric") for metric in again}["val/loss"] == "epoch"


@pytest.mark.parametrize(
    ("status", "code"), [("finished", 0), ("failed", 1), ("pruned", 255), ("killed", 255)]
)
def test_the_exit_code_and_the_summary_show_how_the_run_ended(feed: Feeding, status: str, code: int) -> None:
    feed.give(at_epoch("on_train_end", 0, 3, {"best/val/loss": 0.5}))
    feed.give(Event("teardown", 1, CREATED + 1, status=status)).finish(status, "KeyboardInterrupt")
    found = summary(feed.run)
    assert found["exit_code"] == code
    assert (
        found["summary"].items()
        >= {"best/val/loss": 0.5, "status": status, "reason": "KeyboardInterrupt"}.items()
    )


@pytest.mark.slow
def test_runs_in_threads_of_one_process_remain_separate(tmp_path: Path) -> None:
    def deliver(run: RunInfo, number: int) -> None:
        feed = feeding(run)
        for index in range(200):
            feed.give(batch(index, index, loss=number))
        feed.finish()

    runs = [run_info(tmp_path / f"r{number}") for number in range(3)]
    threads = [threading.Thread(target=deliver, args=pair) for pair in zip(runs, range(3), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, run in enumerate(runs):
        assert rows(run, "train_batch/loss") == [(number,)] * 200


def test_without_an_account_the_run_is_offline_which_is_logged_once(
    run: RunInfo, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "trackhooks")
    feed = Feeding(WandB, run).give(batch(0, 0, loss=1.0)).finish()
    assert feed.tracker.destination.startswith("offline/")
    assert [record.getMessage()[:24] for record in caplog.records] == ["wandb: no account found,"]
    assert feed.tracker.url == f"wandb leet {files(run)[0].parents[1]}"


@pytest.mark.slow
def test_the_environment_variables_of_w_and_b_apply(
    run: RunInfo, tmp_path: Path, program: Callable[..., str]
) -> None:
    script = """
        import os, sys
        sys.path[:0] = sys.argv[2:3]
        os.environ.update(WANDB_MODE="offline", WANDB_DIR=sys.argv[3], WANDB_PROJECT="theirs", WANDB_ENTITY="lab")
        from pathlib import Path
        from feeding import Feeding, batch, run_info
        from trackhooks_integrations.trackers.wandb import WandB

        made = WandB()
        assert "wandb" not in sys.modules
        Feeding(lambda: made, run_info(Path(sys.argv[1]))).give(batch(0, 0, loss=1.0)).finish()
        print(made.url)
    """
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    url = program(script, run.path, SUPPORT, elsewhere).splitlines()[-1]
    assert url == f"wandb leet {elsewhere / 'wandb'}"
    (path,) = elsewhere.glob("wandb/offline-run-*/*.wandb")
    found = json.loads(wandb_inspect(path, "--summary"))
    assert (found["project"], found["entity"]) == ("theirs", "lab")


@pytest.mark.slow
def test_w_and_b_leaves_no_module_half_loaded_and_a_start_that_fails_no_folder(
    run: RunInfo, program: Callable[..., str]
) -> None:
    script = """
        import os, sys
        sys.path[:0] = sys.argv[2:3]
        os.environ["WANDB_MODE"] = "offline"
        from pathlib import Path
        from feeding import Feeding, run_info
        from trackhooks_integrations.trackers.wandb import WandB
        from trackhooks_integrations.trackers.wandb.opening import import_wandb

        import_wandb()
        print(type(sys.modules["numpy"]).__name__)
        import numpy
        del numpy.ndarray  # as after a broken import
        try:
            Feeding(WandB, run_info(Path(sys.argv[1])))
        except AttributeError as error:
            print(error)
    """
    printed = program(script, run.path, SUPPORT)
    assert printed.splitlines()[0] == "module"
    assert "has no attribute 'ndarray'" in printed
    assert not list(Path(run.path).glob("wandb/*run-*"))


@pytest.mark.slow
def test_a_server_that_is_down_raises_at_every_attempt(run: RunInfo, program: Callable[..., str]) -> None:
    script = """
        import os, sys
        sys.path[:0] = sys.argv[2:3]
        os.environ.update(WANDB_API_KEY="a" * 40, WANDB_BASE_URL="http://127.0.0.1:9", WANDB_INIT_TIMEOUT="5")
        from pathlib import Path
        from feeding import Feeding, run_info
        from trackhooks_integrations.trackers.wandb import WandB

        for attempt in range(2):
            try:
                Feeding(WandB, run_info(Path(sys.argv[1])))
            except OSError as error:
                print("OSError", error)
    """
    printed = program(script, run.path, SUPPORT)
    assert printed.count("OSError") == 2
    assert printed.count("Connection refused") == 2


@pytest.mark.slow
def test_a_key_that_the_server_rejects_is_an_error_at_every_attempt(
    run: RunInfo, program: Callable[..., str]
) -> None:
    script = """
        import os, sys, threading
        sys.path[:0] = sys.argv[2:3]
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
        from pathlib import Path

        class Refusing(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(401)
                self.end_headers()

            def do_HEAD(self):
                self.send_response(200)
                self.end_headers()

        server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.environ.update(WANDB_API_KEY="a" * 40, WANDB_BASE_URL=f"http://127.0.0.1:{server.server_port}")
        from feeding import Feeding, run_info
        from wandb.errors import AuthenticationError
        from trackhooks_integrations.trackers.wandb import WandB

        for attempt in range(2):
            try:
                Feeding(WandB, run_info(Path(sys.argv[1])))
            except AuthenticationError as error:
                print(error)
    """
    printed = program(script, run.path, SUPPORT)
    assert printed.count("Check WANDB_API_KEY, or run: wandb login --relogin") == 2


@pytest.mark.parametrize("synced", [True, False])
def test_rows_of_an_earlier_process_count_online_only_if_the_server_has_everything(
    run: RunInfo, monkeypatch: pytest.MonkeyPatch, synced: bool
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # no server answers there
    online = Opening(None, None, None, "online", None)
    assert online.is_behind(run)
    log = Path(run.path, "wandb", f"run-20260101_000000-{run.id}", f"run-{run.id}.wandb")
    log.parent.mkdir(parents=True)
    log.touch()
    if synced:
        log.with_name(f"{log.name}.synced").touch()
    assert online.is_behind(run) is not synced
    assert not Opening(None, None, None, "offline", None).is_behind(run)


@pytest.mark.slow
def test_an_active_run_is_joined_and_left_open(tmp_path: Path, program: Callable[..., str]) -> None:
    script = """
        import sys
        sys.path[:0] = sys.argv[2:3]
        from pathlib import Path
        import wandb
        from feeding import Feeding, batch, run_info
        from trackhooks_integrations.trackers.wandb import WandB

        theirs = wandb.init(mode="offline", dir=sys.argv[1], id="theirs")
        theirs.log({"own": 1.0})
        feed = Feeding(lambda: WandB(run_id="theirs"), run_info(Path(sys.argv[1], "ours")))
        feed.give(batch(0, 0, loss=1.0)).flush()
        theirs.log({"own": 2.0})
        feed.give(batch(1, 1, loss=2.0)).finish()
        theirs.log({"own": 3.0})
        theirs.finish()
    """
    program(script, tmp_path, SUPPORT)
    found = rows(run_info(tmp_path), "own", "train_batch/loss")
    assert found == [(1.0, None), (None, 1.0), (2.0, None), (None, 2.0), (3.0, None)]
    assert not Path(tmp_path, "ours", "wandb").exists()


# Files and media


def artifacts(run: RunInfo) -> dict[str, dict[str, Any]]:
    return {
        artifact["name"]: artifact for artifact in records(run, "artifact") if artifact["type"] != "run_table"
    }


def saved(run: RunInfo, index: int, name: str, content: bytes, *aliases: str) -> Event:
    file = kept(run, index, name, content, aliases=aliases, metrics={"val/loss": 0.5, "nan": math.nan})
    return at_epoch("on_model_save", index, index, files=[file])


@pytest.mark.slow
def test_the_checkpoints_that_are_kept_become_artifacts_with_aliases_when_the_run_ends(feed: Feeding) -> None:
    feed.give(saved(feed.run, 0, "last.pt", b"one", "last"), saved(feed.run, 1, "best.pt", b"two", "best"))
    feed.flush().crash().give(saved(feed.run, 2, "last.pt", b"six", "last"))
    assert not artifacts(feed.run)
    feed.give(Event("teardown", 3, CREATED, status="finished")).finish()
    feed.crash().give(Event("teardown", 4, CREATED, status="finished")).finish()
    prefix = f"run-{feed.run.id}"
    assert [a["name"] for a in records(feed.run, "artifact")] == [f"{prefix}-best.pt", f"{prefix}-last.pt"]
    last = artifacts(feed.run)[f"{prefix}-last.pt"]
    (content,) = last["manifest"]["contents"]
    assert (last["type"], sorted(last["aliases"])) == ("model", ["last", "latest"])
    assert content["path"] == "last.pt"
    assert Path(content["local_path"]).read_bytes() == b"six"
    metadata = json.loads(last["metadata"])
    assert (metadata["sha256"], metadata["metrics"]) == ("sha-of-six", {"val/loss": 0.5})


def test_no_checkpoint_is_an_artifact_if_none_is_kept(tmp_path: Path) -> None:
    run = run_info(tmp_path / "none", keep="none")
    feed = feeding(run).give(saved(run, 0, "last.pt", b"one", "last"))
    feed.give(Event("teardown", 1, CREATED, status="finished")).finish()
    assert artifacts(run) == {}


def test_every_checkpoint_becomes_a_version_at_once_if_all_are_kept(tmp_path: Path) -> None:
    run = run_info(tmp_path / "all", keep="all")
    feed = feeding(run).give(
        saved(run, 0, "last.pt", b"one", "last"), saved(run, 1, "last.pt", b"two", "last")
    )
    feed.flush()
    assert [json.loads(a["metadata"])["sha256"] for a in records(run, "artifact")] == [
        "sha-of-one",
        "sha-of-two",
    ]
    feed.finish()


def test_exports_folders_and_files_are_artifacts_that_name_their_checkpoint(feed: Feeding) -> None:
    folder = Path(feed.run.path, "files", "0-0-saved_model")
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "data").write_bytes(b"weights")
    export = File(
        "/x/saved_model", "export", "saved_model", parent="/x/best.pt", kept="files/0-0-saved_model"
    )
    other = kept(feed.run, 0, "notes.txt", b"text", kind="file")
    feed.give(Event("on_export_end", 0, CREATED, 9, files=[export, other])).finish()
    found = artifacts(feed.run)
    exported = found[f"run-{feed.run.id}-export-saved_model"]
    assert (exported["type"], json.loads(exported["metadata"])["parent"]) == ("export", "/x/best.pt")
    assert [content["path"] for content in exported["manifest"]["contents"]] == ["variables/data"]
    assert found[f"run-{feed.run.id}-file-notes.txt"]["type"] == "file"


def test_an_export_is_logged_after_its_checkpoint_which_the_run_uses(feed: Feeding) -> None:
    parent = str(Path(feed.run.path).parent / "weights" / "last.pt")
    exports = [
        kept(feed.run, index, f"{index}.onnx", b"exported", kind="export", parent=parent) for index in (1, 2)
    ]
    unknown = kept(feed.run, 3, "3.onnx", b"exported", kind="export", parent="/never/recorded.pt")
    feed.give(saved(feed.run, 0, "last.pt", b"one", "last"))
    feed.give(Event("on_export_end", 4, CREATED, 9, files=[*exports, unknown]))
    feed.give(Event("teardown", 5, CREATED, status="finished")).finish()
    found = [
        (artifact["name"].rpartition("-")[2], artifact.get("use_after_commit", False))
        for artifact in records(feed.run, "artifact")
    ]
    assert found == [("last.pt", True), ("1.onnx", False), ("2.onnx", False), ("3.onnx", False)]


def test_an_export_is_logged_even_if_its_checkpoint_no_longer_exists(feed: Feeding) -> None:
    event = saved(feed.run, 0, "last.pt", b"one", "last")
    Path(feed.run.path, event.files[0].kept).unlink()
    export = kept(feed.run, 1, "a.onnx", b"exported", kind="export", parent=event.files[0].path)
    feed.give(event, Event("on_export_end", 1, CREATED, 9, files=[export])).finish()
    assert [artifact["type"] for artifact in records(feed.run, "artifact")] == ["export"]


def test_the_curve_of_each_class_is_a_table_and_a_plot(feed: Feeding) -> None:
    rows: list[list[Scalar]] = [["mean", 0.0, 1.0], ["mean", 1.0, 0.5], ["disc", 0.0, 1.0]]
    curve = Table("curves/Precision-Recall(B)", ["class", "recall", "precision"], rows)
    feed.give(at_epoch("on_val_end", 0, 0, {"val/loss": 1.0}, media=[curve])).finish()
    (row,) = records(feed.run, "history")
    item, folder = row["item"], files(feed.run)[0].parent / "files"
    for place in ("curves/Precision-Recall(B).path", "curves/Precision-Recall(B)/plot_table.path"):
        assert json.loads((folder / item[place]).read_text())["data"] == rows
    config = json.dumps(records(feed.run, "config"))
    assert "wandb/area-under-curve/v0" in config


def test_pictures_tables_histograms_texts_and_the_graph_are_media_of_the_row(feed: Feeding) -> None:
    from PIL import Image

    pictures = []
    for number in range(2):
        picture = kept(feed.run, 0, f"val{number}.png", b"", kind="image", name="val/batch")
        Image.new("RGB", (8, 8), (number, 0, 0)).save(Path(feed.run.path, picture.kept))
        pictures.append(picture)
    media = [
        Table("confusion", ["truth", "truth", "score"], [["cat", 1, 0.5], [2, None, math.nan]]),
        Histogram("weights", [float(edge) for edge in range(1002)], [1.0] * 1001),
        Text("notes", "a < b\n  c"),
        Text("model", "a summary"),
        Graph("model", [Node("conv", "Conv2d", ["outside"]), Node("relu", "ReLU", ["conv"])]),
    ]
    feed.give(at_epoch("on_val_end", 0, 0, {"val/loss": 1.0}, files=pictures, media=media)).finish()
    (row,) = records(feed.run, "history")
    item, folder = row["item"], files(feed.run)[0].parent / "files"
    assert (item["val/batch._type"], item["val/batch.count"]) == ("images/separated", 2)
    cells = json.loads((folder / item["confusion.path"]).read_text())["data"]
    assert (cells[0], cells[1][:2], math.isnan(cells[1][2])) == (["cat", 1, 0.5], [2, None], True)
    assert (item["weights._type"], sum(item["weights.values"]), len(item["weights.values"])) == (
        "histogram",
        1001,
        501,
    )
    assert len(item["weights.bins"]) == 502
    assert "<pre>a &lt; b\n  c</pre>" in (folder / item["notes.path"]).read_text()
    assert json.loads((folder / item["model/graph.path"]).read_text())["edges"] == [["conv", "relu"]]


@pytest.mark.slow
def test_wandb_sync_accepts_a_copy_of_the_folder(feed: Feeding, tmp_path: Path) -> None:
    feed.give(batch(0, 0, loss=1.0)).finish()
    copy = shutil.copytree(feed.run.path, tmp_path / "copy")
    (folder,) = copy.glob("wandb/offline-run-*")
    command = [sys.executable, "-m", "wandb", "sync", "--dry-run", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert feed.run.id in done.stdout + done.stderr
    assert rows(run_info(copy), "train_batch/loss") == [(1.0,)]


# Options


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"project": 5}, InvalidValueError, "project must be a non-empty string, got 5"),
        ({"mode": "ofline"}, UnknownNameError, "Did you mean 'offline'"),
        ({"dir": ""}, InvalidValueError, "dir must be the path of a folder, got ''"),
        ({"entitiy": "x"}, UnknownNameError, "Did you mean 'entity'"),
    ],
)
def test_an_invalid_option_is_rejected_at_once(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        load("wandb", **options)


def test_nothing_is_written_if_w_and_bs_own_setting_disables_it(run: RunInfo) -> None:
    feeding(run, mode="disabled").give(batch(0, 0, loss=1.0)).finish()
    assert not files(run)
    assert os.listdir(run.path) == []  # noqa: PTH208
