"""The colors and dashes of runs. They can be told apart with any color vision, on light and on dark backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from ..groups import Column

PALETTE: Final = ("#1F82C4", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8A8A8A")
"""The colors of Okabe and Ito without yellow and black, which one of the backgrounds hides."""
_DASHES: Final = ("solid", "dashed", "dotted", "dotdash")


class Style(NamedTuple):
    """How the curve of a run is drawn."""

    color: str
    dash: str


MOST_TOLD_APART: Final = len(PALETTE) * len(_DASHES)
"""How many styles there are. More curves have no dashes, which take long to draw and would not help."""


def style(number: int, member: int = 0, dashed: bool = True) -> Style:
    """Return the style of a column of a comparison, or of a run in it."""
    turn, place = divmod(number, len(PALETTE))
    return Style(PALETTE[place], _DASHES[(turn + member) % len(_DASHES)] if dashed else "solid")


def column_styles(columns: Sequence[Column]) -> list[Style]:
    """Return the styles of the columns of a comparison."""
    return [style(number, dashed=len(columns) <= MOST_TOLD_APART) for number in range(len(columns))]


def run_styles(columns: Sequence[Column]) -> list[Style]:
    """Return the styles of all runs of a comparison: those of a group share a color, unless there is only one group."""
    sizes = [len(column.runs) for column in columns]
    dashed = sum(sizes) <= MOST_TOLD_APART
    if len(columns) == 1:
        return [style(number, dashed=dashed) for number in range(sizes[0])]
    return [style(number, member, dashed) for number, size in enumerate(sizes) for member in range(size)]
