"""The table: printed, and written into the documentation."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import msgspec

from .result import Result

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "topics" / "reliability.md"
DATA = PAGE.with_suffix(".json")
START, END = "<!-- table: written by make reliability -->", "<!-- end of the table -->"
HEADER = "| Promise | What was done | tried | survived | lost | doubled | wrong | |\n|---|---|---|---|---|---|---|---|"


class Table(msgspec.Struct):
    """All results, and where they come from."""

    made: str
    machine: str
    version: str
    results: list[Result]


def write(results: Sequence[Result], version: str, scale: float) -> None:
    """Write the results as JSON, and their table into the page."""
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    made = Table(date.today().isoformat(), machine, version, list(results))
    DATA.write_bytes(msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n")
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.partition(START)[0], text.partition(END)[2]
    how = "in the full numbers" if scale == 1 else f"with {scale:.0%} of the full numbers of kills and damage"
    minutes = sum(result.seconds for result in results) / 60
    about = f"Made on {made.made} with {machine}, {how}, in {minutes:.0f} minutes."
    PAGE.write_text(
        "\n".join([before + START, "", about, "", markdown(results), "", END]) + after, encoding="utf-8"
    )


def markdown(results: Sequence[Result]) -> str:
    """Return the table. Each kind of trial has its note in the same cell."""
    return "\n".join([HEADER, *map(_row, results)])


def _row(result: Result) -> str:
    what = result.kind + (f" ({result.note})" if result.note else "")
    figures = [result.tried, result.survived, result.lost, result.doubled, result.wrong]
    verdict = "not tried" if not result.tried else "held" if result.held else "**not held**"
    return f"| {result.promise} | {what} | {' | '.join(f'{figure:,}' for figure in figures)} | {verdict} |"
