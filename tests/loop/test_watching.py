"""`run.watch` with several models and optimizers, and with optimizers that only look like those of torch."""

from __future__ import annotations

import copy
import inspect
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from keras_models import events

import trackhooks
from trackhooks import InvalidValueError, Run
from trackhooks.event import Graph, Text

Model = torch.nn.Module
Optimizer = torch.optim.Optimizer


def pair(lr: float) -> tuple[Model, Optimizer]:
    model = torch.nn.Linear(2, 1)
    return model, torch.optim.SGD(model.parameters(), lr=lr)


def train(run: Run, *pairs: tuple[Model, Any]) -> dict[str, float]:
    """Train each model in each of two batches, and return the learning rates of the epoch."""
    for _ in run.epochs(1):
        for _ in run.train(range(2)):
            for model, optimizer in pairs:
                model(torch.ones(3, 2)).mean().backward()
                optimizer.step()
                optimizer.zero_grad()
    metrics = events(run, "on_train_epoch_end")[-1].metrics
    return {name: value for name, value in metrics.items() if name.startswith("lr/")}


def note(heard: list[str], hook: str, _: object) -> None:
    heard.append(hook)


def described(run: Run) -> dict[str, Any]:
    """The parameters of the optimizers and the facts about the models."""
    return {name: value for event in events(run) for name, value in {**event.params, **event.facts}.items()}


# --- Names


@pytest.mark.parametrize("shape", ["dicts", "dict and list", "dict in two calls"])
def test_models_and_optimizers_have_the_names_that_they_are_given(run: Run, shape: str) -> None:
    generator, critic = pair(0.5), pair(0.25)
    models = {"generator": generator[0], "critic": critic[0]}
    optimizers: dict[str, Any] = {"generator": generator[1], "critic": critic[1]}
    if shape == "dict in two calls":
        for name in models:
            run.watch({name: models[name]}, optimizers[name])
    else:
        run.watch(models, optimizers if shape == "dicts" else list(optimizers.values()))
    assert train(run, generator, critic) == {"lr/generator/0": 0.5, "lr/critic/0": 0.25}
    recorded = described(run)
    assert recorded["model/generator/parameters"] == recorded["model/critic/parameters"] == 3
    assert recorded["optimizer/generator/lr"] == 0.5
    assert recorded["optimizer/critic/name"] == "SGD"
    texts = {item.name for event in events(run) for item in event.media if isinstance(item, Text)}
    assert texts == {"model/generator", "model/critic"}


def test_the_newest_graph_has_every_model(run: Run) -> None:
    models = [torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)) for _ in range(3)]
    run.watch(models[0])
    run.watch({"generator": models[1], "critic": models[2]})
    graphs = [item for event in events(run) for item in event.media if isinstance(item, Graph)]
    assert [graph.name for graph in graphs] == ["model", "model"]
    assert [(node.name, node.inputs) for node in graphs[-1].nodes] == [
        ("0/0", []), ("0/1", ["0/0"]), ("generator/0", []), ("generator/1", ["generator/0"]),
        ("critic/0", []), ("critic/1", ["critic/0"]),
    ]  # fmt: skip


def test_models_and_optimizers_in_lists_have_indices(run: Run) -> None:
    first, second = pair(0.5), pair(0.25)
    run.watch([first[0], second[0]], (first[1], second[1]))
    assert train(run, first, second) == {"lr/0/0": 0.5, "lr/1/0": 0.25}
    assert described(run)["optimizer/1/lr"] == 0.25


def test_a_further_call_adds_to_the_first(run: Run) -> None:
    first, second, third = pair(0.5), pair(0.25), pair(0.125)
    run.watch(*first)
    run.watch(*second)
    run.watch(third[0], {"slow": third[1]})
    assert train(run, first, second, third) == {"lr/0": 0.5, "lr/1/0": 0.25, "lr/slow/0": 0.125}
    assert described(run)["optimizer/lr"] == 0.5
    assert described(run)["optimizer/1/lr"] == 0.25
    assert described(run)["model/2/name"] == "Linear"


def test_a_model_may_have_several_optimizers_and_an_optimizer_several_models(run: Run) -> None:
    model = torch.nn.Linear(2, 1)
    several = [torch.optim.SGD([model.weight], lr=0.5), torch.optim.SGD([model.bias], lr=0.25)]
    run.watch(model, several)
    assert train(run, *((model, optimizer) for optimizer in several)) == {"lr/0/0": 0.5, "lr/1/0": 0.25}


def test_an_optimizer_of_several_models_is_recorded_once(run: Run) -> None:
    encoder, decoder = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
    both = torch.optim.SGD([*encoder.parameters(), *decoder.parameters()], lr=0.5)
    heard: list[Any] = []
    run.add_callback("optimizer_step", heard.append)
    run.watch({"encoder": encoder, "decoder": decoder}, both, gradient_norm=True)
    assert train(run, (torch.nn.Sequential(encoder, decoder), both)) == {"lr/0": 0.5}
    assert len(heard) == 2
    norms = events(run, "on_train_batch_end")[0].metrics
    assert set(norms) == {"gradients/encoder/norm", "gradients/decoder/norm"}


