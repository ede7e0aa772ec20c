"""Integration of Ultralytics."""

from .framework import Ultralytics

__all__ = ["Ultralytics"]
