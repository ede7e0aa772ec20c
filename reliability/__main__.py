"""`python -m reliability`: make all trials, print the table, and write it into the documentation."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import click
from rich.console import Console

from . import table
from .close import close
from .damage import damage
from .endings import endings
from .faults import faults
from .kills import kills
from .leaks import leaks
from .many import many
from .odd import odd
from .outages import outages
from .result import Result
from .scarce import scarce

Kind = Callable[[bool, float, int], Iterator[Result]]
KINDS: dict[str, Kind] = {
    "kills": kills, "faults": faults, "outages": outages, "endings": endings, "scarce": scarce, "damage": damage,
    "odd": odd, "many": many, "close": close, "leaks": leaks,
}  # fmt: skip


@click.command()
@click.option("--short", is_flag=True, help="Few trials of each kind, as in CI.")
@click.option("--only", metavar="KINDS", default="", help=f"Some of {', '.join(KINDS)}.")
@click.option(
    "--scale", type=float, default=1.0, help="The share of the full number of kills and damaged files."
)
@click.option("--seed", type=int, default=1, help="Of the random moments.")
@click.option("--write", is_flag=True, help="Write the page; by default after all trials in full.")
def main(short: bool, only: str, scale: float, seed: int, write: bool) -> None:
    """Make trials, and fail if a promise was not held."""
    chosen = only.split(",") if only else list(KINDS)
    results = []
    console = Console(width=200)
    for name in chosen:
        for result in KINDS[name](short, scale, seed):
            result.group = name
            results.append(result)
            console.print(f"{result.seconds:7.1f} s  {table._row(result)}", highlight=False, markup=False)
            for why in result.why:
                console.print(f"           {why}", highlight=False, markup=False)
            if write or not (short or only):
                table.write(results, list(KINDS))
    sys.exit(not all(result.held for result in results))


if __name__ == "__main__":
    main()