def test_an_optimizer_that_is_watched_again_with_another_model_steps_both(run: Run) -> None:
    encoder, decoder = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
    both = torch.optim.SGD([*encoder.parameters(), *decoder.parameters()], lr=0.5)
    heard: list[Any] = []
    run.add_callback("on_before_zero_grad", heard.append)
    run.watch(encoder, both, gradient_norm=True)
    run.watch(decoder, both, gradient_norm=True)
    assert train(run, (torch.nn.Sequential(encoder, decoder), both)) == {"lr/0": 0.5}
    assert len(heard) == 2
    assert set(events(run, "on_train_batch_end")[0].metrics) == {"gradients/norm", "gradients/1/norm"}


def test_a_model_or_a_name_that_is_watched_again_replaces_what_it_was(run: Run) -> None:
    model, optimizer = pair(0.5)
    other, slower = pair(0.125)
    heard: list[Any] = []
    run.add_callback("on_params_update", heard.append)
    run.watch(model, optimizer)
    run.watch(model, faster := torch.optim.SGD(model.parameters(), lr=0.25))
    assert train(run, (model, faster)) == {"lr/0": 0.25}
    run.watch({"net": model}, {"net": faster})
    run.watch({"net": other}, {"net": slower})
    assert train(run, (other, slower)) == {"lr/net/0": 0.125}
    model.load_state_dict(model.state_dict())
    assert heard == []
    other.load_state_dict(other.state_dict())
    assert len(heard) == 1


def test_each_model_has_its_histograms_and_norms_at_the_steps_of_its_optimizer(run: Run) -> None:
    generator, critic = pair(0.5), pair(0.25)
    models = {"generator": generator[0], "critic": critic[0]}
    run.watch(models, [generator[1], critic[1]], gradient_norm=True, histograms=10)
    train(run, generator, critic)
    logged = [item.name for event in events(run, "log") for item in event.media]
    assert sorted(name for name in logged if name.startswith("weights/")) == [
        "weights/critic/bias", "weights/critic/weight", "weights/generator/bias", "weights/generator/weight",
    ]  # fmt: skip
    assert set(events(run, "on_train_batch_end")[0].metrics) == {
        "gradients/generator/norm",
        "gradients/critic/norm",
    }


def test_a_function_gets_all_models_and_optimizers_by_name(run: Run) -> None:
    seen: list[Any] = []
    run.add_callback(
        "on_fit_epoch_end", lambda trainer: seen.append((trainer.model, trainer.optimizer, trainer.lr))
    )
    first, second = pair(0.5), pair(0.25)
    run.watch(*first)
    train(run, first)
    run.watch({"second": second[0]}, second[1])
    train(run, first, second)
    assert seen[0] == (*first, {"lr/0": 0.5})
    assert seen[1] == (
        {"0": first[0], "second": second[0]}, {"0": first[1], "second": second[1]}, {"lr/0": 0.5, "lr/second/0": 0.25},
    )  # fmt: skip


def test_all_are_let_go_of_when_the_run_ends(tmp_path: Path) -> None:
    first, second = pair(0.5), pair(0.25)
    with trackhooks.run(dir=tmp_path, delivery="off") as run:
        run.watch(*first)
        run.watch(*second)
    for model, optimizer in (first, second):
        assert "zero_grad" not in vars(optimizer)
        assert not optimizer._optimizer_step_post_hooks
        assert not model._load_state_dict_post_hooks


@pytest.mark.parametrize("wrong", [[], {}, [torch.nn.Linear(1, 1), "a model"], {"a": None}])
def test_a_list_or_dict_of_anything_else_is_refused(run: Run, wrong: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"run\.watch\(…\): model must be a torch\.nn\.Module"):
        run.watch(wrong)
    with pytest.raises(
        InvalidValueError, match=r"optimizer must be a torch\.optim\.Optimizer, or have param_groups"
    ):
        run.watch(torch.nn.Linear(1, 1), [torch.optim.SGD([torch.ones(1)]), "an optimizer"])


# --- Optimizers that are not those of torch


class Plain:
    """An optimizer by what it has: parameter groups, `step` and `zero_grad`."""

    def __init__(self, model: Model) -> None:
        self.param_groups: list[dict[str, Any]] = [
            {"params": list(model.parameters()), "lr": 0.5, "decay": 0.1}
        ]
        self.steps = 0

    def step(self) -> str:
        self.steps += 1
        return "stepped"

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None


