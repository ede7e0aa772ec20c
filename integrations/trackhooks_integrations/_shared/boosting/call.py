"""`Call`: a call of `train` or `cv`, with its arguments by name."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_signature = functools.lru_cache(maxsize=16)(inspect.signature)
_RECORDED = ("num_boost_round", "early_stopping_rounds", "nfold", "stratified")
"""The arguments that are hyper-parameters."""


class Call:
    """A call of `train` or `cv`."""

    def __init__(self, original: Callable[..., Any], bound: inspect.BoundArguments) -> None:
        self._original = original
        self._bound = bound

    @classmethod
    def of(cls, original: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call | None:
        """Return the call; None if the arguments do not match the signature: the function itself then raises."""
        try:
            return cls(original, _signature(original).bind(*args, **kwargs))
        except TypeError:
            return None

    @property
    def crosses(self) -> bool:
        """Whether it is a cross-validation, which trains a model for each fold."""
        return self._original.__name__ == "cv"

    def value(self, name: str) -> Any:
        """Return the argument with this name, or its default; None if there is no such argument."""
        parameter = self._bound.signature.parameters.get(name)
        return self._bound.arguments.get(name, None if parameter is None else parameter.default)

    @property
    def callbacks(self) -> list[Any]:
        """The callbacks that the user passed."""
        return list(self.value("callbacks") or ())

    def made_with(self, callbacks: Sequence[Any]) -> Any:
        """Make the call with these callbacks."""
        self._bound.arguments["callbacks"] = list(callbacks)
        return self._original(*self._bound.args, **self._bound.kwargs)

    def params(self) -> dict[str, Any]:
        """Return the hyper-parameters that the user set, and how many rounds there are to be."""
        given = {**dict(self.value("params") or {}), **{name: self.value(name) for name in _RECORDED}}
        return {name: _plain(value) for name, value in given.items() if not _is_unset(value)}


def _is_unset(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    return getattr(value, "__name__", type(value).__name__) if callable(value) else value
