"""Draw the curves of one metric: one `multi_line` for all runs, bands of groups, and marks where values are missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from bokeh.core.properties import field
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.models.annotations import Legend, LegendItem
from bokeh.models.renderers import GlyphRenderer
from bokeh.plotting import figure
from numpy.typing import NDArray

from . import axes
from .axes import Floats, XAxis
from .bands import band
from .bare import bare, renderer, time_unit
from .colors import Style
from .reduction import grid, kept
from .smoothing import smooth

_BUCKETS = 1000
_MOST_IN_LEGEND = 20
_MOST_WIDE = 10_000
"""With more points, lines are one pixel wide, which browsers draw much faster."""
_FAINT = 0.25
_MARKS = "x y color run value"


class Curve(NamedTuple):
    """The curves of one column of a comparison: those of all its runs."""

    label: str
    style: Style
    members: list[tuple[Floats, Floats]]
    """The positions and the values of each run."""


class Look(NamedTuple):
    """How curves are drawn."""

    over: XAxis = "step"
    smoothing: float = 0.0
    log: bool = False


def chart(metric: str, curves: Sequence[Curve], look: Look) -> figure:
    """Draw the curves of a metric."""
    scaled, unit = _in_units(curves, look.over)
    made = empty(metric, look, unit)
    lines, faint, bands = _parts(
        [_on_log_axis(curve) for curve in scaled] if look.log else scaled, look.smoothing
    )
    fill(made, "band", _band_data([_above_zero(area) for area in bands] if look.log else bands))
    fill(made, "raw", _line_data(faint))
    fill(made, "lines", _line_data(lines))
    fill(made, "marks", _marks(lines))
    fill(made, "dots", _dots(lines))
    if sum(len(line.x) for line in lines) > _MOST_WIDE:
        renderer(made, "lines").glyph.line_width = 1
    if len(curves) <= _MOST_IN_LEGEND:
        _add_legend(made)
    return made


def empty(metric: str, look: Look, unit: str = "", **more: Any) -> figure:
    """Return the chart of a metric without data. Its renderers have names: see `fill`."""
    made = bare(metric, "datetime" if look.over == "time" else "linear", look.log, **more)
    made.xaxis.axis_label = f"{axes.LABELS[look.over]}{unit and f' ({unit})'}"
    lines = {"xs": "xs", "ys": "ys", "line_color": "color", "line_dash": "dash"}
    made.patches(
        "xs",
        "ys",
        fill_color="color",
        fill_alpha=0.2,
        line_width=0,
        name="band",
        source=_source("xs ys color"),
    )
    made.multi_line(**lines, line_alpha=_FAINT, name="raw", source=_source("xs ys color dash run"))
    found = made.multi_line(
        **lines, line_width=1.5, hover_line_width=3, name="lines", source=_source("xs ys color dash run")
    )
    look_of_marks = {"x": "x", "y": "y", "color": "color"}
    dots = made.scatter(**look_of_marks, size=5, name="dots", source=_source(_MARKS))
    marks = made.scatter(
        **look_of_marks, marker="x", size=8, line_width=2, name="marks", source=_source(_MARKS)
    )
    made.add_tools(
        _hover(found, look.over),
        HoverTool(renderers=[marks, dots], tooltips=[("run", "@run"), ("value", "@value")], visible=False),
    )
    return made


def _source(columns: str) -> ColumnDataSource:
    return ColumnDataSource({name: [] for name in columns.split()})


def _hover(lines: GlyphRenderer[Any], over: XAxis) -> HoverTool:
    x = "$snap_x{%F %T}" if over == "time" else "$snap_x{0,0.[000]}"
    return HoverTool(
        renderers=[lines],
        tooltips=[("run", "@run"), (over, x), ("value", "$snap_y")],
        formatters={"$snap_x": "datetime"} if over == "time" else {},
        line_policy="nearest",
        visible=False,
    )


def fill(made: figure, name: str, data: dict[str, Any]) -> None:
    """Set the data of a renderer: `band`, `raw`, `lines`, `dots` or `marks`."""
    renderer(made, name).data_source.data = data


def _add_legend(made: figure) -> None:
    lines = renderer(made, "lines")
    item = LegendItem(label=field("run"), renderers=[lines])
    made.add_layout(
        Legend(items=[item], border_line_alpha=0, background_fill_alpha=0, label_text_font_size="9pt"),
        "right",
    )


def _in_units(curves: Sequence[Curve], over: XAxis) -> tuple[list[Curve], str]:
    """Convert seconds: times to the milliseconds of Bokeh, relative times to a unit in which they are readable."""
    if over not in ("time", "relative"):
        return list(curves), ""
    ends = [float(np.nanmax(x)) for curve in curves for x, _ in curve.members if len(x)]
    length, name = (0.001, "") if over == "time" else time_unit(max(ends, default=0.0))
    return [
        curve._replace(members=[(x / length, value) for x, value in curve.members]) for curve in curves
    ], name


def _on_log_axis(curve: Curve) -> Curve:
    """Replace the values that a logarithmic axis does not have."""
    return curve._replace(members=[(x, np.where(value > 0, value, np.nan)) for x, value in curve.members])


class _Line(NamedTuple):
    label: str
    style: Style
    x: Floats
    value: Floats


class _Area(NamedTuple):
    style: Style
    x: Floats
    low: Floats
    high: Floats


def _parts(curves: Sequence[Curve], weight: float) -> tuple[list[_Line], list[_Line], list[_Area]]:
    """Return the lines, the raw curves behind smoothed ones, and the bands around means."""
    lines, faint, bands = [], [], []
    for label, style, members in curves:
        smoothed = [(x, smooth(value, weight)) for x, value in members if len(x)]
        if len(members) > 1 and smoothed:
            found = band(smoothed)
            lines.append(_Line(label, style, found.x, found.mean))
            bands.append(_Area(style, found.x, found.mean - found.std, found.mean + found.std))
        elif smoothed:
            lines.append(_Line(label, style, *smoothed[0]))
            faint += [_Line(label, style, *members[0])] if weight else []
    return _reduced(lines), _reduced(faint), bands


def _reduced(lines: Sequence[_Line]) -> list[_Line]:
    on = grid([line.x for line in lines], _BUCKETS)
    found = []
    for line in lines:
        places = kept(line.x, line.value, on)
        found.append(line._replace(x=line.x[places], value=line.value[places]))
    return found


def _line_data(lines: Sequence[_Line]) -> dict[str, Any]:
    return {
        "xs": [line.x for line in lines],
        "ys": [np.where(np.isfinite(line.value), line.value, np.nan) for line in lines],
        "color": [line.style.color for line in lines],
        "dash": [line.style.dash for line in lines],
        "run": [line.label for line in lines],
    }


def _band_data(bands: Sequence[_Area]) -> dict[str, Any]:
    pieces = [
        (area, piece) for area in bands for piece in _pieces(np.isfinite(area.low) & np.isfinite(area.high))
    ]
    return {
        "xs": [np.concatenate([area.x[piece], area.x[piece][::-1]]) for area, piece in pieces],
        "ys": [np.concatenate([area.low[piece], area.high[piece][::-1]]) for area, piece in pieces],
        "color": [area.style.color for area, _ in pieces],
    }


def _above_zero(area: _Area) -> _Area:
    """Cut a band off below a tenth of its smallest mean, because a logarithmic axis has no zero."""
    mean = (area.low + area.high) / 2
    floor = np.nanmin(mean) / 10 if np.isfinite(mean).any() else np.nan
    return area._replace(low=np.maximum(area.low, floor))


def _pieces(whole: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Return the indices of each run of points that are there."""
    places = np.flatnonzero(whole)
    return [piece for piece in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(piece)]


def _marks(lines: Sequence[_Line]) -> dict[str, Any]:
    """Return a mark for each gap, at the height of the value before it, or of the one after it."""
    rows: list[tuple[Any, ...]] = []
    for line in lines:
        finite = np.flatnonzero(np.isfinite(line.value))
        for piece in _pieces(~np.isfinite(line.value)) if len(finite) else []:
            before = finite[max(np.searchsorted(finite, piece[0]) - 1, 0)]
            rows.append(_mark(line, piece[0], line.value[before]))
    return _columns(rows)


def _dots(lines: Sequence[_Line]) -> dict[str, Any]:
    """Return the points that no line leads to: those between two gaps, and that of a curve with only one."""
    pieces = ((line, piece) for line in lines for piece in _pieces(np.isfinite(line.value)))
    return _columns(
        [_mark(line, piece[0], line.value[piece[0]]) for line, piece in pieces if len(piece) == 1]
    )


def _mark(line: _Line, place: np.intp, height: float) -> tuple[Any, ...]:
    return line.x[place], height, line.style.color, line.label, f"{line.value[place]:.5g}"


def _columns(rows: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
    return {name: [row[number] for row in rows] for number, name in enumerate(_MARKS.split())}
