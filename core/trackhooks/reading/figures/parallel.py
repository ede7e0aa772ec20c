"""Draw parallel coordinates: a line for each run, which crosses one axis for each parameter or metric."""

from __future__ import annotations

from collections.abc import Sequence

from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, Range1d
from bokeh.plotting import figure

from .bare import bare
from .colors import Style
from .dimensions import Dimension


def chart(names: Sequence[str], styles: Sequence[Style], dimensions: Sequence[Dimension]) -> figure:
    """Draw the values of runs, which have these names and styles, in these dimensions."""
    count = len(dimensions)
    made = bare("", x_range=Range1d(start=-0.4, end=count - 0.6), y_range=Range1d(start=-0.08, end=1.08))
    made.xaxis.ticker = FixedTicker(ticks=list(range(count)))
    made.xaxis.major_label_overrides = {number: found.name for number, found in enumerate(dimensions)}
    made.yaxis.visible = made.ygrid.visible = made.xgrid.visible = False
    made.segment(list(range(count)), 0, list(range(count)), 1, line_color="#8b9099", line_width=1.5)
    lines = made.multi_line(
        "xs", "ys", line_color="color", line_dash="dash", line_width=2, line_alpha=0.8, hover_line_width=4,
        name="lines", source=ColumnDataSource(_lines(names, styles, dimensions)),
    )  # fmt: skip
    _add_labels(made, dimensions)
    made.add_tools(
        HoverTool(renderers=[lines], tooltips=[("run", "@run"), ("values", "@values")], visible=False)
    )
    return made


def _lines(
    names: Sequence[str], styles: Sequence[Style], dimensions: Sequence[Dimension]
) -> dict[str, list[object]]:
    values = list(zip(*(dimension.values for dimension in dimensions), strict=True))
    texts = zip(*(dimension.texts for dimension in dimensions), strict=True)
    return {
        "number": list(range(len(names))),
        "xs": [[number for number, value in enumerate(row) if value is not None] for row in values],
        "ys": [
            [found.place(value) for found, value in zip(dimensions, row, strict=True) if value is not None]
            for row in values
        ],
        "color": [style.color for style in styles],
        "dash": [style.dash for style in styles],
        "run": list(names),
        "values": [
            ", ".join(f"{found.name} {text}" for found, text in zip(dimensions, row, strict=True) if text)
            for row in texts
        ],
    }


def _add_labels(made: figure, dimensions: Sequence[Dimension]) -> None:
    ticks = [(number, *tick) for number, dimension in enumerate(dimensions) for tick in dimension.ticks()]
    made.text(
        "x", "y", "text", text_font_size="11px", text_baseline="middle", x_offset=6,
        source=ColumnDataSource({
            "x": [number for number, _, _ in ticks],
            "y": [place for _, place, _ in ticks],
            "text": [text for _, _, text in ticks],
        }),
    )  # fmt: skip
