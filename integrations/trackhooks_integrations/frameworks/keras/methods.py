"""The methods of `keras.Model` that are wrapped, as long as a run listens to Keras.

`fit`, since no callback sees its arguments and its exceptions; `evaluate` and `predict`, which belong to the run of
their model without being told; `save`, `save_weights`, `load_weights`, `set_weights` and `export`, for which Keras has
no hooks.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from trackhooks.errors import warn
from trackhooks.frameworks.interface import Kind, Mode, RunHooks, Runs
from trackhooks.frameworks.lookup import run_around, run_of
from trackhooks.frameworks.patching import Patches

from .callback import Bridge, Choose, imported_keras, make
from .loop import KerasLoop, flatten

Method = Callable[..., Any]
Args = Sequence[Any]
Named = Mapping[str, Any]


class Methods:
    """Wraps them, and is what they call."""

    def __init__(self) -> None:
        self.runs: Runs | None = None
        """Opens a run for calls that no run was given to."""
        self._patches = Patches()

    def hold(self, holder: object) -> None:
        """Wraps them until `holder` lets go of them.

        Raises:
            MissingPackageError: Keras has not been imported.
        """
        wrapped = {
            "fit": self._fit, "evaluate": self._alone, "predict": self._alone, "save": self._save,
            "save_weights": self._save, "load_weights": self._load, "set_weights": self._load, "export": self._export,
        }  # fmt: skip
        self._patches.hold(holder, imported_keras().Model, wrapped)

    def release(self, holder: object) -> None:
        """Restores them, unless someone else holds them."""
        self._patches.release(holder)

    def loop_of(self, run: RunHooks) -> KerasLoop:
        """What this run hears Keras with."""

        def make_loop() -> KerasLoop:
            loop = KerasLoop(run)
            self.hold(loop)
            run.on_close(lambda: self.release(loop))
            return loop

        return run.own(KerasLoop, make_loop)

    def callback_of(self, run: RunHooks, runs: Runs) -> Any:
        """The callback that records into this run, for the user to pass to Keras."""
        loop = self.loop_of(run)
        if loop.callback is None:
            loop.callback = make(self.choosing(runs), loop)
        return loop.callback

    def choosing(self, runs: Runs) -> Choose:
        """Picks the run as these runs do."""

        def choose(model: Any, kind: Kind, resumes: bool | Path) -> tuple[Mode, KerasLoop]:
            return self._begun(
                runs.training(model, resumes=resumes) if kind == "train" else runs.use(model, kind)
            )

        return choose

    def _begun(self, mode: Mode) -> tuple[Mode, KerasLoop]:
        return mode, self.loop_of(mode.begin())

    # Those with hooks of their own

    def _fit(self, original: Method, model: Any, args: Args, kwargs: Named) -> Any:
        call = Call.of(original, model, args, kwargs)
        if call is None:
            return original(model, *args, **kwargs)
        bridges = call.bridges or self._new_run()
        if any(bridge.known is not None and bridge.known.run.training for bridge in bridges):
            warn(
                f"{type(model).__name__}.fit(…) is not recorded: the run of its callback records a training around it."
            )
            bridges = []
        return call.heard_by(bridges)

    def _alone(self, original: Method, model: Any, args: Args, kwargs: Named) -> Any:
        """`evaluate` and `predict`; with a list of Keras' own it is the validation of a `fit`, which is heard there."""
        call = Call.of(original, model, args, kwargs)
        if call is None or call.has_own_list:
            return original(model, *args, **kwargs)
        return call.heard_by(call.bridges or self._its_run(model) or self._new_run())

    def _new_run(self) -> list[Bridge]:
        return [make(self.choosing(self.runs))] if self.runs is not None else []

    def _its_run(self, model: Any) -> list[Bridge]:
        found = run_around() or run_of(model, here=True)
        if found is None:
            return []
        run = found
        return [make(lambda model, kind, _: self._begun(run.mode(model, kind)), self.loop_of(run))]

    # Those without

    def _save(self, original: Method, model: Any, args: Args, kwargs: Named) -> Any:
        result = original(model, *args, **kwargs)
        loop, path = self._its_loop(model), _path(args, kwargs)
        if loop is not None and path is not None:
            loop.saved(path)
        return result

    def _load(self, original: Method, model: Any, args: Args, kwargs: Named) -> Any:
        result = original(model, *args, **kwargs)
        run = run_of(model)
        if run is not None:
            run.fire("on_params_update")
        return result

    def _export(self, original: Method, model: Any, args: Args, kwargs: Named) -> Any:
        loop, path, call = self._its_loop(model), _path(args, kwargs), Call.of(original, model, args, kwargs)
        if loop is None or path is None or call is None:
            return original(model, *args, **kwargs)
        with loop.exporting(path, str(call.value("format"))):
            return call.unheard()

    def _its_loop(self, model: Any) -> KerasLoop | None:
        run = run_of(model) or run_around()
        return self.loop_of(run) if run is not None else None


