"""The tracker `tensorboard`: TensorBoard event files."""

from .tracker import TensorBoard

__all__ = ["TensorBoard"]
