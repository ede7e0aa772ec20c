"""`Boosting`, the base class of integrations of libraries for gradient boosting."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from trackhooks.errors import MissingPackageError
from trackhooks.frameworks import double_logging
from trackhooks.frameworks.interface import Mode, RunHooks, Runs
from trackhooks.frameworks.lookup import run_of
from trackhooks.frameworks.patching import InPlaceOf, Patches

from .bridge import Bridge
from .call import Call
from .rounds import Listener, Rounds


class Boosting:
    """Records the functions `train` and `cv` of a library, and `save_model` of its boosters (a `Framework`)."""

    api = 1
    attaches = ""
    package: ClassVar[str]
    """The name of the library, as it is imported."""
    loop: ClassVar[str]
    """What error messages call a training."""
    modules: ClassVar[Sequence[str]]
    """The modules that have `train` or `cv`, the one that defines them first."""
    continues: ClassVar[str]
    """The argument with the earlier model, if it is trained further."""

    def __init__(self) -> None:
        self._runs: Runs | None = None
        self._saved: dict[Path, Path] = {}
        """The file of a model → the folder of its run."""
        self._patches: dict[str, Patches] = {name: Patches() for name in (*self.modules, "Booster")}

    # What each library has in its own way

    def bridge(self, runs: Runs) -> Bridge:
        """Return a callback that the library accepts."""
        raise NotImplementedError

    def listeners(self, rounds: Rounds, call: Call) -> list[Any]:
        """Return the callbacks that forward a training."""
        raise NotImplementedError

    def train_sets(self, call: Call) -> set[str]:
        """Return the names of the evaluated sets that are the training data itself."""
        raise NotImplementedError

    # Framework

    def install(self, runs: Runs, module: str) -> None:
        """Record every training from now on, also by the estimators for scikit-learn."""
        if hasattr(self._library(), "Booster"):  # otherwise it is a local folder with that name
            self._runs = runs
            self._hold(self)

    def uninstall(self, runs: Runs) -> None:
        """Undo `install`."""
        if self._runs is runs:
            self._runs = None
            self._release(self)

    def attach(self, run: RunHooks, model: Any) -> bool:
        """Return False: a run is passed as a callback instead."""
        return False

    def callback(self, runs: Runs) -> Any:
        """Return a callback for the argument `callbacks`.

        Raises:
            MissingPackageError: the library has not been imported.
        """
        self._library()
        made, holder = self.bridge(runs), object()
        self._hold(holder)
        if runs.only is not None:
            runs.only.on_close(partial(self._release, holder))
        else:
            weakref.finalize(made, self._release, holder)
        return made

    def _library(self) -> Any:
        found = sys.modules.get(self.package)
        if found is None:
            raise MissingPackageError(
                f"a callback of {self.package} is asked for before it is imported. Put `import {self.package}` above"
                f" it; where it is not installed: pip install {self.package}",
                name=self.package,
            )
        return found

    def _hold(self, holder: object) -> None:
        wrapped = {"train": InPlaceOf(self._record), "cv": InPlaceOf(self._record)}
        first = sys.modules[self.modules[0]]
        for name in self.modules:
            module = sys.modules.get(name)
            # A decorated function is replaced within its decorator, and then in all modules at once.
            new = {
                key: call for key, call in wrapped.items() if module is first or _differs(first, module, key)
            }
            if module is not None:
                self._patches[name].hold(holder, module, new)
        self._patches["Booster"].hold(holder, self._library().Booster, {"save_model": self._save})

    def _release(self, holder: object) -> None:
        for patches in self._patches.values():
            patches.release(holder)

    # Trainings

    def _record(self, original: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        call = Call.of(original, args, kwargs)
        if call is None:
            return original(*args, **kwargs)
        if any(isinstance(found, Listener) for found in call.callbacks):
            return original(*args, **kwargs)  # an autolog, for example, lies between two of our replacements
        bridges = [found for found in call.callbacks if isinstance(found, Bridge)]
        chosen = [bridge.runs for bridge in bridges] or [self._runs]
        recorded = [runs for runs in dict.fromkeys(chosen) if runs is not None]
        if not recorded:
            return original(*args, **kwargs)
        others = [found for found in call.callbacks if not isinstance(found, Bridge)]
        with ExitStack() as stack:
            trainings = [stack.enter_context(self._training(runs, call, others)) for runs in recorded]
            ours = [listener for rounds in trainings for listener in self.listeners(rounds, call)]
            result = call.made_with([*ours, *others])
            for rounds in trainings:
                rounds.end(result if isinstance(result, self._library().Booster) else None)
        return result

    @contextmanager
    def _training(self, runs: Runs, call: Call, callbacks: Sequence[Any]) -> Iterator[Rounds]:
        untrained = _Untrained()  # kept until the end: the run of a model that is gone may be closed
        with self._mode(runs, call, untrained) as run:
            train = getattr(self._library(), "train", None)
            double_logging.warn_of_wrappers(run, train, callbacks)
            params = run.lookups.find("the hyper-parameters", {}, call.params)
            sets = run.lookups.find("the evaluated sets", set(), self.train_sets, call)
            rounds = Rounds(run, self.loop, params, sets)
            try:
                yield rounds
            except BaseException:
                rounds.fail()
                raise

    def _mode(self, runs: Runs, call: Call, untrained: object) -> Mode:
        """Pick the run: that of the earlier model, if it is trained further."""
        earlier = call.value(self.continues)
        if isinstance(earlier, self._library().Booster):
            return runs.training(earlier, resumes=True)
        saved = self._saved.get(Path(earlier).absolute()) if isinstance(earlier, (str, Path)) else None
        return runs.training(untrained, resumes=saved or False)

    def _save(
        self, original: Callable[..., Any], booster: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        result = original(booster, *args, **kwargs)
        run, given = run_of(booster), next(iter((*args, *kwargs.values())), None)
        if run is not None and isinstance(given, (str, Path)) and Path(given).exists():
            self._saved[Path(given).absolute()] = run.path
            run.saved(Path(given), ["last"])
        return result


class _Untrained:
    """Stands for the booster until the library has made it."""


def _differs(first: Any, other: Any, name: str) -> bool:
    return getattr(first, name, None) is not getattr(other, name, None)
