"""What a benchmark hands over: its tables and what became of its promises, printed or as JSON.

All benchmarks share one schema, so that `bench.py` collects them and `docs/benchmarks_page.py` shows them:

    {"benchmark": "start_up", "machine": {…},
     "tables": [{"title": …, "columns": […], "rows": [[…]], "figures": {candidate: {figure: [a value a round]}}}],
     "promises": [{"promise": …, "claim": …, "limit": "≤ 100 ms", "figure": 24.1, "shown": "24 ms", "held": true}],
     "failed": [{"what": candidate, "why": …}]}
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

_ERROR = re.compile(r"[\w.]+(Error|Exception|Exit|Interrupt)\b")
Taken = dict[str, dict[str, list[float]]]
"""The figures of the candidates, a value a round: candidate → figure → values."""


def machine() -> dict[str, Any]:
    """What the figures were measured on, and how much else ran there."""
    return {
        "system": platform.system(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "time": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
    }


class Results:
    """The tables, promises and failures of one benchmark.

    Args:
        benchmark: the name of its script, without `.py`.
        as_json: print one JSON document at the end, and else each table as soon as it is measured.
    """

    def __init__(self, benchmark: str, as_json: bool = False) -> None:
        self.benchmark, self._as_json = benchmark, as_json
        self._tables: list[dict[str, Any]] = []
        self._promises: list[dict[str, Any]] = []
        self._failed: list[dict[str, str]] = []

    def table(
        self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], figures: Taken | None = None
    ) -> None:
        """Add a table; `figures` are the values that its cells were made of."""
        self._tables.append(
            {
                "title": title,
                "columns": [*columns],
                "rows": [[*row] for row in rows],
                "figures": figures or {},
            }
        )
        if not self._as_json:
            print_table(title, columns, rows)

    def promise(
        self,
        promise: str,
        claim: str,
        figure: float,
        *,
        at_most: float | None = None,
        at_least: float | None = None,
        unit: str = "",
        digits: int = 2,
    ) -> None:
        """State whether a promise of the design is held.

        Args:
            promise: its name in the design, such as `Hot path`.
            claim: which part of it: what was measured.
            figure: what was measured; NaN if it could not be.
            at_most: the limit, or
            at_least: the limit.
            unit: of the figure and the limit, such as `ms`; `×` comes before them.
            digits: after the point.
        """
        limit = at_most if at_most is not None else at_least
        assert limit is not None
        held = None if math.isnan(figure) else figure <= limit if at_most is not None else figure >= limit
        self._promises.append(
            {
                "promise": promise,
                "claim": claim,
                "limit": f"{'≤' if at_most is not None else '≥'} {with_unit(f'{limit:,.3g}', unit)}",
                "figure": None if held is None else figure,
                "shown": "not measured" if held is None else with_unit(f"{figure:,.{digits}f}", unit),
                "held": held,
            }
        )

    def failed(self, what: str, why: object) -> None:
        """Note a candidate that could not be measured."""
        self._failed.append({"what": what, "why": reason(str(why) or repr(why))})
        print(f"{what} was not measured: {reason(str(why))}", file=sys.stderr)

    def end(self) -> None:
        """Print the promises, or everything as JSON."""
        if self._as_json:
            print(json.dumps(self.as_dict(), allow_nan=False))
        elif self._promises:
            print_promises(self._promises)

    def as_dict(self) -> dict[str, Any]:
        """Everything, in the schema of this module."""
        return {
            "benchmark": self.benchmark,
            "machine": machine(),
            "tables": self._tables,
            "promises": self._promises,
            "failed": self._failed,
        }


def reason(text: str) -> str:
    """The line of an output that says why a program failed: its last error, or its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.match(line)]
    return (errors or lines or [""])[-1]


def with_unit(number: str, unit: str) -> str:
    """`× 1.5`, `24 ms`, or the number alone."""
    return f"{unit} {number}" if unit == "×" else f"{number} {unit}".rstrip()


def verdict(held: bool | None) -> str:
    """The word for what became of a promise."""
    return {True: "held", False: "not held", None: "not measured"}[held]


def print_promises(promises: Sequence[Mapping[str, Any]]) -> None:
    """Prints a line for each claim."""
    rows = [
        (one["promise"], one["claim"], one["limit"], one["shown"], verdict(one["held"])) for one in promises
    ]
    print_table("promises", ("promise", "claim", "limit", "measured", ""), rows)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table, with what the machine is and how much else runs on it."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console = Console()
    console.width = max(console.width, 120)
    load = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end"
    console.print(f"{title} — {load}", table, sep="\n")
