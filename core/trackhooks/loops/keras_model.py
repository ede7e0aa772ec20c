"""What a Keras model tells: parameters to compare, its layers as a table and as a graph, its learning rate.

Nothing here runs the model, builds it, or moves random numbers.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from .. import values
from ..event import Graph, Node, Scalar, Text

_DEFAULT_BATCH = 32
"""What Keras takes for arrays where `batch_size` is not given."""
_MOST_NODES = 5000
_ASKED_FOR = (
    "initial_epoch", "validation_split", "validation_freq", "validation_steps", "validation_batch_size",
    "class_weight", "shuffle",
)  # fmt: skip
"""The arguments of `fit` that are recorded where the user gave them."""


def parameters(model: Any, params: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, Scalar]:
    """What a person would compare two trainings by.

    Args:
        model: that is trained.
        params: Keras' own: `epochs`, `steps`, `verbose`.
        arguments: of `fit`, by name, as far as they are known.
    """
    compiled = _compiled(model)
    several = compiled.get("steps_per_execution", 1)
    found = {
        "epochs": params.get("epochs"),
        "steps": params.get("steps"),
        "batch_size": batch_size(arguments),
        "optimizer": _optimizer(getattr(model, "optimizer", None)),
        "loss": _named(compiled.get("loss")),
        "loss_weights": compiled.get("loss_weights"),
        "metrics": _named(compiled.get("metrics")),
        "weighted_metrics": _named(compiled.get("weighted_metrics")),
        "steps_per_execution": None if several == 1 else several,
        "precision": getattr(getattr(model, "dtype_policy", None), "name", None),
        **{name: arguments.get(name) for name in _ASKED_FOR},
    }
    return values.params({name: value for name, value in found.items() if value is not None})


def _compiled(model: Any) -> Mapping[str, Any]:
    """What `compile` was called with; `get_compile_config` would serialise it, functions of the user included."""
    found = getattr(getattr(model, "_compile_config", None), "config", None)
    return found if isinstance(found, Mapping) else {}


def batch_size(arguments: Mapping[str, Any]) -> int | None:
    """As the user gave it, as the data say it, or Keras' default for arrays; None where it cannot be known."""
    given, data = arguments.get("batch_size"), arguments.get("x")
    if isinstance(given, int):
        return given
    told = getattr(data, "batch_size", None)
    if isinstance(told, int):
        return told
    return _DEFAULT_BATCH if _rows(data) is not None else None


def samples(arguments: Mapping[str, Any]) -> int | None:
    """How many samples an epoch trains on; None where it cannot be known."""
    rows = _rows(arguments.get("x"))
    if rows is None or arguments.get("steps_per_epoch"):
        return None
    split = arguments.get("validation_split") or 0.0
    return math.floor(rows * (1.0 - split))


def _rows(data: Any) -> int | None:
    """The first dimension of the first array; None where there is none."""
    while isinstance(data, (list, tuple, Mapping)) and data:
        data = next(iter(data.values())) if isinstance(data, Mapping) else data[0]
    shape = getattr(data, "shape", None)
    return int(shape[0]) if shape is not None and len(shape) and shape[0] is not None else None


def predicted(logs: Mapping[str, Any] | None) -> int:
    """How many samples a batch's outputs are of; Keras makes a single number a float."""
    outputs = next(iter((logs or {}).values()), None)
    return _rows(outputs) or int(outputs is not None)


def _named(given: Any) -> Any:
    """Losses and metrics by their names."""
    if isinstance(given, Mapping):
        return {name: _named(item) for name, item in given.items()}
    if isinstance(given, (list, tuple)):
        return [_named(item) for item in given]
    if given is None or isinstance(given, str):
        return given
    return getattr(given, "name", None) or getattr(given, "__name__", type(given).__name__)


