"""HTML for notebooks: its colors."""

from __future__ import annotations

import re

import pytest

import trackhooks
from trackhooks.event import FINAL
from trackhooks.reading.html import as_html
from trackhooks.reading.table import STATUS_STYLES, Cell, Section, Table


def contrast(one: str, other: str) -> float:
    """The ratio of two colors that the WCAG defines."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("background", ["#ffffff", "#111111"])
def test_every_color_is_readable_on_light_and_dark_pages(background: str, run: trackhooks.Run) -> None:
    for loss in (3.0, 2.0):
        run.log(loss=loss)
    styles = ["bold green", "red", *STATUS_STYLES.values()]
    table = as_html(Table(["x"], [Section("", [[Cell("x", style)] for style in styles])]))
    colors = set(re.findall(r"#[0-9a-f]{6}", table + str(run._repr_html_())))
    assert len(colors) >= 5
    assert {color for color in colors if contrast(color, background) < 4} == set()


def test_every_status_has_a_color() -> None:
    assert set(STATUS_STYLES) == FINAL | {"running"}
