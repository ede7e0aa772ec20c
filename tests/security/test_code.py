"""Nothing that a run's folder contains is run as code."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from folders import ROOT, importing

import trackhooks
from trackhooks.delivery.catch_up import deliver
from trackhooks.delivery.cursor import Spec
from trackhooks.storage.run_folder import read_info, write_info

SOURCES = [*ROOT.glob("core/trackhooks/**/*.py"), *ROOT.glob("integrations/**/*.py")]
EVALUATES = {"eval", "exec", "compile", "__import__"}
UNPICKLES = {"load", "loads", "Unpickler", "read_pickle"}
OF_ONE_TRAINING = {
    "core/trackhooks/frameworks/launched.py": "the callbacks of a training, which it gives to its own processes",
    "core/trackhooks/testing/framework_promises/callbacks.py": "a test of callbacks that users pickle",
    "integrations/trackhooks_integrations/sweeps/ray.py": "the error of a trial, which Ray wrote a moment ago",
}
"""Where objects are unpickled, and which: none of them is from a file of a run."""
OTHER_LOADERS = {"yaml", "np", "numpy", "numpy()", "torch", "joblib", "marshal"}


def calls(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the calls in a file as (what it is an attribute of, name)."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield "", node.func.id
            elif isinstance(node.func, ast.Attribute):
                yield ast.unparse(node.func.value), node.func.attr


def test_no_code_evaluates_text_or_loads_yaml_or_arrays_with_objects() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), f"{owner}.{name}")
        for path in SOURCES
        for owner, name in calls(path)
        if (not owner and name in EVALUATES)
        or (name in UNPICKLES and owner.rpartition(".")[2] in OTHER_LOADERS)
    }
    assert found == set()
    assert not any("allow_pickle=True" in path.read_text(encoding="utf-8") for path in SOURCES)


def test_only_what_processes_of_one_training_send_each_other_is_unpickled() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        for owner, name in calls(path)
        if name in UNPICKLES and owner in {"pickle", "cloudpickle", "dill"}
    }
    assert found == set(OF_ONE_TRAINING)


def finished(folder: Path, tracker: str, **options: object) -> Path:
    with trackhooks.run(dir=folder, name="r", delivery="off", system=None, csv={}) as run:
        run.log(loss=1.0)
    info = read_info(run.path)
    info.trackers, info.options = [tracker], {tracker: options}  # type: ignore[dict-item]  # as in a file
    write_info(run.path, info)
    return run.path


@pytest.mark.parametrize(
    ("tracker", "options"),
    [
        ("subprocess:Popen", {"args": "touch done", "shell": True}),
        ("os:system", {"command": "touch done"}),
        ("builtins:exec", {"object": "open('done', 'w')"}),
        ("trackhooks.delivery.registry:load", {}),
    ],
)
def test_a_tracker_that_run_json_names_is_only_made_if_it_is_a_tracker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracker: str, options: dict[str, object]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = finished(tmp_path / "runs", tracker, **options)
    failed = deliver(run)
    assert "not a subclass of trackhooks.Tracker" in failed[tracker]
    assert not (tmp_path / "done").exists()


def test_a_module_next_to_a_run_is_not_imported(tmp_path: Path) -> None:
    run = finished(tmp_path / "runs", "evil:Tracker")
    for folder in (tmp_path, tmp_path / "runs", run, run / "delivery"):
        folder.mkdir(exist_ok=True)
        (folder / "evil.py").write_text("open('done', 'w')")
        (folder / "sitecustomize.py").write_text("open('done', 'w')")
    program = Path(sys.executable).with_name("trackhooks")
    source = "import sys; sys.path.pop(0); from trackhooks.cli.main import main; main()"
    command = [str(program)] if program.exists() else [sys.executable, "-c", source]
    done = subprocess.run(
        [*command, "sync", str(run)],
        cwd=tmp_path,
        env=importing(),
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "module 'evil' was not found" in done.stdout + done.stderr
    assert not (tmp_path / "done").exists()


def test_a_tracker_that_run_json_names_is_not_used_if_others_are_named(tmp_path: Path) -> None:
    run = finished(tmp_path / "runs", "evil:Tracker")
    assert deliver(run, [Spec("csv")]) == {}
    assert "evil" not in sys.modules


def test_a_run_is_data_only(tmp_path: Path) -> None:
    run = finished(tmp_path / "runs", "csv")
    assert deliver(run) == {}
    assert json.loads((run / "run.json").read_text())["name"] == "r"
    kinds = {
        path.suffix or path.name
        for path in run.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    assert kinds <= {".csv", ".json", "journal", "summary", "log"}
