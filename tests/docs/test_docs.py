"""The documents: every Python example runs unchanged, and what pages say of the code and of each other is true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import pytest
from folders import ROOT

from trackhooks.cli.main import main
from trackhooks.delivery.registry import ENTRY_POINTS

PAGES = {
    path.relative_to(ROOT).as_posix(): path
    for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
}

EXAMPLE = re.compile(
    r"^(?: *<!-- not run: (?P<reason>.+) -->\n+)?"
    r"(?P<indent> *)```python\n(?P<code>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
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


def script(page: Path) -> str:
    """A page's examples as one program, each line at its place in the page, so that a traceback names it."""
    lines: list[str] = []
    for example in examples(page):
        if example.reason is None:
            lines += [""] * (example.line - len(lines)) + example.code.splitlines()
    return "\n".join(lines)


@pytest.mark.slow
@pytest.mark.parametrize("page", [name for name, page in PAGES.items() if script(page)])
def test_the_examples_of_a_page_run_one_after_the_other(page: str, tmp_path: Path) -> None:
    program = tmp_path / "page.py"
    program.write_text(script(PAGES[page]), encoding="utf-8")
    environment = os.environ | {"KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{page}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_lead_somewhere(page: str) -> None:
    links = LINK.findall(PAGES[page].read_text(encoding="utf-8"))
    assert [link for link in links if not (PAGES[page].parent / link).exists()] == []


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
