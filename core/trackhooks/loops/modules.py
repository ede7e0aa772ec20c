"""What a torch module and its optimizer tell: hooks of their own, a summary, a graph. Nothing runs the model."""

from __future__ import annotations

import itertools
import operator
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from ..errors import InvalidValueError, warn
from ..event import Graph, Node, Scalar, Text
from ..recording import Recording
from ..values import scalar

_MOST_NODES = 5000


class Watched:
    """A model and its optimizer: from `listen` to `release` their hooks fire those of the loop.

    Raises:
        InvalidValueError: `model` or `optimizer` is of another kind.
    """

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
        if not isinstance(histograms, int) or histograms < 0:
            raise InvalidValueError(
                f"run.watch(…, histograms={histograms!r}): every so many steps; 0 for never."
            )
        self._torch: Any = torch
        self._model = model
        self._optimizer = optimizer
        self._fire = fire
        self._recording = recording
        self._gradient_norm = gradient_norm
        self._every = histograms
        self._next_histograms = 0
        self._without_histogram = False
        self._handles: list[Any] = []

    def listen(self) -> Watched:
        """Registers every hook."""
        self._handles = [self._model.register_load_state_dict_post_hook(_ModelHook(self._loaded))]
        if self._optimizer is not None:
            self._handles.append(self._optimizer.register_step_post_hook(self._stepped))
            # torch has no hook for zero_grad; an attribute of the object shadows the method until it is released.
            self._shadowed = vars(self._optimizer).get("zero_grad")
            self._zero_grad = self._optimizer.zero_grad
            self._optimizer.zero_grad = self._before_zero_grad
        return self

    def release(self) -> None:
        """Takes every hook back."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._optimizer is not None:
            self._restore_zero_grad()

    def _restore_zero_grad(self) -> None:
        own = vars(self._optimizer)
        if own.get("zero_grad") != self._before_zero_grad:
            return  # someone has replaced it since, and calls ours: it stays, and does nothing more of its own
        if self._shadowed is None:
            del own["zero_grad"]
        else:
            own["zero_grad"] = self._shadowed

    def _loaded(self, *_: Any) -> None:
        self._fire("on_params_update")

    def _stepped(self, *_: Any) -> None:
        if self._gradient_norm:
            self._recording.log({"gradients/norm": self._norm()})
        step = self._recording.place.present
        if self._every and step >= self._next_histograms:
            self._next_histograms = step + self._every
            self._log_histograms()
        self._fire("optimizer_step")

    def _before_zero_grad(self, *args: Any, **kwargs: Any) -> Any:
        if self._handles:
            self._fire("on_before_zero_grad")
        return self._zero_grad(*args, **kwargs)

    def _norm(self) -> Any:
        """Of all gradients, on the device of the first."""
        norms = [self._norm_of(p.grad.detach()) for p in self._model.parameters() if p.grad is not None]
        return self._torch.stack([norm.to(norms[0].device) for norm in norms]).norm() if norms else 0.0

    def _norm_of(self, gradient: Any) -> Any:
        values = gradient.coalesce().values() if gradient.is_sparse else gradient
        real = self._torch.view_as_real(values) if values.is_complex() else values
        return self._torch.linalg.vector_norm(real, dtype=self._torch.float32)

    def _log_histograms(self) -> None:
        for name, parameter in self._model.named_parameters():
            slashed = name.replace(".", "/")
            self._log_histogram(f"weights/{slashed}", parameter)
            if parameter.grad is not None:
                self._log_histogram(f"gradients/{slashed}", parameter.grad)

    def _log_histogram(self, name: str, tensor: Any) -> None:
        """What is NaN all over has none: that must not end the training."""
        try:
            self._recording.log_histogram(name, tensor)
        except InvalidValueError as error:
            if self._recording.strict:
                raise
            if not self._without_histogram:
                self._without_histogram = True
                warn(f"{error} It is left out, and so are further ones.")

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


class _ModelHook:
    """What a model keeps as its hook.

    A model that is copied or pickled takes its hooks along: in the copy it does nothing, and needs no trackhooks.
    """

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> None:
        self._call(*arguments)

    def __reduce__(self) -> Any:
        return partial, (operator.setitem, {})  # a call with two arguments that gives None


def sizes(model: Any) -> dict[str, Scalar]:
    """How large a torch module is, as parameters to compare; what is lazy has no size yet."""
    parameters = [parameter for parameter in model.parameters() if not hasattr(parameter, "materialize")]
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
    modules = dict(model.named_modules(remove_duplicate=False))  # one that is used twice stands there twice
    nodes = {name: _node(name, module) for name, module in modules.items() if name}
    for name, module in modules.items():
        if type(module).__name__ == "Sequential":
            children = [f"{name}.{child}" if name else child for child in module._modules]
            for before, after in itertools.pairwise(children):
                nodes[after].inputs = [nodes[before].name]
    return Graph("model", list(nodes.values())[:_MOST_NODES])


def _node(name: str, module: Any) -> Node:
    described: dict[str, Scalar] = {"settings": module.extra_repr()} if not list(module.children()) else {}
    return Node(name.replace(".", "/"), type(module).__name__, attributes=described)
