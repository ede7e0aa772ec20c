"""Recording of every mode of Ultralytics: of models such as YOLO, and of trainers and others that are used directly.

Most data come from Ultralytics' hooks (see `engine` and `loop`). The methods that run a mode are wrapped to get the
rest: where an export was written to, and whether an export failed, a stream was closed early or a training did not
start. All of it is in place while a model is attached or `enable` is on. Ultralytics itself is never imported.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackhooks.frameworks import interface, resume_marker
from trackhooks.frameworks.helpers import Lookups, WeakIdentityDict
from trackhooks.frameworks.interface import RunHooks, Runs
from trackhooks.frameworks.patching import Around

from .engine import MODEL, MODULE, SOURCES, TRAINER, ClassPatches, hook_methods, loop_of, note_start
from .loop import UltralyticsLoop
from .modes import MODES, Mode

# A process has one set of classes, so this state is kept once per process.
_runs: list[Runs] = []
_attached: WeakIdentityDict[RunHooks] = WeakIdentityDict()
_loops: WeakIdentityDict[UltralyticsLoop] = WeakIdentityDict()


class Ultralytics:
    """The integration of Ultralytics (implements `Framework`)."""

    api = 1
    attaches = "a model of Ultralytics, such as YOLO('yolo11n.pt'), or a trainer of it"

    def install(self, runs: Runs, module: str) -> None:
        """Record everything from now on, also with objects that already exist."""
        _runs.append(runs)
        _hold(runs)

    def uninstall(self, runs: Runs) -> None:
        """Undo `install`."""
        if runs in _runs:
            _runs.remove(runs)
        _release(runs)

    def attach(self, run: RunHooks, model: Any) -> bool:
        """Record everything that a model, or a trainer created without a model, does from now on."""
        is_source = any(target.made(model) for target in SOURCES)
        if not is_source and not MODEL.made(model):
            return False
        _attached[model] = run
        _hold(run)
        _models_of(run)
        if is_source:
            _loops.setdefault(model, UltralyticsLoop()).serve_always(run, model.callbacks)
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
        _release(self._run)


def _models_of(run: RunHooks) -> Models:
    return run.own(Models, lambda: Models(run))


# The calls that are recorded


def _around(mode: Mode) -> Around:
    def called(original: Any, source: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = functools.partial(original, source, *args, **kwargs)
        if _is_part(source, (*args, *kwargs.values())):
            return call()
        found = _mode_of(mode, source, args, kwargs)
        if found is None:
            return call()
        loop = _loops.setdefault(source, UltralyticsLoop())
        with found as run:
            _models_of(run)
            with loop.recording(run, source.callbacks):
                return mode.record(loop, call)

    return called


def _is_part(source: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether a loop records this call already, as that of a training does for its validator."""
    trainers = filter(TRAINER.made, arguments)
    around = next((loop for loop in map(loop_of, (source, *trainers)) if loop is not None), None)
    if around is None or around is _loops.get(source):
        return False
    note_start(source, around)
    return True


_modes = ClassPatches(
    {
        target: {mode.method: _around(mode) for mode in MODES if mode.target is target}
        for target in (MODEL, *SOURCES)
    }
)


def _hold(holder: object) -> None:
    _modes.hold(holder)
    hook_methods.hold(holder)


def _release(holder: object) -> None:
    _modes.release(holder)
    hook_methods.release(holder)


# Which run they belong to


def _mode_of(
    mode: Mode, source: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> interface.Mode | None:
    if mode.in_benchmark:
        return None
    run = _attached.get(source)
    if run is not None and not run.closed:
        return run.mode(source, mode.kind)
    if not _runs:
        return None
    if mode.kind == "train":
        return _runs[-1].training(source, resumes=_resumed(source, kwargs))
    return _runs[-1].use(_used(source, (*args, *kwargs.values())), mode.kind)


def _used(source: Any, arguments: tuple[Any, ...]) -> Any:
    """Return what is evaluated or exported: the trainer or module that was passed, or the object itself."""
    return next((given for given in arguments if TRAINER.made(given) or MODULE.made(given)), source)


def _resumed(source: Any, arguments: Mapping[str, Any]) -> bool | Path:
    """Return whether a training resumes: the folder of its run, if it is noted next to the checkpoint, else a bool."""
    what = "the checkpoint that the training resumes"
    return Lookups().find(what, False, _noted_run, source, arguments)


def _noted_run(source: Any, arguments: Mapping[str, Any]) -> bool | Path:
    resume = arguments.get("resume") if MODEL.made(source) else source.resume and source.args.resume
    if not resume:
        return False
    checkpoint = resume if isinstance(resume, (str, os.PathLike)) else source.ckpt_path
    return (resume_marker.find(Path(checkpoint).parent.parent) if checkpoint else None) or True
