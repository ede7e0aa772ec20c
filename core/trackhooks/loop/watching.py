"""`Watching`: the models and optimizers that a run watches, by name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from ..errors import InvalidValueError
from ..errors.foreign import Failure, is_a, items, key_text, shown
from ..event import Graph
from ..hooks.views import one_or_named
from ..recording.recorder import Recorder
from ..values import checks
from ..values.defaults import told_apart
from .torch_model import WatchedModel, is_module
from .torch_optimizer import WatchedOptimizer, is_optimizer, unwrapped_optimizer

_MOST_WATCHED = 1000
_STEP, _ZERO_GRAD = "optimizer_step", "on_before_zero_grad"

Watched = TypeVar("Watched", WatchedModel, WatchedOptimizer)


class Watching:
    """Everything that a run watches, until it is released.

    Args:
        fire: fires a hook of the loop.
        recorder: the run.
    """

    def __init__(self, fire: Callable[..., None], recorder: Recorder) -> None:
        self._fire = fire
        self._recorder = recorder
        self._models: dict[str, WatchedModel] = {}
        self._optimizers: dict[str, WatchedOptimizer] = {}

    def add(self, model: Any, optimizer: Any, gradient_norm: bool, histograms: int) -> dict[str, Any]:
        """Watch one or several models and optimizers as well. Those of the same name are not watched any more.

        Returns:
            What is recorded about them: `params`, `defaults`, `facts` and `media`.

        Raises:
            InvalidValueError: an argument has another type.
        """
        self._follow_callbacks()
        every = checks.index("run.watch(…): histograms", histograms)
        with_norm = checks.switch("run.watch(…): gradient_norm", gradient_norm)
        _check_each("model", model, is_module, "a torch.nn.Module")
        _check_each("optimizer", optimizer, is_optimizer, "a torch.optim.Optimizer, or have param_groups")
        models = self._named_models(model)
        optimizers = self._named_optimizers(optimizer, list(models))
        for name, one in models.items():
            watched = WatchedModel(name, one, self._fire, self._recorder, with_norm, every)
            _put(self._models, watched)
            watched.listen()
        for name, one in optimizers.items():
            self._put_optimizer(name, one, [name] if name in models else list(models))
        self._hear_optimizers()
        return self._summary(models, optimizers)

    def _put_optimizer(self, name: str, optimizer: Any, models: Sequence[str]) -> None:
        inner, lookups = unwrapped_optimizer(optimizer), self._recorder.callbacks.state.lookups
        earlier = [model for one in self._optimizers.values() if one.inner is inner for model in one.models]
        of = list(dict.fromkeys([*earlier, *models]))
        _put(
            self._optimizers,
            WatchedOptimizer(name, optimizer, of, self._stepped, self._fire_if_heard, lookups),
        )

    def _follow_callbacks(self) -> None:
        changed = self._recorder.callbacks.when_changed
        if self._hear_optimizers not in changed:
            changed.append(self._hear_optimizers)

    def _hear_optimizers(self) -> None:
        """Hear the methods of the optimizers whose hooks are taken; called again when the callbacks change."""
        hooks = {"step": _STEP, "zero_grad": _ZERO_GRAD}
        heard = {method for method, hook in hooks.items() if self._recorder.may_take(hook)}
        for one in self._optimizers.values():
            one.hear(heard | {"step"} if any(self._logs_steps(name) for name in one.models) else heard)

    def _logs_steps(self, model: str) -> bool:
        return model in self._models and self._models[model].logs_steps

    def _fire_if_heard(self, hook: str) -> None:
        """Fire a hook of every step, which changes nothing in the state of the loop."""
        if self._recorder.takes(hook):
            self._fire(hook)

    def _stepped(self, models: Sequence[str]) -> None:
        for name in models:
            if name in self._models:
                self._models[name].stepped()

    # Names

    def _named_models(self, given: Any) -> dict[str, Any]:
        """Return models by name: a given one, the one that it has already, or an index."""
        if is_a(given, Mapping):
            return {key_text(name): model for name, model in _pairs(given)}
        named: dict[str, Any] = {}
        for model in _listed(given):
            known = _name_of(self._models, model)
            named[self._new_name(given, named) if known is None else known] = model
        return named

    def _named_optimizers(self, given: Any, models: Sequence[str]) -> dict[str, Any]:
        """Return optimizers by name: as of models, or the names of the models if there is one for each."""
        if is_a(given, Mapping):
            return {key_text(name): optimizer for name, optimizer in _pairs(given)}
        named: dict[str, Any] = {}
        found = _listed(given)
        for position, optimizer in enumerate(found):
            known = _name_of(self._optimizers, unwrapped_optimizer(optimizer))
            if known is None:
                known = models[position] if len(found) == len(models) else self._new_name(given, named)
            named[known] = optimizer
        return named

    def _new_name(self, given: Any, named: Collection[str]) -> str:
        """Return the index of what has no name. The first model, and its optimizer, have none if they come alone."""
        taken = {*self._models, *self._optimizers, *named}
        if not taken and not is_a(given, (list, tuple)):
            return ""
        first = len(self._models) + len(named)
        return next(str(index) for index in itertools.count(first) if str(index) not in taken)

    # What is watched

    def _summary(self, models: Collection[str], optimizers: Collection[str]) -> dict[str, Any]:
        """Return models as strings and graphs, their sizes as facts, and the settings of the optimizers."""
        watched = [self._optimizers[name] for name in optimizers]
        settings = {name: value for one in watched for name, value in one.settings().items()}
        defaults = [name for one in watched for name in one.defaults()]
        apart = told_apart(settings, self._recorder.callbacks.state.args, defaults)
        sizes = {fact: value for name in models for fact, value in self._models[name].sizes().items()}
        media = [*(self._models[name].text() for name in models), self._graph()]
        return {
            **apart,
            "facts": {**apart["facts"], **sizes},
            "media": [item for item in media if item is not None],
        }

    def _graph(self) -> Graph | None:
        """Return one graph of all models, because dashboards show the newest graph of a run."""
        several = len(self._models) > 1
        drawn = [one.nodes(one.name or ("0" if several else "")) for one in self._models.values()]
        found = [nodes for nodes in drawn if nodes is not None]
        return Graph("model", [node for nodes in found for node in nodes]) if found else None

    @property
    def model(self) -> Any:
        """The model, or several by name."""
        return one_or_named({name: one.inner for name, one in self._models.items()})

    @property
    def optimizers(self) -> dict[str, Any]:
        """The optimizers as the user has them, by name; the name of the only one may be empty."""
        return {name: one.given for name, one in self._optimizers.items()}

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rates of all optimizers."""
        found = [one.learning_rates() for one in self._optimizers.values()]
        return {name: rate for rates in found for name, rate in rates.items()}

    def release(self) -> None:
        """Remove all hooks, and let go of everything."""
        if self._hear_optimizers in self._recorder.callbacks.when_changed:
            self._recorder.callbacks.when_changed.remove(self._hear_optimizers)
        watched: list[WatchedModel | WatchedOptimizer] = [*self._models.values(), *self._optimizers.values()]
        for one in watched:
            one.release()
        self._models, self._optimizers = {}, {}


