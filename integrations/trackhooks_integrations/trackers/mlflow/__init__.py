"""The tracker `mlflow`: MLflow."""

from .tracker import MLflow

__all__ = ["MLflow"]
