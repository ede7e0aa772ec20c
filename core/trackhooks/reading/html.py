"""Tables as HTML, for notebooks. The colors are readable on light and on dark backgrounds."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from .table import Cell, Table

_COLORS = {"green": "#2a8a3e", "red": "#d6403a", "yellow": "#a56d00", "cyan": "#3b78d8", "magenta": "#b04fc4"}
"""Colors with a contrast of about 4.4 to both white and black; everything else has the color of the page."""

ACCENT: Final = _COLORS["cyan"]
"""The color of curves."""

# Jupyter's own style of tables has stripes and right-aligned cells, with selectors of a higher specificity.
STYLE: Final = """<style>
.trackhooks { color: inherit; font-size: 13px; line-height: 1.5; overflow-x: auto; }
.trackhooks table { border-collapse: collapse; margin: 0; font-size: inherit; }
.trackhooks tr { background: none !important; }
.trackhooks th, .trackhooks td {
  text-align: left !important; vertical-align: top; padding: 2px 16px 2px 0; color: inherit; white-space: nowrap;
  border: 0; border-bottom: 1px solid rgba(128, 128, 128, 0.25); font-variant-numeric: tabular-nums;
}
.trackhooks th { font-weight: 600; }
.trackhooks th.section { padding-top: 12px; font-weight: 400; opacity: 0.7; }
.trackhooks p { margin: 4px 0; font-size: 12px; opacity: 0.7; }
</style>"""


def as_html(table: Table) -> str:
    """Render the table as HTML."""
    lines = [_row("th", [Cell(head) for head in table.header])]
    for title, rows in table.sections:
        if title:
            lines.append(f'<tr><th class="section" colspan="{len(table.header)}">{escape(title)}</th></tr>')
        lines += [_row("td", row) for row in rows]
    notes = [f"<p>{escape(note)}</p>" for note in table.notes]
    return "\n".join(['<div class="trackhooks">', STYLE, "<table>", *lines, "</table>", *notes, "</div>"])


def _row(tag: str, row: Sequence[Cell]) -> str:
    return f"<tr>{''.join(f'<{tag}{_style(cell)}>{escape(cell.text)}</{tag}>' for cell in row)}</tr>"


def _style(cell: Cell) -> str:
    """Return the style of a cell as an attribute."""
    words = cell.style.split()
    found = [f"color: {color_of(cell.style)}"] if set(words) - {"bold"} else []
    found += ["font-weight: 700"] * ("bold" in words)
    return f' style="{"; ".join(found)}"' if found else ""


def color_of(style: str) -> str:
    """Return the color of a style of rich, or that of the page."""
    return next((_COLORS[word] for word in style.split() if word in _COLORS), "inherit")
