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


def style(number: int, member: int = 0) -> Style:
    """Return the style of a column of a comparison, or of a run in it."""
    turn, place = divmod(number, len(PALETTE))
    return Style(PALETTE[place], _DASHES[(turn + member) % len(_DASHES)])


def run_styles(columns: Sequence[Column]) -> list[Style]:
    """Return the styles of all runs of a comparison: those of a group share a color, unless there is only one group."""
    if len(columns) == 1:
        return [style(number) for number in range(len(columns[0].runs))]
    return [
        style(number, member) for number, column in enumerate(columns) for member in range(len(column.runs))
    ]