def _optimizer(optimizer: Any) -> dict[str, Any]:
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # out of the scaling of the loss
    if optimizer is None:
        return {}
    config = {name: value for name, value in optimizer.get_config().items() if value is not None}
    rate = config.pop("learning_rate", None)
    if not config.get("use_ema"):
        config = {name: value for name, value in config.items() if "ema" not in name.split("_")}
    return {**config, "name": type(optimizer).__name__, **_rate(rate)}


def _rate(rate: Any) -> dict[str, Any]:
    """`lr` as in a PyTorch loop; a schedule by its name and settings."""
    if isinstance(rate, float):
        return {"lr": _shortest(rate)}
    if not isinstance(rate, Mapping):
        return {"lr": rate}
    settings = rate.get("config")
    return {
        "schedule": {**(settings if isinstance(settings, Mapping) else {}), "name": rate.get("class_name")}
    }


def _shortest(rate: float) -> float:
    """0.001 for 0.0010000000474974513, which is the same number where it is kept in 32 bits."""
    short = float(f"{rate:.7g}")
    return short if struct.unpack("f", struct.pack("f", short))[0] == rate else rate


def learning_rates(model: Any) -> dict[str, float]:
    """The present learning rate as `lr/0`; reading it waits for the accelerator."""
    keras, rate = sys.modules.get("keras"), getattr(getattr(model, "optimizer", None), "learning_rate", None)
    return {} if keras is None or rate is None else {"lr/0": float(keras.ops.convert_to_numpy(rate))}


# Its layers


def sizes(model: Any) -> dict[str, Scalar]:
    """Its name, and how many parameters and layers it has."""
    layers = list(_layers(model))
    return {
        "model/name": getattr(model, "name", type(model).__name__),
        "model/parameters": _count(getattr(model, "weights", ())),
        "model/trainable": _count(getattr(model, "trainable_weights", ())),
        "model/layers": sum(not hasattr(layer, "layers") for _, layer in layers),
    }


def _count(weights: Any) -> int:
    return sum(math.prod(weight.shape) for weight in weights)


def _layers(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every layer with its name, those of nested models behind a slash."""
    for layer in getattr(model, "layers", ()):
        name = f"{prefix}{layer.name}"
        yield name, layer
        yield from _layers(layer, f"{name}/")


def summary(model: Any) -> Text:
    """Its layers as a Markdown table: Keras' own depends on the width of the terminal."""
    rows = [
        f"| {name} | {type(layer).__name__} | {_output(layer)} | {_count(layer.weights):,} |"
        for name, layer in _layers(model)
    ]
    head = ["| Layer | Type | Output | Parameters |", "|---|---|---|---:|"]
    total, trainable = _count(model.weights), _count(model.trainable_weights)
    return Text("model", "\n".join([*head, *rows, "", f"{total:,} parameters, {trainable:,} trainable"]))


def _output(layer: Any) -> str:
    nodes = getattr(layer, "_inbound_nodes", ())
    shapes = [str(tuple(tensor.shape)) for tensor in nodes[-1].output_tensors] if nodes else []
    return ", ".join(shapes)


def graph(model: Any) -> Graph:
    """Its layers, each with those whose output it takes, where the model is sequential or functional."""
    layers = dict(_layers(model))
    nodes = {name: _node(name, layer, layers) for name, layer in layers.items()}
    return Graph("model", list(nodes.values())[:_MOST_NODES])


def _node(name: str, layer: Any, layers: Mapping[str, Any]) -> Node:
    prefix = name[: name.rfind("/") + 1]
    parents = dict.fromkeys(prefix + parent for parent in _parents(layer))
    described: dict[str, Scalar] = {"output": _output(layer), "parameters": _count(layer.weights)}
    return Node(name, type(layer).__name__, [parent for parent in parents if parent in layers], described)


def _parents(layer: Any) -> Iterator[str]:
    for node in getattr(layer, "_inbound_nodes", ()):
        for parent in node.parent_nodes:
            yield parent.operation.name
