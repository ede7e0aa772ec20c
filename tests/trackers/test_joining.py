"""A run that the program itself has opened in a backend is joined, not replaced, and left open."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

pytestmark = pytest.mark.slow


def program(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run a separate program, because a run that is active in a backend is active in the whole process."""
    path = folder / "program.py"
    path.write_text(textwrap.dedent(body))
    done = subprocess.run(
        [sys.executable, str(path)], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


def test_an_active_mlflow_run_gets_the_metrics_and_is_left_open(
    tmp_path: Path, new_store: Callable[[Path], str]
) -> None:
    new_store(tmp_path / "own.db")
    done = program(
        tmp_path,
        """
        import mlflow
        import trackhooks
        mlflow.set_tracking_uri("sqlite:///own.db")
        with mlflow.start_run(run_name="mine") as active:
            mlflow.log_param("by_hand", 1)
            with trackhooks.run("mlflow", params={"lr": 0.1}) as run:
                run.log(loss=0.5)
            assert run.wait(300)
            assert mlflow.active_run().info.run_id == active.info.run_id
            assert mlflow.get_run(active.info.run_id).info.status == "RUNNING"
            mlflow.log_metric("afterwards", 2.0)
        print(active.info.run_id)
        """,
    )
    found = MlflowClient(f"sqlite:///{tmp_path / 'own.db'}").get_run(done.stdout.split()[-1])
    assert found.info.run_name == "mine"
    assert found.info.status == "FINISHED"
    assert found.data.params == {"by_hand": "1", "lr": "0.1"}
    assert {"loss": 0.5, "afterwards": 2.0}.items() <= found.data.metrics.items()
    assert "joins the active run of mlflow, and leaves it open" in done.stderr
    assert not (tmp_path / "mlflow.db").exists()


def test_a_run_that_a_scheduler_has_created_gets_the_metrics_and_is_left_open(
    tmp_path: Path, new_store: Callable[[Path], str]
) -> None:
    client = MlflowClient(new_store(tmp_path / "own.db"))
    theirs = client.create_run(client.create_experiment("theirs", tmp_path.as_uri()), run_name="theirs").info
    done = program(
        tmp_path,
        f"""
        import os
        os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///own.db"
        os.environ["MLFLOW_RUN_ID"] = "{theirs.run_id}"
        import trackhooks
        with trackhooks.run("mlflow") as run:
            run.log(loss=0.5)
        assert run.wait(300)
        """,
    )
    found = client.get_run(theirs.run_id)
    assert (found.info.run_name, found.info.status, found.data.metrics["loss"]) == ("theirs", "RUNNING", 0.5)
    assert "joins the active run of mlflow, and leaves it open" in done.stderr


def test_an_active_mlflow_run_of_another_store_is_not_joined(
    tmp_path: Path, new_store: Callable[[Path], str]
) -> None:
    new_store(tmp_path / "own.db")
    new_store(tmp_path / "other.db")
    done = program(
        tmp_path,
        """
        import mlflow
        import trackhooks
        mlflow.set_tracking_uri("sqlite:///own.db")
        with mlflow.start_run():
            with trackhooks.run(mlflow={"tracking_uri": "sqlite:///other.db"}, project="p") as run:
                run.log(loss=0.5)
            assert run.wait(300)
        """,
    )
    other = MlflowClient(f"sqlite:///{tmp_path / 'other.db'}")
    (found,) = other.search_runs([other.get_experiment_by_name("p").experiment_id])
    assert (found.info.status, found.data.metrics["loss"]) == ("FINISHED", 0.5)
    assert "joins" not in done.stderr


def test_an_active_wandb_run_is_fed_in_place_and_is_left_open(tmp_path: Path) -> None:
    done = program(
        tmp_path,
        """
        import os
        os.environ["WANDB_MODE"] = "offline"
        import wandb
        import trackhooks
        own = wandb.init(project="own", name="mine", settings=wandb.Settings(silent=True))
        own.log({"by_hand": 1.0})
        with trackhooks.run("wandb", params={"lr": 0.1}) as run:
            run.log(loss=0.5)
        assert run.wait(300)
        assert wandb.run is own
        assert own.config["lr"] == 0.1
        own.log({"afterwards": 2.0})
        print(sorted(dict(own.summary).items()))
        wandb.finish()
        """,
    )
    for point in ("('by_hand', 1)", "('loss', 0.5)", "('afterwards', 2)"):  # W&B returns them in any order
        assert point in done.stdout
    assert "joins the active run of wandb, and leaves it open" in done.stderr
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1
