"""The tracker `tensorboard`, which writes TensorBoard event files."""

from .tracker import TensorBoard

__all__ = ["TensorBoard"]
