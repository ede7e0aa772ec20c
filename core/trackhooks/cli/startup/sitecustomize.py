"""Runs at the start of every Python process of `trackhooks exec`, which puts this folder first in PYTHONPATH.

Recording starts when a framework has been imported. Until then only modules of the standard library are imported, so
that programs that do not train are not slower. It also works in a Python in which trackhooks is not installed.
"""

from __future__ import annotations

import importlib.util
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_frameworks = set(os.environ.get("TRACKHOOKS_EXEC", "").split())
"""The modules that start the recording when they have been imported."""


class FrameworkFinder:
    """Has the recording started after the import of a framework, which the other finders find."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Called by the import of any module. Returns None unless it is a framework."""
        if name not in _frameworks:
            return None
        _frameworks.discard(name)  # the search asks this finder, too
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            _frameworks.add(name)
        else:
            setattr(spec.loader, "exec_module", _then_record(spec.loader.exec_module))  # noqa: B010 — for mypy
        return spec


def _then_record(exec_module: Callable[[ModuleType], None]) -> Callable[[ModuleType], None]:
    def exec_and_record(module: ModuleType) -> None:
        exec_module(module)
        _record()

    return exec_and_record


def _record() -> None:
    try:
        from trackhooks.cli.exec import record_from_now_on
    except ImportError as error:
        sys.stderr.write(
            f"trackhooks: {sys.executable} cannot import trackhooks and records nothing: {error}\n"
        )
    else:
        record_from_now_on()


def _import_namesake() -> None:
    """Import the `sitecustomize` of the environment, which this one hides."""
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 — importing pathlib takes longer
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != here]  # noqa: PTH100
    this = sys.modules.pop("sitecustomize")
    try:
        importlib.import_module("sitecustomize")
    except ModuleNotFoundError as error:
        if error.name != "sitecustomize":
            raise
    finally:
        sys.modules.setdefault("sitecustomize", this)


sys.meta_path.insert(0, FrameworkFinder)
_import_namesake()
