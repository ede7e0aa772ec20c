"""Wrappers for the methods of `keras.Model`, in place while a run records Keras.

- `fit`, because callbacks see neither its arguments nor its exceptions.
- `evaluate` and `predict`, so that they are recorded into the run of their model without a callback.
- `save`, `save_weights`, `load_weights`, `set_weights` and `export`, because Keras has no hooks for them.
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
    """Wrap the methods of `keras.Model`, and handle calls of the wrapped methods."""

    def __init__(self) -> None:
        self.runs: Runs | None = None
        """Opens runs for calls that have no run; None if such calls are not recorded."""
        self._patches = Patches()

    def hold(self, holder: object) -> None:
        """Wrap the methods until `holder` releases them.

        Raises:
            MissingPackageError: Keras has not been imported.
        """
        wrapped = {
            "fit": self._fit, "evaluate": self._alone, "predict": self._alone, "save": self._save,
            "save_weights": self._save, "load_weights": self._load, "set_weights": self._load, "export": self._export,
        }  # fmt: skip
        self._patches.hold(holder, imported_keras().Model, wrapped)

    def release(self, holder: object) -> None:
        """Restore the methods, unless another holder still needs them."""
        self._patches.release(holder)

    def loop_of(self, run: RunHooks) -> KerasLoop:
        """Return the `KerasLoop` of a run. It is created on the first call."""

        def make_loop() -> KerasLoop:
            loop = KerasLoop(run)
            self.hold(loop)
            run.on_close(lambda: self.release(loop))
            return loop

        return run.own(KerasLoop, make_loop)

    def callback_of(self, run: RunHooks, runs: Runs) -> Any:
        """Return the callback that records into this run, for the user to pass to Keras."""
        loop = self.loop_of(run)
        if loop.callback is None:
            loop.callback = make(self.choosing(runs), loop)
        return loop.callback

    def choosing(self, runs: Runs) -> Choose:
        """Return a function that picks the run from `runs`."""

        def choose(model: Any, kind: Kind, resumes: bool | Path) -> tuple[Mode, KerasLoop]:
            return self._begun(
                runs.training(model, resumes=resumes) if kind == "train" else runs.use(model, kind)
            )

        return choose

    def _begun(self, mode: Mode) -> tuple[Mode, KerasLoop]:
        return mode, self.loop_of(mode.begin())

    # Methods for which Keras has hooks

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
        return call.recorded_by(bridges)

    def _alone(self, original: Method, model: Any, args: Args, kwargs: Named) -> Any:
        """Record a call of `evaluate` or `predict`.

        With a `CallbackList` it is the validation of a `fit`, and is recorded there.
        """
        call = Call.of(original, model, args, kwargs)
        if call is None:
            return original(model, *args, **kwargs)
        if call.has_own_list:
            return call.as_validation()
        return call.recorded_by(call.bridges or self._its_run(model) or self._new_run())

    def _new_run(self) -> list[Bridge]:
        return [make(self.choosing(self.runs))] if self.runs is not None else []

    def _its_run(self, model: Any) -> list[Bridge]:
        found = run_around() or run_of(model, here=True)
        if found is None:
            return []
        run = found
        return [make(lambda model, kind, _: self._begun(run.mode(model, kind)), self.loop_of(run))]

    # Methods for which Keras has no hooks

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
            return call.as_given()

    def _its_loop(self, model: Any) -> KerasLoop | None:
        run = run_of(model) or run_around()
        return self.loop_of(run) if run is not None else None


def _path(args: Args, kwargs: Named) -> Path | None:
    given = args[0] if args else kwargs.get("filepath")
    return Path(given) if isinstance(given, (str, Path)) else None


_signature = functools.lru_cache(maxsize=64)(inspect.signature)


class Call:
    """A call of a wrapped method, with its arguments by name."""

    def __init__(self, original: Method, bound: inspect.BoundArguments) -> None:
        self._original = original
        self._bound = bound

    @classmethod
    def of(cls, original: Method, model: Any, args: Args, kwargs: Named) -> Call | None:
        """Return the call; None if the arguments do not match the signature: the method itself then raises."""
        try:
            return cls(original, _signature(original).bind(model, *args, **kwargs))
        except TypeError:
            return None

    def value(self, name: str) -> Any:
        """Return the argument with this name, or its default."""
        parameter = self._bound.signature.parameters.get(name)
        return self._bound.arguments.get(name, None if parameter is None else parameter.default)

    @property
    def has_own_list(self) -> bool:
        """Whether `callbacks` is a Keras `CallbackList`. Keras then uses it instead of creating one."""
        return isinstance(self.value("callbacks"), imported_keras().callbacks.CallbackList)

    @property
    def _callbacks(self) -> list[Any]:
        given = self.value("callbacks")
        return flatten(given.callbacks if self.has_own_list else given)

    @property
    def bridges(self) -> list[Bridge]:
        """The `Bridge` callbacks that the call was given, in their order."""
        return [found for found in self._callbacks if isinstance(found, Bridge)]

    def as_given(self) -> Any:
        """Make the call without adding callbacks."""
        return self._original(*self._bound.args, **self._bound.kwargs)

    def as_validation(self) -> Any:
        """Make the call within a `fit`, whose bridges record it."""
        with ExitStack() as stack:
            for bridge in self.bridges:
                stack.enter_context(bridge.validating())
            return self.as_given()

    def recorded_by(self, bridges: Sequence[Bridge]) -> Any:
        """Make the call with these bridges after the user's callbacks. Other bridges of the call are left out."""
        ready = [bridge.fresh() if bridge.busy else bridge for bridge in bridges]
        with self._among_callbacks(ready), ExitStack() as stack:
            for bridge in ready:
                stack.enter_context(bridge.recording(dict(self._bound.arguments)))
            return self.as_given()

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
    """Add the bridges to a `CallbackList` of the user for the duration of one call."""
    given = list(own.callbacks)
    own.callbacks += bridges
    for bridge in bridges:
        bridge.join(own.model, own.params)
    try:
        yield
    finally:
        own.callbacks = given
