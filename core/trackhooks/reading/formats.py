"""How values are written: for people, and as JSON and CSV for programs."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ..event import Scalar

_ARROWS = {"min": "↓", "max": "↑", "": ""}
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


# For people


def number(value: float | None) -> str:
    """Five significant digits, and whole numbers whole: `0.97123`, `1e-05`, `1200`; empty for None."""
    if value is None:
        return ""
    if value.is_integer() and abs(value) < 1e9:
        return str(int(value))
    return f"{value:.5g}"


def duration(seconds: float) -> str:
    """At most two units: `40 ms`, `1.2 s`, `12 s`, `3 min 05 s`, `2 h 13 min`, `3 d 04 h`."""
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
    """The local time: `Nov 22 11:13` in this year, `2025-11-22` before."""
    then = time.localtime(seconds)
    same_year = then.tm_year == time.localtime().tm_year
    return time.strftime("%b %d %H:%M" if same_year else "%Y-%m-%d", then)


def counted(count: int, noun: str) -> str:
    """`1 step`, `1,200 steps`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def plain(text: str) -> str:
    """The text in one line, with what a terminal would obey written as its escape."""
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


def with_goal(name: str, goal: str) -> str:
    """A metric's name with an arrow that says what its best value is: the least (`↓`) or the greatest (`↑`)."""
    return f"{plain(name)}{' ' if goal else ''}{_ARROWS[goal]}"


def parameter(value: Scalar) -> str:
    """A parameter's value, as it would be typed; texts without quotes."""
    return plain(value) if isinstance(value, str) else repr(value)


def shortened(text: str, longest: int) -> str:
    """The text, its end cut off where it is longer."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def size(count: int) -> str:
    """Bytes: `312 B`, `4.1 kB`, `1.2 MB`."""
    if count < 1000:
        return f"{count} B"
    power = min(int(math.log10(count) // 3), 4)
    return f"{count / 1000**power:.1f} {'kMGT'[power - 1]}B"


# For programs


def as_json(value: Any) -> str:
    """The value as JSON; what JSON has no number for is `"NaN"`, `"Infinity"`, `"-Infinity"`, as Protobuf writes it."""
    return msgspec.json.format(msgspec.json.encode(_finite(value), enc_hook=str), indent=2).decode()


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, with a column for every name; a row that lacks it has an empty cell."""
    if not rows:
        return ""
    columns = unique(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row.get(column) for column in columns] for row in rows)
    return text.getvalue()


def unique(names: Iterable[str]) -> list[str]:
    """The names, each once, in the order in which they first come."""
    return list(dict.fromkeys(names))
