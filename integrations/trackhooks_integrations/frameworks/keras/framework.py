"""Keras: `run.keras`, `keras_callback` and `enable` for `keras.Model.fit`, `evaluate` and `predict`.

Keras is never imported here: whoever trains with it has imported it.
"""

from __future__ import annotations

import weakref
from typing import Any

from trackhooks.recording.recorder import Recorder

from .callback import imported_keras, make
from .methods import Methods, Opener

MODULE = "keras"
"""The module behind whose import `install` is called."""

_methods = Methods()


def callback_of(recording: Recorder) -> Any:
    """A callback of Keras that records into this run.

    Raises:
        MissingPackageError: Keras has not been imported.
    """
    loop = _methods.loop_of(recording)
    if loop.callback is None:
        loop.callback = _methods.bridge_to(loop)
    return loop.callback


def callback_of_opener(opener: Opener) -> Any:
    """A callback of Keras whose runs are opened by themselves.

    Raises:
        MissingPackageError: Keras has not been imported.
    """
    made = make(_methods.opening(opener))
    holder = object()
    _methods.hold(holder)
    weakref.finalize(made, _methods.release, holder)
    return made


def install(opener: Opener) -> None:
    """From now on every `fit`, `evaluate` and `predict` is recorded, of models that exist already as well."""
    if hasattr(imported_keras(), "Model"):  # else it is a local folder of that name
        _methods.opener = opener
        _methods.hold(_methods)


def uninstall(opener: Opener) -> None:
    """Ends what `install` has begun."""
    if _methods.opener is opener:
        _methods.opener = None
        _methods.release(_methods)
