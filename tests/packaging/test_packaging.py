"""The distribution as users get it: what the wheel and the sdist hold, and what an import and the command do."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
from configparser import ConfigParser
from email import message_from_string
from email.message import Message
from importlib.metadata import EntryPoint
from pathlib import Path
from zipfile import ZipFile

import pytest
from folders import ROOT

PACKAGES = {"trackhooks": ROOT / "core", "trackhooks_integrations": ROOT / "integrations"}
LIGHT = {"msgspec", "psutil", "typing_extensions", "wrapt"}
"""What `import trackhooks` may import beyond Python itself; msgspec uses typing_extensions if it is installed."""


def run(*command: str | Path, cwd: Path) -> str:
    """Return what the command prints; show its errors if it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="session")
def wheel(distributions: Path) -> Path:
    return next(distributions.glob("*.whl"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel; it finds the packages that it needs in the environment of the tests."""
    environment = tmp_path_factory.mktemp("environment")
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        f"--python={python}",
        "install",
        "--no-deps",
        "--no-index",
        wheel,
        cwd=environment,
    )
    (site_packages(environment) / "needs.pth").write_text(sysconfig.get_path("purelib"))
    return environment


def site_packages(environment: Path) -> Path:
    return next(environment.glob("lib/python*/site-packages"))


def metadata(wheel: Path) -> Message:
    return message_from_string(read(wheel, "METADATA"))


def read(wheel: Path, name: str) -> str:
    """A file of the wheel's dist-info."""
    with ZipFile(wheel) as archive:
        return archive.read(
            next(path for path in archive.namelist() if path.endswith(f".dist-info/{name}"))
        ).decode()


def entry_points(wheel: Path) -> list[EntryPoint]:
    parser = ConfigParser()
    parser.read_string(read(wheel, "entry_points.txt"))
    return [
        EntryPoint(name, value, group) for group in parser.sections() for name, value in parser[group].items()
    ]


def modules_after(statement: str, installed: Path, cwd: Path) -> set[str]:
    """The top-level modules that the statement has imported, Python's own left out."""
    code = f"import sys; known = set(sys.modules); {statement}; print(*set(sys.modules) - known)"
    names = {
        name.partition(".")[0] for name in run(installed / "bin" / "python", "-c", code, cwd=cwd).split()
    }
    return names - sys.stdlib_module_names


@pytest.mark.slow
def test_the_wheel_puts_two_packages_and_their_metadata_into_site_packages(installed: Path) -> None:
    found = {path.name.partition("-")[0] for path in site_packages(installed).iterdir()}
    assert found == {*PACKAGES, "needs.pth"}


@pytest.mark.slow
def test_the_wheel_holds_every_file_of_both_packages(wheel: Path) -> None:
    ours = {
        path.relative_to(root).as_posix()
        for package, root in PACKAGES.items()
        for path in (root / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    with ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if ".dist-info/" not in name} == ours


@pytest.mark.parametrize("package", PACKAGES)
def test_both_packages_say_that_they_are_typed(package: str, wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        assert f"{package}/py.typed" in archive.namelist()


def test_the_wheel_names_its_licence_and_ships_it(wheel: Path) -> None:
    assert metadata(wheel)["License-Expression"] == "Apache-2.0"
    assert "Apache License" in read(wheel, "licenses/LICENSE")


def test_the_readme_is_the_long_description(wheel: Path) -> None:
    assert str(metadata(wheel).get_payload()).strip() == (ROOT / "README.md").read_text().strip()


def test_every_extra_names_what_it_installs(wheel: Path) -> None:
    extras = metadata(wheel).get_all("Provides-Extra", [])
    needs = metadata(wheel).get_all("Requires-Dist", [])
    assert {"mlflow", "tensorboard", "wandb", "keras", "ultralytics", "torch", "report", "all"} <= set(extras)
    assert [extra for extra in extras if not any(f"extra == '{extra}'" in need for need in needs)] == []


@pytest.mark.slow
def test_every_entry_point_of_the_wheel_can_be_loaded(wheel: Path, installed: Path, tmp_path: Path) -> None:
    for entry in entry_points(wheel):
        run(installed / "bin" / "python", "-c", f"from {entry.module} import {entry.attr}", cwd=tmp_path)


def test_the_sdist_holds_what_a_packager_needs_to_build_and_test(distributions: Path) -> None:
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "tests/packaging/test_packaging.py",
    } <= names
    assert {"core/trackhooks/py.typed", "integrations/trackhooks_integrations/py.typed"} <= names


@pytest.mark.slow
def test_extras_are_added_to_an_installed_trackhooks_without_a_registry_that_has_it(
    installed: Path, tmp_path: Path
) -> None:
    """As the message of a missing package says: `pip install 'trackhooks[tensorboard]'`."""
    into = [sys.executable, "-m", "pip", f"--python={installed / 'bin' / 'python'}"]
    said = run(*into, "install", "--dry-run", "--no-index", "trackhooks[tensorboard,mlflow]", cwd=tmp_path)
    assert "Requirement already satisfied: trackhooks[mlflow,tensorboard]" in said


@pytest.mark.slow
def test_the_command_runs_from_any_folder(installed: Path, tmp_path: Path) -> None:
    assert "Usage: trackhooks" in run(installed / "bin" / "trackhooks", "--help", cwd=tmp_path)


def test_the_installed_package_is_imported_rather_than_the_source_tree(
    installed: Path, tmp_path: Path
) -> None:
    where = run(
        installed / "bin" / "python", "-c", "import trackhooks; print(trackhooks.__file__)", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(installed)


def test_importing_trackhooks_imports_no_tracker_and_no_framework(installed: Path, tmp_path: Path) -> None:
    assert modules_after("import trackhooks", installed, tmp_path) - {"trackhooks"} <= LIGHT


@pytest.mark.slow
def test_importing_a_bundled_tracker_imports_no_backend(wheel: Path, installed: Path, tmp_path: Path) -> None:
    trackers = [entry for entry in entry_points(wheel) if entry.group == "trackhooks.trackers"]
    assert trackers
    for tracker in trackers:
        imported = modules_after(f"import {tracker.module}", installed, tmp_path)
        assert imported - set(PACKAGES) <= LIGHT, tracker.name
