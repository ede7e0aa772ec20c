"""Draw a scatter plot: a point for each run, over two parameters, metrics or fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from bokeh.models import Axis, ColumnDataSource, FixedTicker, HoverTool
from bokeh.plotting import figure

from .bare import bare, renderer
from .colors import Style
from .dimensions import Dimension

MARKERS = {"solid": "circle", "dashed": "square", "dotted": "triangle", "dotdash": "diamond"}


def chart(names: Sequence[str], styles: Sequence[Style], x: Dimension, y: Dimension) -> figure:
    """Draw the values of runs, which have these names and styles, in two dimensions."""
    made = empty("log" if x.log else "linear", y.log)
    made.xaxis.axis_label, made.yaxis.axis_label = x.name, y.name
    for axis, dimension in ((made.xaxis[0], x), (made.yaxis[0], y)):
        _name_places(axis, dimension)
    renderer(made, "points").data_source.data = _points(names, styles, x, y)
    return made


def empty(x_type: Literal["linear", "log"] = "linear", log: bool = False, **more: Any) -> figure:
    """Return a scatter plot without data. Its renderer is called `points`."""
    made = bare("", x_type, log, **more)
    source = ColumnDataSource({name: [] for name in _COLUMNS})
    points = made.scatter(
        "x", "y", marker="marker", color="color", size=10, fill_alpha=0.8, hover_line_width=3,
        name="points", source=source,
    )  # fmt: skip
    made.add_tools(
        HoverTool(
            renderers=[points], tooltips=[("run", "@run"), ("x", "@x_text"), ("y", "@y_text")], visible=False
        )
    )
    return made


_COLUMNS = ("number", "x", "y", "color", "marker", "run", "x_text", "y_text")


def _name_places(axis: Axis, dimension: Dimension) -> None:
    if dimension.labels:
        axis.ticker = FixedTicker(ticks=list(range(len(dimension.labels))))
        axis.major_label_overrides = dict(enumerate(dimension.labels))


def _points(
    names: Sequence[str], styles: Sequence[Style], x: Dimension, y: Dimension
) -> dict[str, list[Any]]:
    found = [number for number, place in enumerate(zip(x.values, y.values, strict=True)) if None not in place]
    return {
        "number": found,
        "x": [x.values[number] for number in found],
        "y": [y.values[number] for number in found],
        "color": [styles[number].color for number in found],
        "marker": [MARKERS[styles[number].dash] for number in found],
        "run": [names[number] for number in found],
        "x_text": [f"{x.name} {x.texts[number]}" for number in found],
        "y_text": [f"{y.name} {y.texts[number]}" for number in found],
    }
