"""The classes of Ultralytics that run a mode, and how their hooks reach the loop that records them.

A trainer, validator, predictor or exporter calls the functions of a hook in its method `run_callbacks`. That method is
replaced while something is recorded: it also calls the functions of the run. The loop of an object is found through its
`callbacks`, which Ultralytics hands from a model to its trainer, and from there to its validator.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, MutableMapping
from contextlib import closing, contextmanager
from typing import Any, NamedTuple, Protocol

from trackhooks.frameworks.helpers import BY_NAME, WeakIdentityDict, is_a
from trackhooks.frameworks.interface import Function
from trackhooks.frameworks.patching import Around, Instead, Patches, when_imported

Callbacks = MutableMapping[str, list[Function]]
"""The `callbacks` of a model, trainer, validator, predictor or exporter."""
Functions = Generator[Function, None, None]


class Target(NamedTuple):
    """A class of Ultralytics, by name: it may not be imported yet."""

    module: str
    name: str

    @property
    def cls(self) -> Any:
        """The class; None if the user has not imported it yet."""
        return getattr(sys.modules.get(self.module), self.name, None)

    def made(self, found: Any) -> bool:
        """Whether an object is of this class."""
        return self.cls is not None and is_a(found, self.cls)


MODEL = Target("ultralytics.engine.model", "Model")
TRAINER = Target("ultralytics.engine.trainer", "BaseTrainer")
VALIDATOR = Target("ultralytics.engine.validator", "BaseValidator")
PREDICTOR = Target("ultralytics.engine.predictor", "BasePredictor")
EXPORTER = Target("ultralytics.engine.exporter", "Exporter")
MODULE = Target("torch.nn", "Module")
SOURCES = (TRAINER, VALIDATOR, PREDICTOR, EXPORTER)
"""The classes whose objects fire the hooks."""


class ClassPatches:
    """Replaces methods of several classes, some of which may be imported later.

    Args:
        methods: class → method → what replaces it.
    """

    def __init__(self, methods: Mapping[Target, Mapping[str, Around | Instead]]) -> None:
        self._methods = methods
        self._patches = {target: Patches() for target in methods}
        self._awaited: set[Target] = set()
        self._holders: set[object] = set()

    def hold(self, holder: object) -> None:
        """Replace the methods, unless another holder has already done so."""
        self._holders.add(holder)
        for target in self._methods:
            if target.cls is not None:
                self._replace(target)
            elif target not in self._awaited:
                self._awaited.add(target)
                when_imported(target.module, functools.partial(self._replace, target))

    def _replace(self, target: Target) -> None:
        for holder in tuple(self._holders):
            self._patches[target].hold(holder, target.cls, self._methods[target])

    def release(self, holder: object) -> None:
        """Restore the methods, unless another holder still uses them."""
        self._holders.discard(holder)
        for patches in self._patches.values():
            patches.release(holder)


# The loop of an object


class Loop(Protocol):
    """What records an object."""

    @property
    def active(self) -> bool:
        """Whether it records now."""

    @property
    def launches(self) -> bool:
        """Whether it may be pickled, for another process of the training."""

    def functions(self, hook: str, source: Any, own: Iterable[Function]) -> Functions:
        """Yield the functions to call at a hook, the object's own first, and record the hook."""


_CARRIED = "trackhooks"
_started: WeakIdentityDict[Loop] = WeakIdentityDict()


class Carried(list[Function]):
    """A loop among the callbacks of an object: the empty list of functions of a hook that is never fired."""

    def __init__(self, loop: Loop) -> None:
        super().__init__()
        self.loop = loop

    def copy(self) -> Carried:
        """Return itself. A trainer copies the lists that it is created with."""
        return self

    def __deepcopy__(self, memo: object) -> list[Function]:
        """Return a plain list: a copy of a model is a separate model, and is not recorded."""
        return []

    def __reduce__(self) -> Any:
        """Pickle the loop only for the processes that Ultralytics launches for a training."""
        return (_carried_over, (self.loop,)) if self.loop.launches else (list, ())


def _carried_over(loop: Loop) -> Carried:
    """Continue a loop in a process that Ultralytics launched."""
    hook_methods.hold(loop)
    return Carried(loop)


def carry(loop: Loop, callbacks: Callbacks) -> None:
    """Let a loop record the object that has these callbacks, and the objects that get them from it."""
    callbacks[_CARRIED] = Carried(loop)


@contextmanager
def carrying(loop: Loop, callbacks: Callbacks) -> Iterator[None]:
    """Do the same for a while. The user may replace any list of functions meanwhile."""
    before = callbacks.get(_CARRIED)
    carry(loop, callbacks)
    try:
        yield
    finally:
        callbacks.pop(_CARRIED, None)
        if before is not None:
            callbacks[_CARRIED] = before


def loop_of(source: Any) -> Loop | None:
    """Return the loop that records an object now."""
    found = source.callbacks.get(_CARRIED)
    loop = found.loop if isinstance(found, Carried) else _started.get(source)
    return loop if loop is not None and loop.active else None


def note_start(source: Any, loop: Loop) -> None:
    """Remember the loop of an object that starts: the user may replace all of its callbacks later."""
    _started[source] = loop


# The replaced method


def run_callbacks(self: Any, event: str) -> None:
    """Call the functions of a hook: those of the object, as Ultralytics does, then those of its run.

    The functions are called from this frame, because a function may look at the variables of the code that fires the
    hook (`f_back.f_back`).
    """
    with closing(_functions(self, event)) as functions:
        for function in functions:
            function(self)


def _functions(source: Any, event: str) -> Functions:
    own, loop = source.callbacks.get(event, []), loop_of(source)
    if loop is None or event not in BY_NAME:
        yield from own
    else:
        yield from loop.functions(event, source, own)


hook_methods = ClassPatches({target: {"run_callbacks": Instead(run_callbacks)} for target in SOURCES})
"""While someone holds it, loops get the hooks of the objects that they record."""
