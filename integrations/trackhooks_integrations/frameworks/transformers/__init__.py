"""The integration of the `Trainer` of Hugging Face transformers."""

from __future__ import annotations

from .framework import Transformers

__all__ = ["Transformers"]
