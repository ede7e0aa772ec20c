"""Settings and fixtures of all tests."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from folders import STARTUP, THIRD_PARTY
from hypothesis import HealthCheck, settings
from shared import made_once

import trackhooks

if TYPE_CHECKING:
    from delivered import Delivered
    from warm import WarmProgram, WarmPython
    from xdist.scheduler import LoadScopeScheduling

settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")  # no test judges by time
# Before Ultralytics is imported: no search for updates or weights, and not the settings of the user who runs the tests.
_ultralytics = tempfile.TemporaryDirectory(prefix="ultralytics-")
os.environ |= {"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": _ultralytics.name}
os.environ["WANDB__SAVE_REQUIREMENTS"] = "false"  # a list of all that is installed takes 0.2 s a run
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are too small for threads to pay
os.environ.setdefault("KERAS_BACKEND", "torch")  # by default Keras takes TensorFlow, which is not installed
# Programs that tests start end sooner: see `sitecustomize.py` there.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(STARTUP), os.environ.get("PYTHONPATH")]))
os.environ["TRACKHOOKS_PATCH"] = (
    "0"  # the tests run in a repository, whose changes must not be part of their runs
)


@pytest.hookimpl(optionalhook=True)  # pytest-xdist calls it
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Keep the tests of a class, or of a file, in one process: they share what they train and start.

    Examples and benchmarks share nothing, and take long: each is given to whichever process is free.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # it is not typed
        def _split_scope(self, nodeid: str) -> str:
            alone = nodeid.startswith(
                ("tests/docs/test_docs", "tests/docs/test_examples", "tests/docs/test_bench")
            )
            return nodeid if alone else str(super()._split_scope(nodeid))

    return Scheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long: else the last of them keeps one process busy when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep what the tests import out of garbage collections, and have fewer: they took a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        _keep_imported()
        gc.set_threshold(20_000)
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """Keep what tests import only when they run out of garbage collections, too. Ultralytics asks for many."""
    if len(sys.modules) > _kept + 100:
        _keep_imported()


def _keep_imported() -> None:
    global _kept
    gc.freeze()
    _kept = len(sys.modules)


_kept = 0


@pytest.fixture(scope="session", autouse=True)
def _outside_of_the_repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every run asks git about the working directory: that takes a third of the time where there is no repository."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("outside"))
        yield


@pytest.fixture
def run(tmp_path: Path) -> Iterator[trackhooks.Run]:
    """A run that is only recorded, in a separate directory."""
    with trackhooks.run(dir=tmp_path / "runs", delivery="off") as run:
        yield run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate working directory, with its own `runs`, which are only recorded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACKHOOKS_DELIVERY", "off")
    monkeypatch.delenv("TRACKHOOKS_DIR", raising=False)
    return tmp_path


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages of `third_party`, installed as pip would do it: modules and their metadata on the path."""
    monkeypatch.syspath_prepend(THIRD_PARTY)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(path)]
    if (
        not sys.platform.startswith("linux")
        or subprocess.run(mount, check=False, capture_output=True).returncode
    ):
        pytest.skip("a small disk cannot be mounted here: that takes Linux and root")
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.fixture
def program() -> Callable[..., str]:
    """Runs a Python program in a separate process: (source, *arguments) → what it printed."""

    def run(source: str, *arguments: object) -> str:
        command = [sys.executable, "-c", dedent(source), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmPython]:
    """Starts programs in a copy of a process that has imported what takes long."""
    from warm import WarmPython, start_server

    python = WarmPython(made_once(tmp_path_factory, "warm", start_server))
    yield python
    python.close()


@pytest.fixture
def warm_program(warm_python: WarmPython, tmp_path: Path) -> Callable[..., WarmProgram]:
    """Runs a Python program in a copy of a process that has torch and more: (source, *arguments) → its end."""

    def run(
        source: str, *arguments: object, cwd: Path = tmp_path, env: Mapping[str, str] | None = None
    ) -> WarmProgram:
        path = tmp_path / f"program-{len(list(tmp_path.glob('program-*.py')))}.py"
        path.write_text(dedent(source))
        started = warm_python.start(path, *map(str, arguments), cwd=cwd, env=env)
        started.wait(timeout=120)
        return started

    return run


@pytest.fixture
def torch_program(warm_program: Callable[..., WarmProgram]) -> Callable[..., str]:
    """Runs a Python program as `program` does, with torch and more there already."""

    def run(source: str, *arguments: object) -> str:
        ended = warm_program(source, *arguments)
        assert ended.poll() == 0, ended.errors
        return ended.output

    return run


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with MLflow's empty tables: MLflow takes seconds to make them."""
    from mlflow_server import make_tables

    return made_once(tmp_path_factory, "mlflow-tables", make_tables) / "mlflow.db"


@pytest.fixture(scope="session")
def new_store(mlflow_tables: Path) -> Callable[[Path], str]:
    """Makes a SQLite store for MLflow at a path, and returns its URI."""

    def make(path: Path) -> str:
        shutil.copyfile(mlflow_tables, path)
        return f"sqlite:///{path}"

    return make


@pytest.fixture(scope="session", params=["pytorch", "keras", "ultralytics"])
def delivered(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, new_store: Callable[[Path], str]
) -> Delivered:
    """A run of each kind of loop, in all four trackers."""
    from delivered import deliver, load

    def make(folder: Path) -> None:
        deliver(request.param, folder, new_store(folder / "mlflow.db"))

    return load(made_once(tmp_path_factory, f"delivered-{request.param}", make))
