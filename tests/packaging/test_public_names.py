"""The names that users import: a new or a missing one is a change of the API, and is made here as well."""

from __future__ import annotations

import inspect
import pkgutil
from pathlib import Path

import trackhooks
from trackhooks.session.settings import Options

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
    "history",
    "journal",
    "ranks",
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

RUN = {
    # identity and state
    "id",
    "name",
    "path",
    "status",
    "step",
    "epoch",
    "records",
    # callbacks
    "callbacks",
    "add_callback",
    "run_callbacks",
    # frameworks
    "keras",
    "callback",
    "attach",
    "child",
    # a custom loop
    "watch",
    "epochs",
    "train",
    "validate",
    "predict",
    # what is logged directly
    "log",
    "log_params",
    "log_text",
    "log_table",
    "log_histogram",
    "log_image",
    "log_figure",
    "log_file",
    "log_model",
    "log_export",
    # delivery, and the end
    "flush",
    "wait",
    "url",
    "close",
}


def test_these_are_the_public_names() -> None:
    assert set(trackhooks.__all__) == NAMES


def test_every_public_name_is_there_and_documented() -> None:
    assert [name for name in NAMES if not inspect.getdoc(getattr(trackhooks, name))] == []


def test_these_are_the_public_names_of_a_run(run: trackhooks.Run) -> None:
    assert public(run) == RUN


def test_every_public_name_of_a_run_is_documented(run: trackhooks.Run) -> None:
    members = {name: getattr(trackhooks.Run, name) for name in RUN - {"run_callbacks"}}
    assert [name for name, member in members.items() if not inspect.getdoc(member)] == []


def test_run_callbacks_is_the_method_of_the_list_itself(run: trackhooks.Run) -> None:
    """A function finds the loop by its frames, so there must not be a call in between."""
    assert run.run_callbacks == run.callbacks.run_callbacks


def test_the_signature_of_run_has_exactly_the_options_and_their_defaults() -> None:
    parameters = list(inspect.signature(trackhooks.run).parameters.values())
    assert [parameter.kind for parameter in parameters if parameter.kind != parameter.KEYWORD_ONLY] == [
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    ]
    named = [parameter for parameter in parameters if parameter.kind == parameter.KEYWORD_ONLY]
    assert [(parameter.name, parameter.annotation) for parameter in named] == list(
        Options.__annotations__.items()
    )
    assert Options(**{parameter.name: parameter.default for parameter in named}) == Options()


def test_every_option_is_documented() -> None:
    documented = inspect.getdoc(trackhooks.run)
    assert documented is not None
    assert [name for name in Options.__struct_fields__ if f"    {name}: " not in documented] == []


def test_a_run_is_accepted_wherever_the_path_of_a_run_is(run: trackhooks.Run) -> None:
    assert Path(run) == run.path
    assert trackhooks.compare([run]) is not None


def test_what_is_not_public_is_not_offered() -> None:
    assert set(filter(lambda name: not name.startswith("_"), dir(trackhooks))) <= NAMES | modules()


def test_no_module_hides_a_public_name() -> None:
    """After its first import, a module `run` would replace the function `run`."""
    assert modules() & NAMES <= {"journal"}


def public(thing: object) -> set[str]:
    return {name for name in dir(thing) if not name.startswith("_")}


def modules() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(trackhooks.__path__)}
