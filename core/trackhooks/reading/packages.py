"""Import the packages that reading can do without, when they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import MissingPackageError

if TYPE_CHECKING:
    from numpy import ndarray

    Array = ndarray[Any, Any]


def package(name: str, extra: str = "") -> Any:
    """Import a package.

    Args:
        name: the package.
        extra: the extra of trackhooks that installs it, if there is one.

    Raises:
        MissingPackageError: if it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        what = f"'trackhooks[{extra}]'" if extra else name
        raise MissingPackageError(f"{name} is not installed. Run: pip install {what}") from error


def numpy() -> Any:
    """Import NumPy.

    Raises:
        MissingPackageError: if it is not installed.
    """
    return package("numpy")


def for_figures() -> None:
    """Import the packages that figures and reports need.

    Raises:
        MissingPackageError: if one of them is not installed.
    """
    for name in ("numpy", "bokeh"):
        package(name, "report")


def pyarrow(module: str = "pyarrow") -> Any:
    """Import pyarrow, or a module of it.

    Raises:
        MissingPackageError: if it is not installed.
    """
    package("pyarrow", "columns")
    return import_module(module)
