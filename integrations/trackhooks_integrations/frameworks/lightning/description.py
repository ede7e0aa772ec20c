"""What is trained, and how: hyper-parameters and facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trackhooks.event import Scalar
from trackhooks.frameworks.helpers import (
    Lookups,
    array_facts,
    at_default,
    flat_params,
    loader_facts,
    media,
    settings,
    sizes,
)

_SETTINGS: Mapping[str, Any] = {
    "max_epochs": None, "max_steps": -1, "accumulate_grad_batches": 1, "gradient_clip_val": None,
    "precision": "32-true", "world_size": 1,
}  # fmt: skip
"""The settings of a Trainer that are hyper-parameters, and Lightning's defaults, which are not recorded."""


class Description:
    """Reads what a Trainer trains.

    Args:
        trainer: the Trainer.
        module: its `LightningModule`.
        lookups: reads what may be missing.
    """

    def __init__(self, trainer: Any, module: Any, lookups: Lookups) -> None:
        self._trainer = trainer
        self._module = module
        self._lookups = lookups

    def params(self) -> dict[str, Any]:
        """Return the hyper-parameters: what was saved as such, the Trainer's settings, the optimizers."""
        data = self._lookups.find("the datamodule", None, getattr, self._trainer, "datamodule")
        saved = {**self._saved(data), **self._saved(self._module)}
        found = {name: self._setting(name) for name in _SETTINGS}
        chosen = {name: value for name, value in found.items() if value != _SETTINGS[name]}
        return {**flat_params(saved), **chosen, **self._optimizers()}

    def defaults(self) -> list[str]:
        """Return the names of the saved hyper-parameters that have the defaults of the module's class."""
        return at_default(type(self._module), self._saved(self._module))

    def details(self) -> dict[str, Any]:
        """Return facts about the model and the data, and pictures of the model."""
        return {
            "facts": sizes(self._module, self._lookups) | self._data(),
            "media": media(self._module, self._lookups),
        }

    def learning_rates(self) -> dict[str, float]:
        """Return the current learning rate of each group of parameters."""
        return self._lookups.find("the learning rates", {}, _learning_rates, self._trainer)

    def _saved(self, owner: Any) -> dict[str, Any]:
        return self._lookups.find(f"the hparams of {type(owner).__name__}", {}, _saved, owner)

    def _setting(self, name: str) -> Any:
        return self._lookups.find(f"the {name} of the Trainer", _SETTINGS[name], getattr, self._trainer, name)

    def _optimizers(self) -> dict[str, Scalar]:
        made = self._lookups.find("the optimizers", [], _optimizers, self._trainer)
        named = zip([""] if len(made) == 1 else map(str, range(len(made))), made, strict=True)
        return {
            key: value for name, one in named for key, value in settings(one, self._lookups, name).items()
        }

    def _data(self) -> dict[str, Scalar]:
        return self._lookups.find("the data", {}, _data, self._trainer)


def _saved(owner: Any) -> dict[str, Any]:
    return dict(getattr(owner, "hparams", {}))


def _optimizers(trainer: Any) -> list[Any]:
    return list(trainer.optimizers)


def _learning_rates(trainer: Any) -> dict[str, float]:
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    return {f"lr/{number}": float(group["lr"]) for number, group in enumerate(groups)}


def _data(trainer: Any) -> dict[str, Scalar]:
    splits = {"train": trainer.train_dataloader, "val": trainer.val_dataloaders}
    found: dict[str, Scalar] = {}
    for split, loader in splits.items():
        only = loader[0] if isinstance(loader, (list, tuple)) and len(loader) == 1 else loader
        if only is not None:
            found |= loader_facts(split, only) or array_facts(split, {"": type(only).__name__})
    return found
