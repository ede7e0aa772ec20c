"""What is trained, and with which settings. Each function reads attributes that a user's class may lack."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from trackhooks.event import Scalar
from trackhooks.frameworks import helpers
from trackhooks.frameworks.helpers import Lookups, flat_params, loader_facts, settings, sizes

_OUTPUT = frozenset({"output_dir", "logging_dir", "run_name"})
"""Arguments that say where the results are saved. They differ in every run, and change nothing about it."""
_DERIVED = frozenset({"train_batch_size", "eval_batch_size"})
"""What `to_sanitized_dict` adds to the arguments: they follow from other arguments and the number of GPUs."""
_OF_THE_TERMINAL = frozenset({"disable_tqdm"})
"""Arguments whose default depends on the terminal."""
_EMPTY: tuple[Scalar, ...] = (False, "", "None", "[]", "{}", "none")


class Arguments:
    """The `TrainingArguments` of a training.

    Args:
        args: the arguments.
        lookups: reports what cannot be read.
    """

    def __init__(self, args: Any, lookups: Lookups) -> None:
        what = f"the arguments of {type(args).__name__}"
        found: Mapping[str, Any] = lookups.find(what, {}, _flat, args)
        own = {name: value for name, value in found.items() if name not in _OUTPUT | _DERIVED}
        self.params = own
        """The hyper-parameters, flat, secrets redacted."""
        self.facts = {name: value for name, value in found.items() if name not in own}
        """What follows from the parameters, or names a folder."""
        defaults: Mapping[str, Any] = lookups.find(
            f"the defaults of {type(args).__name__}", {}, _defaults, args
        )
        self.defaults = [name for name, value in own.items() if _is_default(name, value, defaults)]
        """The names of the parameters that the user left at their default. The learning rate is always shown."""


def _flat(args: Any) -> dict[str, Scalar]:
    return flat_params(args.to_sanitized_dict())


def _defaults(args: Any) -> dict[str, Scalar]:
    """Return the defaults as `to_sanitized_dict` would show them, without making an object: that has side effects."""
    found = {field.name: _default(args, field) for field in dataclasses.fields(args)}
    return flat_params(
        {
            name: value if type(value) in {bool, int, float, str} else str(value)
            for name, value in found.items()
            if value is not dataclasses.MISSING
        }
    )


def _default(args: Any, field: dataclasses.Field[Any]) -> Any:
    if field.name == "accelerator_config":
        default = type(args.accelerator_config)()
        return {name: getattr(default, name) for name in args.accelerator_config.to_dict()}
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return getattr(field.default, "value", field.default)  # of an enum, as it is shown


def _is_default(name: str, value: Scalar, defaults: Mapping[str, Scalar]) -> bool:
    if name == "learning_rate" or name not in defaults:
        return False
    default = defaults[name]
    filled_in = default in _EMPTY and value in _EMPTY
    return (type(value) is type(default) and value == default) or filled_in or name in _OF_THE_TERMINAL


def details(trainer: Any, given: Mapping[str, Any], lookups: Lookups) -> dict[str, Any]:
    """Return facts about the model, the optimizer and the data, and a summary of the model.

    Args:
        trainer: the Trainer.
        given: what its callbacks get.
        lookups: reports what cannot be read.
    """
    model, optimizer = given.get("model"), given.get("optimizer")
    facts = settings(getattr(optimizer, "optimizer", optimizer), lookups)
    facts |= loader_facts("train", given.get("train_dataloader"))
    facts |= lookups.find("the validation data", {}, _val_facts, trainer)
    if model is None:
        return {"facts": facts}
    return {"facts": facts | sizes(model, lookups), "media": helpers.media(model, lookups)}


def _val_facts(trainer: Any) -> dict[str, Scalar]:
    data = trainer.eval_dataset
    if data is None:
        return {}
    found: dict[str, Scalar] = {"data/val": type(data).__name__}
    sets = data.values() if isinstance(data, Mapping) else [data]
    if all(hasattr(type(one), "__getitem__") for one in sets):
        found["data/val/samples"] = sum(len(one) for one in sets)
    return found


def learning_rates(optimizer: Any) -> dict[str, float]:
    """Return the learning rate of each parameter group."""
    return {f"lr/{number}": group["lr"] for number, group in enumerate(optimizer.param_groups)}


def batches_of(loader: Any) -> int | None:
    """Return how many batches an epoch has; None if the loader does not know."""
    try:
        return len(loader)
    except (TypeError, NotImplementedError, AttributeError):
        return None
