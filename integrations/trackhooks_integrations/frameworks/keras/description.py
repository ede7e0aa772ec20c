"""Description of a Keras model: its hyper-parameters, its layers as a table and as a graph, its learning rate.

Nothing here runs or builds the model, or changes the state of a random number generator. A user's class may override
any attribute that is read here, so every value is looked up separately: a failure is reported and the value is left
out, but the other values are kept.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from trackhooks.event import Graph, Node, Scalar, Text
from trackhooks.frameworks.helpers import Failure, Lookups, at_default, attempt, flat_params

from .architecture import architecture

_DEFAULT_BATCH = 32
"""Keras' default batch size for arrays."""
_MOST_NODES = 5000
_ASKED_FOR = (
    "initial_epoch", "validation_split", "validation_freq", "validation_steps", "validation_batch_size",
    "class_weight", "shuffle",
)  # fmt: skip
"""The arguments of `fit` that are recorded if the user passed them."""
_NAMED = ("loss", "metrics", "weighted_metrics")
"""The arguments of `compile` whose values are recorded by name."""


Found = TypeVar("Found")
Default = TypeVar("Default")


class _Layer(NamedTuple):
    """A layer of a model, at any depth."""

    name: str
    """The names of the enclosing models and of the layer, joined with `/`."""
    layer: Any
    nests: bool
    """Whether the layer contains other layers."""


