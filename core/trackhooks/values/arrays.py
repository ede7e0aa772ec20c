"""Read arrays and tensors of any library with NumPy, which is imported only when it is needed."""

from __future__ import annotations

from typing import Any

from ..errors import MissingPackageError


def numpy_for(purpose: str) -> Any:
    """Return NumPy.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        import numpy
    except ImportError as error:
        raise MissingPackageError(
            f"{purpose} requires numpy, which is not installed. Run: pip install numpy"
        ) from error
    return numpy


def on_host(array: Any) -> Any:
    """Return a tensor in a form that NumPy can read."""
    if hasattr(array, "detach"):
        array = array.detach().cpu()
        return array.float().numpy() if array.is_floating_point() else array.numpy()
    return array


def as_array(numpy: Any, value: Any) -> Any:
    """Return an array or tensor of any library as an array of NumPy, with a dtype that NumPy itself defines."""
    array = numpy.asarray(on_host(value))
    if array.dtype.kind == "V" and array.dtype.names is None:  # such as the bfloat16 of JAX and TensorFlow
        return array.astype("float32")
    return array
