"""Recording of every `train`, `evaluate` and `predict` of the `Trainer` of Hugging Face transformers.

A callback, which is in the Trainer's list only while a call is recorded, hears most events (see `training`). The
methods are wrapped to get the rest: exceptions and the status, when an epoch is over, which evaluation is the
validation of an epoch, and saves outside of a training. transformers itself is never imported here.
"""

from __future__ import annotations

import functools
import inspect
import sys
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackhooks.errors import MissingPackageError
from trackhooks.frameworks import resume_marker
from trackhooks.frameworks.helpers import Lookups, WeakIdentityDict
from trackhooks.frameworks.interface import Kind, Mode, RunHooks, Runs
from trackhooks.frameworks.lookup import run_of
from trackhooks.frameworks.patching import Patches

from .evaluation import Evaluation, Prediction
from .listening import UserCallback, current, listening, user_callback
from .training import Training

_MODULE = "transformers.trainer"
_REPORTERS = "transformers.integrations.integration_utils"
_NAME = "trackhooks"
"""The name in `report_to`."""


class Transformers:
    """The integration of the Trainer (implements `Framework`)."""

    api = 1
    attaches = "a Trainer of transformers"

    def __init__(self) -> None:
        self._runs: list[Runs] = []
        self._attached: WeakIdentityDict[RunHooks] = WeakIdentityDict()
        self._patches = Patches()

    def install(self, runs: Runs, module: str) -> None:
        """Record everything from now on, also with Trainers that already exist; `report_to="trackhooks"` works."""
        self._runs.append(runs)
        self._hold(runs)
        _reporters()[_NAME] = user_callback()

    def uninstall(self, runs: Runs) -> None:
        """Undo `install`."""
        if runs in self._runs:
            self._runs.remove(runs)
            self._patches.release(runs)
        if not self._runs and _reporters().get(_NAME) is user_callback():
            del _reporters()[_NAME]

    def attach(self, run: RunHooks, model: Any) -> bool:
        """Record everything that a Trainer does from now on."""
        if _MODULE not in sys.modules or not issubclass(type(model), _trainer()):
            return False
        self._attached[model] = run
        self._hold(run)
        run.on_close(functools.partial(self._release, run))
        return True

    def callback(self, runs: Runs) -> Any:
        """Return a callback for a Trainer's list.

        Raises:
            MissingPackageError: the Trainer has not been imported.
        """
        if _MODULE not in sys.modules:
            raise MissingPackageError(
                "a callback for a Trainer is made after transformers.Trainer has been imported.",
                name="transformers",
            )
        made = user_callback()()
        made.bind(runs)
        holder = object()
        self._hold(holder)
        weakref.finalize(made, self._patches.release, holder)
        return made

    def _hold(self, holder: object) -> None:
        methods = {
            "train": self._train,
            "evaluate": self._evaluate,
            "predict": self._predict,
            "save_model": self._save,
            "_evaluate": _validate,
            "_maybe_log_save_evaluate": _log_save_evaluate,
        }
        self._patches.hold(holder, _trainer(), methods)

    def _release(self, run: RunHooks) -> None:
        for trainer in [trainer for trainer, known in self._attached.items() if known is run]:
            del self._attached[trainer]
        self._patches.release(run)

    # The calls that are recorded

    def _train(self, original: Any, trainer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        mode = self._mode(trainer, "train", _resumed(trainer, _arguments(original, trainer, args, kwargs)))
        if mode is None:
            return original(trainer, *args, **kwargs)
        with mode as run:
            part = Training(run, trainer)
            with listening(trainer, part), part.hearing_steps():
                return original(trainer, *args, **kwargs)

    def _evaluate(self, original: Any, trainer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        around = current(trainer)
        mode = None if around is not None and around.includes_evaluate else self._mode(trainer, "val")
        if mode is None:
            return original(trainer, *args, **kwargs)
        given = _arguments(original, trainer, args, kwargs)
        with mode as run:
            prefix = str(given.get("metric_key_prefix", "eval"))
            part = Evaluation(run, trainer, given.get("eval_dataset"), prefix)
            with listening(trainer, part):
                part.begin()
                found = original(trainer, *args, **kwargs)
                part.end(found)
                return found

    def _predict(self, original: Any, trainer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        mode = self._mode(trainer, "predict")
        if mode is None:
            return original(trainer, *args, **kwargs)
        given = _arguments(original, trainer, args, kwargs)
        with mode as run:
            part = Prediction(run, trainer, str(given.get("metric_key_prefix", "test")))
            with listening(trainer, part):
                part.begin()
                found = original(trainer, *args, **kwargs)
                part.end(found)
                return found

    def _save(self, original: Any, trainer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Record a save of the user. Those of checkpoints come with `on_save`."""
        found = original(trainer, *args, **kwargs)
        given = _arguments(original, trainer, args, kwargs)
        run = None if given.get("_internal_call") else self._attached.get(trainer) or run_of(trainer.model)
        folder = Path(given.get("output_dir") or trainer.args.output_dir)
        if run is not None and not run.closed and folder.is_dir():
            run.saved(folder, ["last"])
        return found

    def _mode(self, trainer: Any, kind: Kind, resumes: bool | Path = False) -> Mode | None:
        """Return the mode of a call: of the attached run, of the user's callback, or of `enable`."""
        run = self._attached.get(trainer)
        if run is not None and not run.closed:
            return run.mode(trainer.model, kind)
        runs = _of_callback(trainer) or (self._runs[-1] if self._runs else None)
        if runs is None:
            return None
        if kind == "train":
            return runs.training(trainer.model, resumes=resumes)
        return runs.use(trainer.model, kind)


def _trainer() -> type:
    found: type = sys.modules[_MODULE].Trainer
    return found


def _reporters() -> dict[str, Any]:
    """Return the table in which a Trainer finds the callback of each name in `report_to`."""
    found: dict[str, Any] = getattr(sys.modules.get(_REPORTERS), "INTEGRATION_TO_CALLBACK", {})
    return found


def _of_callback(trainer: Any) -> Runs | None:
    """Return the runs of a callback of ours among those of the user."""
    made = (callback for callback in trainer.callback_handler.callbacks if isinstance(callback, UserCallback))
    found = (callback.runs for callback in made if callback.runs is not None)
    return next((runs for runs in found if runs.only is None or not runs.only.closed), None)


def _arguments(
    original: Any, trainer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Mapping[str, Any]:
    """Return the arguments of a call by name; none if the call is wrong, which it will say itself."""
    return Lookups().find("the arguments of a Trainer", {}, _bound, original, trainer, args, kwargs)


def _bound(original: Any, trainer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
    try:
        return inspect.signature(original).bind(trainer, *args, **kwargs).arguments
    except TypeError:
        return {}


def _resumed(trainer: Any, arguments: Mapping[str, Any]) -> bool | Path:
    """Return whether a training resumes: the folder of its run, if that is noted in the checkpoint, else a bool."""
    what = "the checkpoint that the training resumes"
    return Lookups().find(what, False, _noted_run, trainer, arguments.get("resume_from_checkpoint"))


def _noted_run(trainer: Any, resume: Any) -> bool | Path:
    if resume is None or resume is False:
        return False
    if resume is True:
        resume = sys.modules["transformers.trainer_utils"].get_last_checkpoint(trainer.args.output_dir)
    return (resume_marker.find(Path(resume)) if resume else None) or True


def _validate(original: Any, trainer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    call = functools.partial(original, trainer, *args, **kwargs)
    part = current(trainer)
    return part.validate(call) if isinstance(part, Training) else call()


def _log_save_evaluate(original: Any, trainer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    call = functools.partial(original, trainer, *args, **kwargs)
    part = current(trainer)
    return part.log_save_evaluate(call) if isinstance(part, Training) else call()
