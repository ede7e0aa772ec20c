"""Decide which parameters, properties of the model and entries of the environment are differences between runs.

Not every recorded parameter was varied by the user. Output folders and generated names differ in every run, and the
settings of the optimizer repeat parameters that the user set.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from . import formats
from .summary import RunSummary

_MODEL = frozenset({"model/name", "model/parameters", "model/trainable", "model/layers", "model/gflops"})
"""Parameters that describe the model, as trackhooks found it."""
_OPTIMIZER = "optimizer/"
_LEARNING_RATE = re.compile(r"(initial|base|init)?[_-]?(lr0?|learning[_-]?rate)", re.IGNORECASE)
_SEED = re.compile(r"(?:.*[/._-])?(?:seed|random[_-]?state)", re.IGNORECASE)
_OUTPUT = re.compile(
    r"(?:.*[/.])?(?:default[_-]?root|save|out|outputs?|logs?|logging|checkpoints?|ckpts?|results?|runs?|work"
    r"|exp|experiments?|artifacts?|cache|tensorboard|tb)[_-]?(?:dir|folder|path|directory)",
    re.IGNORECASE,
)
"""Names of parameters that contain an output folder."""
_NAME = re.compile(r"(?:(?:run|exp|experiment)[_-]?)?(?:name|id|project)", re.IGNORECASE)
"""Names of parameters that may contain a part of the path of the output folder."""
_NUMBERED = re.compile(r"_\d+$")
_ABSENT = object()

_Values = Mapping[str, Any]


def all_params(runs: Iterable[RunSummary]) -> list[str]:
    """Return the names of all parameters of the runs."""
    return formats.unique(name for run in runs for name in run.params)


def is_equal(runs: Sequence[RunSummary], name: str) -> bool:
    """Return whether all runs have the same value of a parameter."""
    return _are_same([run.params for run in runs], name)


def is_learning_rate(name: str) -> bool:
    """Return whether a parameter contains a learning rate, such as `lr`, `lr0` or `optimizer/learning_rate`."""
    return _LEARNING_RATE.fullmatch(re.split(r"[/.]", name)[-1]) is not None


def is_seed(name: str) -> bool:
    """Return whether a parameter contains a seed, such as `seed`, `data/random_state` or `torch_seed`."""
    return _SEED.fullmatch(name) is not None


def differing_params(runs: Sequence[RunSummary]) -> list[str]:
    """Return the parameters that were varied: the learning rate only once, without generated names and folders."""
    return _without_repetitions(_differing(runs, lambda run: run.params, _is_not_varied), runs)


def given_params(runs: Sequence[RunSummary]) -> list[str]:
    """Return all parameters except for those that describe the model or repeat another one."""
    names = [name for name in all_params(runs) if name not in _MODEL]
    return _without_repetitions(names, runs)


def differing_model(runs: Sequence[RunSummary]) -> list[str]:
    """Return the properties of the model that differ, such as `model/parameters`."""
    return _differing(runs, _model, _is_generated)


def _model(run: RunSummary) -> _Values:
    return {name: value for name, value in run.params.items() if name in _MODEL}


def differing_environment(runs: Sequence[RunSummary]) -> list[str]:
    """Return the entries of the environment that differ: the code first, then the command, the machine, packages."""
    names = _differing(runs, lambda run: run.info.environment, _is_no_difference)
    return sorted(names, key=lambda name: (not name.startswith("git/"), name.startswith("package/")))


def _is_no_difference(name: str, runs: Sequence[RunSummary]) -> bool:
    """Return whether an entry repeats others, or is the version of a package that some runs have not imported."""
    if name.startswith("package/"):
        return len({run.info.environment[name] for run in runs if name in run.info.environment}) == 1
    return name == "command" and all("arguments" in run.info.environment for run in runs)


def _differing(
    runs: Sequence[RunSummary],
    read: Callable[[RunSummary], _Values],
    left_out: Callable[[str, Sequence[RunSummary]], bool],
) -> list[str]:
    names = formats.unique(name for run in runs for name in read(run))
    values = [read(run) for run in runs]
    return [name for name in names if not _are_same(values, name) and not left_out(name, runs)]


def _are_same(values: Sequence[_Values], name: str) -> bool:
    """Return whether all have the same value. A missing one differs from every other."""
    first = values[0].get(name, _ABSENT)
    return all(_is_same(other.get(name, _ABSENT), first) for other in values)


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float) and math.isclose(one, other, rel_tol=1e-6):
        return True  # a number that was a 32-bit float in one run
    if _ABSENT in (one, other):
        return one is other
    return one == other or str(one) == str(other)  # NaN is the same as NaN


def _is_not_varied(name: str, runs: Sequence[RunSummary]) -> bool:
    return name in _MODEL or _OUTPUT.fullmatch(name) is not None or _is_name_of_output(name, runs)


def _is_name_of_output(name: str, runs: Sequence[RunSummary]) -> bool:
    """Return whether a parameter is only the name under which each run stores its output."""
    if not _NAME.fullmatch(name):
        return False
    named = [run for run in runs if run.params.get(name) is not None]
    return all(_is_part_of_output(str(run.params[name]), run) for run in named)


def _is_part_of_output(value: str, run: RunSummary) -> bool:
    folders = [str(folder) for name, folder in run.params.items() if _OUTPUT.fullmatch(name)]
    parts = [f"/{folder}/".replace("\\", "/") for folder in [*folders, run.name]]
    return any(f"/{value.strip('/')}/" in part for part in parts)


def _is_generated(name: str, runs: Sequence[RunSummary]) -> bool:
    """Return whether names of models differ only in the number that was added to make them unique."""
    stems = {_NUMBERED.sub("", str(run.params.get(name))) for run in runs}
    return name == "model/name" and len(stems) == 1


def _without_repetitions(names: Sequence[str], runs: Sequence[RunSummary]) -> list[str]:
    """Leave out settings of the optimizer and learning rates that have the same values as another parameter."""
    kept = list(names)
    suspects = [name for name in names if name.startswith(_OPTIMIZER) or is_learning_rate(name)]
    for name in sorted(suspects, key=_directness):
        if any(_repeats(name, other, runs) for other in kept if other != name):
            kept.remove(name)
    return kept


def _directness(name: str) -> tuple[bool, int]:
    """Return the sort key that puts what trackhooks found before what the user set."""
    return not name.startswith(_OPTIMIZER), -name.count("/")


def _repeats(name: str, other: str, runs: Sequence[RunSummary]) -> bool:
    """Return whether the other parameter has the same meaning, and the same value in each run with this one."""
    setting = name.startswith(_OPTIMIZER) and not other.startswith(_OPTIMIZER)
    if not setting and not (is_learning_rate(name) and is_learning_rate(other)):
        return False
    return all(
        _is_repetition(run.params[name], run.params.get(other, _ABSENT)) for run in runs if name in run.params
    )


def _is_repetition(one: Any, other: Any) -> bool:
    return _is_same(one, other) or str(one).casefold() == str(other).casefold()  # `SGD` is called `sgd`, too
