"""The one gate through which everything that is recorded passes: strings lose their secrets here.

What a run stores and delivers is its identity (`RunInfo`) and its events, and nothing else. `clean` redacts both, so
that no call needs to think of it. Messages have a gate of their own, in `errors`.
"""

from __future__ import annotations

import functools
from numbers import Real
from typing import Any

import msgspec

from ..errors.foreign import is_a, key_text
from ..errors.secrets import redact, redact_text
from ..event import Histogram, Table

_CODE = frozenset({"id", "kind", "hook", "trackers", "kept"})
"""Fields that trackhooks itself fills in, and the names of trackers, by which they are imported."""
_NAMES, _VALUES = frozenset({"name", "key", "parameter", "param", "setting", "option", "variable"}), "value"
"""The headers of a table of parameters: a row has the name of a value, and the value."""

clean_name = functools.lru_cache(maxsize=10_000)(redact_text)
"""Return the name of a metric or parameter without secrets."""


def clean(value: Any, name: str = "") -> Any:
    """Return a copy of a value without secrets.

    Args:
        value: A field of an `Event`, a `RunInfo`, or a container of these.
        name: The name of the value. A string below the name of a secret is redacted as a whole.
    """
    if isinstance(value, str):
        return redact(name, value)
    if isinstance(value, dict):
        return {clean_name(key_text(key)): clean(item, f"{name}/{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([clean(item, name) for item in value])
    if isinstance(value, Table):
        return _clean_table(value)
    if isinstance(value, Histogram):
        return Histogram(redact_text(value.name), value.edges, value.counts)
    if isinstance(value, msgspec.Struct):
        found = {field: getattr(value, field) for field in value.__struct_fields__ if field not in _CODE}
        return msgspec.structs.replace(value, **{field: clean(item) for field, item in found.items()})
    return value if value is None or is_a(value, Real) else redact(name, key_text(value))


def _clean_table(table: Table) -> Table:
    columns, lower = table.columns, [column.lower() for column in table.columns]
    by = next((position for position, column in enumerate(lower) if column in _NAMES), -1)

    def cell(row: list[Any], position: int) -> Any:
        named = by >= 0 and lower[position] == _VALUES
        return redact(str(row[by]) if named else columns[position], row[position])

    rows = [[cell(row, position) for position in range(len(columns))] for row in table.rows]
    return Table(redact_text(table.name), [redact_text(column) for column in columns], rows)