def _put(watched: dict[str, Watched], new: Watched) -> None:
    """Watch something, instead of what has its name or is the same object."""
    for name, old in list(watched.items()):
        if name == new.name or old.inner is new.inner:
            watched.pop(name).release()
    watched[new.name] = new


def _name_of(watched: Mapping[str, WatchedModel | WatchedOptimizer], inner: Any) -> str | None:
    return next((name for name, one in watched.items() if one.inner is inner), None)


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if is_a(given, (list, tuple)) else [given]


def _pairs(given: Mapping[Any, Any]) -> list[tuple[Any, Any]]:
    """Return the items of a mapping; what cannot be read is a `Failure`."""
    found = items(given, _MOST_WATCHED)
    return [("", found)] if isinstance(found, Failure) else found


def _check_each(what: str, given: Any, accepts: Callable[[Any], bool], kind: str) -> None:
    values = [value for _, value in _pairs(given)] if is_a(given, Mapping) else _listed(given)
    for value in values:
        if not accepts(value):
            got = value.why if type(value) is Failure else type(value).__name__
            raise InvalidValueError(f"run.watch(…): {what} must be {kind}, got {got}.")
    if what == "model" and not values:
        raise InvalidValueError(
            f"run.watch(…): model must be {kind}, or a list or dict of them, got {shown(given)}."
        )
