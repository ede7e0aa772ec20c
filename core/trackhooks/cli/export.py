"""`trackhooks export`: write all points of runs to a file, one run after the other."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from ..reading import export as files
from ..reading.columns import Columns, length_of
from ..reading.formats import counted, plain, unique
from ..reading.history import read
from ..reading.points import system_points
from ..reading.selection import all_metrics, matching, wants_system
from ..reading.sources import Options, Source, filtered
from ..reading.summary import RunSummary

STDOUT: Final = "-"


class Output(NamedTuple):
    """Where rows are written."""

    path: Path | None
    """The file; None for standard output."""
    form: str
    force: bool


def output_of(name: str, form: str | None, force: bool) -> Output:
    """Check where rows are written, before anything is read.

    Args:
        name: the file, or `-` for standard output.
        form: the format on standard output.
        force: whether an existing file is replaced.

    Raises:
        InvalidValueError: if the file cannot be written there.
    """
    if name == STDOUT:
        return Output(None, form or files.TEXT[0], force)
    path = files.check(name, force)
    return Output(path, files.format_of(path), force)


def export(runs: Sequence[RunSummary], where: str | None, options: Options, output: Output) -> str:
    """Write the points of the runs that match a filter. Returns a line about what was written to a file.

    Raises:
        TrackhooksError: if there is nothing to write, or if it cannot be written.
        OSError: if the disk is full.
    """
    found = filtered(runs, where, options)
    names = _names(runs, found, options.metrics)
    written = _Written()
    parts = written.count(run.columns(some, names, options) for run, some in read(found, options))
    header = found[0].columns({}, names, options)
    if output.path is None:
        files.FORMATS[output.form](parts, header, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return ""
    files.write(parts, header, output.path, overwrite=output.force)
    name = plain(str(output.path))
    return f"{name}: {counted(written.runs, 'run')}, {counted(written.rows, 'row')}, {counted(len(header), 'column')}"


class _Written:
    """Counts what is written."""

    def __init__(self) -> None:
        self.runs = self.rows = 0

    def count(self, parts: Iterator[Columns]) -> Iterator[Columns]:
        """Pass the rows of the runs on."""
        for part in parts:
            self.runs += 1
            self.rows += length_of(part)
            yield part


def _names(runs: Sequence[RunSummary], sources: Sequence[Source], patterns: str) -> list[str]:
    """Return the names of the metrics, which are the columns of all runs."""
    paths = {source.path for source in sources}
    names = all_metrics(run for run in runs if run.path in paths)
    if wants_system(patterns):
        names += [name for source in sources for name in system_points(source.path)]
    return unique(names) if patterns == "*" else matching(unique(names), patterns, "metric")
