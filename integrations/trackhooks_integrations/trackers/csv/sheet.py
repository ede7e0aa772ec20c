"""`Sheet`: a CSV file that grows in two directions, and that can be cut back to what it was.

Rows are added at its end and columns at its right. A column that comes late gives every earlier row an empty cell:
the file is written anew beside the old one and put in its place, at most once a `write`, streamed. Between two
writes it holds whole lines only. A state counts rows, since their number does not depend on the columns; the offset
beside it saves the counting where no column was added since.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, BinaryIO

from trackhooks.tracker import State

from ..._shared.files import append, beside

_MOST_PENDING = 200_000
"""Cells that wait in memory for a `write`; with more, it happens by itself."""

_BELOW_ALL = -2
"""Below every step and epoch."""


class Sheet:
    """One CSV file that grows: rows at its end, columns at its right. It is open only while it is written.

    In a `rising` sheet the numbers of the first column rise: a row that does not rise replaces the rows from its
    number on, since a training then goes on from an earlier checkpoint.
    """

    def __init__(self, path: Path, columns: Sequence[str], rising: bool) -> None:
        self._path = path
        self._fixed = tuple(columns)
        self._names: dict[str, None] = {}
        self._rising = rising
        self._last = _BELOW_ALL
        self._rows = 0
        self._end = 0
        self._written_names = -1
        self._pending: list[str] = []
        self._most_pending = _MOST_PENDING // len(columns)
        self._widened: list[tuple[int, int]] = []
        self._writerow = csv.writer(_Lines(self._pending)).writerow

    def append(self, fixed: Sequence[Any], values: Mapping[str, Any]) -> None:
        """Adds a row: the cells of the fixed columns, and the others by their names."""
        names = self._names
        if not names.keys() >= values.keys():
            self._widen(values)
        if self._rising:
            if fixed[0] <= self._last:
                self._rewind(fixed[0])
            self._last = fixed[0]
        self._writerow([*fixed, *map(values.get, names)])
        if len(self._pending) >= self._most_pending:
            self.write()

    def _widen(self, names: Iterable[str]) -> None:
        self._widened.append((len(self._pending), len(self._names)))
        self._add(names)

    def _add(self, names: Iterable[str]) -> None:
        self._names.update(dict.fromkeys(names))
        self._most_pending = max(_MOST_PENDING // (len(self._fixed) + len(self._names)), 1)

    def write(self) -> State:
        """Writes the pending rows, and returns what `restore` needs."""
        if self._pending:
            if self._written_names < len(self._names):
                self._rewrite()
            self._end = append(self._path, self._end, "".join(self._padded()).encode())
            self._rows += len(self._pending)
            self._pending.clear()
            self._widened.clear()
        return {"rows": self._rows, "end": self._end, "names": self._written_names, "last": self._last}

    def _padded(self) -> Iterator[str]:
        """The pending rows; those from before a column was added get its empty cell."""
        start, all_names = 0, len(self._names)
        for stop, names in [*self._widened, (len(self._pending), all_names)]:
            padding = "," * (all_names - names) + "\n"
            yield from (row[:-2] + padding for row in self._pending[start:stop])
            start = stop

    def _rewrite(self) -> None:
        """The header with all columns and the rows there are, beside the file and then in its place."""
        self._make_folder()
        padding = b"," * (len(self._names) - self._written_names) + b"\n"
        with beside(self._path).open("wb") as new:
            new.write(self._header())
            if self._rows:
                new.writelines(record.rstrip(b"\r\n") + padding for record in self._records())
            self._end = new.tell()
        beside(self._path).replace(self._path)
        self._written_names = len(self._names)

    def _make_folder(self) -> None:
        if self._path.parent.name == "tables":
            self._path.parent.mkdir(exist_ok=True)

    def _header(self) -> bytes:
        names = [f"logged/{name}" if name in self._fixed else name for name in self._names]
        return line([*self._fixed, *names]).encode()

    def _records(self) -> Iterator[bytes]:
        """The rows in the file, at most `_rows` of them."""
        with self._path.open("rb") as file:
            yield from islice(_split(file), 1, self._rows + 1)

    def restore(self, state: State) -> None:
        """Cuts the file back to the rows that it had when `write` returned `state`; columns added since stay.

        Raises:
            OSError: the file has fewer rows than that.
        """
        if not state["rows"]:
            return
        self._rows, self._end, self._last = state["rows"], state["end"], state["last"]
        header = self._read_header()
        names = [name.removeprefix("logged/") if name[7:] in self._fixed else name for name in header]
        self._add(names[len(self._fixed) :])
        self._written_names = len(self._names)
        if self._written_names != state["names"] or not self._is_line_end(self._end):
            self._measure(self._records())
        if self._rows < state["rows"] and not self._rising:
            raise OSError(
                f"{self._path} holds {self._rows} of {state['rows']} rows: someone else cut it."
                " Put it back, or delete the run's folder delivery/ to have every table written anew."
            )
        os.truncate(self._path, self._end)

    def _read_header(self) -> list[str]:
        with self._path.open(encoding="utf-8", newline="") as file:
            return next(csv.reader(file), [])

    def _is_line_end(self, offset: int) -> bool:
        with self._path.open("rb") as file:
            file.seek(offset - 1)
            return file.read(1) == b"\n"

    def _measure(self, rows: Iterable[bytes]) -> None:
        """Takes these rows, with which the file starts, for all that it holds."""
        with self._path.open("rb") as file:
            count, end = 0, len(next(_split(file), b""))
        for row in rows:
            count, end = count + 1, end + len(row)
        self._rows, self._end = count, end

    def _rewind(self, number: int) -> None:
        """Drops the rows from that number on.

        Should the delivery die before the next state is saved, `restore` finds fewer rows than it asks for; the
        events that led here then come again.
        """
        self.write()
        self._measure(takewhile(lambda row: int(row.split(b",", 1)[0]) < number, self._records()))
        os.truncate(self._path, self._end)


class _Lines:
    """What `csv.writer` writes to: each row becomes one string of the list, with CR LF at its end.

    Told to end them in LF alone, it does not quote a CR within a cell, at which readers end a line.
    """

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append


def _split(file: BinaryIO) -> Iterator[bytes]:
    """The whole records from the start of the file; quoted line ends within one are part of it."""
    file.seek(0)
    record = b""
    for piece in file:
        record += piece
        if piece.endswith(b"\n") and record.count(b'"') % 2 == 0:
            yield record
            record = b""


def line(cells: Iterable[Any]) -> str:
    """One line of a CSV file."""
    lines: list[str] = []
    csv.writer(_Lines(lines)).writerow(cells)
    return lines[0][:-2] + "\n"
