"""Warn if a backend's own integration logs the same training as well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import warn
from .interface import RunHooks

_warned: set[str] = set()


def warn_of_wrappers(run: RunHooks, train: Any, callbacks: Sequence[Any]) -> None:
    """Warn, once for each tracker, if its backend's own integration logs the training as well.

    Args:
        run: the run.
        train: the method that trains; a package that has wrapped it, such as an `autolog`, logs it.
        callbacks: the callbacks that the method was given.
    """
    packages = {*_wrappers(train), *(_package(type(callback).__module__) for callback in callbacks)}
    for name in sorted(packages.intersection(run.trackers)):
        warn_once(
            name, "with an integration of its own (a callback, an autolog)", "Switch one of the two off."
        )


def warn_once(tracker: str, by: str, remedy: str) -> None:
    """Warn, once for each tracker, that its backend also gets this training in another way."""
    if tracker not in _warned:
        _warned.add(tracker)
        warn(f"{tracker} logs this training by itself as well, {by}: it is stored twice. {remedy}")


def _wrappers(function: Any) -> Iterator[str]:
    while function is not None:
        yield _package(getattr(function, "__globals__", {}).get("__name__", ""))
        function = getattr(function, "__wrapped__", None)


def _package(module: str) -> str:
    return module.partition(".")[0]
