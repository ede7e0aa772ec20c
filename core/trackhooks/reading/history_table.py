"""The printed table of a history: its first and last rows, and the columns that fit."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from . import formats
from .columns import Columns, length_of
from .conversions import TIME, to_list
from .table import Cell, Column, Section, Table

_MOST_ROWS = 5
"""How many rows are shown from the start, and from the end."""
_MOST_COLUMNS = 12
"""Maximum number of columns if no width is given."""
_MOST_NAMES = 5
_LONGEST_VALUE = 30


def table_of(columns: Columns, width: int | None) -> Table:
    """Return the table, for a terminal of this width."""
    rows = length_of(columns)
    shown = list(_fitting(_printed(columns, rows), width))
    lines = list(zip(*(column.cells for column in shown), strict=True))
    hidden = list(columns)[len(shown) :]
    notes = [f"{formats.counted(rows, 'row')}, {formats.counted(len(columns), 'column')}"]
    if hidden:
        more = ", …" if len(hidden) > _MOST_NAMES else ""
        notes.append(f"Not shown: {', '.join(map(formats.plain, hidden[:_MOST_NAMES]))}{more}")
    return Table([column.header for column in shown], [Section("", lines)], notes)


def _printed(columns: Columns, rows: int) -> Iterator[Column]:
    cut = rows > 2 * _MOST_ROWS
    parts = [slice(_MOST_ROWS), slice(rows - _MOST_ROWS, rows)] if cut else [slice(rows)]
    for name, column in columns.items():
        cells = [[Cell(_text(name, value)) for value in to_list(column, part)] for part in parts]
        dots = [Cell("…")] if cut else []
        yield Column(formats.plain(name), [*cells[0], *dots, *itertools.chain(*cells[1:])])


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        return formats.shortened(formats.plain(value), _LONGEST_VALUE)
    if not isinstance(value, (int, float)):
        return "" if value is None else formats.plain(str(value))
    return formats.moment(value) if name == TIME else formats.number(float(value))


def _fitting(columns: Iterable[Column], width: int | None) -> Iterator[Column]:
    if width is None:
        yield from itertools.islice(columns, _MOST_COLUMNS)
        return
    for number, column in enumerate(columns):
        width -= column.width
        if number and width < 0:
            return
        yield column
