"""Every benchmark runs to its end, on small sizes; how fast anything is, no test says."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from folders import ROOT

BENCHMARKS = ROOT / "benchmarks"
sys.path.append(str(BENCHMARKS))
from bench import PARTS, PROMISED  # noqa: E402

SHORT = {part.script: part.short for part in PARTS if part.short is not None}


def run(script: Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_a_benchmark_runs_and_hands_over_its_figures(name: str, tmp_path: Path) -> None:
    done = run(BENCHMARKS / f"{name}.py", *SHORT[name], "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(
        next(line for line in done.stdout.splitlines() if line.startswith('{"b'))
    )
    assert found["benchmark"] == name
    assert [one for one in found["failed"] if one["why"] != "not installed"] == []
    assert found["tables"]
    for table in found["tables"]:
        assert table["rows"], table["title"]
        assert {len(row) for row in table["rows"]} == {len(table["columns"])}
    assert {one["promise"] for one in found["promises"]} <= {*PROMISED}
    assert not list(tmp_path.iterdir())  # it leaves no files


def test_every_benchmark_is_run() -> None:
    scripts = {path.stem for path in BENCHMARKS.glob("*.py") if "def main(" in path.read_text()}
    assert scripts - {"bench"} == set(SHORT)


@pytest.mark.slow
def test_all_print_one_table_with_each_promise(tmp_path: Path) -> None:
    to = tmp_path / "results.json"
    done = run(BENCHMARKS / "bench.py", "--short", "--only", "start_up", "--to", to, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(promise in done.stdout for promise in PROMISED)
    assert "not measured" in done.stdout
    (part,) = json.loads(to.read_text())["parts"]
    assert {one["promise"] for one in part["promises"]} == {"Start-up"}


def test_what_the_budget_has_no_time_for_says_so(tmp_path: Path) -> None:
    to = tmp_path / "results.json"
    arguments = ("--minutes", "0", "--only", "start_up,reading", "--short", "--to", to)
    done = run(BENCHMARKS / "bench.py", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.count("no time was left") >= 2
    assert [part["failed"][0]["what"] for part in json.loads(to.read_text())["parts"]] == [
        "start_up",
        "reading",
    ]


def test_the_page_of_benchmarks_is_that_of_their_results(tmp_path: Path) -> None:
    done = run(ROOT / "docs" / "benchmarks_page.py", "--check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
