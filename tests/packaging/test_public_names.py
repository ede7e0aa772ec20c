"""The names that users import: a new or a missing one is a change of the API, and is made here as well."""

from __future__ import annotations

import inspect
import pkgutil

import trackhooks

NAMES = {
    # record
    "run",
    "enable",
    "disable",
    "keras_callback",
    "Run",
    # the callbacks
    "Callback",
    "CallbackList",
    # the trackers
    "Event",
    "Tracker",
    # read back
    "compare",
    "journal",
    "runs",
    # errors and warnings
    "InvalidValueError",
    "JournalError",
    "MissingPackageError",
    "TrackerError",
    "TrackhooksError",
    "TrackhooksWarning",
    "UnknownNameError",
}


def test_these_are_the_public_names() -> None:
    assert set(trackhooks.__all__) == NAMES


def test_every_public_name_is_there_and_documented() -> None:
    assert [name for name in NAMES if not inspect.getdoc(getattr(trackhooks, name))] == []


def test_what_is_not_public_is_not_offered() -> None:
    assert set(filter(lambda name: not name.startswith("_"), dir(trackhooks))) <= NAMES | modules()


def test_no_module_hides_a_public_name() -> None:
    """After its first import, a module `run` would stand where the function `run` was."""
    assert modules() & NAMES <= {"journal"}


def modules() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(trackhooks.__path__)}
