"""The tracker `wandb`, which delivers to Weights & Biases."""

from .tracker import WandB

__all__ = ["WandB"]
