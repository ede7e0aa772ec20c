"""The tracker `csv`, which writes CSV files."""

from .tracker import CSV

__all__ = ["CSV"]
