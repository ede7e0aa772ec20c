"""The empty figure that all charts start from, and the choice of a unit of time."""

from __future__ import annotations

from typing import Any, Literal

from bokeh.models import BoxZoomTool, PanTool, ResetTool, SaveTool, WheelZoomTool
from bokeh.plotting import figure

_HEIGHT = 320


def bare(
    title: str, x_type: Literal["linear", "datetime", "log"] = "linear", log: bool = False, **more: Any
) -> figure:
    """Return a figure without data. Dragging zooms, and the wheel zooms with the button of its tool."""
    drag = BoxZoomTool()
    made = figure(
        title=title,
        x_axis_type=x_type,
        y_axis_type="log" if log else "linear",
        height=_HEIGHT,
        sizing_mode="stretch_width",
        tools=[drag, PanTool(), WheelZoomTool(), ResetTool(), SaveTool()],
        active_drag=drag,
        toolbar_location="right",
        background_fill_alpha=0,
        border_fill_alpha=0,
        outline_line_alpha=0,
        **more,
    )
    made.toolbar.logo = None
    made.toolbar.autohide = True
    made.grid.grid_line_alpha = 0.25
    made.axis.axis_line_alpha = 0.5
    made.axis.minor_tick_line_alpha = 0
    return made


def time_unit(seconds: float) -> tuple[float, str]:
    """Return the unit in which a time is readable: its length in seconds and its name."""
    return next(
        (
            (length, name)
            for longest, length, name in ((300, 1, "s"), (10_800, 60, "min"))
            if seconds < longest
        ),
        (3600, "h"),
    )


def renderer(made: figure, name: str) -> Any:
    """Return a renderer of a figure by its name."""
    return made.select_one({"name": name})
