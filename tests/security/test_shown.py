"""Names and values of a run from somebody else are only text: in a terminal, in a page and in a table."""

from __future__ import annotations

import base64
import csv
import gzip
import html
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hostile_runs import ESCAPE, FORMULA, MARKUP, hostile_run, picture

import trackhooks
from trackhooks.cli.main import main
from trackhooks.reading.run_card import card_of
from trackhooks.reading.summary import summarize

CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture
def evil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    hostile_run(tmp_path / "runs" / "other", picture(tmp_path / "private.png"), id="other", trackers=[ESCAPE])
    return hostile_run(tmp_path / "runs" / "evil", tmp_path / "private.png")


@pytest.mark.parametrize(
    "command",
    [
        ["runs"],
        ["compare", "runs/evil", "runs/other"],
        ["compare", "--all-params", "--metrics", "*"],
        ["sync", "runs/evil"],
        ["sync", "runs/other"],
        ["doctor"],
        ["export", "-o", "points.jsonl"],
        ["report"],
        ["runs", "--where", f"params.{ESCAPE} < 1"],
    ],
    ids=" ".join,
)
def test_no_command_sends_control_characters_of_a_run_to_the_terminal(evil: Path, command: list[str]) -> None:
    result = CliRunner().invoke(main, command)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    assert CONTROL.findall(result.output) == []


def test_what_a_notebook_shows_is_escaped(evil: Path) -> None:
    runs = trackhooks.runs("runs")
    compared = trackhooks.compare(["runs/evil", "runs/other"])
    pages = [card_of(summarize(evil)), runs._repr_html_(), compared._repr_html_()]
    for page in pages:
        assert "<script" not in page
        assert "<img" not in page
        assert "javascript:alert" not in re.sub(r"<code>[^<]*</code>", "", page)


def test_a_report_has_what_the_run_says_as_data_only(evil: Path) -> None:
    result = CliRunner().invoke(main, ["report", "runs/evil", "runs/other"])
    assert result.exit_code == 0, result.output
    page = Path("report.html").read_text()
    assert "alert(1)</script" not in page
    assert "<img src=x" not in page
    (policy,) = map(
        html.unescape, re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    )
    assert "default-src 'none'" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]


def test_a_report_holds_no_picture_that_is_not_of_the_run(evil: Path, tmp_path: Path) -> None:
    assert CliRunner().invoke(main, ["report", "runs/evil"]).exit_code == 0
    page = Path("report.html").read_text()
    private = base64.b64encode((tmp_path / "private.png").read_bytes()).decode()
    packed = re.findall(r'"(H4sI[A-Za-z0-9+/=]+)"', page)
    assert private not in page
    assert all(private not in gzip.decompress(base64.b64decode(data)).decode("latin-1") for data in packed)


def test_tables_hold_every_value_exactly_also_one_that_a_spreadsheet_would_run(tmp_path: Path) -> None:
    with trackhooks.run("csv", dir=tmp_path, name="r", params={"p": FORMULA}, delivery="inline") as run:
        run.log_text("note", FORMULA)
    assert run.wait(60)
    with (run.path / "params.csv").open(newline="") as file:
        assert ["p", FORMULA] in list(csv.reader(file))


def test_machine_readable_output_has_every_character_escaped_as_json_does(evil: Path) -> None:
    result = CliRunner().invoke(main, ["runs", "--json"])
    assert {run["name"] for run in json.loads(result.output)} >= {ESCAPE + MARKUP}
    assert "\x1b" not in result.output
