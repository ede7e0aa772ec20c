"""What the page shows, as values of JSON: the reading of a report without its HTML."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

from bokeh.embed import json_item
from bokeh.models import Range1d

from .. import formats
from ..compared import Compared
from ..figures import curves, parallel, scatter
from ..figures.colors import Style, column_styles, run_styles
from ..figures.curves import Look
from ..figures.dimensions import Dimension, dimension
from ..figures.draw import default_dimensions, run_names
from ..figures.scatter import MARKERS
from ..summary import RunSummary
from . import curve_data, table_data
from .answer import Answer, answer
from .difference_data import differences
from .picture_data import pictures

_MOST_DIMENSIONS = 60
_SHORT = 12
"""Number of characters of a hash that are shown."""


class PageData(NamedTuple):
    """What a page shows."""

    title: str
    subtitle: str
    answer: Answer | None
    main: dict[str, Any]
    """Runs, groups, the table, differences, files and pictures."""
    charts: list[dict[str, Any]]
    """The curves of each metric."""
    templates: dict[str, Any]
    """Figures of Bokeh, without data."""


def page_data(
    of: Compared, title: str, most_picture_bytes: int, progress: Callable[[], None] = lambda: None
) -> PageData:
    """Read what a page shows."""
    runs, styles = of.runs, run_styles(of.columns)
    names = run_names(of)
    values = [dimension(runs, name) for name in _dimension_names(of)]
    chosen = [value for value in values if value.name in default_dimensions(runs)]
    main = {
        "runs": [_run(run, name, style) for run, name, style in zip(runs, names, styles, strict=True)],
        "groups": _groups(of),
        "limits": _limits(runs),
        "table": table_data.table(of),
        "dimensions": [_dimension(value) for value in values],
        "files": _files(runs),
        "differences": differences(of),
        "markers": MARKERS,
        **pictures(runs, most_picture_bytes),
    }
    drawn = {"parallel": parallel.chart(names, styles, chosen)} if len(chosen) > 1 else {}
    return PageData(
        title,
        _subtitle(runs),
        answer(of),
        main,
        _charts(of, progress),
        {name: json_item(made) for name, made in (_empty_charts() | drawn).items()},
    )


def _subtitle(runs: Sequence[RunSummary]) -> str:
    made = time.strftime("%Y-%m-%d %H:%M")
    return f"{formats.counted(len(runs), 'run')}, made on {made} by trackhooks {_version()}"


def _version() -> str:
    try:
        return version("trackhooks")
    except PackageNotFoundError:
        return "of an unknown version"


def _run(run: RunSummary, name: str, style: Style) -> dict[str, Any]:
    return {
        "name": name,
        "path": formats.plain(run.info.path),
        "status": run.status,
        "reason": formats.plain(run.info.reason or ""),
        "tags": list(map(formats.plain, run.tags)),
        "created": run.created,
        "color": style.color,
        "dash": style.dash,
        "damage": list(map(formats.plain, run.journal.damage)),
    }


def _groups(of: Compared) -> list[dict[str, Any]]:
    """Return the groups, if there are any, with the numbers of their runs."""
    found, first = [], 0
    for column, style in zip(of.columns, column_styles(of.columns), strict=True):
        members = list(range(first, first + len(column.runs)))
        found.append({"label": formats.plain(column.label), "runs": members, "color": style.color})
        first += len(members)
    return found if any(len(group["runs"]) > 1 for group in found) else []


def _limits(runs: Sequence[RunSummary]) -> dict[str, list[float]]:
    """Return the ends of each horizontal axis, which all charts share."""
    starts = [run.created for run in runs]
    longest = max(run.duration for run in runs)
    return {
        "step": [0, max(run.steps for run in runs) or 1],
        "epoch": [0, max(run.epochs for run in runs) or 1],
        "relative": [0, longest or 1],
        "time": [min(starts), max(run.created + run.duration for run in runs)],
    }


def _dimension_names(of: Compared) -> list[str]:
    runs = of.runs
    rated = [f"best.{name}" for name in of.metrics if table_data.goal_of(runs, name)]
    names = [f"params.{name}" for name in of.params] + rated + [f"last.{name}" for name in of.metrics]
    return [*names[:_MOST_DIMENSIONS], "duration", "epochs", "steps"]


def _dimension(value: Dimension) -> dict[str, Any]:
    return {name: getattr(value, name) for name in ("name", "values", "labels", "log")}


def _files(runs: Sequence[RunSummary]) -> list[dict[str, Any]]:
    """Return the checkpoints, exports and other files."""
    return [
        {
            "run": number,
            "kind": file.kind,
            "name": formats.plain(file.name),
            "aliases": list(map(formats.plain, file.aliases)),
            "format": formats.plain(file.format),
            "size": formats.size(file.size),
            "path": formats.plain(file.kept or file.path),
            "hash": file.sha256[:_SHORT],
            "superseded": file.superseded,
        }
        for number, run in enumerate(runs)
        for file in run.files
    ]


def _charts(of: Compared, progress: Callable[[], None]) -> list[dict[str, Any]]:
    runs, metrics = of.runs, of.metrics
    on = curve_data.grid_of(runs, metrics)
    found = curve_data.reduced(runs, metrics, on, progress)
    return [
        curve_data.encoded(formats.plain(name), table_data.goal_of(runs, name), found[name], on)
        for name in metrics
        if found[name]
    ]


def _empty_charts() -> dict[str, Any]:
    lines = curves.empty("", Look(), x_range=Range1d(start=0, end=1), y_range=Range1d(start=0, end=1))
    points = scatter.empty(x_range=Range1d(start=0, end=1), y_range=Range1d(start=0, end=1))
    return {"curves": lines, "scatter": points}
