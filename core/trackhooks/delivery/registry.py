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
from ..errors.foreign import shown
from ..tracker import Tracker

ENTRY_POINTS = "trackhooks.trackers"
"""The entry point group by which trackers are found."""

_ours: dict[str, importlib.metadata.EntryPoint] = {}


def load(name: str, **options: Any) -> Tracker:
    """Make a tracker.

    Args:
        name: an entry point of the group `trackhooks.trackers` (`"csv"`), or `"module:Class"`.
        **options: the options of the tracker's class.

    Raises:
        UnknownNameError: the tracker or an option does not exist.
        MissingPackageError: a package that the tracker requires is not installed; the message has the command.
    """
    cls = find(name)
    check_requirements(cls)
    check_options(cls, name, options)
    return cls(**options)


def find(name: str) -> type[Tracker]:
    """Return the class of a tracker.

    Raises:
        UnknownNameError: the tracker does not exist.
        InvalidValueError: the name refers to something that is not a tracker.
    """
    if ":" in name:
        return _from_path(name)
    entry = _entry_point(name)
    if entry is None:
        raise unknown("tracker", name, entry_points())
    return _checked(entry.load(), name)


def names_in(text: str) -> list[str]:
    """Return the names of trackers in a string such as `"csv, mlflow"`."""
    return [name.strip() for name in str.__str__(text).split(",") if name.strip()]


def exists(name: str) -> bool:
    """Whether the name is an entry point, or has the form `"module:Class"`."""
    return ":" in name or _entry_point(name) is not None


def _entry_point(name: str) -> importlib.metadata.EntryPoint | None:
    return _own_entry_points().get(name) or entry_points().get(name)


def _own_entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    """The trackers of this distribution. Searching all distributions takes about 50 ms."""
    if not _ours:  # read once: when file descriptors run out, the files can no longer be read
        try:
            ours = importlib.metadata.distribution("trackhooks")
        except importlib.metadata.PackageNotFoundError:
            return {}
        _ours.update({entry.name: entry for entry in ours.entry_points if entry.group == ENTRY_POINTS})
    return dict(_ours)


def entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    """Return all installed trackers by name. If two have the same name, ours takes precedence."""
    found = {entry.name: entry for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    return found | _own_entry_points()


def _from_path(path: str) -> type[Tracker]:
    module_name, _, class_name = path.partition(":")
    if not module_name.strip(".") or not class_name or module_name.startswith("."):
        raise UnknownNameError(f"unknown tracker {path!r}: use the form 'module:Class'.")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not (module_name + ".").startswith(error.name + "."):
            raise
        raise UnknownNameError(f"unknown tracker {path!r}: module {error.name!r} was not found.") from error
    if not hasattr(module, class_name):
        trackers = [name for name, value in vars(module).items() if _is_tracker(value)]
        raise unknown("class", class_name, trackers, f"tracker {path!r}: ")
    return _checked(getattr(module, class_name), path)


def _is_tracker(cls: object) -> TypeGuard[type[Tracker]]:
    return isinstance(cls, type) and issubclass(cls, Tracker)


def _checked(cls: object, name: str) -> type[Tracker]:
    if not _is_tracker(cls):
        raise InvalidValueError(f"tracker {name!r} is {shown(cls)}, not a subclass of trackhooks.Tracker.")
    return cls


def check_requirements(cls: type[Tracker]) -> None:
    """Check that the packages that the tracker requires are installed, without importing them.

    Raises:
        MissingPackageError: a package is not installed; the message has the command that installs it.
    """
    for package, source in cls.requires.items():
        if not is_installed(package):
            raise MissingPackageError(
                f"tracker {cls.name!r} needs the package {package!r}, which is not installed."
                f" Run: pip install '{source}'",
                name=package,
            )


def is_installed(package: str) -> bool:
    """Whether the package can be imported. A local folder with its name, such as W&B's `wandb/`, does not count."""
    if package in sys.modules:
        return getattr(sys.modules[package], "__file__", None) is not None
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None


def check_options(cls: type[Tracker], name: str, options: Mapping[str, Any]) -> None:
    """Check that the tracker's class accepts all options.

    Raises:
        UnknownNameError: it does not; the message lists the options that it accepts.
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
