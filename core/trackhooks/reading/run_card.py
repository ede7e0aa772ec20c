"""A run as HTML, for notebooks: its status, parameters, last and best values, links, and a small curve."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from html import escape

import msgspec

from ..errors import DamagedFileError
from ..storage import run_folder
from . import formats
from .curve import Curve
from .differences import given_params
from .followed_run import FollowedRun
from .html import ACCENT, STYLE, color_of
from .selection import shown_metrics
from .summary import Metric, RunSummary
from .table import STATUS_STYLES

_MOST_METRICS = 10
_MOST_PARAMS = 12
_LONGEST_VALUE = 30
_WIDTH, _HEIGHT = 260, 96

_STYLE = """<style>
.trackhooks .parts { display: flex; flex-wrap: wrap; gap: 8px 40px; margin: 6px 0; align-items: flex-start; }
.trackhooks .dim { opacity: 0.7; }
.trackhooks figure { margin: 0; }
.trackhooks figcaption { font-size: 12px; }
.trackhooks svg { display: block; overflow: visible; }
.trackhooks svg text { fill: currentColor; opacity: 0.7; font-size: 10px; }
</style>"""


class _Link(msgspec.Struct):
    """What the card needs of the cursor of a tracker."""

    tracker: str
    url: str | None = None


def as_card(run: RunSummary, curves: Mapping[str, Curve]) -> str:
    """Render a run as HTML. The colors are readable on light and on dark backgrounds.

    Args:
        run: the summary of the run.
        curves: the curves of its metrics; one of them is drawn.
    """
    parts = [_metrics(run), _figure(run, curves), _params(run)]
    return "\n".join(
        ['<div class="trackhooks">', STYLE, _STYLE, _head(run), '<div class="parts">', *parts, "</div>",
         _links(run), "</div>"]
    )  # fmt: skip


def card_of(run: RunSummary) -> str:
    """Render a run as HTML, with a curve from its journal if that can be read."""
    followed = FollowedRun(run.path)
    try:
        return as_card(run, followed.curves)
    finally:
        followed.close()


def _head(run: RunSummary) -> str:
    color = color_of(STATUS_STYLES.get(run.status, ""))
    facts = [run.length, formats.duration(run.duration), run.project, *run.tags]
    reason = f"<p>{escape(run.info.reason)}</p>" if run.info.reason else ""
    return (
        f'<div><b>{escape(run.name)}</b> <span style="color: {color}">● {escape(run.status)}</span>'
        f' <span class="dim">{escape(" · ".join(filter(None, facts)))}</span></div>{reason}'
    )


def _metrics(run: RunSummary) -> str:
    names = shown_metrics([run])
    rows = [_metric(name, run.metrics[name]) for name in names[:_MOST_METRICS]]
    return _table(["metric", "last", "best (at epoch)"], rows, len(names) - len(rows)) if rows else ""


def _metric(name: str, metric: Metric) -> list[str]:
    best = f"{formats.number(metric.best)} ({metric.best_place})" if metric.best is not None else ""
    return [formats.with_goal(name, metric.goal), formats.number(metric.last), best]


def _params(run: RunSummary) -> str:
    names = given_params(run)
    rows = [[formats.plain(name), _value(run, name)] for name in names[:_MOST_PARAMS]]
    return _table(["parameter", "value"], rows, len(names) - len(rows)) if rows else ""


def _value(run: RunSummary, name: str) -> str:
    return formats.shortened(formats.parameter(run.params[name]), _LONGEST_VALUE)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], hidden: int) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in header)
    lines = ["".join(f"<td>{escape(text)}</td>" for text in row) for row in rows]
    more = f"<p>and {hidden} more</p>" if hidden else ""
    return f"<div><table>{''.join(f'<tr>{line}</tr>' for line in [head, *lines])}</table>{more}</div>"


def _links(run: RunSummary) -> str:
    """Return the folder of the run, and where its trackers show it: addresses as links, and commands."""
    found = [f"<code>{escape(os.path.relpath(run.path))}</code>"]
    for link in _found_links(run):
        address = escape(link.url or "")
        shown = (
            f'<a href="{address}" target="_blank" rel="noopener">{escape(link.tracker)}</a>'
            if address.startswith(("http://", "https://"))
            else f"{escape(link.tracker)} <code>{address}</code>"
        )
        found.append(shown)
    return f'<div class="dim">{" · ".join(found)}</div>'


def _found_links(run: RunSummary) -> list[_Link]:
    found = []
    for path in run_folder.json_files(run.path / run_folder.DELIVERY):
        try:
            found.append(run_folder.read_json(path, _Link))
        except (DamagedFileError, OSError):  # another file, or one that is being replaced
            continue
    return [link for link in found if link.url and link.url != str(run.path)]


# The curve


def _figure(run: RunSummary, curves: Mapping[str, Curve]) -> str:
    """Return the curve of the most important metric that has one."""
    names = [name for name in shown_metrics([run]) if name in curves and len(curves[name].points) > 1]
    if not names:
        return ""
    name, metric = names[0], run.metrics[names[0]]
    caption = escape(f"{formats.with_goal(name, metric.goal)} over the {metric.axis}s")
    return f"<figure><figcaption>{caption}</figcaption>{_drawing(curves[name], metric, caption)}</figure>"


def _drawing(curve: Curve, metric: Metric, caption: str) -> str:
    points = " ".join(f"{x * _WIDTH:.1f},{(1 - y) * _HEIGHT:.1f}" for x, y in curve.relative())
    left, right, low, high = (formats.number(float(limit)) for limit in curve.limits)
    middle = _WIDTH / 2
    return (
        f'<svg width="{_WIDTH + 60}" height="{_HEIGHT + 24}" viewBox="-2 -6 {_WIDTH + 60} {_HEIGHT + 24}"'
        f' role="img" aria-label="{caption}, from {low} to {high}">'
        f'<polyline points="0,0 0,{_HEIGHT} {_WIDTH},{_HEIGHT}" fill="none" stroke="currentColor" opacity="0.3"/>'
        f'<polyline points="{points}" fill="none" stroke="{ACCENT}" stroke-width="1.5"/>'
        f'<text x="{_WIDTH + 4}" y="8">{high}</text><text x="{_WIDTH + 4}" y="{_HEIGHT}">{low}</text>'
        f'<text x="0" y="{_HEIGHT + 12}">{left}</text>'
        f'<text x="{middle}" y="{_HEIGHT + 12}" text-anchor="middle">{metric.axis}</text>'
        f'<text x="{_WIDTH}" y="{_HEIGHT + 12}" text-anchor="end">{right}</text></svg>'
    )
