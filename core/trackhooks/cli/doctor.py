"""`trackhooks doctor`: check the installation, the settings, and the runs."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ..delivery import registry
from ..delivery.cursor import FOLDER, Cursor, cursors, is_delivered
from ..delivery.process import why_impossible
from ..errors import MissingPackageError, TrackhooksError
from ..event import FINAL
from ..frameworks import registry as frameworks
from ..reading import formats
from ..reading.summary import RunSummary, summarize
from ..reading.table import Cell, Section, Table
from ..recording import environment, ranks
from ..session import settings
from ..storage.locks import is_held
from ..storage.rank_folders import ranks_of

_NUMERIC = ("torch", "tensorflow", "jax", "numpy")
_REQUIRED = ("msgspec", "psutil", "wrapt", "click", "rich")
_VARIABLES = (
    "TRACKHOOKS",
    "TRACKHOOKS_DIR",
    "TRACKHOOKS_DELIVERY",
    "TRACKHOOKS_WAIT",
    "TRACKHOOKS_DISABLED",
    "TRACKHOOKS_PATCH",
)
_MARKS = {True: ("✓", "green"), False: ("✗", "bold red"), None: ("·", "")}

# Errors that importing a tracker of another package may raise.
_BROKEN = (
    ImportError,
    AttributeError,
    SyntaxError,
    TrackhooksError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


class Finding(NamedTuple):
    """One line of the report."""

    subject: str
    text: str
    good: bool | None = None
    """True if it is in order, False if it is a problem, None for plain information."""
    fix: str = ""
    """The command that solves the problem."""


class Report(NamedTuple):
    """The findings, in sections by title."""

    sections: dict[str, list[Finding]]

    @property
    def problems(self) -> list[Finding]:
        """The findings that are problems."""
        return [finding for found in self.sections.values() for finding in found if finding.good is False]

    def table(self) -> Table:
        """Return the table that is printed."""
        sections = [
            Section(title, [row for finding in found for row in _rows(finding)])
            for title, found in self.sections.items()
        ]
        count = len(self.problems)
        verdict = f"{formats.counted(count, 'problem')} found." if count else "No problems found."
        return Table(["", ""], sections, [verdict])


def _rows(finding: Finding) -> Iterator[list[Cell]]:
    mark, style = _MARKS[finding.good]
    yield [Cell(f"{mark} {formats.plain(finding.subject)}", style), Cell(formats.plain(finding.text))]
    if finding.fix:
        yield [Cell(""), Cell(formats.plain(finding.fix), "bold")]


def examine(paths: Iterable[Path], progress: Callable[[int], None] | None = None) -> Report:
    """Check the installation and the given runs. `progress` is that of `summarize`."""
    sections = {
        "installed": list(_installed()),
        "trackers": list(_trackers()),
        "defaults": list(_defaults()),
        "runs": _runs(list(paths), progress),
    }
    return Report(sections)


# The installation


def _installed() -> Iterator[Finding]:
    yield Finding("trackhooks", environment.own_version())
    yield Finding("Python", f"{platform.python_version()} on {platform.platform()}")
    yield Finding("requires", _versions(_REQUIRED))
    plugins = frameworks.plugins()
    packages = [plugin.module.partition(".")[0] for plugin in plugins]
    yield Finding("frameworks", _versions(dict.fromkeys([*packages, *_NUMERIC])) or "none")
    yield from (_plugin(plugin) for plugin in plugins if not plugin.is_ours)


def _plugin(plugin: frameworks.Plugin) -> Finding:
    """The integration of a framework in a package of someone else."""
    source = f"recorded by {plugin.target} from {plugin.distribution}"
    if plugin.problem:
        return Finding(plugin.module, f"{source}, which does not work: {plugin.problem}", False)
    return Finding(plugin.module, source, True)


def _versions(packages: Iterable[str]) -> str:
    found = ((package, _version(package)) for package in packages)
    return ", ".join(f"{package} {version}" for package, version in found if version)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _trackers() -> Iterator[Finding]:
    used = registry.entry_points()
    for entry in sorted(importlib.metadata.entry_points(group=registry.ENTRY_POINTS)):
        source = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
        if used[entry.name].value != entry.value:
            text = f"from {source} is hidden by {used[entry.name].value}, which has the same name"
            yield Finding(entry.name, text, False)
        else:
            yield _tracker(entry.name, source)


def _tracker(name: str, source: str) -> Finding:
    try:
        cls = registry.find(name)
        registry.check_requirements(cls)
    except MissingPackageError as error:
        return Finding(name, f"from {source}, needs {error.name}", None, _command(str(error)))
    except _BROKEN as error:
        return Finding(name, f"from {source} cannot be loaded: {type(error).__name__}: {error}", False)
    backend = _versions(cls.requires)
    return Finding(name, f"from {source}{f', with {backend}' if backend else ''}", True)


def _command(message: str) -> str:
    return message.rpartition("Run: ")[2]


# What would be used


def _defaults() -> Iterator[Finding]:
    try:
        chosen = settings.settings()
    except TrackhooksError as error:
        yield Finding("trackers", f"{error} (TRACKHOOKS={os.environ.get('TRACKHOOKS', '')})", False)
        return
    given = {name: f" ({name})" if os.environ.get(name) else "" for name in _VARIABLES}
    yield Finding("trackers", ", ".join(chosen.tracker_names) + given["TRACKHOOKS"], True)
    yield _directory(chosen.dir, given["TRACKHOOKS_DIR"])
    why = why_impossible() if chosen.delivery == "process" else ""
    yield Finding("delivery", f"{why or chosen.delivery}{given['TRACKHOOKS_DELIVERY']}", not why)
    silent = "" if chosen.ranks == "all" else ranks.silent_rank(chosen.rank)
    why = "TRACKHOOKS_DISABLED is set" if ranks.disabled() else silent
    if why:
        yield Finding("recording", f"nothing is recorded: {why}", None)


def _directory(path: Path, given: str) -> Finding:
    full = path.absolute()
    existing = next(folder for folder in (full, *full.parents) if folder.exists())
    if existing.is_dir() and os.access(existing, os.W_OK):
        return Finding("directory", f"{path}{given}", True)
    return Finding("directory", f"{path}{given}: {existing} is not writable", False)


# The runs


def _runs(paths: list[Path], progress: Callable[[int], None] | None) -> list[Finding]:
    found = [finding for path in paths for finding in _run(path, progress)]
    good = len(paths) - len({finding.subject for finding in found})
    return [Finding(f"{good} of {len(paths)}", "intact and delivered", True if good else None), *found]


def _run(path: Path, progress: Callable[[int], None] | None) -> Iterator[Finding]:
    try:
        run = summarize(path, progress, from_start=True)
    except TrackhooksError as error:
        yield Finding(path.name, str(error), False)
        return
    for text in run.journal.damage:
        yield Finding(run.name, text, False)
    yield from _other_ranks(run)
    if not run.journal.error:
        yield from _delivery(run)


def _other_ranks(run: RunSummary) -> Iterator[Finding]:
    for rank, folder in ranks_of(run.path).items():
        damage = summarize(folder, from_start=True).journal.damage if rank else []
        yield from (Finding(run.name, f"rank {rank}: {text}", False) for text in damage)


def _delivery(run: RunSummary) -> Iterator[Finding]:
    delivering = any(is_held(lock) for lock in (run.path / FOLDER).glob(".*.json.lock"))
    others = [cursor.tracker for cursor in cursors(run.path) if not any(map(cursor.is_of, run.info.trackers))]
    for name in formats.unique([*run.info.trackers, *others]):
        known = cursors(run.path, name)
        skipped = formats.unique(str(index) for cursor in known for index in cursor.skipped)
        if skipped:
            yield Finding(run.name, f"{name} rejected the records {', '.join(skipped)}", False)
        for what, count in {pair for cursor in known for pair in cursor.not_held.items()}:
            yield Finding(run.name, f"{name} cannot hold {count} {what}")
        if not any(is_delivered(run.path, cursor) for cursor in known):
            yield _waiting(run, name, known, delivering)


def _waiting(run: RunSummary, name: str, known: list[Cursor], delivering: bool) -> Finding:
    missing = run.journal.end - max((cursor.offset for cursor in known), default=0)
    what = f"{formats.size(missing)} of the journal" if missing > 0 else "the status"
    error = next((cursor.error for cursor in known if cursor.error), None)
    if error:
        return Finding(run.name, f"{what} is not delivered to {name}: {error}", False, _sync(run))
    if delivering:
        return Finding(run.name, f"{what} is being delivered to {name}")
    if run.status not in FINAL:
        return Finding(run.name, f"{what} is not delivered to {name} yet; the run is still running")
    return Finding(run.name, f"{what} is not delivered to {name}", False, _sync(run))


def _sync(run: RunSummary) -> str:
    return f"trackhooks sync {run.path}"
