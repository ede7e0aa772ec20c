"""The layers of a Keras model as a short string, to compare models: `Conv2D(8, 3x3, relu) > Dense(3)`."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from trackhooks.frameworks.helpers import Lookups

_LONGEST = 200
_READ: tuple[tuple[str, Callable[[Any], str]], ...] = (
    ("units", str),
    ("filters", str),
    ("num_heads", lambda value: f"{value} heads"),
    ("output_dim", str),
    ("kernel_size", lambda value: "x".join(map(str, value if isinstance(value, (tuple, list)) else [value]))),
    ("rate", lambda value: f"{value:g}"),
    ("activation", lambda value: str(getattr(value, "__name__", type(value).__name__))),
)
"""The attributes of layers that people vary, and how each is written."""


def architecture(layers: Iterable[Any], lookups: Lookups) -> str:
    """Return the layers that have a width or another setting, in order; repeated ones are counted."""
    written = [text for layer in layers if (text := _written(layer, lookups))]
    repeated = ((text, len(list(same))) for text, same in itertools.groupby(written))
    whole = " > ".join(text if count == 1 else f"{count}x {text}" for text, count in repeated)
    return whole if len(whole) <= _LONGEST else f"{whole[: _LONGEST - 1]}…"


def _written(layer: Any, lookups: Lookups) -> str:
    kind = type(layer).__name__
    settings: Sequence[str] = lookups.find(f"the settings of {kind}", (), _settings, layer)
    return f"{kind}({', '.join(settings)})" if settings else ""


def _settings(layer: Any) -> list[str]:
    given = {name: vars(layer).get(name) for name, _ in _READ}
    found = [write(given[name]) for name, write in _READ if given[name] is not None]
    return [text for text in found if text != "linear"]
