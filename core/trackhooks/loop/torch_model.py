"""Watch a torch module: its hooks, a summary, and a graph. Nothing here runs the model."""

from __future__ import annotations

import itertools
import operator
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from ..errors.foreign import attempt, is_a
from ..event import Graph, Histogram, Node, Scalar, Text
from ..hooks.lookups import Lookups
from ..hooks.views import under
from ..recording.log_verbs import LogVerbs
from ..recording.recorder import Recorder
from ..values.media import histogram

_MOST_NODES = 5000


class WatchedModel:
    """A model whose hooks fire those of the loop, from `listen` to `release`.

    Args:
        name: its name in metrics and parameters; empty for the only one.
        model: a `torch.nn.Module`.
        fire: fires a hook of the loop.
        recorder: the run.
        gradient_norm: whether to log the norm of all gradients at each step.
        histograms: log histograms every N steps; 0 for never.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        fire: Callable[..., None],
        recorder: Recorder,
        gradient_norm: bool,
        histograms: int,
    ) -> None:
        self.name = name
        self.inner = model
        self._torch: Any = sys.modules["torch"]
        self._fire = fire
        self._recorder = recorder
        self._lookups = recorder.callbacks.state.lookups
        self._log = LogVerbs(recorder)
        self._gradient_norm = gradient_norm
        self._every = histograms
        self._next_histograms = 0
        self._handle: Any = None

    def listen(self) -> None:
        """Hear when weights are loaded."""
        problem = f"{type(self.inner).__name__}.load_state_dict accepts no hook"
        hook = _ModelHook(self._loaded)
        register = lambda: self.inner.register_load_state_dict_post_hook(hook)  # noqa: E731
        self._handle = self._lookups.guard(problem, None, register)

    def release(self) -> None:
        """Remove the hook."""
        if self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _loaded(self, *_: Any) -> None:
        self._fire("on_params_update")

    @property
    def logs_steps(self) -> bool:
        """Whether something is to be logged at steps of its optimizer."""
        return self._gradient_norm or self._every > 0

    def stepped(self) -> None:
        """Log what is to be logged at each step of its optimizer."""
        if self._gradient_norm:
            self._log_norm()
        step = self._recorder.place.current
        if self._every and step >= self._next_histograms:
            self._next_histograms = step + self._every
            self._log_histograms()

    def _log_norm(self) -> None:
        norm = self._lookups.find(
            f"the norm of the gradients of {type(self.inner).__name__}", None, self._norm
        )
        if norm is not None:
            self._log.log({under("gradients", self.name, "norm"): norm})

    def _norm(self) -> Any:
        """Return the norm of all gradients, on the device of the first."""
        norms = [self._norm_of(p.grad.detach()) for p in self.inner.parameters() if p.grad is not None]
        return self._torch.stack([norm.to(norms[0].device) for norm in norms]).norm() if norms else 0.0

    def _norm_of(self, gradient: Any) -> Any:
        values = _stored(gradient)
        real = self._torch.view_as_real(values) if values.is_complex() else values
        return self._torch.linalg.vector_norm(real, dtype=self._torch.float32)

    def _log_histograms(self) -> None:
        what = f"the parameters of {type(self.inner).__name__}"
        for name, parameter in self._lookups.find(what, (), _named_parameters, self.inner):
            slashed = name.replace(".", "/")
            self._log_histogram(under("weights", self.name, slashed), _weights, parameter)
            self._log_histogram(under("gradients", self.name, slashed), _gradients, parameter)

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

    def sizes(self) -> dict[str, Scalar]:
        """Return its size, as parameters to compare."""
        return sizes(self.inner, self._lookups, self.name)

    def text(self) -> Text | None:
        """Return it as torch prints it."""
        return _text(self.inner, self._lookups, self.name)

    def nodes(self, scope: str) -> list[Node] | None:
        """Return its modules as the nodes of a graph, in this scope; None if they cannot be read."""
        found = _drawn(self.inner, self._lookups)
        return None if found is None else [_inside(scope, node) for node in found.nodes]


def is_module(value: Any) -> bool:
    """Return whether an object is a torch module."""
    torch = sys.modules.get("torch")
    return torch is not None and is_a(value, torch.nn.Module)


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


def sizes(model: Any, lookups: Lookups, name: str = "") -> dict[str, Scalar]:
    """Return the size of a torch module, as parameters to compare. Lazy parameters have no size yet."""
    kind = type(model).__name__
    parameters = lookups.find(f"the parameters of {kind}", {}, _parameter_counts, model)
    layers = lookups.find(f"the modules of {kind}", {}, _layer_count, model)
    found = {"name": kind, **parameters, **layers}
    return {under("model", name, fact): value for fact, value in found.items()}


def _parameter_counts(model: Any) -> dict[str, Scalar]:
    parameters = [parameter for parameter in model.parameters() if not hasattr(parameter, "materialize")]
    return {
        "parameters": sum(parameter.numel() for parameter in parameters),
        "trainable": sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    }


def _layer_count(model: Any) -> dict[str, Scalar]:
    return {"layers": sum(1 for module in model.modules() if not list(module.children()))}


def media(model: Any, lookups: Lookups) -> list[Text | Graph]:
    """Return a torch module as torch prints it, and as a graph."""
    return [item for item in (_text(model, lookups), _drawn(model, lookups)) if item is not None]


def _text(model: Any, lookups: Lookups, name: str = "") -> Text | None:
    printed = lookups.find(f"the text of {type(model).__name__}", None, str, model)
    return None if printed is None else Text(f"model/{name}" if name else "model", f"```\n{printed}\n```")


def _drawn(model: Any, lookups: Lookups) -> Graph | None:
    return lookups.find(f"the modules of {type(model).__name__}", None, graph, model)


def _inside(scope: str, node: Node) -> Node:
    """Return a node in a scope, such as the name of its model."""
    if not scope:
        return node
    inputs = [f"{scope}/{name}" for name in node.inputs]
    return Node(f"{scope}/{node.name}", node.op, inputs, node.attributes)


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
