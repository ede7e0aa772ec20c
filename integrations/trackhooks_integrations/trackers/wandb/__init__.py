"""The tracker `wandb`: Weights & Biases."""

from .tracker import WandB

__all__ = ["WandB"]
