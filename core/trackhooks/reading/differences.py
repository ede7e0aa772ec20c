"""Decide which parameters, properties of the model and entries of the environment are differences between runs.

Not every recorded parameter was varied by the user. Output folders and generated names differ in every run, and the
settings of the optimizer repeat parameters that the user set.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..event import Scalar
from . import formats
from .summary import RunSummary

_FACTS = frozenset({"model/name", "model/parameters", "model/trainable", "model/layers"})
"""Facts that are parameters in old journals."""
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
_PROGRAM = frozenset({"program", "command", "arguments", "directory"})
_OF_PATCH = frozenset({"code/patch", "code/changed"})
_UNKNOWN_IF_ABSENT = frozenset({"cpu", "cpus/usable", "memory_gib"})
"""Entries that not every machine, and no earlier version of trackhooks, provides."""

_Values = Mapping[str, Any]


def value_of(run: RunSummary, name: str, default: Any = None) -> Any:
    """Return the value of a parameter. What one run was given may be a fact of another."""
    if name in run.params:
        return run.params[name]
    if name in _OF_PATCH and not run.info.environment.get("git/dirty"):
        return default  # it is of an earlier process, before the run was resumed
    return run.facts.get(name, default)


def environment_of(run: RunSummary) -> dict[str, Scalar]:
    """Return the environment of a run, with an entry for each package."""
    found = dict(run.info.environment)
    for entry in str(found.pop("packages", "")).split(", "):
        name, _, version = entry.partition(" ")
        if version:
            found.setdefault(f"package/{name}", version)
    return found


def block_of(name: str) -> str:
    """Return to which block of a comparison an entry of the environment belongs."""
    if name.startswith("git/") or name in _PROGRAM:
        return "code"
    return "packages" if name.startswith("package/") or name == "python" else "machine"


def block_of_fact(name: str) -> str:
    """Return to which block of a comparison a fact belongs."""
    part = name.partition("/")[0]
    return part if part in ("code", "data") else "model and optimizer"


def separates_seeds(name: str) -> bool:
    """Return whether a fact that differs says that runs differ in more than their seed.

    The code does not, and neither does a fingerprint: a seed may choose the samples.
    """
    return not name.startswith("code/") and not name.endswith("/fingerprint")


def all_params(runs: Iterable[RunSummary]) -> list[str]:
    """Return the names of all parameters of the runs."""
    return formats.unique(name for run in runs for name in run.params)


def is_equal(runs: Sequence[RunSummary], name: str) -> bool:
    """Return whether all runs have the same value of a parameter. A missing one differs from every other."""
    first = value_of(runs[0], name, _ABSENT)
    return all(_is_same(value_of(run, name, _ABSENT), first) for run in runs)


def is_learning_rate(name: str) -> bool:
    """Return whether a parameter contains a learning rate, such as `lr`, `lr0` or `optimizer/learning_rate`."""
    return _LEARNING_RATE.fullmatch(re.split(r"[/.]", name)[-1]) is not None


def is_seed(name: str) -> bool:
    """Return whether a parameter contains a seed, such as `seed`, `data/random_state` or `torch_seed`."""
    return _SEED.fullmatch(name) is not None


def differing_params(runs: Sequence[RunSummary]) -> list[str]:
    """Return the parameters that were varied: the learning rate only once, without generated names and folders."""
    names = [name for name in all_params(runs) if not is_equal(runs, name) and not _is_not_varied(name, runs)]
    return _without_repetitions(names, names, runs)


def _is_not_varied(name: str, runs: Sequence[RunSummary]) -> bool:
    left_at_default = all(name in run.defaults for run in runs if name in run.params)
    return name in _FACTS or left_at_default or _is_place(name, runs)


def given_params(run: RunSummary) -> list[str]:
    """Return the parameters that the user set: neither defaults, nor facts, nor repetitions of another one."""
    names = [name for name in run.params if name not in _FACTS and name not in run.defaults]
    return _without_repetitions(names, names, [run])


def differing_facts(runs: Sequence[RunSummary]) -> list[str]:
    """Return what differs in the model and the optimizer besides the parameters, such as `model/parameters`."""
    given = [name for name in all_params(runs) if name not in _FACTS]
    found = formats.unique(
        name for run in runs for name in (*run.facts, *_FACTS.intersection(run.params)) if name not in given
    )
    names = [name for name in found if not is_equal(runs, name) and not _is_meaningless(name, runs)]
    return _without_repetitions(names, [*given, *names], runs)


def _is_meaningless(name: str, runs: Sequence[RunSummary]) -> bool:
    return _is_place(name, runs) or _is_generated(name, runs)


def differing_environment(runs: Sequence[RunSummary]) -> list[str]:
    """Return the entries of the environment that differ: the code first, then the command, the machine, packages."""
    values = [environment_of(run) for run in runs]
    names = formats.unique(name for found in values for name in found)
    differing = [name for name in names if not _are_same(values, name)]
    shown = [name for name in differing if not _is_no_difference(name, runs, values)]
    return sorted(shown, key=lambda name: _BLOCKS.index(block_of(name)))


_BLOCKS = ("code", "machine", "packages")
"""The blocks that the entries of the environment belong to, in order."""


def _is_no_difference(name: str, runs: Sequence[RunSummary], values: Sequence[_Values]) -> bool:
    """Return whether an entry repeats others, or is only missing in some runs without being different in others."""
    if name.startswith("package/") or name in _UNKNOWN_IF_ABSENT:
        return len({found[name] for found in values if name in found}) == 1
    if name == "arguments":
        return len(set(map(_unexplained_arguments, runs))) == 1
    return name == "command" and all("arguments" in found for found in values)


def _unexplained_arguments(run: RunSummary) -> tuple[str, ...]:
    """Return the arguments of the program without those that a parameter has as its value, as in `--lr=0.1`."""
    words = str(run.info.environment.get("arguments")).split()
    explained = set(map(_plain_number, map(str, (*run.params.values(), *run.facts.values()))))
    return tuple(word for word in words if _plain_number(word.rpartition("=")[2]) not in explained)


def _plain_number(text: str) -> str:
    """Return the same text for the same number: `0.001` for `1e-3`."""
    try:
        return str(float(text))
    except ValueError:
        return text


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


def _is_place(name: str, runs: Sequence[RunSummary]) -> bool:
    """Return whether a parameter only says where, or under which name, each run stores its output."""
    if _OUTPUT.fullmatch(name) or not _NAME.fullmatch(name):
        return _OUTPUT.fullmatch(name) is not None
    named = ((run, value_of(run, name)) for run in runs)
    return all(value is None or _is_part_of_output(str(value), run) for run, value in named)


def _is_part_of_output(value: str, run: RunSummary) -> bool:
    known = {**run.facts, **run.params}
    folders = [str(folder) for name, folder in known.items() if _OUTPUT.fullmatch(name)]
    parts = [f"/{folder}/".replace("\\", "/") for folder in [*folders, run.name]]
    return any(f"/{value.strip('/')}/" in part for part in parts)


def _is_generated(name: str, runs: Sequence[RunSummary]) -> bool:
    """Return whether names of models differ only in the number that was added to make them unique."""
    stems = {_NUMBERED.sub("", str(value_of(run, name))) for run in runs}
    return name == "model/name" and len(stems) == 1


def _without_repetitions(
    names: Sequence[str], others: Sequence[str], runs: Sequence[RunSummary]
) -> list[str]:
    """Leave out settings of the optimizer and learning rates that have the same values as another parameter."""
    kept, compared = list(names), list(others)
    suspects = [name for name in names if name.startswith(_OPTIMIZER) or is_learning_rate(name)]
    for name in sorted(suspects, key=_directness):
        if any(_repeats(name, other, runs) for other in compared if other != name):
            kept.remove(name)
            compared.remove(name)
    return kept


def _directness(name: str) -> tuple[bool, int]:
    """Return the sort key that puts what trackhooks found before what the user set."""
    return not name.startswith(_OPTIMIZER), -name.count("/")


def _repeats(name: str, other: str, runs: Sequence[RunSummary]) -> bool:
    """Return whether the other parameter has the same meaning, and the same value in each run with this one."""
    setting = name.startswith(_OPTIMIZER) and not other.startswith(_OPTIMIZER)
    if not setting and not (is_learning_rate(name) and is_learning_rate(other)):
        return False
    pairs = ((value_of(run, name, _ABSENT), value_of(run, other, _ABSENT)) for run in runs)
    return all(value is _ABSENT or _is_repetition(value, repeated) for value, repeated in pairs)


def _is_repetition(one: Any, other: Any) -> bool:
    return _is_same(one, other) or str(one).casefold() == str(other).casefold()  # `SGD` is called `sgd`, too
