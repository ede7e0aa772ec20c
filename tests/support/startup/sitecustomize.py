"""Imported by every Python program that a test starts, when it starts; see `tests/conftest.py`."""

import atexit
import gc
import sys

MANY = 1000
"""Modules: torch, Keras and MLflow import more, a program that only records a run fewer."""


@atexit.register
def _keep_imported() -> None:
    """Else the end of the interpreter searches all that was imported for garbage: 2 s with Keras."""
    if len(sys.modules) > MANY:
        gc.freeze()
