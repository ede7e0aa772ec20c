"""`run.watch` and PyTorch modules, optimizers, gradients and data whose descriptions fail."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from keras_models import events

import trackhooks
from trackhooks import Run, TrackhooksError, TrackhooksWarning


class OddError(Exception):
    """An error that no library raises."""


def fail(*_: Any, **__: Any) -> Any:
    raise OddError("not today")


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = torch.nn.Linear(2, 3)
        self.out = torch.nn.Linear(3, 1)

    def forward(self, x: Any) -> Any:
        return self.out(self.hidden(x))


def odd_net(**attributes: Any) -> Any:
    return lambda: type("OddNet", (Net,), attributes)()


def getattr_fails(self: Any, name: str) -> Any:
    """As torch's own, but for what is not there."""
    for kept in ("_parameters", "_buffers", "_modules"):
        if name in self.__dict__.get(kept, {}):
            return self.__dict__[kept][name]
    raise OddError(name)


def getattr_gives_anything(self: Any, name: str) -> Any:
    for kept in ("_parameters", "_buffers", "_modules"):
        if name in self.__dict__.get(kept, {}):
            return self.__dict__[kept][name]
    if name.startswith("_"):
        raise AttributeError(name)
    return {"anything": name}


def sgd(net: Any) -> Any:
    return torch.optim.SGD([*net._modules["hidden"].parameters(), *net._modules["out"].parameters()], lr=0.1)


