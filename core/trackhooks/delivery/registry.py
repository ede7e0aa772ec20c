"""Find trackers by name: entry points and `module:Class`."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from typing import Any, TypeGuard

from ..errors import InvalidValueError, MissingPackageError, UnknownNameError, unknown
from ..tracker import Tracker, _ours

ENTRY_POINTS = "trackhooks.trackers"
"""The entry point group by which trackers are found."""


def load(name: str, **options: Any) -> Tracker:
    """The tracker of that name, made with its options.

    Args:
        name: an entry point of the group `trackhooks.trackers` (`"csv"`), or `"module:Class"`.
        **options: what the tracker's class accepts.

    Raises:
        UnknownNameError: there is no such tracker, or no such option.
        MissingPackageError: a package that it needs is not installed; the message holds the install line.
    """
    cls = find(name)
    check_requirements(cls)
    check_options(cls, name, options)
    return cls(**options)


def find(name: str) -> type[Tracker]:
    """The class of a tracker, without making one.

    Raises:
        UnknownNameError: there is no such tracker.
    """
    if ":" in name:
        return _from_path(name)
    entry = _entry_point(name)
    if entry is None:
        raise unknown("tracker", name, entry_points())
    return _checked(entry.load(), name)


def exists(name: str) -> bool:
    """Whether `find` would look somewhere: an entry point of this name, or `"module:Class"`."""
    return ":" in name or _entry_point(name) is not None


def _entry_point(name: str) -> importlib.metadata.EntryPoint | None:
    return _own_entry_points().get(name) or entry_points().get(name)


def _own_entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    """Ours first: looking through every distribution takes some 50 ms."""
    if not _ours:  # later, the files may not be found for want of file descriptors
        try:
            ours = importlib.metadata.distribution("trackhooks")
        except importlib.metadata.PackageNotFoundError:
            return {}
        _ours.update({entry.name: entry for entry in ours.entry_points if entry.group == ENTRY_POINTS})
    return dict(_ours)


def entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    """Every tracker that is installed, by name; our own come first where two bear one name."""
    found = {entry.name: entry for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    return found | _own_entry_points()


def _from_path(path: str) -> type[Tracker]:
    module_name, _, class_name = path.partition(":")
    if not module_name.strip(".") or not class_name or module_name.startswith("."):
        raise UnknownNameError(f"unknown tracker {path!r}: 'module:Class' is needed.")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise
        raise UnknownNameError(f"unknown tracker {path!r}: there is no module {error.name!r}.") from error
    if not hasattr(module, class_name):
        trackers = [name for name, value in vars(module).items() if _is_tracker(value)]
        raise unknown("class", class_name, trackers, f"tracker {path!r}: ")
    return _checked(getattr(module, class_name), path)


def _is_tracker(cls: object) -> TypeGuard[type[Tracker]]:
    return isinstance(cls, type) and issubclass(cls, Tracker)


def _checked(cls: object, name: str) -> type[Tracker]:
    if not _is_tracker(cls):
        raise InvalidValueError(f"tracker {name!r} is {cls!r}, not a subclass of trackhooks.Tracker.")
    return cls


def check_requirements(cls: type[Tracker]) -> None:
    """Raises where a package that the tracker needs is not installed, without importing it.

    Raises:
        MissingPackageError: with the install line.
    """
    for package, source in cls.requires.items():
        if not is_installed(package):
            raise MissingPackageError(
                f"tracker {cls.name!r} needs the package {package!r}, which is not installed."
                f" Run: pip install '{source}'",
                name=package,
            )


def is_installed(package: str) -> bool:
    """Whether the package can be imported; a local folder of its name, such as W&B's `wandb/`, is none."""
    if package in sys.modules:
        return getattr(sys.modules[package], "__file__", None) is not None
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def check_options(cls: type[Tracker], name: str, options: Mapping[str, Any]) -> None:
    """Raises where the tracker's class does not accept an option.

    Raises:
        UnknownNameError: with the options that it accepts.
    """
    parameters = inspect.signature(cls).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    accepted = [parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY]
    known = [*accepted, "every"]
    for option in options:
        if option not in known:
            raise UnknownNameError(
                f"{unknown('option', option, known, f'tracker {name!r}: ')} It accepts: {', '.join(known)}."
            )
