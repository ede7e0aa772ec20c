"""Format values: for people, and as JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ..errors.plural import counted as counted
from ..event import Scalar

_ARROWS = {"min": "↓", "max": "↑", "": ""}
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


# For people


def number(value: float | None) -> str:
    """Format a number with five significant digits, or in full if it is an integer; None gives an empty string.

    Examples: `0.97123`, `1e-05`, `1200`.
    """
    if value is None:
        return ""
    if value.is_integer() and abs(value) < 1e9:
        return str(int(value))
    return f"{value:.5g}"


def told_apart(one: float, other: float) -> tuple[str, str]:
    """Format two numbers that differ, with as many digits as are needed to see it."""
    for digits in (5, 8, 12, 17):
        texts = f"{one:.{digits}g}", f"{other:.{digits}g}"
        if texts[0] != texts[1]:
            break
    return texts


def spread(mean: float, std: float | None) -> str:
    """Format a mean with its standard deviation, both as precise as the latter is: `0.9123 ± 0.0031`."""
    if std is None:
        return number(mean)
    if not 1e-8 < std < 1e8 or not math.isfinite(mean):
        return f"{number(mean)} ± {number(std)}"
    digits = max(1 - math.floor(math.log10(std)), 0)
    return f"{mean:.{digits}f} ± {std:.{digits}f}"


def change(value: float, base: float) -> float | None:
    """Return the difference from a base in per cent; None if that is not a number."""
    if not base or not math.isfinite(base) or not math.isfinite(value):
        return None
    return (value - base) / abs(base) * 100


def percent(value: float | None) -> str:
    """Format a difference in per cent: `+3.2%`, `−0.15%`; None gives an empty string."""
    if value is None:
        return ""
    text = f"{value:+.3g}" if abs(value) < 100 else f"{value:+,.0f}"
    return f"{text.replace('-', '−')}%"


def duration(seconds: float) -> str:
    """Format a duration with at most two units: `40 ms`, `1.2 s`, `12 s`, `3 min 05 s`, `2 h 13 min`, `3 d 04 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller, name in (
        (_DAY, "d", _HOUR, "h"),
        (_HOUR, "h", _MINUTE, "min"),
        (_MINUTE, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller:02} {name}"
    return f"{whole} s"


def moment(seconds: float) -> str:
    """Format a time stamp in local time: `Nov 22 11:13` for this year, `2025-11-22` for earlier years."""
    then = time.localtime(seconds)
    same_year = then.tm_year == time.localtime().tm_year
    return time.strftime("%b %d %H:%M" if same_year else "%Y-%m-%d", then)


def plain(text: str) -> str:
    """Escape line breaks and control characters, so that a string cannot break a table or control the terminal."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def with_goal(name: str, goal: str) -> str:
    """Format the name of a metric, with an arrow if its best value is the lowest (`↓`) or the highest (`↑`)."""
    return f"{plain(name)}{' ' if goal else ''}{_ARROWS[goal]}"


def parameter(value: Scalar) -> str:
    """Format the value of a parameter as Python would, but strings without quotes."""
    return plain(value) if isinstance(value, str) else repr(value)


def shortened(text: str, longest: int) -> str:
    """Shorten a string to a maximum length."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def size(count: int) -> str:
    """Format a number of bytes: `312 B`, `4.1 kB`, `1.2 MB`."""
    if count < 1000:
        return f"{count} B"
    power = min(int(math.log10(count) // 3), 4)
    return f"{count / 1000**power:.1f} {'kMGT'[power - 1]}B"


# For programs


def as_json(value: Any) -> str:
    """Convert a value to JSON. NaN and infinities become `"NaN"`, `"Infinity"` and `"-Infinity"`, as in Protobuf."""
    return msgspec.json.format(msgspec.json.encode(finite(value), enc_hook=str), indent=2).decode()


def finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON does not have, by strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Convert rows to CSV, with one column per name. Missing values become empty cells."""
    if not rows:
        return ""
    columns = unique(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row.get(column) for column in columns] for row in rows)
    return text.getvalue()


def unique(names: Iterable[str]) -> list[str]:
    """Remove duplicates and keep the order."""
    return list(dict.fromkeys(names))