class Wrapper(torch.optim.Optimizer):
    """An optimizer by its class, as that of `accelerator.prepare`: its own `__init__` calls no other."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    param_groups = property(lambda self: self.optimizer.param_groups)
    defaults = property(lambda self: self.optimizer.defaults)

    def step(self, closure: Any = None) -> Any:
        return self.optimizer.step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.optimizer.zero_grad(set_to_none)


class Bare(Wrapper):
    """The same, without saying what it wraps."""

    def __init__(self, optimizer: Any) -> None:
        self.held = optimizer

    optimizer = property(fail)
    param_groups = defaults = property(fail)

    def step(self, closure: Any = None) -> Any:
        return self.held.step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.held.zero_grad(set_to_none)


def with_groups(change: Callable[[Any], None]) -> Any:
    """An optimizer whose groups or defaults were changed; it steps as before."""

    class Changed(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            with torch.no_grad():
                for parameter in self.param_groups[0]["params"]:
                    parameter -= 0.1 * parameter.grad

        def zero_grad(self, set_to_none: bool = True) -> None:
            for parameter in self.param_groups[0]["params"]:
                parameter.grad = None

    def make(net: Any) -> Any:
        optimizer = Changed(net.parameters(), lr=0.1)
        change(optimizer)
        return optimizer

    return make


SILENT = {
    "a wrapper without hooks of its own": (Net, lambda net: Wrapper(sgd(net))),
    "a wrapper in a wrapper": (Net, lambda net: Wrapper(Wrapper(sgd(net)))),
    "a group without lr": (Net, with_groups(lambda made: made.param_groups[0].pop("lr"))),
    "lr is None": (Net, with_groups(lambda made: made.param_groups[0].update(lr=None))),
    "a module that compares oddly": (odd_net(__eq__=fail, __hash__=object.__hash__), sgd),
    "a module that has everything": (odd_net(__getattr__=getattr_gives_anything), sgd),
    "a module without truth": (odd_net(__bool__=fail), sgd),
    "a module of length 0": (odd_net(__len__=lambda self: 0), sgd),
    "stop_training fails": (odd_net(stop_training=property(fail)), sgd),
    "stop_training is a text": (odd_net(stop_training="no"), sgd),
}
REPORTED = {
    "named_modules fails": (odd_net(named_modules=fail), sgd),
    "named_modules gives numbers": (odd_net(named_modules=lambda self, *a, **k: [1, 2]), sgd),
    "modules fails": (odd_net(modules=fail), sgd),
    "parameters fails": (odd_net(parameters=fail), sgd),
    "parameters gives numbers": (odd_net(parameters=lambda self, recurse=True: [1, 2]), sgd),
    "named_parameters fails": (odd_net(named_parameters=fail), sgd),
    "no text": (odd_net(__repr__=fail, __str__=fail), sgd),
    "extra_repr fails": (odd_net(extra_repr=fail), sgd),
    "load_state_dict takes no hooks": (odd_net(register_load_state_dict_post_hook=fail), sgd),
    "a module whose getattr fails": (odd_net(__getattr__=getattr_fails, modules=fail), sgd),
    "a wrapper that hides its optimizer": (Net, lambda net: Bare(sgd(net))),
    "no defaults": (Net, with_groups(lambda made: delattr(made, "defaults"))),
    "defaults are numbers": (Net, with_groups(lambda made: setattr(made, "defaults", 3))),
    "lr is a text": (Net, with_groups(lambda made: made.param_groups[0].update(lr="high"))),
    "lr has no memory": (
        Net, with_groups(lambda made: made.param_groups[0].update(lr=torch.tensor(0.1, device="meta"))),
    ),
}  # fmt: skip

Pair = tuple[Callable[[], Any], Callable[[Any], Any]]


def train(pair: Pair, run: Run | None) -> tuple[list[torch.Tensor], list[str]]:
    """The weights after a training, and the warnings."""
    torch.manual_seed(0)
    model = pair[0]()
    optimizer = pair[1](model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if run is not None:
            run.watch(model, optimizer, gradient_norm=True, histograms=1)
        for _ in run.epochs(2) if run is not None else range(2):
            for x in run.train([torch.ones(4, 2)] * 3) if run is not None else [torch.ones(4, 2)] * 3:
                model(x).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad()
                if run is not None:
                    run.log(loss=1.0)
    layers = model._modules["hidden"], model._modules["out"]
    weights = [parameter.detach().clone() for layer in layers for parameter in layer.parameters()]
    return weights, [str(one.message) for one in caught if isinstance(one.message, TrackhooksWarning)]


@pytest.mark.parametrize("pair", SILENT.values(), ids=SILENT)
def test_an_odd_module_or_optimizer_trains_as_without_watch(pair: Pair, run: Run) -> None:
    weights, messages = train(pair, run)
    assert messages == []
    assert all(map(torch.equal, weights, train(pair, None)[0]))
    assert len(events(run, "on_train_batch_end")) == 6
    assert len(events(run, "on_fit_epoch_end")) == 2


@pytest.mark.parametrize("pair", REPORTED.values(), ids=REPORTED)
def test_what_a_module_or_optimizer_does_not_say_is_reported_once(pair: Pair, run: Run) -> None:
    weights, messages = train(pair, run)
    assert messages
    assert len(messages) == len(set(messages))
    assert all(map(torch.equal, weights, train(pair, None)[0]))
    assert len(events(run, "on_train_batch_end")) == 6
    assert len(events(run, "on_fit_epoch_end")) == 2
    (described,) = events(run, "on_pretrain_routine_end")
    assert described.facts["model/name"] in {"Net", "OddNet"}
    assert described.params["optimizer/name"] in {"SGD", "Changed", "Bare"}


@pytest.mark.parametrize("pair", REPORTED.values(), ids=REPORTED)
def test_a_strict_run_raises_what_a_module_does_not_say(pair: Pair, tmp_path: Any) -> None:
    run = trackhooks.run(dir=tmp_path / "strict", delivery="off", strict=True)
    with run, pytest.raises(TrackhooksError):
        train(pair, run)


def note(heard: list[str], hook: str, _: object) -> None:
    heard.append(hook)


@pytest.mark.parametrize("name", ["a wrapper without hooks of its own", "a wrapper in a wrapper"])
def test_the_hooks_of_a_wrapped_optimizer_fire(name: str, run: Run) -> None:
    heard: list[str] = []
    for hook in ("optimizer_step", "on_before_zero_grad"):
        run.add_callback(hook, partial(note, heard, hook))
    train(SILENT[name], run)
    assert heard == ["optimizer_step", "on_before_zero_grad"] * 6
    (described,) = events(run, "on_pretrain_routine_end")
    assert described.params["optimizer/name"] == "SGD"
    assert [event.metrics["lr/0"] for event in events(run, "on_train_epoch_end")] == [0.1, 0.1]


GRADIENTS: dict[str, Callable[[], Any]] = {
    "sparse": lambda: torch.sparse_coo_tensor(torch.tensor([[0, 1]]), torch.tensor([3.0, 4.0]), (4,)),
    "sparse and not coalesced": lambda: torch.sparse_coo_tensor(
        torch.tensor([[0, 0]]), torch.tensor([3.0, 4.0]), (4,)
    ),
    "sparse of two dimensions": lambda: torch.sparse_coo_tensor(
        torch.tensor([[0, 1], [0, 1]]), torch.tensor([3.0, 4.0]), (2, 2)
    ),
    "complex": lambda: torch.tensor([3 + 4j, 0j]),
    "bfloat16": lambda: torch.tensor([3.0, 4.0], dtype=torch.bfloat16),
    "float64": lambda: torch.tensor([3.0, 4.0], dtype=torch.float64),
    "NaN": lambda: torch.full((2,), float("nan")),
    "empty": lambda: torch.zeros(0),
    "without memory": lambda: torch.zeros(2, device="meta"),
}


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("make", GRADIENTS.values(), ids=GRADIENTS)
def test_gradients_of_every_kind_leave_the_training_alone(make: Any, run: Run) -> None:
    model = Net()
    gradient = make()
    model.odd = torch.nn.Parameter(torch.zeros(gradient.shape, dtype=gradient.dtype, device=gradient.device))
    optimizer = sgd(model)  # without the odd parameter, whose gradient is there all the same
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.watch(model, optimizer, gradient_norm=True, histograms=1)
        for _ in run.epochs(1):
            for _ in run.train(range(3)):
                model(torch.ones(4, 2)).mean().backward()
                model.odd.grad = make()
                optimizer.step()
                run.log(loss=1.0)
    messages = [str(one.message) for one in caught if isinstance(one.message, TrackhooksWarning)]
    assert len(messages) == len(set(messages))
    assert len(events(run, "on_train_batch_end")) == 3
    named = {item.name for event in events(run, "log") for item in event.media}
    assert {"weights/hidden/weight", "gradients/hidden/weight"} <= named


@pytest.mark.parametrize(
    "batch",
    [
        type("ShapeFails", (), {"shape": property(fail)})(),
        type("ShapeMethod", (), {"shape": lambda self: 3})(),
        type("ShapeNumber", (), {"shape": 7})(),
        type("ShapeText", (), {"shape": ["many"]})(),
        type("LenFails", (list,), {"__len__": fail, "__iter__": fail})(),
    ],
    ids=lambda batch: type(batch).__name__,
)
def test_batches_that_do_not_say_their_size_are_trained_on(batch: Any, run: Run) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in run.epochs(1):
            for _ in run.train(iter([batch] * 3)):
                run.log(loss=1.0)
    assert len([one for one in caught if isinstance(one.message, TrackhooksWarning)]) <= 1
    assert len(events(run, "on_train_batch_end")) == 3


@pytest.mark.parametrize("length", [fail, lambda self: -1, lambda self: "three"])
def test_a_loader_whose_length_fails_is_trained_on(length: Any, run: Run) -> None:
    class Loader:
        __len__ = length

        def __iter__(self) -> Any:
            return iter(range(3))

    for _ in run.epochs(1):
        for _ in run.train(Loader()):
            run.log(loss=1.0)
    assert len(events(run, "on_train_batch_end")) == 3
