"""A new SQLite file for MLflow, next to MLflow's own client that creates the same file at the same time."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from feeding import Feeding, batch, run_info
from warm import WarmPython, start_server

from trackhooks_integrations.trackers.mlflow import sqlite_file
from trackhooks_integrations.trackers.mlflow.tracker import MLflow

OTHER_CLIENT = dedent("""
    import mlflow

    mlflow.set_experiment("mine")
    with mlflow.start_run(run_name="theirs"):
        mlflow.log_metric("loss", 0.5)
""")


class OtherClient:
    """A plain MLflow program in the same folder, with MLflow's default store: the same `mlflow.db`."""

    def __init__(self, python: WarmPython, folder: Path) -> None:
        self.database = folder / "mlflow.db"
        known = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        program = folder.parent / f"{folder.name}.py"
        program.write_text(OTHER_CLIENT)
        self._process = python.start(program, cwd=folder, env=known)

    def wait_until(self, reached: Callable[[Path], bool]) -> None:
        while not reached(self.database):
            assert self._process.poll() is None, self._process.errors
            time.sleep(0.002)

    def finish(self) -> None:
        assert self._process.wait(timeout=180) == 0, self._process.errors

    def kill(self) -> None:
        self._process.kill()


@pytest.fixture(scope="module")
def mlflow_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmPython]:
    """Starts programs that import MLflow."""
    folder = tmp_path_factory.mktemp("mlflow")
    start_server(folder, ("mlflow", "mlflow.store.tracking.sqlalchemy_store"))
    python = WarmPython(folder)
    yield python
    python.close()


@pytest.fixture
def another_client(mlflow_python: WarmPython, tmp_path: Path) -> Callable[[], OtherClient]:
    return lambda: OtherClient(mlflow_python, tmp_path)