class Description:
    """Read the properties of a model that are recorded."""

    def __init__(self, model: Any, lookups: Lookups) -> None:
        self._model = model
        self._lookups = lookups

    def _of(self, owner: Any, what: str, default: Default, call: Callable[[Any], Found]) -> Found | Default:
        """Return `call(owner)` for a model, layer or optimizer, or the default. Reports failures once per class."""
        return self._lookups.find(f"the {what} of {type(owner).__name__}", default, call, owner)

    # Hyper-parameters

    def parameters(self, params: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Scalar]:
        """Return the hyper-parameters of a training.

        Args:
            params: the `params` of Keras callbacks: `epochs`, `steps`, `verbose`.
            arguments: the known arguments of `fit`, by name.
        """
        compiled = self._of(self._model, "arguments of compile", {}, _compiled)
        several = compiled.get("steps_per_execution", 1)
        found = {
            "epochs": params.get("epochs"),
            "steps": params.get("steps"),
            "batch_size": batch_size(arguments, self._lookups),
            "optimizer": self._optimizer(),
            **{name: self._names(name, compiled.get(name)) for name in _NAMED},
            "loss_weights": compiled.get("loss_weights"),
            "steps_per_execution": None if type(several) is int and several == 1 else several,
            "precision": self._of(self._model, "dtype policy", None, _precision),
            **{name: arguments.get(name) for name in _ASKED_FOR},
            "architecture": self._architecture(),
        }
        flat: dict[str, Scalar] = {}
        for name, value in found.items():
            if value is not None:
                flat |= self._lookups.find(f"the parameter {name!r}", {}, flat_params, {name: value})
        return flat

    def defaults(self) -> list[str]:
        """Return the names of the parameters of the optimizer that are the defaults of its class."""
        optimizer = self._of(self._model, "optimizer", None, _optimizer_of)
        config = {} if optimizer is None else self._of(optimizer, "configuration", {}, _configuration)
        return [f"optimizer/{name}" for name in at_default(type(optimizer), config) if name != "name"]

    def _architecture(self) -> str | None:
        inner = [found.layer for found in self._layers() if not found.nests]
        return architecture(inner, self._lookups) or None

    def _names(self, name: str, given: Any) -> Any:
        return self._lookups.find(f"the names of {name}", None, _named, given)

    def _optimizer(self) -> dict[str, Any]:
        """Return the optimizer's class, settings and learning rate. If one cannot be read, the others are kept."""
        optimizer = self._of(self._model, "optimizer", None, _optimizer_of)
        if optimizer is None:
            return {}
        config = self._of(optimizer, "configuration", None, _configuration)
        if config is None:
            return {"name": type(optimizer).__name__, **self._of(optimizer, "learning rate", {}, _schedule)}
        rate = config.pop("learning_rate", None)
        return {**config, "name": type(optimizer).__name__, **_rate(rate)}

    def learning_rates(self) -> dict[str, float]:
        """Return the current learning rate as `lr/0`. Reading it waits for the accelerator."""
        optimizer = self._of(self._model, "optimizer", None, _optimizer_of)
        rate = None if optimizer is None else self._of(optimizer, "learning rate", None, _present_rate)
        return {} if rate is None else {"lr/0": rate}

    # Size and layers

    def sizes(self) -> dict[str, Scalar]:
        """Return the model's name and its number of parameters and layers. Numbers that cannot be read are left out."""
        found = {
            "model/name": self._name(self._model),
            "model/parameters": self._count(self._model),
            "model/trainable": self._count_trainable(),
            "model/layers": sum(not found.nests for found in self._layers()),
        }
        return {name: value for name, value in found.items() if value is not None}

    def _name(self, owner: Any) -> str:
        kind = type(owner).__name__
        return str(self._of(owner, "name", None, _name) or kind)

    def _count(self, owner: Any) -> int | None:
        return self._of(owner, "weights", None, _count)

    def _count_trainable(self) -> int | None:
        return self._of(self._model, "trainable weights", None, _count_trainable)

    def _layers(self) -> list[_Layer]:
        return list(self._layers_of(self._model, "", (self._model,)))

    def _layers_of(self, owner: Any, prefix: str, around: tuple[Any, ...]) -> Iterator[_Layer]:
        """Yield every layer, nested ones with a `parent/` prefix. A layer that contains itself is entered only once."""
        for layer in self._sublayers(owner) or ():
            if any(layer is outer for outer in around):
                continue
            name = prefix + self._name(layer)
            inner = list(self._layers_of(layer, f"{name}/", (*around, layer)))
            yield _Layer(name, layer, bool(inner))
            yield from inner

    def _sublayers(self, owner: Any) -> list[Any] | None:
        """Return the layers of a model or layer; None if it has none.

        A user's class may use the name `layers` for something else, such as a number or a method.
        """
        keras = sys.modules.get("keras")
        if keras is None:
            return None
        found = self._of(owner, "layers", None, _layers)
        if isinstance(found, (list, tuple)) and all(isinstance(layer, keras.layers.Layer) for layer in found):
            return list(found)
        return self._of(owner, "layers", None, _tracked) if isinstance(owner, keras.Model) else None

    def media(self) -> list[Text | Graph]:
        """Return the layers as a table and as a graph; an empty list if the model does not consist of layers."""
        if self._sublayers(self._model) is None:
            return []
        layers = self._layers()
        return [self._summary(layers), self._graph(layers)]

    def _summary(self, layers: list[_Layer]) -> Text:
        """Return the layers as a Markdown table. The summary of Keras depends on the width of the terminal."""
        rows = [
            f"| {found.name} | {type(found.layer).__name__} | {self._output(found.layer)}"
            f" | {_written(self._count(found.layer))} |"
            for found in layers
        ]
        head = ["| Layer | Type | Output | Parameters |", "|---|---|---|---:|"]
        total, trainable = _written(self._count(self._model)), _written(self._count_trainable())
        return Text("model", "\n".join([*head, *rows, "", f"{total} parameters, {trainable} trainable"]))

    def _output(self, layer: Any) -> str:
        return self._of(layer, "output", "", _output)

    def _graph(self, layers: list[_Layer]) -> Graph:
        """Return the layers as a graph. Sequential and functional models also have edges between their layers."""
        named = {found.name: found.layer for found in layers}
        nodes = [self._node(name, layer, named) for name, layer in named.items()]
        return Graph("model", nodes[:_MOST_NODES])

    def _node(self, name: str, layer: Any, layers: Mapping[str, Any]) -> Node:
        prefix = name[: name.rfind("/") + 1]
        parents = dict.fromkeys(prefix + parent for parent in self._of(layer, "inputs", [], _parents))
        described: dict[str, Scalar] = {"output": self._output(layer)}
        count = self._count(layer)
        if count is not None:
            described["parameters"] = count
        return Node(name, type(layer).__name__, [parent for parent in parents if parent in layers], described)


# Arguments and data


def batch_size(arguments: Mapping[str, Any], lookups: Lookups) -> int | None:
    """Return the batch size: the argument, that of the data set, or the default for arrays; None if it is unknown."""
    given, data = arguments.get("batch_size"), arguments.get("x")
    if isinstance(given, int):
        return given
    known = lookups.find("the batch size of the data", None, getattr, data, "batch_size", None)
    if isinstance(known, int):
        return known
    return _DEFAULT_BATCH if _rows(data, lookups) is not None else None


def samples(arguments: Mapping[str, Any], lookups: Lookups) -> int | None:
    """Return the number of training samples in an epoch; None if it is unknown."""
    rows = _rows(arguments.get("x"), lookups)
    if rows is None or arguments.get("steps_per_epoch"):
        return None
    split = arguments.get("validation_split") or 0.0
    return math.floor(rows * (1.0 - split))


