"""The colours of runs in MLflow's charts and lists."""

from __future__ import annotations

import colorsys
import re

COLOUR = "mlflow.runColor"
"""The tag that MLflow's dashboard takes the colour of a run from."""
_TURN = 0.618
"""How far apart the hues of two runs are: by the golden ratio, many in a row remain different."""
_LIGHTNESS, _SATURATION = 0.45, 0.65


def colour_after(colour: str) -> str:
    """Return the colour for the run after one that has this colour, as `#rrggbb`; the first if it has none."""
    hue = _hue(colour) + _TURN if re.fullmatch("#[0-9a-fA-F]{6}", colour) else _TURN
    parts = colorsys.hls_to_rgb(hue % 1, _LIGHTNESS, _SATURATION)
    return "#" + "".join(f"{round(255 * part):02x}" for part in parts)


def _hue(colour: str) -> float:
    red, green, blue = (int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5))
    return colorsys.rgb_to_hls(red, green, blue)[0]