def tables(database: Path) -> set[str]:
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as found:
            return {name for (name,) in found.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.OperationalError:
        return set()


STAGES: dict[str, Callable[[Path], bool]] = {
    "has been started": lambda _: True,
    "has opened the file": Path.exists,
    "has created the first tables": lambda database: "experiments" in tables(database),
    "is migrating the tables": lambda database: "logged_models" in tables(database),
    "has created its experiment": lambda database: sqlite_file._is_complete(database),
}


def deliver(folder: Path) -> None:
    """Deliver a run, as the delivery process does."""
    run = run_info(folder / "runs" / "ours", project="ours")
    feed = Feeding(lambda: MLflow(f"sqlite:///{folder}/mlflow.db"), run)
    feed.give(batch(0, 0, loss=0.25)).finish()


def runs(folder: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Every experiment of the store with its runs and their metrics, as MLflow's client reads them."""
    from mlflow import MlflowClient

    client: Any = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    return {
        experiment.name: {
            run.info.run_name: run.data.metrics for run in client.search_runs([experiment.experiment_id])
        }
        for experiment in client.search_experiments()
    }


OURS = {"Default": {}, "ours": {"ours": {"train_batch/loss": 0.25}}}
BOTH = {**OURS, "mine": {"theirs": {"loss": 0.5}}}


@pytest.fixture
def before_placing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """What is to happen between the end of building a database and its placement."""
    place = sqlite_file._place

    def happens(act: Callable[[], None]) -> None:
        def placed(new: Path, path: Path) -> None:
            act()
            place(new, path)

        monkeypatch.setattr(sqlite_file, "_place", placed)

    return happens


@pytest.fixture
def no_hard_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on exFAT and some network file systems."""

    def link(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", link)


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_database_that_another_client_creates_before_ours_is_placed_is_kept_and_used(
    tmp_path: Path,
    before_placing: Callable[[Callable[[], None]], None],
    another_client: Callable[[], OtherClient],
    stage: str,
) -> None:
    others: list[OtherClient] = []

    def start() -> None:
        others.append(another_client())
        others[0].wait_until(STAGES[stage])

    before_placing(start)
    deliver(tmp_path)
    others[0].finish()
    assert runs(tmp_path) == BOTH
    assert sorted(path.name for path in tmp_path.glob(".*")) == [".mlflow.db.lock"]


@pytest.mark.slow
def test_a_database_that_another_client_completes_before_ours_is_placed_is_kept_and_used(
    tmp_path: Path,
    before_placing: Callable[[Callable[[], None]], None],
    another_client: Callable[[], OtherClient],
) -> None:
    before_placing(lambda: another_client().finish())
    deliver(tmp_path)
    assert runs(tmp_path) == BOTH


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_a_database_that_another_client_is_creating_is_waited_for(
    tmp_path: Path, another_client: Callable[[], OtherClient], stage: str
) -> None:
    other = another_client()
    other.wait_until(STAGES[stage])
    deliver(tmp_path)
    other.finish()
    assert runs(tmp_path) == BOTH


@pytest.mark.slow
def test_another_client_that_comes_once_ours_is_placed_uses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, another_client: Callable[[], OtherClient]
) -> None:
    others: list[OtherClient] = []
    wait = sqlite_file._wait_until_complete

    def placed(path: Path) -> None:
        others.append(another_client())
        wait(path)

    monkeypatch.setattr(sqlite_file, "_wait_until_complete", placed)
    deliver(tmp_path)
    others[0].finish()
    assert runs(tmp_path) == BOTH


@pytest.mark.slow
@pytest.mark.parametrize("start_at", ["", ".mlflow.db.*.new", "mlflow.db"])
def test_a_run_and_another_client_that_start_in_an_empty_folder_both_keep_everything(
    tmp_path: Path, another_client: Callable[[], OtherClient], start_at: str
) -> None:
    script = dedent("""
        import trackhooks

        with trackhooks.run("mlflow", name="ours", system=None) as run:
            run.log(step=0, loss=0.25)
        assert run.wait(180)
    """)
    known = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    training = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env=known)
    while start_at and not any(tmp_path.glob(start_at)):
        assert training.poll() is None
        time.sleep(0.002)
    another_client().finish()
    assert training.wait() == 0
    found = runs(tmp_path)
    assert found["mine"] == {"theirs": {"loss": 0.5}}
    assert found["trackhooks"]["ours"]["loss"] == 0.25


@pytest.mark.slow
@pytest.mark.usefixtures("no_hard_links")
def test_without_hard_links_a_new_database_is_the_same(tmp_path: Path) -> None:
    deliver(tmp_path)
    assert runs(tmp_path) == OURS
    assert sorted(path.name for path in tmp_path.glob(".*")) == [".mlflow.db.lock"]
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        copied = schema(database)
    built = sqlite_file._build(tmp_path / "other.db")
    with closing(sqlite3.connect(built)) as database:
        assert copied == schema(database)


def schema(database: sqlite3.Connection) -> set[tuple[str, str, str]]:
    """The definitions; MLflow lists the values of a CHECK in an order that differs from process to process."""
    found = database.execute("SELECT type, name, sql FROM sqlite_master")
    return {(kind, name, " ".join(sorted((sql or "").split()))) for kind, name, sql in found}


@pytest.mark.slow
@pytest.mark.usefixtures("no_hard_links")
@pytest.mark.parametrize("stage", list(STAGES)[1:])
def test_without_hard_links_the_database_of_another_client_is_kept_as_well(
    tmp_path: Path,
    before_placing: Callable[[Callable[[], None]], None],
    another_client: Callable[[], OtherClient],
    stage: str,
) -> None:
    test_a_database_that_another_client_creates_before_ours_is_placed_is_kept_and_used(
        tmp_path, before_placing, another_client, stage
    )


@pytest.mark.slow
def test_an_empty_file_becomes_the_database_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "_PATIENCE_S", 0.2)
    database = tmp_path / "mlflow.db"
    database.touch()
    inode = database.stat().st_ino
    deliver(tmp_path)
    assert database.stat().st_ino == inode
    assert runs(tmp_path) == OURS


@pytest.mark.slow
def test_tables_of_another_program_in_the_file_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "_PATIENCE_S", 0.2)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("CREATE TABLE diary (entry)")
        database.execute("INSERT INTO diary VALUES ('dear')")
        database.commit()
    deliver(tmp_path)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        assert database.execute("SELECT entry FROM diary").fetchall() == [("dear",)]
    assert runs(tmp_path) == OURS


@pytest.mark.slow
def test_a_file_that_is_not_a_database_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("my notes, which are long enough to be a header of SQLite\n" * 50)
    before = (tmp_path / "mlflow.db").read_bytes()
    with pytest.raises(Exception, match="file is not a database"):
        deliver(tmp_path)
    assert (tmp_path / "mlflow.db").read_bytes() == before


@pytest.mark.slow
def test_a_link_to_a_database_that_does_not_exist_yet_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "mlflow.db").symlink_to(tmp_path / "disk" / "real.db")
    deliver(tmp_path)
    assert (tmp_path / "mlflow.db").is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["real.db"]
    assert runs(tmp_path) == OURS


@pytest.mark.parametrize("ending", ["-journal", "-wal", "-shm"])
def test_what_sqlite_left_of_an_earlier_database_is_not_removed(tmp_path: Path, ending: str) -> None:
    left = tmp_path / f"mlflow.db{ending}"
    left.write_bytes(b"pages")
    with pytest.raises(FileExistsError, match=f"mlflow.db{ending} belongs to a database"):
        deliver(tmp_path)
    assert left.read_bytes() == b"pages"
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", [".mlflow.db.mine.new", ".mlflow.db.new", ".mlflow.db.old.new-journal"])
def test_only_our_own_unfinished_databases_are_removed(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    killed = tmp_path / f".mlflow.db.{'0' * 32}.new-journal"
    killed.touch()
    sqlite_file._build(tmp_path / "mlflow.db")
    assert (tmp_path / name).read_text() == "mine"
    assert not killed.exists()


def test_the_best_values_of_a_hundred_runs_are_put_first(
    tmp_path: Path, new_store: Callable[[Path], str]
) -> None:
    from mlflow import MlflowClient

    path = tmp_path / "mlflow.db"
    client = MlflowClient(new_store(path))
    runs = [client.create_run("0").info.run_id for _ in range(100)]
    for run in runs:
        for name in ("train/loss", "best/loss", "val/loss"):
            client.log_metric(run, name, 0.5)
        for _ in range(2):  # the second time, nothing is to be done
            sqlite_file.show_first(path, run, "best/")
    of_run = "SELECT key FROM latest_metrics WHERE run_uuid = ? ORDER BY rowid"
    with closing(sqlite3.connect(path)) as database:
        orders = {tuple(key for (key,) in database.execute(of_run, [run])) for run in runs}
        (highest,) = database.execute("SELECT max(rowid) FROM latest_metrics").fetchone()
    assert orders == {("best/loss", "train/loss", "val/loss")}
    assert highest <= 6 * len(runs)
