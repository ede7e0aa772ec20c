"""Recording of every `fit`, `validate`, `test` and `predict` of a Lightning `Trainer`.

The hooks come from a callback (see `training`, `evaluation` and `prediction`) that is in the Trainer's list during the
call. Methods are wrapped for what no callback hears: how a call ended, checkpoints, and the metrics of an epoch, which
Lightning knows only after the callbacks. Lightning has two packages with a Trainer each, and is never imported here.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trackhooks.errors import MissingPackageError, warn
from trackhooks.frameworks import launched
from trackhooks.frameworks.helpers import Lookups, WeakIdentityDict
from trackhooks.frameworks.interface import Kind, Mode, RunHooks, Runs
from trackhooks.frameworks.lookup import run_of
from trackhooks.frameworks.patching import Around, Patches

from . import run_callback
from .evaluation import Evaluation
from .prediction import Prediction
from .run_callback import RunCallback, run_among, without_metrics
from .saves import record_save, run_of_checkpoint
from .training import Training

Method = Callable[..., Any]
Args = Sequence[Any]
Named = Mapping[str, Any]

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")
_KINDS: dict[str, tuple[Kind, type]] = {
    "fit": ("train", Training),
    "validate": ("val", Evaluation),
    "test": ("val", Evaluation),
    "predict": ("predict", Prediction),
}
"""What a Trainer does → the kind of the mode, and what records it."""

_PASSING_ON = ("update_train_step_metrics", "update_eval_step_metrics", "log_eval_end_metrics")
"""The methods by which Lightning passes to its loggers what a module has logged."""


class Lightning:
    """The integration of Lightning (implements `Framework`)."""

    api = 1
    attaches = "a Trainer of Lightning"

    def __init__(self) -> None:
        self._runs: Runs | None = None
        self._attached: WeakIdentityDict[RunHooks] = WeakIdentityDict()
        """Trainer → the run that it was attached to."""
        self._recorded: WeakIdentityDict[Any] = WeakIdentityDict()
        """Trainer → the callback that records what it does now."""
        self._packed: WeakIdentityDict[launched.Packed] = WeakIdentityDict()
        """Trainer → its run, for the processes that it forks."""
        self._patches: dict[type, Patches] = {}

    def install(self, runs: Runs, module: str) -> None:
        """Record everything that a Trainer of this module does from now on."""
        trainer = getattr(sys.modules[module], "Trainer", None)
        if trainer is not None:  # otherwise it is a local module with that name
            self._runs = runs
            self._hold(runs, trainer)

    def uninstall(self, runs: Runs) -> None:
        """Undo `install`."""
        if self._runs is runs:
            self._runs = None
        self._release(runs)

    def attach(self, run: RunHooks, model: Any) -> bool:
        """Record everything that a Trainer does into this run. Return False if it is not a Trainer of Lightning."""
        trainer = _trainer_class(model)
        if trainer is None:
            return False
        self._attached[model] = run
        self._hold(run, trainer)
        run.on_close(functools.partial(self._release, run))
        return True

    def callback(self, runs: Runs) -> Any:
        """Return a callback that attaches the run to each Trainer that has it, always the same one for a run.

        Raises:
            MissingPackageError: Lightning has not been imported.
        """
        return None if runs.only is None else self._callback_of(runs.only)

    def _callback_of(self, run: RunHooks) -> Any:
        def make_callback() -> RunCallback:
            packages = [sys.modules[package] for package in _PACKAGES if package in sys.modules]
            if not packages:
                raise MissingPackageError(
                    "a callback of Lightning is asked for before Lightning is imported. Put"
                    " `import lightning.pytorch` above it; where it is not installed: pip install lightning",
                    name="lightning",
                )
            for package in packages:
                self._hold(run, package.Trainer)
            run.on_close(functools.partial(self._release, run))
            kinds = ((package.Callback, package.loggers.Logger) for package in packages)
            return run_callback.make(run, [cls for pair in kinds for cls in pair])

        return run.own(RunCallback, make_callback)

    # The wrapped methods

    def _hold(self, holder: object, trainer: type) -> None:
        wrapped: dict[type, dict[str, Around]] = {
            trainer: {"_run": self._run, "save_checkpoint": self._save},
            _connector_class(trainer): {
                "update_train_epoch_metrics": self._end_epoch,
                **dict.fromkeys(_PASSING_ON, _pass_on),
            },
            _launcher_class(trainer): {"launch": self._launch},
        }
        for cls, methods in wrapped.items():
            self._patches.setdefault(cls, Patches()).hold(holder, cls, methods)

    def _release(self, holder: object) -> None:
        for patches in self._patches.values():
            patches.release(holder)

    def _run(self, original: Method, trainer: Any, args: Args, kwargs: Named) -> Any:
        kind, loop = _KINDS[trainer.state.fn.value]
        _announce_job(trainer)
        mode = self._mode(trainer, kind, *args, **kwargs)
        if mode is None:
            return original(trainer, *args, **kwargs)
        cls: type = type(trainer)
        with mode as run, self._recording(trainer, _callback_class(loop, cls)(run, trainer)):
            return original(trainer, *args, **kwargs)

    def _mode(
        self, trainer: Any, kind: Kind, model: Any, ckpt_path: Any = None, *_: Any, **__: Any
    ) -> Mode | None:
        run, packed = self._run_of(trainer), self._packed.get(trainer)
        if packed is not None:
            return launched.unpack(packed).mode(model, kind)
        if run is not None and not run.closed:
            return run.mode(model, kind)
        if self._runs is None or _tunes(trainer):
            return None
        if kind == "train":
            return self._runs.training(model, resumes=_resumes(trainer, ckpt_path))
        return self._runs.use(model, kind)

    def _run_of(self, trainer: Any) -> RunHooks | None:
        """Return the run that a Trainer is attached to."""
        return self._attached.get(trainer) or run_among([*trainer.callbacks, *trainer.loggers])

    @contextmanager
    def _recording(self, trainer: Any, callback: Any) -> Iterator[None]:
        """Have the callback in the Trainer's list, before the user's callbacks, which may raise."""
        self._recorded[trainer] = callback
        trainer.callbacks.insert(0, callback)
        try:
            yield
        except BaseException:
            callback.failed()
            raise
        finally:
            del self._recorded[trainer]
            trainer.callbacks = [other for other in trainer.callbacks if other is not callback]

    def _end_epoch(self, original: Method, connector: Any, args: Args, kwargs: Named) -> Any:
        callback = self._recorded.get(connector.trainer)
        if callback is not None:
            callback.end_epoch()
        return _pass_on(original, connector, args, kwargs)

    def _launch(self, original: Method, launcher: Any, args: Args, kwargs: Named) -> Any:
        """Hand the run over to the processes that a Trainer forks for a training."""
        trainer = kwargs.get("trainer")
        run = None if trainer is None else self._run_of(trainer)
        is_open = run is not None and not run.closed
        if launcher._start_method != "fork" and (is_open or self._runs is not None):
            warn(
                f"nothing of this call is recorded: a Trainer with this strategy starts its processes by"
                f" {launcher._start_method!r}, and they do not know the run. Use strategy='ddp' or 'ddp_fork'."
            )
        elif run is not None and is_open and trainer is not None and trainer.state.fn.value == "fit":
            with run.mode(None, "train"):
                self._packed[trainer] = launched.pack(run)
                try:
                    return original(launcher, *args, **kwargs)
                finally:
                    del self._packed[trainer]
        return original(launcher, *args, **kwargs)

    def _save(self, original: Method, trainer: Any, args: Args, kwargs: Named) -> Any:
        result = original(trainer, *args, **kwargs)
        callback = self._recorded.get(trainer)
        run = run_of(trainer.lightning_module) if callback is None else callback.run
        path = args[0] if args else kwargs.get("filepath")
        if run is not None and path is not None:
            record_save(run, trainer, Path(path))
        return result


def _pass_on(original: Method, connector: Any, args: Args, kwargs: Named) -> Any:
    with without_metrics(connector.trainer.loggers):
        return original(connector, *args, **kwargs)


def _trainer_class(trainer: Any) -> type | None:
    """Return the class `Trainer` of Lightning that an object is made from."""
    found = (cls for cls in type(trainer).__mro__ if cls.__name__ == "Trainer")
    return next((cls for cls in found if _package_of(cls)), None)


def _package_of(cls: type) -> str:
    return next((package for package in _PACKAGES if cls.__module__.startswith(f"{package}.")), "")


def _connector_class(trainer: type) -> type:
    """Return the class of the object that tells the loggers of a Trainer about the metrics of an epoch."""
    module = f"{_package_of(trainer)}.trainer.connectors.logger_connector.logger_connector"
    found: type = sys.modules[module]._LoggerConnector
    return found


def _launcher_class(trainer: type) -> type:
    """Return the class of the object that forks or spawns processes."""
    module = f"{_package_of(trainer)}.strategies.launchers.multiprocessing"
    found: type = sys.modules[module]._MultiProcessingLauncher
    return found


@functools.cache
def _callback_class(loop: type, trainer: type) -> type:
    """Return a class of Lightning's callbacks with the hooks of one of our loops."""
    package = next(package for package in map(_package_of, trainer.__mro__) if package)
    return type("TrackhooksCallback", (loop, sys.modules[package].Callback), {})


def _tunes(trainer: Any) -> bool:
    """Whether this is the search of a `Tuner` for a batch size or a learning rate, which trains nothing."""
    return any(getattr(callback, "_early_exit", False) for callback in trainer.callbacks)


def _announce_job(trainer: Any) -> None:
    """Set the address of the job in a process that the Trainer forked, as Lightning does a little later.

    Only with it `LOCAL_RANK` says that this is one of several processes of a job, of which one records.
    """
    if os.environ.get("LOCAL_RANK", "0") != "0":
        environment = getattr(trainer.strategy, "cluster_environment", None)
        os.environ.setdefault("MASTER_ADDR", getattr(environment, "main_address", "127.0.0.1"))


def _resumes(trainer: Any, ckpt_path: Any) -> bool | Path:
    if ckpt_path:
        return run_of_checkpoint(Path(ckpt_path)) or True
    return Lookups().find("the progress of the Trainer", False, _has_trained_before, trainer)


def _has_trained_before(trainer: Any) -> bool:
    return bool(trainer.fit_loop.epoch_loop.batch_progress.total.ready)
