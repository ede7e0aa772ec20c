"""Integration of Keras."""

from .framework import Keras

__all__ = ["Keras"]
