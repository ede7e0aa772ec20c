"""Views: what a callback gets when the loop speaks the other vocabulary.

An Ultralytics function expects a trainer, validator, predictor or exporter. In other loops it gets a `View`, which
has the attributes that such a loop knows. A Keras callback expects a Keras model. For other models it gets a
`ModelView`. Both read and write the `LoopState`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, ClassVar

from ..errors import TrackhooksError
from ..errors.foreign import attempt
from .lookups import Lookups
from .loop_state import LoopState
from .vocabulary import Source


class View:
    """The object that an Ultralytics function gets in a loop of another framework.

    A `trainer` has: `args` (the run's parameters), `model`, `optimizer`, `data`, `epoch` (from 0), `start_epoch`,
    `epochs`, `metrics` (name → number), `loss`, `loss_items` and `tloss` (of the newest batch), `lr` (`{"lr/0": …}`),
    `save_dir`, `last` (the newest checkpoint), `stop` (set it to end the training after this epoch).
    A `validator` has: `args`, `model`, `dataloader`, `metrics`, `batch_i`, `seen`, `training` (whether it is part of
    a training), `save_dir`. A `predictor` has: `args`, `model`, `batch`, `results` (may be replaced), `seen`,
    `save_dir`. An `exporter` has: `args`, `model`, `file`, `metadata`.
    Other attributes that a function sets are stored, and can be read by later functions.
    """

    kind: ClassVar[Source]
    attributes: ClassVar[Mapping[str, str]]
    """The attributes of the view → attributes of the `LoopState`, or values that are computed from it."""

    def __init__(self, state: LoopState) -> None:
        object.__setattr__(self, "_state", state)

    def __getattr__(self, name: str) -> Any:
        state: LoopState = object.__getattribute__(self, "_state")
        found = self.attributes.get(name)
        if found is None:
            raise AttributeError(
                f"the {self.kind} of {state.loop} has no {name!r}. It has: {', '.join(sorted(self.attributes))}."
            )
        return _COMPUTED[found](state) if found in _COMPUTED else getattr(state, found)

    def __setattr__(self, name: str, value: Any) -> None:
        found = self.attributes.get(name)
        if found is None or found in _COMPUTED:
            object.__setattr__(self, name, value)
        else:
            setattr(self._state, found, value)

    def __dir__(self) -> list[str]:
        return sorted(self.attributes)


class Arguments:
    """The parameters of a run as attributes. They can be set, and `vars` returns all of them."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__ = values

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(sorted(map(str, vars(self)))) or "none"
        raise AttributeError(f"this run has no parameter {name!r}. It has: {known}.")

    def __repr__(self) -> str:
        return f"Arguments({vars(self)})"


def _optimizer(state: LoopState) -> Any:
    """Return the optimizer, or a dict of several by name."""
    return one_or_named(state.optimizers) if state.optimizers else _optimizer_of_model(state)


def one_or_named(found: Mapping[str, Any]) -> Any:
    """Return the only one, or several by name. One without a name, which came first, then gets its index."""
    return (
        next(iter(found.values())) if len(found) == 1 else {name or "0": one for name, one in found.items()}
    )


def _optimizer_of_model(state: LoopState) -> Any:
    return state.lookups.find("the model's optimizer", None, getattr, state.model, "optimizer", None)


def _learning_rates(state: LoopState) -> dict[str, float]:
    optimizers = state.optimizers or {"": _optimizer_of_model(state)}
    found = {
        rate: value
        for name, optimizer in optimizers.items()
        for rate, value in learning_rates(optimizer, state.lookups, name).items()
    }
    return found or {name: value for name, value in state.metrics.items() if name.startswith("lr/")}


def learning_rates(optimizer: Any, lookups: Lookups, name: str = "") -> dict[str, float]:
    """Return the learning rates of a torch optimizer by parameter group, as `lr/0`, … or `lr/<name>/0`, …"""
    kind = type(optimizer).__name__
    groups = lookups.find(f"the groups of {kind}", [], _groups, optimizer)
    rates = [lookups.find(f"the learning rate of {kind}", None, _rate, group) for group in groups]
    return {under("lr", name, str(i)): rate for i, rate in enumerate(rates) if rate is not None}


def under(prefix: str, name: str, fact: str) -> str:
    """Return the name of a fact about the model or optimizer of this name; the only one may have none."""
    return f"{prefix}/{name}/{fact}" if name else f"{prefix}/{fact}"


def _groups(optimizer: Any) -> list[Any]:
    return list(getattr(optimizer, "param_groups", None) or ())


def _rate(group: Any) -> float | None:
    rate = group.get("lr")
    return None if rate is None else float(rate)


_COMPUTED: dict[str, Any] = {
    "args": lambda state: Arguments(state.args),
    "present_optimizer": _optimizer,
    "epochs": lambda state: state.params.get("epochs"),
    "start_epoch": lambda state: state.params.get("initial_epoch", 0),
    "lr": _learning_rates,
    "loss": lambda state: state.batch_metrics.get("train_batch/loss", state.batch_metrics.get("loss")),
    "losses": lambda state: dict(state.batch_metrics),
    "metadata": lambda state: {},
}


class TrainerView(View):
    """A trainer of a loop of another framework."""

    kind = "trainer"
    attributes: ClassVar[Mapping[str, str]] = {
        "args": "args", "model": "model", "optimizer": "present_optimizer", "data": "data", "epoch": "epoch",
        "start_epoch": "start_epoch", "epochs": "epochs", "metrics": "metrics", "loss": "loss", "loss_items": "losses",
        "tloss": "losses", "lr": "lr", "save_dir": "save_dir", "last": "file", "stop": "stop",
    }  # fmt: skip


class ValidatorView(View):
    """A validator of a loop of another framework."""

    kind = "validator"
    attributes: ClassVar[Mapping[str, str]] = {
        "args": "args", "model": "model", "dataloader": "val_data", "metrics": "metrics", "batch_i": "batch",
        "seen": "seen", "training": "training", "save_dir": "save_dir",
    }  # fmt: skip


class PredictorView(View):
    """A predictor of a loop of another framework."""

    kind = "predictor"
    attributes: ClassVar[Mapping[str, str]] = {
        "args": "args", "model": "model", "batch": "inputs", "results": "results", "seen": "seen",
        "save_dir": "save_dir",
    }  # fmt: skip


class ExporterView(View):
    """An exporter of a loop of another framework."""

    kind = "exporter"
    attributes: ClassVar[Mapping[str, str]] = {
        "args": "args",
        "model": "model",
        "file": "file",
        "metadata": "metadata",
    }


VIEWS: Mapping[Source, type[View]] = {
    "trainer": TrainerView,
    "validator": ValidatorView,
    "predictor": PredictorView,
    "exporter": ExporterView,
}


class ModelView:
    """The model that a Keras callback gets in a loop whose model is not a Keras model.

    Setting `stop_training` ends the training after this epoch. The attributes of the loop's model can be read and set
    through the view. What only a Keras model has, such as its weights, its optimizer and its `save`, raises an error
    with the reason.
    """

    def __init__(self, state: LoopState) -> None:
        object.__setattr__(self, "_state", state)

    @property
    def stop_training(self) -> bool:
        """Whether the training ends after this epoch."""
        return self._state.stop  # type: ignore[no-any-return]

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self._state.set_stop(bool(value))

    def __getattr__(self, name: str) -> Any:
        state: LoopState = object.__getattribute__(self, "_state")
        if name.startswith("__"):
            raise AttributeError(name)
        if state.model is not None and name not in _KERAS_OWN and hasattr(state.model, name):
            return getattr(state.model, name)
        raise no_keras_model(state.loop, name)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute of the loop's model if it has one of this name, and of the view otherwise."""
        model = self._state.model
        own = model is None or hasattr(type(self), name) or not has(model, name)
        if own:
            object.__setattr__(self, name, value)
        else:
            setattr(model, name, value)


_KERAS_OWN = frozenset(
    {"compile", "get_weights", "load_weights", "optimizer", "save", "save_weights", "set_weights", "to_json"}
)
"""Attributes that mean something else in other models: the `save` of a YOLO model is a list."""


_SAVE = "Save the model in the loop instead, and record the file: run.log_model(path, aliases=['best'])."
_WEIGHTS = (
    "Keep the best weights in the loop instead: save them, and run.log_model(path, aliases=['best']). EarlyStopping"
    " works with restore_best_weights=False."
)
_REMEDIES = {
    "optimizer": "Change the learning rate in the loop instead, with a scheduler of the library that trains the model.",
    "save": _SAVE,
    "save_weights": _SAVE,
    "get_weights": _WEIGHTS,
    "set_weights": _WEIGHTS,
    "load_weights": _WEIGHTS,
    "built": "Save the model in the loop instead, and continue an interrupted run with trackhooks.run(resume=…).",
}
_OTHER_REMEDY = (
    "Write one that reads the logs and sets model.stop_training, or use this one in the fit of a Keras model."
)


class ForeignModelError(TrackhooksError, AttributeError):
    """A Keras callback used an attribute that only Keras models have, in a loop with another model."""


def needs_keras_model(name: str) -> bool:
    """Return whether a callback that reads this attribute of its model expects a Keras model."""
    return name in _REMEDIES


def no_keras_model(loop: str, name: str) -> ForeignModelError:
    """Return the error for an attribute that the model of a loop does not have, with what to do instead."""
    return ForeignModelError(
        f"{loop} has no Keras model, so there is no model.{name}: a Keras callback that needs it cannot work here."
        f" {_REMEDIES.get(name, _OTHER_REMEDY)}"
    )


_OF_KERAS = ("stop_training", "get_weights")
"""Attributes of Keras models, of which a model that was never trained has only the second."""


def model_for_keras(model: Any, state: LoopState) -> Any:
    """Return the model that Keras callbacks get: itself, or a view of a torch module or of what cannot be changed."""
    if any(has(model, name) for name in _OF_KERAS):
        return model
    if has(model, "__dict__") and not _is_torch_module(model):  # stop_training can be set
        return model
    state.set_model(model)
    return ModelView(state)


def has(owner: Any, name: str) -> bool:
    """Return whether an object has an attribute that can be read."""
    return attempt(hasattr, owner, name) is True


def _is_torch_module(model: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)
