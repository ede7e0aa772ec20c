"""The figures of a comparison: its curves, parallel coordinates and scatter plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bokeh.layouts import column

from ...errors import InvalidValueError
from ...values import checks
from .. import formats
from ..compared import Compared
from ..differences import differing_params
from ..groups import columns
from ..selection import matching_metrics, shown_metrics
from ..summary import RunSummary
from . import axes, curves, loading, parallel, scatter, smoothing
from .colors import column_styles, run_styles
from .curves import Curve, Look
from .dimensions import dimension
from .figure import Figure
from .loading import Track

_HEIGHT = 320
_MOST_PARAMS, _MOST_METRICS = 8, 2


def plot(of: Compared, metrics: Any, over: Any, smooth: Any, log: Any) -> Figure:
    """Draw the curves of metrics: see `Comparison.plot`."""
    names = matching_metrics(of.runs, checks.name("metrics", metrics))
    look = Look(axes.checked(over), smoothing.checked(smooth), checks.switch("log", log))
    tracks = {run.info.path: loading.load(run, names) for run in of.runs}
    charts = [curves.chart(name, _curves(of, name, tracks, look), look) for name in names]
    for chart in charts[1:]:
        chart.x_range = charts[0].x_range
    whole = charts[0] if len(charts) == 1 else column(*charts, sizing_mode="stretch_width")
    return Figure(whole, ", ".join(names), _HEIGHT * len(charts))


def _curves(of: Compared, name: str, tracks: dict[str, dict[str, Track]], look: Look) -> list[Curve]:
    found = []
    for group, style in zip(of.columns, column_styles(of.columns), strict=True):
        members = [
            (tracks[run.info.path][name].over(look.over, run.created), tracks[run.info.path][name].value)
            for run in group.runs
            if name in tracks[run.info.path]
        ]
        if members:
            found.append(Curve(formats.plain(group.label), style, members))
    return found


def run_names(of: Compared) -> list[str]:
    """Return the names of all runs, or their folders if two have the same name."""
    return [formats.plain(column.label) for column in columns(of.runs, None)]


def parallel_coordinates(of: Compared, names: Sequence[Any]) -> Figure:
    """Draw parallel coordinates: see `Comparison.parallel`."""
    runs = of.runs
    chosen = [checks.name("a name", name) for name in names] or default_dimensions(runs)
    if len(chosen) < 2:
        raise InvalidValueError(
            f"parallel coordinates need at least two parameters or metrics, and the runs have {chosen or 'none'}."
            " Name some: .parallel('params.lr', 'best.val/loss')"
        )
    found = [dimension(runs, name) for name in chosen]
    made = parallel.chart(run_names(of), run_styles(of.columns), found)
    return Figure(made, f"parallel coordinates of {', '.join(chosen)}", _HEIGHT)


def default_dimensions(runs: Sequence[RunSummary]) -> list[str]:
    """Return the names of the parameters that differ and of the most important metrics."""
    rated = [
        name
        for name in shown_metrics(runs)
        if any(name in run.metrics and run.metrics[name].goal for run in runs)
    ]
    params = differing_params(runs) if runs else []
    return [f"params.{name}" for name in params[:_MOST_PARAMS]] + [
        f"best.{name}" for name in rated[:_MOST_METRICS]
    ]


def scatter_plot(of: Compared, x: Any, y: Any) -> Figure:
    """Draw a scatter plot: see `Comparison.scatter`."""
    runs = of.runs
    across, up = (dimension(runs, checks.name(axis, name)) for axis, name in (("x", x), ("y", y)))
    made = scatter.chart(run_names(of), run_styles(of.columns), across, up)
    return Figure(made, f"{y} over {x}", _HEIGHT)
