"""Other loggers of the same training: a backend's own integration with the framework."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import warn
from ..recording import Recording

_told: set[str] = set()


def tell(recording: Recording, train: Any, callbacks: Sequence[Any]) -> None:
    """Warns, once a tracker, where its backend logs the training as well.

    Args:
        recording: the run.
        train: the method that trains: a package that has wrapped it, such as an `autolog`, listens.
        callbacks: what the method was given: those of a package that is also a tracker listen.
    """
    packages = {*_wrappers(train), *(_package(type(callback).__module__) for callback in callbacks)}
    for name in sorted(packages.intersection(recording.info.trackers) - _told):
        _told.add(name)
        warn(
            f"{name} logs this training by itself as well, with an integration of its own (a callback, an autolog):"
            " it will stand there twice. Switch one of the two off."
        )


def _wrappers(function: Any) -> Iterator[str]:
    while function is not None:
        yield _package(getattr(function, "__globals__", {}).get("__name__", ""))
        function = getattr(function, "__wrapped__", None)


def _package(module: str) -> str:
    return module.partition(".")[0]