def _rows(data: Any, lookups: Lookups) -> int | None:
    return lookups.find("the shape of the data", None, _first_dimension, data)


def _first_dimension(data: Any) -> int | None:
    """Return the first dimension of the first array; None if there is none."""
    while isinstance(data, (list, tuple, Mapping)) and data:
        data = next(iter(data.values())) if isinstance(data, Mapping) else data[0]
    shape: Any = getattr(data, "shape", None)
    return int(shape[0]) if hasattr(shape, "__len__") and len(shape) and shape[0] is not None else None


def predicted(logs: Mapping[str, Any] | None, lookups: Lookups) -> int:
    """Return the number of samples in a batch's outputs. Keras converts a single number to a float."""
    outputs = next(iter((logs or {}).values()), None)
    return _rows(outputs, lookups) or int(outputs is not None)


# Each of these functions reads one value, and may raise any exception that the user's class raises


def _compiled(model: Any) -> Mapping[str, Any]:
    """Return the arguments of `compile`. `get_compile_config` is not used: it would serialise the user's functions."""
    found = getattr(getattr(model, "_compile_config", None), "config", None)
    return found if isinstance(found, Mapping) else {}


def _precision(model: Any) -> Any:
    return getattr(getattr(model, "dtype_policy", None), "name", None)


def _named(given: Any) -> Any:
    """Replace losses and metrics by their names."""
    if isinstance(given, Mapping):
        return {name: _named(item) for name, item in given.items()}
    if isinstance(given, (list, tuple)):
        return [_named(item) for item in given]
    if given is None or isinstance(given, str):
        return given
    return getattr(given, "name", None) or getattr(given, "__name__", type(given).__name__)


def _optimizer_of(model: Any) -> Any:
    optimizer = getattr(model, "optimizer", None)
    inner = attempt(getattr, optimizer, "inner_optimizer", None)  # unwrap a `LossScaleOptimizer`
    return optimizer if inner is None or isinstance(inner, Failure) else inner


def _configuration(optimizer: Any) -> dict[str, Any]:
    config = {name: value for name, value in optimizer.get_config().items() if value is not None}
    if not config.get("use_ema"):
        config = {name: value for name, value in config.items() if "ema" not in name.split("_")}
    return config


def _rate(rate: Any) -> dict[str, Any]:
    """Return a constant rate as `lr`, as for a PyTorch loop, and a schedule by its name and settings."""
    if isinstance(rate, float):
        return {"lr": _shortest(rate)}
    if not isinstance(rate, Mapping):
        return {"lr": rate}
    settings = rate.get("config")
    return {
        "schedule": {**(settings if isinstance(settings, Mapping) else {}), "name": rate.get("class_name")}
    }


def _schedule(optimizer: Any) -> dict[str, Any]:
    """Return the same as `_rate` for an optimizer whose configuration cannot be read. A schedule has only its name."""
    rate = getattr(optimizer, "_learning_rate", None)
    if rate is None:
        return {}
    if callable(rate):
        return {"schedule": {"name": getattr(rate, "__name__", type(rate).__name__)}}
    return {"lr": _shortest(_number(rate))}


def _present_rate(optimizer: Any) -> float | None:
    rate = getattr(optimizer, "learning_rate", None)
    return None if rate is None or "keras" not in sys.modules else _number(rate)


def _number(rate: Any) -> float:
    return float(sys.modules["keras"].ops.convert_to_numpy(rate))


def _shortest(rate: float) -> float:
    """Shorten 0.0010000000474974513 to 0.001, if both are the same 32-bit float."""
    short = float(f"{rate:.7g}")
    return short if struct.unpack("f", struct.pack("f", short))[0] == rate else rate


def _name(owner: Any) -> str | None:
    found = getattr(owner, "name", None)
    return found if isinstance(found, str) else None


def _count(owner: Any) -> int:
    return sum(math.prod(weight.shape) for weight in owner.weights)


def _count_trainable(model: Any) -> int:
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def _written(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _layers(owner: Any) -> Any:
    return getattr(owner, "layers", None)


def _tracked(model: Any) -> list[Any]:
    """Return the layers that Keras tracks, for a model whose class has overridden `layers`."""
    return list(model._flatten_layers(include_self=False, recursive=False))


def _output(layer: Any) -> str:
    nodes = getattr(layer, "_inbound_nodes", ())
    shapes = [str(tuple(tensor.shape)) for tensor in nodes[-1].output_tensors] if nodes else []
    return ", ".join(shapes)


def _parents(layer: Any) -> list[str]:
    nodes = getattr(layer, "_inbound_nodes", ())
    return [parent.operation.name for node in nodes for parent in node.parent_nodes]
