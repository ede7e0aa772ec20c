"""`Table`: tables for people, in a terminal or in a notebook."""

from __future__ import annotations

import functools
import io
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console

STATUS_STYLES = {
    "running": "cyan",
    "finished": "green",
    "failed": "red",
    "pruned": "magenta",
    "killed": "yellow",
    "lost": "yellow",
}

_UNLIMITED = 100_000
_GAP = 2


class Cell(NamedTuple):
    """One cell of a table."""

    text: str
    style: str = ""
    """A style of rich, such as `"bold"` or `"red"`."""


class Column(NamedTuple):
    """One column, before it is added to a table."""

    header: str
    cells: Sequence[Cell]
    position: int = 0
    """Columns are ordered by this number."""

    @property
    def width(self) -> int:
        """The width of the column with its gap. A long header is split into two lines."""
        texts = [*_two_lines(self.header).splitlines(), *(cell.text for cell in self.cells)]
        return max(map(_width, texts), default=0) + _GAP


class Section(NamedTuple):
    """A group of rows with a title."""

    title: str
    rows: Sequence[Sequence[Cell]]


class Table(NamedTuple):
    """A table. Every row has as many cells as the header."""

    header: Sequence[str]
    sections: Sequence[Section]
    notes: Sequence[str] = ()
    """Lines below the table."""
    wraps: bool = False
    """Whether columns that do not fit are shown in another table below, which repeats the first column."""


def status_cell(text: str, statuses: Iterable[str]) -> Cell:
    """Return a cell with the color of a status, if there is only one."""
    styles = [STATUS_STYLES.get(status, "") for status in statuses]
    return Cell(text, styles[0] if len(styles) == 1 else "")


def terminal_width() -> int | None:
    """Return the width of the terminal, or None if standard output is not a terminal."""
    return shutil.get_terminal_size().columns if sys.stdout is not None and sys.stdout.isatty() else None


def as_text(table: Table, width: int | None, color: bool = False) -> str:
    """Render the table as plain text; without a width, as wide as necessary."""
    parts = [_render(part, width or _UNLIMITED, color) for part in _parts(table, width)]
    return "\n\n".join([*parts, "\n".join(table.notes)] if table.notes else parts)


def _two_lines(header: str) -> str:
    """Split the name of a metric after its prefix if it is long."""
    return header if len(header) <= 10 else "/\n".join(header.rsplit("/", 1))


def _parts(table: Table, width: int | None) -> list[Table]:
    """Split a table that is too wide into several that fit."""
    if not table.wraps:
        return [table]
    rows = [row for section in table.sections for row in section.rows]
    widths = [Column(head, [row[i] for row in rows]).width for i, head in enumerate(table.header)]
    groups: list[list[int]] = []
    room = 0
    for column in range(1, len(widths)):
        if not groups or widths[column] > room:
            groups.append([])
            room = (width or _UNLIMITED) - widths[0]
        groups[-1].append(column)
        room -= widths[column]
    return [_columns(table, group) for group in groups]


def _columns(table: Table, columns: list[int]) -> Table:
    """Return a table of the first column and the given ones, without rows that are empty in the given ones."""
    sections = []
    for title, rows in table.sections:
        chosen = [[row[0], *(row[column] for column in columns)] for row in rows]
        filled = [row for row in chosen if any(cell.text for cell in row[1:])]
        sections += [Section(title, filled)] if filled else []
    return Table([table.header[0], *(table.header[column] for column in columns)], sections)


def _render(table: Table, width: int, color: bool) -> str:
    """Render a table that is not split any more."""
    lines = _lines(table)
    widths = [max(_width(cell.text) for cell in cells) for cells in zip(*lines, strict=True)]
    if sum(widths) + _GAP * (len(widths) - 1) > width:
        return _folded(lines, width, color)
    paint = _painter(color)
    return "\n".join(_line(cells, widths, paint) for cells in lines)


def _lines(table: Table) -> list[Sequence[Cell]]:
    """Return the lines of a table: the header, the titles of the sections, and the rows."""
    blank = [Cell("")] * len(table.header)
    lines: list[Sequence[Cell]] = []
    if any(table.header):
        heads = [head.split("\n") for head in _at_the_bottom([_two_lines(head) for head in table.header])]
        lines += [[Cell(text, "bold") for text in texts] for texts in zip(*heads, strict=True)]
    for title, rows in table.sections:
        if title:
            lines += [blank] if lines else []
            lines.append([Cell(title, "bold"), *blank[1:]])
        lines += rows
    return lines


def _at_the_bottom(heads: Sequence[str]) -> list[str]:
    lines = max((head.count("\n") for head in heads), default=0)
    return ["\n" * (lines - head.count("\n")) + head for head in heads]


def _width(text: str) -> int:
    """Return the width of a text in a terminal, in which some characters are two columns wide."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _line(cells: Sequence[Cell], widths: Sequence[int], paint: Callable[[Cell], str]) -> str:
    padded = (
        paint(cell) + " " * (width - _width(cell.text)) for cell, width in zip(cells, widths, strict=True)
    )
    return (" " * _GAP).join(padded).rstrip()


def _painter(color: bool) -> Callable[[Cell], str]:
    """Return what adds the colors to a cell. Rich decides which ones the terminal has."""
    if not color:
        return lambda cell: cell.text
    from rich.text import Text

    console = _console(io.StringIO(), _UNLIMITED, color)

    @functools.cache
    def codes(style: str) -> tuple[str, str]:
        with console.capture() as printed:
            console.print(Text("x", style), end="")
        before, _, after = printed.get().partition("x")
        return before, after

    return lambda cell: cell.text.join(codes(cell.style)) if cell.text else ""


def _folded(lines: Sequence[Sequence[Cell]], width: int, color: bool) -> str:
    """Render lines that are too wide, with the text of the widest columns in several lines."""
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_header=False)
    for _ in lines[0]:
        grid.add_column(overflow="fold")
    for cells in lines:
        grid.add_row(*(Text(cell.text, cell.style) for cell in cells))
    page = io.StringIO()
    _console(page, width, color).print(grid)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def _console(file: io.StringIO, width: int, color: bool) -> Console:
    from rich.console import Console

    # In a notebook, rich would display a table instead of writing it.
    return Console(file=file, width=width, force_terminal=color, force_jupyter=False, highlight=False)
