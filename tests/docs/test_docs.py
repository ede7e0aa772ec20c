"""The documents: every Python example runs unchanged, and what pages say of the code and of each other is true."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, requires
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, NamedTuple

import pytest
from folders import ROOT
from packaging.requirements import Requirement

from trackhooks.cli.main import main
from trackhooks.delivery.registry import ENTRY_POINTS

if TYPE_CHECKING:
    from warm import WarmPython

PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
}

EXAMPLE = re.compile(
    r"^(?: *<!-- not run: (?P<reason>.+) -->\n+)?"
    r"(?P<indent> *)```python\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
ENVIRONMENT = {"KERAS_BACKEND": "torch", "WANDB_MODE": "offline"}
COMMAND = re.compile(r"^\$ trackhooks (\w.*)$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)(?P<path>[^)#\s]+)")


class Example(NamedTuple):
    """A Python block of a page; a comment `<!-- not run: reason -->` above it keeps it from being run."""

    line: int
    code: str
    reason: str | None


def examples(page: Path) -> Iterator[Example]:
    text = page.read_text(encoding="utf-8")
    for found in EXAMPLE.finditer(text):
        yield Example(text.count("\n", 0, found.start("code")), dedent(found["code"]), found["reason"])


def programs(name: str) -> list[str]:
    """The programs of a page, each line at its place in the page, so that a traceback names it.

    The examples of most pages continue each other. In the README and on the pages for people who switch, each is a
    program of its own, as readers copy it.
    """
    found = [example for example in examples(PAGES[name]) if example.reason is None]
    alone = name == "README.md" or name.startswith("docs/switching/")
    return [text for text in map(as_program, [[one] for one in found] if alone else [found]) if text]


def as_program(parts: list[Example]) -> str:
    lines: list[str] = []
    for part in parts:
        lines += [""] * (part.line - len(lines)) + part.code.splitlines()
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if programs(page)])
def test_the_examples_of_a_page_run_one_after_the_other(
    page: str, tmp_path: Path, warm_python: WarmPython
) -> None:
    settings = tmp_path / "settings" / "Ultralytics"
    settings.mkdir(parents=True)
    (settings / "settings.json").write_text(json.dumps({"runs_dir": str(tmp_path / "runs")}))
    environment = os.environ | ENVIRONMENT | {"YOLO_CONFIG_DIR": str(tmp_path / "settings")}
    del environment["PYTEST_CURRENT_TEST"]  # with it, Ultralytics' own integrations are off
    for code in programs(page):
        program = tmp_path / "page.py"
        program.write_text(code, encoding="utf-8")
        done = warm_python.start(program, cwd=tmp_path, env=environment)
        assert done.wait(timeout=500) == 0, f"{page}\n{done.output}\n{done.errors}"


@pytest.mark.slow
def test_each_example_of_the_readme_imports_only_what_the_line_above_it_installs() -> None:
    text = PAGES["README.md"].read_text(encoding="utf-8")
    installed: set[str] = set()
    for install, code in re.findall(r"^\$ pip install ([^\n]+)$|```python\n(.*?)^```$", text, re.M | re.S):
        if install:
            installed = set(required(install))
        missing = {module: names for module, names in imports(code) if installed.isdisjoint(names)}
        assert missing == {}, f"{missing} are not part of: {installed}"


def imports(code: str) -> Iterator[tuple[str, list[str]]]:
    """The modules that a program imports, except for Python's, each with the distributions that it may come from."""
    names = [found.split(".")[0] for found in re.findall(r"^(?:import|from) ([\w.]+)", code, re.M)]
    return (
        (name, list(map(as_name, sources().get(name, [name])))) for name in {*names} - sys.stdlib_module_names
    )


sources = functools.cache(packages_distributions)


def required(line: str) -> Iterator[str]:
    """All distributions that `pip install` with these words brings."""
    waiting = [Requirement(word.replace(".[", "trackhooks[")) for word in shlex.split(line)]
    seen = set()
    while waiting:
        wanted = waiting.pop()
        seen.add(str(wanted))
        yield as_name(wanted.name)
        for text in requirements_of(wanted.name):
            found = Requirement(text)
            applies = [
                not found.marker or found.marker.evaluate({"extra": extra}) for extra in (*wanted.extras, "")
            ]
            if any(applies) and str(found) not in seen:
                waiting.append(found)


def requirements_of(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:  # such as the GPU's parts of torch on a machine without one
        return []


def as_name(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


@pytest.mark.slow
def test_the_messages_of_the_page_on_troubles_are_those_of_the_code() -> None:
    page = PAGES["docs/topics/troubleshooting.md"].read_text(encoding="utf-8")
    table = page.partition("| Message |")[2].partition("\n\n")[0]
    messages = [piece for text in re.findall(r"^\| `(.+?)`", table, re.M) for piece in text.split("…")]
    assert len(messages) > 3
    assert [
        message for message in messages if not any(message in text for text in strings_of_the_code())
    ] == []


def strings_of_the_code() -> set[str]:
    """Every string in the code; a placeholder is left out, and what is written in several parts is one string."""
    sources = [path for folder in ("core", "integrations") for path in (ROOT / folder).rglob("*.py")]
    nodes = (node for path in sources for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_lead_somewhere(page: str) -> None:
    links = LINK.findall(PAGES[page].read_text(encoding="utf-8"))
    assert [link for link in links if not (PAGES[page].parent / link).exists()] == []


@pytest.mark.parametrize(
    "line",
    sorted({line for page in PAGES.values() for line in COMMAND.findall(page.read_text(encoding="utf-8"))}),
)
def test_commands_have_the_names_and_options_that_pages_give_them(line: str) -> None:
    name, *arguments = shlex.split(line, comments=True)
    main.commands[name].make_context(name, arguments)


def test_every_command_is_documented() -> None:
    page = PAGES["docs/reference/command-line.md"].read_text(encoding="utf-8")
    assert re.findall(r"{command-help} (\w+)", page) == list(main.commands)


def test_every_bundled_tracker_has_its_page() -> None:
    bundled = distribution("trackhooks").entry_points.select(group=ENTRY_POINTS).names
    assert {Path(page).stem for page in PAGES if page.startswith("docs/trackers/")} == bundled


def test_the_page_of_hooks_is_that_of_the_vocabulary() -> None:
    page = ROOT / "docs" / "hooks_page.py"
    done = subprocess.run([sys.executable, page, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_architecture_page_has_every_room_and_the_layers_that_lint_checks() -> None:
    page = PAGES["docs/contributing/architecture.md"].read_text(encoding="utf-8")
    contract = (
        (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("layers = [")[2].partition("]")[0]
    )
    assert "\n".join(re.findall(r'"(.+)"', contract)) in page
    core = ROOT / "core" / "trackhooks"
    rooms = {folder.name for folder in core.iterdir() if (folder / "__init__.py").exists()}
    assert rooms | {"_shared"} == set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
