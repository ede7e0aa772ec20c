"""`counted`: a count with its noun, in messages and tables."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """Format a count with its noun: `1 step`, `1,200 steps`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
