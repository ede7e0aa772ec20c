"""Integration of PyTorch Lightning."""

from .framework import Lightning

__all__ = ["Lightning"]
