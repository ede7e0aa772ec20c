"""Watch an optimizer: its steps, its learning rates, and its settings."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from ..errors.foreign import attempt, is_a
from ..event import Scalar
from ..hooks.lookups import Lookups
from ..hooks.views import learning_rates, under
from ..values.defaults import at_default
from ..values.params import scalar

_HOOKS = "_optimizer_step_post_hooks"
"""The attribute in which an optimizer of torch keeps its hooks, once its `__init__` has been called."""


class WatchedOptimizer:
    """An optimizer whose methods fire hooks of the loop, if they are heard.

    Args:
        name: its name in metrics and parameters; empty for the only one.
        optimizer: a `torch.optim.Optimizer`, a wrapper of one, or another object with `param_groups`.
        models: the names of the models that it trains.
        stepped: called with them after each step.
        fire: fires a hook of the loop.
        lookups: reads what an optimizer may not say.
    """

    def __init__(
        self,
        name: str,
        optimizer: Any,
        models: Sequence[str],
        stepped: Callable[[Sequence[str]], None],
        fire: Callable[..., None],
        lookups: Lookups,
    ) -> None:
        self.name = name
        self.given = optimizer
        """The optimizer as the user has it, perhaps in a wrapper."""
        self.inner = unwrapped_optimizer(optimizer)
        self.models = models
        self._stepped = stepped
        self._fire = fire
        self._lookups = lookups
        self._heard: dict[str, Callable[[], None]] = {}
        """The methods that are heard, and what removes the hook of each."""

    def hear(self, methods: Collection[str]) -> None:
        """Hear the calls of `step`, of `zero_grad`, of both, or of none: each takes microseconds of every batch."""
        for method in self._heard.keys() - methods:
            self._heard.pop(method)()
        for method in methods - self._heard.keys():
            problem = f"{type(self.inner).__name__}.{method} accepts no hook"
            self._heard[method] = self._lookups.guard(problem, _nothing, self._hook_on, method)

    def _hook_on(self, method: str) -> Callable[[], None]:
        """Return what removes the hook. Torch has none for `zero_grad`."""
        if method == "zero_grad":
            return _Replaced(self.inner, method, before=self._before_zero_grad).restore
        if attempt(_has_hooks, self.inner) is True:
            remove: Callable[[], None] = self.inner.register_step_post_hook(self._after_step).remove
            return remove
        return _Replaced(self.inner, method, after=self._after_step).restore

    def _after_step(self, *_: Any) -> None:
        self._stepped(self.models)
        self._fire("optimizer_step")

    def _before_zero_grad(self) -> None:
        self._fire("on_before_zero_grad")

    def release(self) -> None:
        """Remove all hooks."""
        self.hear(())

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rates of the parameter groups, as `lr/0`, … or `lr/<name>/0`, …"""
        return learning_rates(self.inner, self._lookups, self.name)

    def settings(self) -> dict[str, Scalar]:
        """Return the class and the settings, as parameters to compare."""
        return settings(self.inner, self._lookups, self.name)

    def defaults(self) -> list[str]:
        """Return the names of those settings that are the defaults of its class."""
        return defaults(self.inner, self._lookups, self.name)


def _nothing() -> None:
    pass


class _Replaced:
    """A method of an object that is replaced by an attribute of the object, until it is restored.

    The attribute is a bound method with the signature of the original, because wrappers and schedules look at both. A
    copy of the object has its own method.
    """

    def __init__(
        self,
        owner: Any,
        method: str,
        before: Callable[[], None] = _nothing,
        after: Callable[[], None] = _nothing,
    ) -> None:
        self._owner = owner
        self._method = method
        self._own = vars(owner).get(method)
        self._original = getattr(owner, method)
        self._before, self._after = before, after
        self._bound = types.MethodType(self._replacement(), owner)
        setattr(owner, method, self._bound)

    def _replacement(self) -> Callable[..., Any]:
        @functools.wraps(getattr(self._original, "__func__", self._original))
        def call(owner: Any, *args: Any, **kwargs: Any) -> Any:
            if owner is not self._owner:
                return getattr(type(owner), self._method)(owner, *args, **kwargs)
            self._before()
            result = self._original(*args, **kwargs)
            self._after()
            return result

        return call

    def restore(self) -> None:
        """Restore the method. If it has been replaced since, this stays, and only calls the method."""
        self._before = self._after = _nothing
        own = vars(self._owner)
        if own.get(self._method) is not self._bound:
            return
        if self._own is None:
            del own[self._method]
        else:
            own[self._method] = self._own


def is_optimizer(value: Any) -> bool:
    """Return whether an object is an optimizer of torch, wraps one, or has parameter groups as one has."""
    return (
        is_a(value, _torch_optimizer())
        or is_a(attempt(getattr, value, "optimizer", None), _torch_optimizer())
        or is_a(attempt(getattr, value, "param_groups", None), (list, tuple))
    )


def unwrapped_optimizer(optimizer: Any) -> Any:
    """Return the optimizer inside a wrapper, such as that of `accelerator.prepare`.

    A wrapper may be a subclass of `Optimizer` that never calls its `__init__`, so that it cannot hold hooks.
    """
    seen: list[Any] = []
    while not any(optimizer is outer for outer in seen):
        seen.append(optimizer)
        inner = attempt(getattr, optimizer, "optimizer", None)
        if attempt(_has_hooks, optimizer) is True or not is_a(inner, _torch_optimizer()):
            return optimizer
        optimizer = inner
    return optimizer


def _has_hooks(optimizer: Any) -> bool:
    return _HOOKS in vars(optimizer)


def _torch_optimizer() -> type:
    found: type = sys.modules["torch"].optim.Optimizer
    return found


def settings(optimizer: Any, lookups: Lookups, name: str = "") -> dict[str, Scalar]:
    """Return the class and the settings of an optimizer, as parameters to compare: `optimizer/<name>/lr`, …"""
    if optimizer is None:
        return {}
    kind = type(optimizer).__name__
    found = lookups.find(f"the defaults of {kind}", {}, _defaults, optimizer)
    return {under("optimizer", name, setting): value for setting, value in {"name": kind, **found}.items()}


def defaults(optimizer: Any, lookups: Lookups, name: str = "") -> list[str]:
    """Return the names of those settings that are the defaults of the optimizer's class."""
    if optimizer is None:
        return []
    what = f"the defaults of {type(optimizer).__name__}"
    found = lookups.find(what, [], _left_at_default, optimizer)
    return [under("optimizer", name, setting) for setting in found]


def _left_at_default(optimizer: Any) -> list[str]:
    return at_default(type(optimizer), dict(_settings(optimizer)))


def _defaults(optimizer: Any) -> dict[str, Scalar]:
    return {name: scalar(value) for name, value in _settings(optimizer).items() if value is not None}


def _settings(optimizer: Any) -> Mapping[str, Any]:
    if is_a(optimizer, _torch_optimizer()) or hasattr(optimizer, "defaults"):
        found: Mapping[str, Any] = optimizer.defaults
        return found
    return {name: value for name, value in optimizer.param_groups[0].items() if name != "params"}
