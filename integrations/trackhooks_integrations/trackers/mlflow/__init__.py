"""The tracker `mlflow`, which delivers to MLflow."""

from .tracker import MLflow

__all__ = ["MLflow"]