class Holds:
    """A wrapper that is not an optimizer itself, and looks at the signature of what it wraps, as `accelerate` does."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self) -> Any:
        return self.optimizer.param_groups

    def step(self) -> None:
        self.optimizer.step()

    def zero_grad(self) -> None:
        assert "set_to_none" in inspect.signature(self.optimizer.zero_grad).parameters
        self.optimizer.zero_grad(set_to_none=True)


@pytest.mark.parametrize(
    "make",
    [
        Plain,
        lambda model: Holds(torch.optim.SGD(model.parameters(), lr=0.5)),
        lambda model: Wrapped(Plain(model)),
    ],
)
@pytest.mark.filterwarnings("error")
def test_anything_with_parameter_groups_is_an_optimizer(make: Any, run: Run) -> None:
    heard: list[str] = []
    for hook in ("optimizer_step", "on_before_zero_grad"):
        run.add_callback(hook, partial(note, heard, hook))
    model = torch.nn.Linear(2, 1)
    optimizer = make(model)
    run.watch(model, optimizer)
    assert train(run, (model, optimizer)) == {"lr/0": 0.5}
    assert heard == ["optimizer_step", "on_before_zero_grad"] * 2
    assert described(run)["optimizer/lr"] == 0.5
    run.close()
    assert not {"step", "zero_grad"} & set(vars(optimizer))


class Wrapped(torch.optim.Optimizer):
    """An optimizer of torch by its class only: its `__init__` calls no other, and it holds another kind."""

    def __init__(self, optimizer: Any) -> None:
        self.held = optimizer
        self.defaults = {"lr": 0.5}

    @property
    def param_groups(self) -> Any:  # type: ignore[override]
        return self.held.param_groups

    def step(self, closure: Any = None) -> Any:
        return self.held.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.held.zero_grad(set_to_none)


def test_a_schedule_may_be_made_of_an_optimizer_that_is_watched(run: Run) -> None:
    heard: list[Any] = []
    run.add_callback("optimizer_step", heard.append)
    model = torch.nn.Linear(2, 1)
    for optimizer in (torch.optim.SGD(model.parameters(), lr=0.5), Wrapped(Plain(model))):
        run.watch(model, optimizer)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
        model(torch.ones(3, 2)).mean().backward()
        optimizer.step()
        schedule.step()
    assert len(heard) == 2


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_the_copy_of_a_watched_optimizer_steps_itself(copied: Any, run: Run) -> None:
    heard: list[Any] = []
    run.add_callback("optimizer_step", heard.append)
    model = torch.nn.Linear(2, 1)
    run.watch(model, optimizer := Plain(model))
    other = copied(optimizer)
    assert other.step() == "stepped"
    assert (other.steps, optimizer.steps, heard) == (1, 0, [])
    assert optimizer.step() == "stepped"
    assert len(heard) == 1


def test_slots_and_missing_methods_are_reported_and_the_rest_is_recorded(run: Run) -> None:
    class Slots:
        __slots__ = ("param_groups",)
        param_groups: list[Any]

        def zero_grad(self) -> None:
            pass

    model, optimizer = torch.nn.Linear(2, 1), Slots()
    optimizer.param_groups = [{"params": list(model.parameters()), "lr": 0.25}]
    run.add_callback("on_before_zero_grad", lambda trainer: None)
    with pytest.warns(trackhooks.TrackhooksWarning, match=r"Slots\.zero_grad accepts no hook"):
        run.watch(model, optimizer)
    with pytest.warns(trackhooks.TrackhooksWarning, match=r"Slots\.step accepts no hook"):
        run.add_callback("optimizer_step", lambda trainer: None)
    assert described(run)["optimizer/lr"] == 0.25


def test_an_optimizer_is_touched_only_while_a_callback_hears_it(run: Run) -> None:
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    heard: list[str] = []

    def step() -> list[str]:
        heard.clear()
        optimizer.zero_grad()
        optimizer.step()
        return list(heard)

    def untouched() -> bool:
        return not optimizer._optimizer_step_post_hooks and "zero_grad" not in vars(optimizer)

    run.watch(model, optimizer)
    assert step() == []
    assert untouched()
    run.add_callback("on_before_zero_grad", lambda trainer: heard.append("zero_grad"))
    run.add_callback("optimizer_step", lambda trainer: heard.append("step"))
    assert step() == ["zero_grad", "step"]
    run.callbacks.clear_callback("on_before_zero_grad")
    assert step() == ["step"]
    run.callbacks.reset_callbacks()
    assert step() == []
    assert untouched()


def test_a_callback_in_a_list_that_is_one_of_the_callbacks_hears_the_optimizer(run: Run) -> None:
    model, inner = torch.nn.Linear(2, 1), trackhooks.CallbackList()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    heard: list[Any] = []
    run.callbacks.append(inner)
    run.watch(model, optimizer)
    inner.add_callback("optimizer_step", heard.append)
    optimizer.step()
    assert len(heard) == 1
