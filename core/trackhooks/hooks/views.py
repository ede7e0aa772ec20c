"""What a callback gets when the loop speaks the other vocabulary.

An Ultralytics function expects a trainer, validator, predictor or exporter: in every other loop it gets a `View`,
which has those of its attributes that such a loop knows. A Keras callback expects a Keras model: for any other model
it gets a `ModelView`. Both read and write one `LoopState`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, ClassVar

from ..errors import TrackhooksError
from ..values.foreign import attempt
from ..values.lookups import Lookups
from .loop_state import LoopState
from .vocabulary import Source


class View:
    """The object that an Ultralytics function gets in a loop that is not Ultralytics' own.

    A `trainer` has: `args` (the run's parameters), `model`, `optimizer`, `data`, `epoch` (from 0), `start_epoch`,
    `epochs`, `metrics` (name → number), `loss`, `loss_items` and `tloss` (of the newest batch), `lr` (`{"lr/0": …}`),
    `save_dir`, `last` (the newest checkpoint), `stop` (set it to end the training after this epoch).
    A `validator` has: `args`, `model`, `dataloader`, `metrics`, `batch_i`, `seen`, `training` (whether it runs inside
    of a training), `save_dir`. A `predictor` has: `args`, `model`, `batch`, `results` (may be replaced), `seen`,
    `save_dir`. An `exporter` has: `args`, `model`, `file`, `metadata`.
    Anything else that is set is stored, so that functions may leave each other notes.
    """

    kind: ClassVar[Source]
    attributes: ClassVar[Mapping[str, str]]
    """The names it has → those in the `LoopState`, or of what is computed from it."""

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
    """A run's parameters as attributes; what is set stays, and `vars` gives them all."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__ = values

    def __getattr__(self, name: str) -> Any:
        known = ", ".join(sorted(map(str, vars(self)))) or "none"
        raise AttributeError(f"this run has no parameter {name!r}. It has: {known}.")

    def __repr__(self) -> str:
        return f"Arguments({vars(self)})"


def _optimizer(state: LoopState) -> Any:
    if state.optimizer is not None:
        return state.optimizer
    return state.lookups.find("the model's optimizer", None, getattr, state.model, "optimizer", None)


def _learning_rates(state: LoopState) -> dict[str, float]:
    found = learning_rates(_optimizer(state), state.lookups)
    return found or {name: value for name, value in state.metrics.items() if name.startswith("lr/")}


def learning_rates(optimizer: Any, lookups: Lookups) -> dict[str, float]:
    """`lr/0`, … of the groups of a torch optimizer; a group without a learning rate has none."""
    name = type(optimizer).__name__
    groups = lookups.find(f"the groups of {name}", [], _groups, optimizer)
    rates = [lookups.find(f"the learning rate of {name}", None, _rate, group) for group in groups]
    return {f"lr/{i}": rate for i, rate in enumerate(rates) if rate is not None}


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
    "loss": lambda state: state.batch_metrics.get("batch/loss", state.batch_metrics.get("loss")),
    "losses": lambda state: dict(state.batch_metrics),
    "metadata": lambda state: {},
}


class TrainerView(View):
    """A trainer, for a loop that is not Ultralytics' own."""

    kind = "trainer"
    attributes: ClassVar[Mapping[str, str]] = {
        "args": "args", "model": "model", "optimizer": "present_optimizer", "data": "data", "epoch": "epoch",
        "start_epoch": "start_epoch", "epochs": "epochs", "metrics": "metrics", "loss": "loss", "loss_items": "losses",
        "tloss": "losses", "lr": "lr", "save_dir": "save_dir", "last": "file", "stop": "stop",
    }  # fmt: skip


class ValidatorView(View):
    """A validator, for a loop that is not Ultralytics' own."""

    kind = "validator"
    attributes: ClassVar[Mapping[str, str]] = {
        "args": "args", "model": "model", "dataloader": "val_data", "metrics": "metrics", "batch_i": "batch",
        "seen": "seen", "training": "training", "save_dir": "save_dir",
    }  # fmt: skip


class PredictorView(View):
    """A predictor, for a loop that is not Ultralytics' own."""

    kind = "predictor"
    attributes: ClassVar[Mapping[str, str]] = {
        "args": "args", "model": "model", "batch": "inputs", "results": "results", "seen": "seen",
        "save_dir": "save_dir",
    }  # fmt: skip


class ExporterView(View):
    """An exporter, for a loop that is not Ultralytics' own."""

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
    """The model that a Keras callback gets in a loop that trains no Keras model.

    `stop_training` crosses to the loop; `history` may be set. Whatever the loop's own model has is passed through;
    what only a Keras model has (its weights, its optimizer, its `save`) raises, with the reason.
    """

    def __init__(self, state: LoopState) -> None:
        object.__setattr__(self, "_state", state)

    @property
    def stop_training(self) -> bool:
        """Whether the loop is to end after this epoch."""
        return self._state.stop  # type: ignore[no-any-return]

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self._state.stop = bool(value)

    def __getattr__(self, name: str) -> Any:
        state: LoopState = object.__getattribute__(self, "_state")
        if name.startswith("__"):
            raise AttributeError(name)
        if state.model is not None and name not in _KERAS_OWN and hasattr(state.model, name):
            return getattr(state.model, name)
        raise ForeignModelError(
            f"{state.loop} has no Keras model, so there is no model.{name}: a Keras callback that needs the weights or"
            " the optimizer of a Keras model cannot work here. One that only reads the logs and sets"
            " model.stop_training can."
        )

    def __setattr__(self, name: str, value: Any) -> None:
        """What the loop's own model has is set there, as it is read from there."""
        model = self._state.model
        own = model is None or hasattr(type(self), name) or not has(model, name)
        if own:
            object.__setattr__(self, name, value)
        else:
            setattr(model, name, value)


_KERAS_OWN = frozenset(
    {"compile", "get_weights", "load_weights", "optimizer", "save", "save_weights", "set_weights", "to_json"}
)
"""What another model may have under the same name, meaning something else: the `save` of a YOLO model is a list."""


class ForeignModelError(TrackhooksError, AttributeError):
    """A Keras callback asked a model that is not Keras' own for what only a Keras model has."""


_OF_KERAS = ("stop_training", "get_weights")
"""What a Keras model has, one that has never been trained the second only; a torch module has neither."""


def model_for_keras(model: Any, state: LoopState) -> Any:
    """The model as a Keras callback may have it: itself where it is Keras' own, or any but a torch module's."""
    if any(has(model, name) for name in _OF_KERAS):
        return model
    if has(model, "__dict__") and not _is_torch_module(model):  # stop_training can be set
        return model
    state.model = model
    return ModelView(state)


def has(owner: Any, name: str) -> bool:
    """Whether an object has an attribute that can be read."""
    return attempt(hasattr, owner, name) is True


def _is_torch_module(model: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)
