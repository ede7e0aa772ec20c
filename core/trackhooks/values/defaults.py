"""Tell what a user set from what a framework filled in, and from what merely repeats a parameter of the user."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Collection, Mapping
from typing import Any

from ..errors.foreign import Failure, attempt
from .fields import flatten

_RATES = frozenset({"lr", "lr0", "learning_rate"})
"""Names of the learning rate, which are one name here. It is what people vary, so it never counts as a default."""


def at_default(kind: type, values: Mapping[str, Any]) -> list[str]:
    """Return the names of the values that the constructor of a class uses if the caller does not pass any.

    A name that the constructor does not have cannot have been passed, and so is a default too.
    """
    signature = attempt(inspect.signature, kind)
    if isinstance(signature, Failure):
        return []
    known = signature.parameters
    takes_more = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    return [
        name
        for name, value in values.items()
        if name not in _RATES and (_same(value, known[name].default) if name in known else not takes_more)
    ]


def told_apart(
    settings: Mapping[str, Any], given: Mapping[str, Any], defaults: Collection[str]
) -> dict[str, Any]:
    """Return the fields of an event with what a framework was set to.

    Args:
        settings: the parameters of the framework, flat.
        given: the parameters that the user named, as they were given.
        defaults: the names of the settings that the user did not set.
    """
    optimizer = {name: value for name, value in settings.items() if name.startswith("optimizer/")}
    facts = repeated(optimizer, dict(flatten(given)))
    return {
        "params": {name: value for name, value in settings.items() if name not in facts},
        "defaults": [name for name in settings if name in defaults and name not in facts],
        "facts": {name: value for name, value in settings.items() if name in facts},
    }


def repeated(settings: Mapping[str, Any], given: Mapping[str, Any]) -> set[str]:
    """Return the names of the settings that say the same as a given parameter.

    They do if they have the same value, and the same last word of the name: `optimizer/lr` repeats `lr`, and
    `learning_rate` and `hparams/lr` too.
    """
    values = {_last_word(name): value for name, value in given.items()}
    words = {name: _last_word(name) for name in settings}
    return {name for name, word in words.items() if word in values and _same(settings[name], values[word])}


def _last_word(name: str) -> str:
    word = name.rpartition("/")[2].rpartition(".")[2]
    return "lr" if word in _RATES else word


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and attempt(operator.eq, one, other) is True
