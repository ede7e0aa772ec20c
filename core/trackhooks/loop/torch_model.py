"""Watch a torch module and its optimizer: their hooks, a summary, and a graph. Nothing here runs the model."""

from __future__ import annotations

import itertools
import operator
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ..errors import InvalidValueError
from ..errors.foreign import attempt, is_a
from ..event import Graph, Histogram, Node, Scalar, Text
from ..hooks.lookups import Lookups
from ..hooks.views import learning_rates
from ..recording.log_verbs import LogVerbs
from ..recording.recorder import Recorder
from ..values import checks
from ..values.defaults import at_default, told_apart
from ..values.media import histogram
from ..values.params import scalar

_MOST_NODES = 5000


class Watched:
    """A model and its optimizer, whose hooks fire those of the loop from `listen` to `release`.

    Args:
        model: a `torch.nn.Module`.
        optimizer: a `torch.optim.Optimizer`, or None.
        fire: fires a hook of the loop.
        recorder: the run.
        gradient_norm: whether to log the norm of all gradients at each step.
        histograms: log histograms every N steps; 0 for never.

    Raises:
        InvalidValueError: an argument has another type.
    """

    def __init__(
        self,
        model: Any,
        optimizer: Any,
        fire: Callable[..., None],
        recorder: Recorder,
        gradient_norm: bool,
        histograms: int,
    ) -> None:
        torch = sys.modules.get("torch")
        if torch is None or not is_a(model, torch.nn.Module):
            raise InvalidValueError(
                f"run.watch(…): model must be a torch.nn.Module, got {type(model).__name__}."
            )
        if optimizer is not None and not is_a(optimizer, torch.optim.Optimizer):
            raise InvalidValueError(
                f"run.watch(…): optimizer must be a torch.optim.Optimizer, got {type(optimizer).__name__}."
            )
        histograms = checks.index("run.watch(…): histograms", histograms)
        self._torch: Any = torch
        self._lookups = recorder.callbacks.state.lookups
        self._model = model
        self._optimizer = unwrapped_optimizer(optimizer)
        self._fire = fire
        self._recorder = recorder
        self._log = LogVerbs(recorder)
        self._gradient_norm = checks.switch("run.watch(…): gradient_norm", gradient_norm)
        self._every = histograms
        self._next_histograms = 0
        self._handles: list[Any] = []
        self._shadows = False
        """Whether the `zero_grad` of the optimizer is replaced."""

    def listen(self) -> Watched:
        """Register all hooks."""
        self._hook_on("load_state_dict", self._model, self._listen_to_model)
        if self._optimizer is not None:
            self._hook_on("step", self._optimizer, self._listen_to_steps)
            self._hook_on("zero_grad", self._optimizer, self._listen_to_zero_grad)
        return self

    def _hook_on(self, method: str, owner: Any, register: Callable[[], None]) -> None:
        problem = f"{type(owner).__name__}.{method} accepts no hook"
        self._lookups.guard(problem, None, register)

    def _listen_to_model(self) -> None:
        self._handles.append(self._model.register_load_state_dict_post_hook(_ModelHook(self._loaded)))

    def _listen_to_steps(self) -> None:
        self._handles.append(self._optimizer.register_step_post_hook(self._stepped))

    def _listen_to_zero_grad(self) -> None:
        """Shadow `zero_grad` by an attribute of the optimizer until it is released: torch has no hook for it."""
        self._shadowed = vars(self._optimizer).get("zero_grad")
        self._zero_grad = self._optimizer.zero_grad
        self._optimizer.zero_grad = self._before_zero_grad
        self._shadows = True

    def release(self) -> None:
        """Remove all hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        if self._shadows:
            self._shadows = False
            self._restore_zero_grad()

    def _restore_zero_grad(self) -> None:
        own = vars(self._optimizer)
        if own.get("zero_grad") != self._before_zero_grad:
            return  # it has been replaced since, and calls ours: it stays, and fires no hook
        if self._shadowed is None:
            del own["zero_grad"]
        else:
            own["zero_grad"] = self._shadowed

    def _loaded(self, *_: Any) -> None:
        self._fire("on_params_update")

    def _stepped(self, *_: Any) -> None:
        if self._gradient_norm:
            self._log_norm()
        step = self._recorder.place.current
        if self._every and step >= self._next_histograms:
            self._next_histograms = step + self._every
            self._log_histograms()
        self._fire("optimizer_step")

    def _before_zero_grad(self, *args: Any, **kwargs: Any) -> Any:
        if self._shadows:
            self._fire("on_before_zero_grad")
        return self._zero_grad(*args, **kwargs)

    def _log_norm(self) -> None:
        norm = self._lookups.find(
            f"the norm of the gradients of {type(self._model).__name__}", None, self._norm
        )
        if norm is not None:
            self._log.log({"gradients/norm": norm})

    def _norm(self) -> Any:
        """Return the norm of all gradients, on the device of the first."""
        norms = [self._norm_of(p.grad.detach()) for p in self._model.parameters() if p.grad is not None]
        return self._torch.stack([norm.to(norms[0].device) for norm in norms]).norm() if norms else 0.0

    def _norm_of(self, gradient: Any) -> Any:
        values = _stored(gradient)
        real = self._torch.view_as_real(values) if values.is_complex() else values
        return self._torch.linalg.vector_norm(real, dtype=self._torch.float32)

    def _log_histograms(self) -> None:
        what = f"the parameters of {type(self._model).__name__}"
        for name, parameter in self._lookups.find(what, (), _named_parameters, self._model):
            slashed = name.replace(".", "/")
            self._log_histogram(f"weights/{slashed}", _weights, parameter)
            self._log_histogram(f"gradients/{slashed}", _gradients, parameter)

    def _log_histogram(self, name: str, read: Callable[[Any], Any], parameter: Any) -> None:
        """Log a histogram. There is none if all values are NaN, or if the tensor has no memory."""
        problem = f"histogram {name!r} could not be made"
        once = "histograms of a model"
        made = self._lookups.guard(problem, None, self._histogram, name, read, parameter, once=once)
        if made is not None:
            self._recorder.record({}, media=[made])

    def _histogram(self, name: str, read: Callable[[Any], Any], parameter: Any) -> Histogram | None:
        tensor = read(parameter)
        return None if tensor is None else histogram(name, _dense(tensor.detach()))

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rates of the parameter groups, as `lr/0`, …"""
        return {} if self._optimizer is None else learning_rates(self._optimizer, self._lookups)

    def summary(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the model as a string and a graph, its size as facts, and the settings of the optimizer.

        Args:
            given: the parameters that the user named.
        """
        apart = told_apart(
            settings(self._optimizer, self._lookups), given, defaults(self._optimizer, self._lookups)
        )
        return {
            **apart,
            "facts": {**apart["facts"], **sizes(self._model, self._lookups)},
            "media": media(self._model, self._lookups),
        }


class _ModelHook:
    """The hook that is registered with a model.

    If the model is copied or pickled, so are its hooks. In the copy this one does nothing and does not need trackhooks.
    """

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> None:
        self._call(*arguments)

    def __reduce__(self) -> Any:
        return partial, (operator.setitem, {})  # accepts two arguments and returns None


def unwrapped_optimizer(optimizer: Any) -> Any:
    """Return the optimizer inside a wrapper, such as that of `accelerator.prepare`.

    A wrapper may be a subclass of `Optimizer` that never calls its `__init__`, so that it cannot hold hooks.
    """
    seen: list[Any] = []
    while optimizer is not None and not any(optimizer is outer for outer in seen):
        seen.append(optimizer)
        inner = attempt(getattr, optimizer, "optimizer", None)
        if _HOOKS in vars(optimizer) or not isinstance(inner, sys.modules["torch"].optim.Optimizer):
            return optimizer
        optimizer = inner
    return optimizer


_HOOKS = "_optimizer_step_post_hooks"
"""The attribute in which an optimizer keeps its hooks, once its `__init__` has been called."""


def _stored(tensor: Any) -> Any:
    """Return the values that a tensor stores; a sparse one stores those that are not zero."""
    if tensor.is_sparse:
        return tensor.coalesce().values()
    return tensor.values() if "sparse" in str(tensor.layout) else tensor


def _dense(tensor: Any) -> Any:
    """Return a dense tensor of plain numbers, of a sparse or quantized one too."""
    dense = tensor.to_dense() if "sparse" in str(tensor.layout) else tensor
    return dense.dequantize() if dense.is_quantized else dense


def _weights(parameter: Any) -> Any:
    return parameter


def _gradients(parameter: Any) -> Any:
    return parameter.grad


def _named_parameters(model: Any) -> list[tuple[str, Any]]:
    return list(model.named_parameters())


def sizes(model: Any, lookups: Lookups) -> dict[str, Scalar]:
    """Return the class and the size of a torch module. Lazy parameters do not have a size yet."""
    name = type(model).__name__
    parameters = lookups.find(f"the parameters of {name}", {}, _parameter_counts, model)
    layers = lookups.find(f"the modules of {name}", {}, _layer_count, model)
    return {"model/name": name, **parameters, **layers}


def _parameter_counts(model: Any) -> dict[str, Scalar]:
    parameters = [parameter for parameter in model.parameters() if not hasattr(parameter, "materialize")]
    return {
        "model/parameters": sum(parameter.numel() for parameter in parameters),
        "model/trainable": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    }


def _layer_count(model: Any) -> dict[str, Scalar]:
    return {"model/layers": sum(1 for module in model.modules() if not list(module.children()))}


def settings(optimizer: Any, lookups: Lookups) -> dict[str, Scalar]:
    """Return the class and the settings of an optimizer, as parameters to compare."""
    if optimizer is None:
        return {}
    name = type(optimizer).__name__
    found = lookups.find(f"the defaults of {name}", {}, _defaults, optimizer)
    return {"optimizer/name": name, **found}


def defaults(optimizer: Any, lookups: Lookups) -> list[str]:
    """Return the names of those settings that are the defaults of the optimizer's class."""
    if optimizer is None:
        return []
    what = f"the defaults of {type(optimizer).__name__}"
    return lookups.find(what, [], _left_at_default, optimizer)


def _left_at_default(optimizer: Any) -> list[str]:
    return [f"optimizer/{name}" for name in at_default(type(optimizer), dict(optimizer.defaults))]


def _defaults(optimizer: Any) -> dict[str, Scalar]:
    found = {name: value for name, value in optimizer.defaults.items() if value is not None}
    return {f"optimizer/{name}": scalar(value) for name, value in found.items()}


def media(model: Any, lookups: Lookups) -> list[Text | Graph]:
    """Return a torch module as torch prints it, and as a graph."""
    name = type(model).__name__
    printed = lookups.find(f"the text of {name}", None, str, model)
    drawn = lookups.find(f"the modules of {name}", None, graph, model)
    text = None if printed is None else Text("model", f"```\n{printed}\n```")
    return [item for item in (text, drawn) if item is not None]


def graph(model: Any) -> Graph:
    """Return the nested modules as a graph. Within a `Sequential`, each takes the output of the one before it.

    Tracing would find more edges, but it runs the user's code, and so may change the random numbers of the training.
    """
    modules = dict(model.named_modules(remove_duplicate=False))  # a module that is used twice appears twice
    nodes = {name: _node(name, module) for name, module in modules.items() if name}
    for name, module in modules.items():
        if type(module).__name__ == "Sequential":
            children = [f"{name}.{child}" if name else child for child in module._modules]
            for before, after in itertools.pairwise(child for child in children if child in nodes):
                nodes[after].inputs = [nodes[before].name]
    return Graph("model", list(nodes.values())[:_MOST_NODES])


def _node(name: str, module: Any) -> Node:
    settings = attempt(module.extra_repr)
    is_leaf = not list(module.children())
    described: dict[str, Scalar] = {"settings": settings} if isinstance(settings, str) and is_leaf else {}
    return Node(name.replace(".", "/"), type(module).__name__, attributes=described)
