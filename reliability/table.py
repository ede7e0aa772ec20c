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


def write(new: Sequence[Result], groups: Sequence[str]) -> None:
    """Write the table into the page, with earlier results of other kinds, which the JSON file has."""
    machine = f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
    made = f"{date.today().isoformat()}, {machine}"
    for result in new:
        result.made = made
    tried = {(result.group, result.kind) for result in new}
    kept = [result for result in _known() if (result.group, result.kind) not in tried]
    results = sorted([*kept, *new], key=lambda result: groups.index(result.group))
    DATA.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.partition(START)[0], text.partition(END)[2]
    parts = [before + START, "", _about(results), "", markdown(results), "", END]
    PAGE.write_text("\n".join(parts) + after, encoding="utf-8")


def _known() -> list[Result]:
    return msgspec.json.decode(DATA.read_bytes(), type=list[Result]) if DATA.exists() else []


def _about(results: Sequence[Result]) -> str:
    """Say when the trials were made, and what did not hold."""
    made = "; ".join(dict.fromkeys(result.made for result in results))
    minutes = sum(result.seconds for result in results) / 60
    failed = [result for result in results if not result.held]
    verdict = (
        f"{len(failed)} of {len(results)} kinds of trials did not hold" if failed else "Every promise held"
    )
    tried = sum(result.tried for result in results)
    return f"{verdict} in {tried:,} trials, which took {minutes:.0f} minutes ({made})."


def markdown(results: Sequence[Result]) -> str:
    """Return the table. Each kind of trial has its note in the same cell."""
    return "\n".join([HEADER, *map(_row, results)])


def _row(result: Result) -> str:
    note = result.note + (f"; {result.unreached} more places were not reached" if result.unreached else "")
    what = result.kind + (f" ({note})" if note else "")
    figures = [result.tried, result.survived, result.lost, result.doubled, result.wrong]
    verdict = "not tried" if not result.tried else "held" if result.held else "**not held**"
    return f"| {result.promise} | {what} | {' | '.join(f'{figure:,}' for figure in figures)} | {verdict} |"
