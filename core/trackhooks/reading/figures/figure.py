"""`Figure`: what `Comparison.plot`, `.parallel` and `.scatter` return."""

from __future__ import annotations

import os
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from .. import formats
from . import embedding, pages

if TYPE_CHECKING:
    from bokeh.models.ui import UIElement

_FRAME_EDGE = 24
"""The height of a frame in a notebook beyond that of the figure."""


class Figure:
    """A figure. A notebook displays it.

    Args:
        figure: the figure of Bokeh.
        title: what it shows.
        height: its height in pixels.
    """

    def __init__(self, figure: UIElement, title: str, height: int) -> None:
        self.figure = figure
        """The figure as an object of Bokeh, which may be changed before it is displayed or saved."""
        self._title = title
        self._height = height

    def to_html(self) -> str:
        """Return an HTML page with the figure, which needs no network."""
        from bokeh.embed import json_item

        here = files(__package__)
        script = "".join((here / name).read_text("utf-8") for name in ("boot.js", "figure.js"))
        return Template((here / "page.html").read_text("utf-8")).substitute(
            generator=embedding.GENERATOR,
            policy=escape(embedding.policy([script, embedding.bokeh_script()])),
            title=escape(formats.plain(self._title)),
            bokeh=embedding.compressed_bokeh(),
            item=embedding.as_data(json_item(self.figure)),
            script=script,
        )

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Save the figure as an HTML file that needs no network. Returns its path.

        Args:
            path: the file, which ends with `.html`. An existing file is only replaced if trackhooks made it.
            overwrite: whether to replace any file.

        Raises:
            InvalidValueError: if the path is not that of an HTML file in an existing folder.
            TrackhooksError: if the file exists and trackhooks did not make it, or if it cannot be written.
        """
        return pages.write(self.to_html(), path, overwrite)

    def _repr_html_(self) -> str:
        page = escape(self.to_html())
        height = self._height + _FRAME_EDGE
        return (
            f'<iframe srcdoc="{page}" sandbox="allow-scripts" title="{escape(formats.plain(self._title))}"'
            f' style="border: 0; width: 100%; height: {height}px"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<figure of {self._title}: to keep it, .save('figure.html')>"
