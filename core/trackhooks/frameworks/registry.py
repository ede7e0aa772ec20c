"""Find the integrations of frameworks: entry points in the group `trackhooks.frameworks`.

The name of an entry point is the module that the integration waits for. The files of the installed distributions are
searched as plain text, since `importlib.metadata.entry_points` takes several times as long, and `enable` must be quick.
"""

from __future__ import annotations

import functools
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import InvalidValueError, MissingPackageError, unknown, warn
from ..errors.foreign import Failure, attempt, is_a
from .interface import API, Framework, RunHooks, Runs

ENTRY_POINTS = "trackhooks.frameworks"
"""The entry point group by which integrations of frameworks are found."""
_OURS = "trackhooks"
_METADATA = (".dist-info", ".egg-info")


class Plugin(NamedTuple):
    """An entry point of the group."""

    module: str
    """The module that it waits for."""
    target: str
    """`package.module:Class` of its integration."""
    distribution: str
    """The name of the installed distribution that it belongs to."""

    @property
    def is_ours(self) -> bool:
        """Whether it is a part of trackhooks."""
        return self.distribution == _OURS

    @property
    def problem(self) -> str:
        """Why the integration does not work; "" if it does."""
        found = _loaded(self.target)
        return found if isinstance(found, str) else ""

    @property
    def framework(self) -> Framework | None:
        """The integration, one a process; None if it does not work, which is warned about once."""
        found = _loaded(self.target)
        if not isinstance(found, str):
            return found
        _warn_once(self)
        return None


def plugins() -> list[Plugin]:
    """Return the installed plugins, those of trackhooks first."""
    return list(_plugins(tuple(sys.path)))


def callback(module: str, runs: Runs) -> Any:
    """Return a callback for the framework of this module.

    Raises:
        UnknownNameError: no integration of such a framework is installed; the message has the nearest name.
        InvalidValueError: the framework has no list of callbacks.
        MissingPackageError: the framework has not been imported, or the integration of it does not work.
    """
    found = {plugin.module: plugin for plugin in reversed(plugins())}
    if not is_a(module, str) or module not in found:
        raise unknown("framework", module, found)
    framework = found[module].framework
    if framework is None:
        raise MissingPackageError(
            f"the integration of {module!r} in the package {found[module].distribution!r} does not work."
            f" {found[module].problem}",
            name=module,
        )
    made = framework.callback(runs)
    if made is None:
        raise InvalidValueError(f"{module!r} has no list of callbacks. Pass its model to run.attach.")
    return made


def attach(run: RunHooks, model: Any) -> None:
    """Record what this model does, with the integration that accepts it.

    Raises:
        InvalidValueError: no integration accepts it; the message lists what they accept.
    """
    found = sorted(plugins(), key=lambda plugin: plugin.module not in sys.modules)
    frameworks = (plugin.framework for plugin in found)
    if any(framework is not None and framework.attach(run, model) for framework in frameworks):
        return
    made = {plugin.target: plugin.framework for plugin in found}
    accepted = [framework.attaches for framework in made.values() if framework and framework.attaches]
    raise InvalidValueError(
        f"run.attach({type(model).__name__}): it must be {' or '.join(accepted) or 'a model of a known framework'}."
        " Pass a torch.nn.Module to run.watch, and a Keras model to fit with callbacks=[run.keras]."
    )


# Making them


@functools.cache
def _loaded(target: str) -> Framework | str:
    """Return the integration, one object for each class, or the reason why it cannot be used."""
    found = attempt(_of_target, target)
    return found.why if isinstance(found, Failure) else found


def _of_target(target: str) -> Framework:
    module, _, name = target.partition(":")
    made: Framework = getattr(importlib.import_module(module), name)()
    if made.api != API:
        raise InvalidValueError(
            f"it was written for version {made.api!r} of the interface, and this is {API}."
        )
    return made


@functools.cache
def _warn_once(plugin: Plugin) -> None:
    warn(
        f"the integration {plugin.target} of {plugin.module!r} in the package {plugin.distribution!r} does not work,"
        f" and nothing is recorded by it. {plugin.problem}"
    )


# Finding them


@functools.lru_cache(maxsize=8)
def _plugins(path: tuple[str, ...]) -> tuple[Plugin, ...]:
    seen: set[str] = set()
    found: list[Plugin] = []
    for folder in (metadata for directory in path for metadata in _metadata(Path(directory))):
        name = _normalized(folder.name)
        if name not in seen:  # as an import does, the first on the path wins
            seen.add(name)
            found += _read(folder, name)
    return tuple(sorted(dict.fromkeys(found), key=lambda plugin: not plugin.is_ours))


def _metadata(directory: Path) -> Iterator[Path]:
    try:
        names = sorted(path.name for path in directory.iterdir() if path.name.endswith(_METADATA))
    except OSError:  # it does not exist, or is an archive
        return
    yield from (directory / name for name in names)


def _normalized(folder: str) -> str:
    return re.sub(r"[-_.]+", "-", folder.rpartition(".")[0].partition("-")[0]).lower()


def _read(folder: Path, distribution: str) -> list[Plugin]:
    try:
        text = (folder / "entry_points.txt").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    return [Plugin(module, target, distribution) for module, target in _entries(text)]


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """Yield the names and targets of the entry points of the group."""
    _, _, rest = f"\n{text}".partition(f"\n[{ENTRY_POINTS}]\n")
    for line in rest.partition("\n[")[0].splitlines():
        name, equals, target = line.partition("=")
        if equals and not name.lstrip().startswith("#"):
            yield name.strip(), target.partition("[")[0].strip()
