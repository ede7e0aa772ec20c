"""The tracker `csv`: CSV files."""

from .tracker import CSV

__all__ = ["CSV"]
