"""Render a report: one HTML page that needs no network."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from ..figures import embedding
from ..figures.embedding import as_data
from .answer import Answer
from .data import PageData

_SCRIPTS = (
    "state.js", "theme.js", "decode.js", "curves.js", "charts.js", "table.js", "parameters.js", "lists.js", "main.js",
)  # fmt: skip


def render(data: PageData) -> str:
    """Return the page."""
    here = files(__package__)
    boot = (files(embedding.__package__) / "boot.js").read_text("utf-8")
    script = "\n".join([boot, *((here / "scripts" / name).read_text("utf-8") for name in _SCRIPTS)])
    return Template((here / "page.html").read_text("utf-8")).substitute(
        generator=embedding.GENERATOR,
        policy=escape(embedding.policy([script, embedding.bokeh_script()])),
        title=escape(data.title),
        subtitle=escape(data.subtitle),
        answer=_answer(data.answer),
        style=(here / "page.css").read_text("utf-8"),
        bokeh=embedding.compressed_bokeh(),
        templates=as_data(data.templates),
        data=as_data(data.main),
        charts="\n".join(map(_chart, data.charts)),
        script=script,
    )


def _answer(found: Answer | None) -> str:
    if found is None:
        return '<div class="answer"><p>No metric of these runs has a best value.</p></div>'
    sentences = "".join(f"<p>{escape(sentence)}</p>" for sentence in found.sentences)
    return (
        f'<div class="answer"><p class="winner">Best {escape(found.metric)}: <strong><bdi>{escape(found.winner)}</bdi>'
        f" ★</strong> {escape(found.value)}</p>{sentences}</div>"
    )


def _chart(chart: dict[str, Any]) -> str:
    about = escape(as_data({"metric": chart["metric"], "runs": chart["runs"]}))
    return f'<script type="application/json" class="curves" data-about="{about}">{as_data(chart)}</script>'
