"""Integration of LightGBM."""

from .framework import LightGBM

__all__ = ["LightGBM"]
