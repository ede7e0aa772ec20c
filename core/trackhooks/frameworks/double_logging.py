"""Other loggers of the same training: a backend's own integration with the framework."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import warn
from .interface import RunHooks

_told: set[str] = set()


def tell(run: RunHooks, train: Any, callbacks: Sequence[Any]) -> None:
    """Warns, once a tracker, where its backend logs the training as well.

    Args:
        run: the run.
        train: the method that trains: a package that has wrapped it, such as an `autolog`, listens.
        callbacks: what the method was given: those of a package that is also a tracker listen.
    """
    packages = {*_wrappers(train), *(_package(type(callback).__module__) for callback in callbacks)}
    for name in sorted(packages.intersection(run.trackers)):
        tell_of(name, "with an integration of its own (a callback, an autolog)", "Switch one of the two off.")


def tell_of(tracker: str, by: str, remedy: str) -> None:
    """Warns, once a tracker, that its backend gets this training from someone else as well."""
    if tracker not in _told:
        _told.add(tracker)
        warn(f"{tracker} logs this training by itself as well, {by}: it will stand there twice. {remedy}")


def _wrappers(function: Any) -> Iterator[str]:
    while function is not None:
        yield _package(getattr(function, "__globals__", {}).get("__name__", ""))
        function = getattr(function, "__wrapped__", None)


def _package(module: str) -> str:
    return module.partition(".")[0]
