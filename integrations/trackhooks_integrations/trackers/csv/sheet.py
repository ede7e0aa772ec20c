"""`Sheet`: a CSV file that grows by rows and by columns, and that can be cut back to an earlier state.

Rows are added at the end and columns on the right. A column that is added later gives every earlier row an empty cell:
the file is rewritten under another name and moved into place, at most once per `write`, without loading it into memory.
Between two writes the file contains complete lines only. A state counts rows, because their number does not depend on
the columns. It also has the offset in bytes, which makes counting unnecessary if no column was added since.
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
"""The most cells that wait in memory; with more, the sheet writes them without waiting for a `write`."""

_BELOW_ALL = -2
"""Less than every step and epoch."""


class Sheet:
    """One CSV file. It is open only while it is being written.

    Args:
        path: the file.
        columns: the fixed columns, on the left.
        rising: whether the numbers in the first column increase. If a number is repeated (see `repeat`), its row
            replaces the rows from there on. A row that merely comes late is added at the end.
    """

    def __init__(self, path: Path, columns: Sequence[str], rising: bool) -> None:
        self._path = path
        self._fixed = tuple(columns)
        self._names: dict[str, None] = {}
        self._rising = rising
        self._last = _BELOW_ALL
        self._repeated: int | None = None
        """The first number that a resumed training repeats; None if it has come, or nothing is repeated."""
        self._sorted = True
        self._rows = 0
        self._end = 0
        self._written_names = -1
        self._pending: list[str] = []
        self._most_pending = _MOST_PENDING // len(columns)
        self._widened: list[tuple[int, int]] = []
        self._writerow = csv.writer(_Lines(self._pending)).writerow

    def append(self, fixed: Sequence[Any], values: Mapping[str, Any]) -> None:
        """Add a row: the cells of the fixed columns in order, and the other cells by name."""
        names = self._names
        if not names.keys() >= values.keys():
            self._widen(values)
        if self._rising:
            self._follow(fixed[0])
        self._writerow([*fixed, *map(values.get, names)])
        if len(self._pending) >= self._most_pending:
            self.write()

    def repeat(self, number: int) -> None:
        """Note that the rows from this number on will be replaced when the first of them comes again."""
        self._repeated = number

    def _follow(self, number: int) -> None:
        if number > self._last:
            self._last = number
        elif number == self._last or (self._repeated is not None and number >= self._repeated):
            self._rewind(number)
            self._last = number
        else:
            self._sorted = False
            return
        if self._repeated is not None and number >= self._repeated:
            self._repeated = None

    def _widen(self, names: Iterable[str]) -> None:
        self._widened.append((len(self._pending), len(self._names)))
        self._add(names)

    def _add(self, names: Iterable[str]) -> None:
        self._names.update(dict.fromkeys(names))
        self._most_pending = max(_MOST_PENDING // (len(self._fixed) + len(self._names)), 1)

    def write(self) -> State:
        """Write the pending rows; return the state for `restore`."""
        if self._pending:
            if self._written_names < len(self._names):
                self._rewrite()
            self._end = append(self._path, self._end, "".join(self._padded()).encode())
            self._rows += len(self._pending)
            self._pending.clear()
            self._widened.clear()
        return {
            "rows": self._rows, "end": self._end, "names": self._written_names, "last": self._last,
            "repeated": self._repeated, "sorted": self._sorted,
        }  # fmt: skip

    def _padded(self) -> Iterator[str]:
        """Yield the pending rows; those from before a column was added get an empty cell for it."""
        start, all_names = 0, len(self._names)
        for stop, names in [*self._widened, (len(self._pending), all_names)]:
            padding = "," * (all_names - names) + "\n"
            yield from (row[:-2] + padding for row in self._pending[start:stop])
            start = stop

    def _rewrite(self) -> None:
        """Rewrite the file with all columns, under another name, and move it into place."""
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
        """Yield the rows of the file, at most `_rows`."""
        with self._path.open("rb") as file:
            yield from islice(_split(file), 1, self._rows + 1)

    def restore(self, state: State) -> None:
        """Cut the file back to the rows it had when `write` returned `state`; columns added since then remain.

        Raises:
            OSError: the file has fewer rows than that.
        """
        if not state["rows"]:
            return
        self._rows, self._end, self._last = state["rows"], state["end"], state["last"]
        self._repeated, self._sorted = state.get("repeated"), state.get("sorted", True)
        self._add(self._read_names())
        self._written_names = len(self._names)
        if self._written_names != state["names"] or not self._is_line_end(self._end):
            self._measure(self._records())
        if not self._rising:
            self._require(state["rows"])
        os.truncate(self._path, self._end)

    def _read_names(self) -> list[str]:
        """Return the names of the columns that are not fixed, from the file's header."""
        with self._path.open(encoding="utf-8", newline="") as file:
            header = next(csv.reader(file), [])
        names = [name.removeprefix("logged/") if name[7:] in self._fixed else name for name in header]
        return names[len(self._fixed) :]

    def _is_line_end(self, offset: int) -> bool:
        with self._path.open("rb") as file:
            file.seek(offset - 1)
            return file.read(1) == b"\n"

    def _require(self, rows: int) -> None:
        if self._rows < rows:
            raise OSError(
                f"{self._path} has {self._rows} of {rows} rows: another program has shortened it."
                " Restore the file, or delete the run's folder delivery/ to write every table again."
            )

    def _measure(self, rows: Iterable[bytes]) -> None:
        """Take these rows, with which the file starts, as all rows of the file."""
        with self._path.open("rb") as file:
            count, end = 0, len(next(_split(file), b""))
        for row in rows:
            count, end = count + 1, end + len(row)
        self._rows, self._end = count, end

    def _rewind(self, number: int) -> None:
        """Remove the rows from that number on.

        If the delivery process dies before the next state is saved, `restore` finds fewer rows than the state records;
        the events after that state are then delivered again.
        """
        self.write()
        if not self._sorted:
            self._sort()
        self._measure(takewhile(lambda row: _number(row) < number, self._records()))
        os.truncate(self._path, self._end)

    def _sort(self) -> None:
        """Sort the rows, of which some came late."""
        rows = sorted(self._records(), key=_number)
        with beside(self._path).open("wb") as new:
            new.write(self._header())
            new.writelines(rows)
        beside(self._path).replace(self._path)
        self._sorted = True


def _number(row: bytes) -> int:
    return int(row.split(b",", 1)[0])


class _Lines:
    """The output of a `csv.writer`: each row becomes one string of the list, which ends in CR LF.

    With LF alone as its line terminator, `csv.writer` would not quote a CR in a cell, and readers would end the line
    there.
    """

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append


def _split(file: BinaryIO) -> Iterator[bytes]:
    """Yield the complete records of the file; a quoted line break is part of its record."""
    file.seek(0)
    record = b""
    for piece in file:
        record += piece
        if piece.endswith(b"\n") and record.count(b'"') % 2 == 0:
            yield record
            record = b""


def line(cells: Iterable[Any]) -> str:
    """Return the cells as one line of a CSV file."""
    lines: list[str] = []
    csv.writer(_Lines(lines)).writerow(cells)
    return lines[0][:-2] + "\n"
