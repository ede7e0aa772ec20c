"""What a callback gets when the loop speaks the other vocabulary.

An Ultralytics function expects a trainer, validator, predictor or exporter: in every other loop it gets a `View`,
which has those of its attributes that such a loop knows. A Keras callback expects a Keras model: for any other model
it gets a `ModelView`. Both read and write one `LoopState`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, ClassVar

from .errors import TrackhooksError
from .vocabulary import Source


class LoopState:
    """What a loop that is not Ultralytics' own is doing now, as far as it is known."""

    def __init__(self) -> None:
        self.loop = "this loop"
        """What error messages call it."""
        self.model: Any = None
        self.optimizer: Any = None
        self.params: dict[str, Any] = {}
        """Keras' `params`: `verbose`, `epochs`, `steps`."""
        self.args: dict[str, Any] = {}
        """The run's hyper-parameters."""
        self.epoch = 0
        self.batch = 0
        self.metrics: dict[str, Any] = {}
        """The newest metrics of the epoch, by the names that are recorded."""
        self.batch_metrics: dict[str, Any] = {}
        self.inputs: Any = None
        """The batch that is predicted."""
        self.results: Any = None
        """What came out of it."""
        self.seen = 0
        self.training = False
        self.stop = False
        self.save_dir: Any = None
        self.file: Any = None
        """The file of the newest checkpoint or export."""
        self.data: Any = None
        self._in_batch = False

    def count_batch(self, hook: str, batch: int | None) -> None:
        """Notes the index of a batch; a loop that does not tell it has its batches counted."""
        starts = hook.endswith("_start")
        if batch is not None:
            self.batch = batch
        elif starts or not self._in_batch:
            self.batch += 1
        self._in_batch = starts or hook == "on_predict_postprocess_end"


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
    """The names it has → the names in the `LoopState`; a leading `.` names a method of the view."""

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


def _namespace(state: LoopState) -> SimpleNamespace:
    return SimpleNamespace(**{str(name): value for name, value in state.args.items()})


def _learning_rates(state: LoopState) -> dict[str, float]:
    return {f"lr/{i}": group["lr"] for i, group in enumerate(getattr(state.optimizer, "param_groups", ()))}


_COMPUTED: dict[str, Any] = {
    "args": _namespace,
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
        "args": "args", "model": "model", "optimizer": "optimizer", "data": "data", "epoch": "epoch",
        "start_epoch": "start_epoch", "epochs": "epochs", "metrics": "metrics", "loss": "loss", "loss_items": "losses",
        "tloss": "losses", "lr": "lr", "save_dir": "save_dir", "last": "file", "stop": "stop",
    }  # fmt: skip


class ValidatorView(View):
    """A validator, for a loop that is not Ultralytics' own."""

    kind = "validator"
    attributes: ClassVar[Mapping[str, str]] = {
        "args": "args", "model": "model", "dataloader": "data", "metrics": "metrics", "batch_i": "batch",
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
        if state.model is not None and hasattr(state.model, name):
            return getattr(state.model, name)
        raise ForeignModelError(
            f"{state.loop} has no Keras model, so there is no model.{name}: a Keras callback that needs the weights or"
            " the optimizer of a Keras model cannot work here. One that only reads the logs and sets"
            " model.stop_training can."
        )

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


class ForeignModelError(TrackhooksError, AttributeError):
    """A Keras callback asked a model that is not Keras' own for what only a Keras model has."""


def model_for_keras(model: Any, state: LoopState) -> Any:
    """The model as a Keras callback may have it: itself where it is Keras' own or made for Keras callbacks."""
    if model is not None and not _is_plain_torch_module(model):
        return model
    state.model = model
    return ModelView(state)


def _is_plain_torch_module(model: Any) -> bool:
    """With the torch backend a Keras model is a torch module as well."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module) and not hasattr(model, "stop_training")
