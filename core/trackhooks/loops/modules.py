"""What a torch module and its optimizer tell: hooks of their own, a summary, a graph. Nothing runs the model."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from typing import Any

from ..errors import InvalidValueError
from ..event import Graph, Node, Scalar, Text
from ..recording import Recording
from ..values import scalar

_MOST_NODES = 5000


class Watched:
    """Listens to a model and an optimizer, and lets go of them again."""

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        fire: Callable[..., None],
        recording: Recording,
        gradient_norm: bool,
        histograms: int,
    ) -> None:
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(model, torch.nn.Module):
            raise InvalidValueError(f"run.watch({type(model).__name__}): a torch.nn.Module is needed.")
        if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
            raise InvalidValueError(
                f"run.watch(model, {type(optimizer).__name__}): a torch.optim.Optimizer is needed."
            )
        self._torch: Any = torch
        self._model = model
        self._optimizer = optimizer
        self._fire = fire
        self._recording = recording
        self._gradient_norm = gradient_norm
        self._histograms = histograms
        self._handles = [model.register_load_state_dict_post_hook(self._loaded)]
        if optimizer is not None:
            self._handles.append(optimizer.register_step_post_hook(self._stepped))
            # torch has no hook for zero_grad; an attribute of the object shadows the method until it is released.
            self._zero_grad = optimizer.zero_grad
            optimizer.zero_grad = self._before_zero_grad

    def release(self) -> None:
        """Takes every hook back."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._optimizer is not None:
            vars(self._optimizer).pop("zero_grad", None)

    def _loaded(self, *_: Any) -> None:
        self._fire("on_params_update")

    def _stepped(self, *_: Any) -> None:
        if self._gradient_norm and self._recording.collector is not None:
            self._recording.collector.collect({"gradients/norm": self._norm()}, 1.0)
        if self._histograms and (self._recording.step + 1) % self._histograms == 0:
            self._log_histograms()
        self._fire("optimizer_step")

    def _before_zero_grad(self, *args: Any, **kwargs: Any) -> Any:
        self._fire("on_before_zero_grad")
        return self._zero_grad(*args, **kwargs)

    def _norm(self) -> Any:
        norms = [p.grad.detach().float().norm() for p in self._model.parameters() if p.grad is not None]
        return self._torch.stack(norms).norm() if norms else 0.0

    def _log_histograms(self) -> None:
        for name, parameter in self._model.named_parameters():
            slashed = name.replace(".", "/")
            self._recording.log_histogram(f"weights/{slashed}", parameter)
            if parameter.grad is not None:
                self._recording.log_histogram(f"gradients/{slashed}", parameter.grad)

    def learning_rates(self) -> dict[str, float]:
        """`lr/0`, … of the optimizer's groups."""
        groups = self._optimizer.param_groups if self._optimizer is not None else []
        return {f"lr/{i}": float(group["lr"]) for i, group in enumerate(groups)}

    def summary(self) -> dict[str, Any]:
        """The model's size and the optimizer's settings as parameters, and the model as text and as a graph."""
        return {
            "params": {**sizes(self._model), **settings(self._optimizer)},
            "media": [Text("model", f"```\n{self._model}\n```"), graph(self._model)],
        }


def sizes(model: Any) -> dict[str, Scalar]:
    """How large a torch module is, as parameters to compare."""
    parameters = list(model.parameters())
    return {
        "model/name": type(model).__name__,
        "model/parameters": sum(parameter.numel() for parameter in parameters),
        "model/trainable": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
        "model/layers": sum(1 for module in model.modules() if not list(module.children())),
    }


def settings(optimizer: Any) -> dict[str, Scalar]:
    """An optimizer's class and defaults, as parameters to compare."""
    if optimizer is None:
        return {}
    found = {name: scalar(value) for name, value in optimizer.defaults.items() if value is not None}
    return {"optimizer/name": type(optimizer).__name__} | {
        f"optimizer/{name}": value for name, value in found.items()
    }


def graph(model: Any) -> Graph:
    """The modules as they are nested; within a `Sequential` each takes what the one before it gives.

    Tracing would tell more, but it runs the user's code, and with it the random numbers that the training is to get.
    """
    nodes = {name: _node(name, module) for name, module in model.named_modules() if name}
    for name, module in model.named_modules():
        if type(module).__name__ == "Sequential":
            children = [f"{name}.{child}" if name else child for child, _ in module.named_children()]
            for before, after in itertools.pairwise(children):
                nodes[after].inputs = [nodes[before].name]
    return Graph("model", list(nodes.values())[:_MOST_NODES])


def _node(name: str, module: Any) -> Node:
    described: dict[str, Scalar] = {"settings": module.extra_repr()} if not list(module.children()) else {}
    return Node(name.replace(".", "/"), type(module).__name__, attributes=described)
