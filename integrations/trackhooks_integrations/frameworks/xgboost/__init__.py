"""Integration of XGBoost."""

from .framework import XGBoost

__all__ = ["XGBoost"]
