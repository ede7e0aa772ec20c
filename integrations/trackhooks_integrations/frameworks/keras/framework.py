"""Implementation of `run.keras`, `keras_callback` and `enable` for `keras.Model.fit`, `evaluate` and `predict`.

Keras is never imported here: a program that trains with Keras has already imported it.
"""

from __future__ import annotations

import weakref
from typing import Any

from trackhooks.frameworks.interface import RunHooks, Runs

from .callback import imported_keras, make
from .methods import Methods


class Keras:
    """The integration of Keras (implements `Framework`)."""

    api = 1
    attaches = ""

    def __init__(self) -> None:
        self._methods = Methods()

    def install(self, runs: Runs, module: str) -> None:
        """Record every `fit`, `evaluate` and `predict` from now on, also of models that already exist."""
        if hasattr(imported_keras(), "Model"):  # otherwise `keras` is a local folder with that name
            self._methods.runs = runs
            self._methods.hold(self._methods)

    def uninstall(self, runs: Runs) -> None:
        """Undo `install`."""
        if self._methods.runs is runs:
            self._methods.runs = None
            self._methods.release(self._methods)

    def attach(self, run: RunHooks, model: Any) -> bool:
        """Return False: Keras models are recorded by a callback instead."""
        return False

    def callback(self, runs: Runs) -> Any:
        """Return a Keras callback. For a single run it is always the same object.

        Raises:
            MissingPackageError: Keras has not been imported.
        """
        if runs.only is not None:
            return self._methods.callback_of(runs.only, runs)
        made = make(self._methods.choosing(runs))
        holder = object()
        self._methods.hold(holder)
        weakref.finalize(made, self._methods.release, holder)
        return made
