"""Integrations of frameworks are found by their entry points, and one that does not work stops nothing."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import trackhooks
from trackhooks.cli.doctor import examine
from trackhooks.frameworks import registry
from trackhooks.frameworks.registry import ENTRY_POINTS

BROKEN = {
    "an error at its import": "raise OSError('no disk')",
    "no such class": "",
    "an error when it is made": "class Made:\n    def __init__(self):\n        raise KeyError('x')",
    "an interface of another version": "class Made:\n    api = 99",
    "no version": "class Made: ...",
    "a syntax error": "class Made",
}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Installs a package with an entry point: (its source, the awaited module, the kind of its metadata)."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)

    def install(source: str, module: str = "json", kind: str = "dist-info", more: str = "") -> None:
        (folder / "foreign_one.py").write_text(source)
        metadata = folder / f"Foreign_One-1.0.{kind}"
        metadata.mkdir()
        text = f"{more}[{ENTRY_POINTS}]\n{module} = foreign_one:Made\n\n[other]\nkeras = no:No\n"
        (metadata / "entry_points.txt").write_text(text)
        (metadata / ("METADATA" if kind == "dist-info" else "PKG-INFO")).write_text(
            "Metadata-Version: 2.1\nName: Foreign_One\nVersion: 1.0\n"
        )
        registry._plugins.cache_clear()

    yield install
    sys.modules.pop("foreign_one", None)
    registry._loaded.cache_clear()
    registry._warn_once.cache_clear()
    registry._plugins.cache_clear()


def test_it_finds_what_importlib_finds() -> None:
    known = {(entry.name, entry.value) for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    found = {(plugin.module, plugin.target) for plugin in registry.plugins()}
    assert found == known
    assert {"keras", "ultralytics.engine.model"} <= {plugin.module for plugin in registry.plugins()}


@pytest.mark.parametrize("kind", ["dist-info", "egg-info"])
@pytest.mark.parametrize("more", ["", "[console_scripts]\na = b:c\n\n", "# a comment\n"])
def test_a_package_of_someone_else_is_found_after_our_own(
    kind: str, more: str, installed: Callable[..., None]
) -> None:
    installed("", kind=kind, more=more)
    *ours, last = registry.plugins()
    assert (last.module, last.target, last.distribution) == ("json", "foreign_one:Made", "foreign-one")
    assert all(plugin.is_ours for plugin in ours)


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN)
def test_an_integration_that_does_not_work_is_one_warning_and_stops_nothing(
    source: str, installed: Callable[..., None], tmp_path: Path
) -> None:
    installed(source)
    with pytest.warns(trackhooks.TrackhooksWarning, match="foreign-one"):
        trackhooks.enable(dir=tmp_path, delivery="off")
    trackhooks.enable(dir=tmp_path, delivery="off")  # a second warning would be an error here
    trackhooks.disable()


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN)
def test_the_doctor_names_an_integration_that_does_not_work(
    source: str, installed: Callable[..., None]
) -> None:
    installed(source)
    problems = [finding for finding in examine([]).problems if finding.subject == "json"]
    assert ["foreign-one" in finding.text for finding in problems] == [True]


def test_an_integration_whose_installation_fails_is_a_warning(
    installed: Callable[..., None], tmp_path: Path
) -> None:
    installed(
        "class Made:\n    api = 1\n    def install(self, runs, module): 1 / 0\n    def uninstall(self, runs): ..."
    )
    with pytest.warns(trackhooks.TrackhooksWarning, match=r"foreign-one.*ZeroDivisionError"):
        trackhooks.enable(dir=tmp_path, delivery="off")
    trackhooks.disable()


def test_an_integration_is_imported_only_when_its_framework_is(
    installed: Callable[..., None], tmp_path: Path
) -> None:
    installed("raise OSError('must not be imported')", module="a_module_that_is_not_imported")
    trackhooks.enable(dir=tmp_path, delivery="off")
    trackhooks.disable()
    assert "foreign_one" not in sys.modules
