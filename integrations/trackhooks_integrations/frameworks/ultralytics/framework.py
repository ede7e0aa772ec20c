"""Recording of every mode of a YOLO model, and of every other subclass of Ultralytics' `Model`.

Most data come from Ultralytics' callbacks (see `loop`). The methods of the model are wrapped to get the rest: where an
export was written to, and whether an export failed, a stream was closed early or a training did not start. The methods
are wrapped while a model is attached or `enable` is on. Ultralytics itself is never imported.
"""

from __future__ import annotations

import contextvars
import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trackhooks.frameworks import resume_marker
from trackhooks.frameworks.helpers import Lookups, WeakIdentityDict, attempt, is_a
from trackhooks.frameworks.interface import Kind, Mode, RunHooks, Runs
from trackhooks.frameworks.patching import Around, Patches

from .loop import UltralyticsLoop

MODULE = "ultralytics.engine.model"
"""The module that defines the class of the models."""

# A process has one class of models, so this state is kept once per process.
_patches = Patches()
_runs: list[Runs] = []
_attached: WeakIdentityDict[RunHooks] = WeakIdentityDict()
_loops: WeakIdentityDict[UltralyticsLoop] = WeakIdentityDict()
_benchmarking: contextvars.ContextVar[bool] = contextvars.ContextVar("benchmarking", default=False)


class Ultralytics:
    """The integration of Ultralytics (implements `Framework`)."""

    api = 1
    attaches = "a model of Ultralytics, such as YOLO('yolo11n.pt'), or a trainer of it"

    def install(self, runs: Runs, module: str) -> None:
        """Record every model from now on, also those that already exist."""
        _runs.append(runs)
        _replace_methods(runs)

    def uninstall(self, runs: Runs) -> None:
        """Undo `install`."""
        if runs in _runs:
            _runs.remove(runs)
        _patches.release(runs)

    def attach(self, run: RunHooks, model: Any) -> bool:
        """Record everything that a model, or a trainer created without a model, does from now on."""
        framework = _framework()
        if framework is not None and is_a(model, framework):
            _attached[model] = run
            _replace_methods(run)
            _models_of(run)
        elif (
            attempt(lambda: isinstance(model.callbacks, Mapping) and hasattr(model, "run_callbacks")) is True
        ):
            UltralyticsLoop().hear_always(run, model.callbacks)
        else:
            return False
        return True

    def callback(self, runs: Runs) -> None:
        """Return None: Ultralytics calls functions, and the run provides these instead of a callback."""


class Models:
    """The models that are recorded into a run."""

    def __init__(self, run: RunHooks) -> None:
        self._run = run
        run.on_close(self.release)

    def release(self) -> None:
        """Stop recording these models into the run."""
        for loop in _loops.values():
            loop.record_late_pictures(self._run)
        for model in [model for model, run in _attached.items() if run is self._run]:
            del _attached[model]
        _patches.release(self._run)


def _models_of(run: RunHooks) -> Models:
    return run.own(Models, lambda: Models(run))


def _framework() -> Any:
    """Return the class of the models; None if the user has not imported it yet."""
    return getattr(sys.modules.get(MODULE), "Model", None)


def _replace_methods(holder: object) -> None:
    framework = _framework()
    if framework is not None:
        _patches.hold(holder, framework, {mode: _around(mode) for mode in _MODES})


def _around(name: str) -> Around:
    def called(original: Any, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = functools.partial(original, model, *args, **kwargs)
        mode = _mode_of(model, name, kwargs)
        if mode is None:
            return call()
        loop = _loops.setdefault(model, UltralyticsLoop())
        with mode as run:
            _models_of(run)
            with loop.hearing(run, model.callbacks):
                return _MODES[name](loop, call)

    return called


def _mode_of(model: Any, name: str, arguments: Mapping[str, Any]) -> Mode | None:
    if _benchmarking.get() and name != "export":
        return None  # a benchmark records only its table and its exports
    run = _attached.get(model)
    if run is not None and not run.closed:
        return run.mode(model, _KINDS.get(name, "other"))
    if not _runs:
        return None
    if name == "train":
        return _runs[-1].training(model, resumes=_resumed(model, arguments))
    return _runs[-1].use(model, _KINDS.get(name, "other"))


_KINDS: Mapping[str, Kind] = {"train": "train", "predict": "predict"}
"""The kinds of the modes; all others are "other".

Those are part of the training around them, and the metrics of an evaluation have separate names there.
"""


def _resumed(model: Any, arguments: Mapping[str, Any]) -> bool | Path:
    """Return whether a training resumes: the folder of its run, if it is noted next to the checkpoint, else a bool."""
    what = "the checkpoint that the training resumes"
    return Lookups().find(what, False, _noted_run, model, arguments.get("resume"))


def _noted_run(model: Any, resume: Any) -> bool | Path:
    if not resume:
        return False
    checkpoint = resume if isinstance(resume, (str, os.PathLike)) else model.ckpt_path
    return (resume_marker.find(Path(checkpoint).parent.parent) if checkpoint else None) or True


# The modes


def _train(loop: UltralyticsLoop, call: functools.partial[Any]) -> Any:
    """Record a training. With several datasets, each one gets a separate run."""
    with loop.training(apart=isinstance(call.keywords.get("data"), (list, tuple))):
        return call()


def _validate(loop: UltralyticsLoop, call: functools.partial[Any]) -> Any:
    return call()


def _predict(loop: UltralyticsLoop, call: functools.partial[Any]) -> Any:
    try:
        results = call()
    except BaseException:
        loop.record_left_prediction()
        raise
    if inspect.isgenerator(results):
        return _stream(loop, loop.run, call.args[0], results)
    return results


def _stream(loop: UltralyticsLoop, run: RunHooks, model: Any, results: Any) -> Iterator[Any]:
    """Yield the results. The user's code between two results is not part of the prediction."""
    try:
        while True:
            with loop.hearing(run, model.callbacks):
                result = next(results, _END)
            if result is _END:
                return
            yield result
    finally:
        with loop.hearing(run, model.callbacks):
            results.close()
            loop.record_left_prediction()


_END = object()


def _export(loop: UltralyticsLoop, call: functools.partial[Any]) -> Any:
    try:
        path = call()
    except BaseException as error:
        loop.record_failed_export(str(call.keywords.get("format", "torchscript")), error)
        raise
    loop.record_export(path)
    return path


def _benchmark(loop: UltralyticsLoop, call: functools.partial[Any]) -> Any:
    token = _benchmarking.set(True)
    try:
        table = call()
    finally:
        _benchmarking.reset(token)
    loop.record_table("benchmark", table)
    return table


_MODES: dict[str, Callable[[UltralyticsLoop, functools.partial[Any]], Any]] = {
    "train": _train,
    "val": _validate,
    "predict": _predict,
    "export": _export,
    "benchmark": _benchmark,
}
"""The wrapped methods. `track`, `embed` and calling the model use `predict`."""