def _path(args: Args, kwargs: Named) -> Path | None:
    given = args[0] if args else kwargs.get("filepath")
    return Path(given) if isinstance(given, (str, Path)) else None


_signature = functools.lru_cache(maxsize=64)(inspect.signature)


class Call:
    """A call of one of the methods, with its arguments by name."""

    def __init__(self, original: Method, bound: inspect.BoundArguments) -> None:
        self._original = original
        self._bound = bound

    @classmethod
    def of(cls, original: Method, model: Any, args: Args, kwargs: Named) -> Call | None:
        """The call; None where the arguments do not fit, which is for the method itself to say."""
        try:
            return cls(original, _signature(original).bind(model, *args, **kwargs))
        except TypeError:
            return None

    def value(self, name: str) -> Any:
        """The argument of this name, or its default."""
        parameter = self._bound.signature.parameters.get(name)
        return self._bound.arguments.get(name, None if parameter is None else parameter.default)

    @property
    def has_own_list(self) -> bool:
        """Whether its callbacks are a list of Keras' own: Keras then makes none."""
        return isinstance(self.value("callbacks"), imported_keras().callbacks.CallbackList)

    @property
    def _callbacks(self) -> list[Any]:
        given = self.value("callbacks")
        return flatten(given.callbacks if self.has_own_list else given)

    @property
    def bridges(self) -> list[Bridge]:
        """Ours, as they were given."""
        return [found for found in self._callbacks if isinstance(found, Bridge)]

    def unheard(self) -> Any:
        """Makes the call as it is."""
        return self._original(*self._bound.args, **self._bound.kwargs)

    def heard_by(self, bridges: Sequence[Bridge]) -> Any:
        """Makes the call with these among its callbacks, behind those of the user, and with no others of ours."""
        ready = [bridge.fresh() if bridge.busy else bridge for bridge in bridges]
        with self._among_callbacks(ready), ExitStack() as stack:
            for bridge in ready:
                stack.enter_context(bridge.hearing(dict(self._bound.arguments)))
            return self.unheard()

    @contextmanager
    def _among_callbacks(self, bridges: Sequence[Bridge]) -> Iterator[None]:
        if bridges == self.bridges:
            yield
        elif self.has_own_list:
            with _joined(self.value("callbacks"), bridges):
                yield
        else:
            others = [callback for callback in self._callbacks if not isinstance(callback, Bridge)]
            self._bound.arguments["callbacks"] = [*others, *bridges]
            yield


@contextmanager
def _joined(own: Any, bridges: Sequence[Bridge]) -> Iterator[None]:
    """A list of Keras' own that the user has made hears more, for one call."""
    given = list(own.callbacks)
    own.callbacks += bridges
    for bridge in bridges:
        bridge.join(own.model, own.params)
    try:
        yield
    finally:
        own.callbacks = given
