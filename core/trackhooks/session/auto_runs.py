"""`AutoRuns`: open runs for trainings without one, and choose the run that each mode belongs to.

- A run belongs to a thread and a model. It is opened at the first hook of any mode.
- A training joins the run of its model if that has not trained yet, and continues it if it resumes. Otherwise it gets
  a new run, and the earlier one is closed.
- A training inside another one is a separate run with the outer run as its parent. Everything else that happens inside
  a training belongs to the run of that training.
"""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import Any

import msgspec

from ..errors import TrackhooksError, warn
from ..frameworks.interface import Kind, Mode, RunHooks
from ..frameworks.mode import RunMode
from ..frameworks.run_hooks import hooks_of
from ..recording import open_runs
from ..recording.recorder import Recorder
from ..storage import rank_folders
from .opening import open_recorder, silent_recorder
from .settings import Settings


class AutoRuns:
    """Open the runs of one `enable` or one `keras_callback` (implements `Runs`). Thread-safe."""

    def __init__(self, chosen: Settings) -> None:
        self._chosen = chosen
        self._spare = [copy.copy(made) for made in chosen.objects]
        self._opened: list[Recorder] = []
        self._mutex = threading.Lock()

    @property
    def only(self) -> RunHooks | None:
        """None: each training is a separate run."""
        return None

    def training(self, model: Any, *, resumes: bool | Path = False) -> Mode:
        """The run of a training: see `Runs.training`.

        Raises:
            TrackhooksError: the directory of the runs cannot be written, and the runs are strict; otherwise this is a
                warning, and the run records nothing.
        """
        earlier = resumes if isinstance(resumes, Path) else None
        found = self._or_new(model, self._joinable(model, resumes), earlier)
        return RunMode(hooks_of(found), model, "train", settles=found.automatic)

    def use(self, model: Any, kind: Kind) -> Mode:
        """The run of anything but a training: see `Runs.use`.

        Raises:
            TrackhooksError: as for `training`.
        """
        found = self._or_new(model, open_runs.training_here() or open_runs.of(model), None)
        return RunMode(hooks_of(found), model, kind, settles=False)

    def _or_new(self, model: Any, found: Recorder | None, earlier: Path | None) -> Recorder:
        around = open_runs.training_here()
        with self._mutex:
            found = found or self._open(around, earlier)
            found.adopt(model)
        return found

    def _joinable(self, model: Any, resumes: bool | Path) -> Recorder | None:
        if isinstance(resumes, Path):
            earlier = resumes.absolute()
            return next((run for run in open_runs.every() if rank_folders.run_of(run.path) == earlier), None)
        last = open_runs.of(model)
        if last is None or last not in self._opened or last.callbacks.state.training:
            return None
        if resumes or not last.trained:
            return last
        last.close(*last.status_at_exit(None))
        return None

    def _open(self, around: Recorder | None, earlier: Path | None) -> Recorder:
        self._close_forgotten()
        opened = self._resumed(earlier) or self._new(around)
        opened.automatic = True
        open_runs.add(opened)  # also one that records nothing, so that later modes belong to it
        self._opened.append(opened)
        # A tracker holds one run at a time, so each further run gets a copy of the tracker that was passed.
        self._chosen = msgspec.structs.replace(
            self._chosen, objects=[copy.copy(made) for made in self._spare]
        )
        return opened

    def _resumed(self, earlier: Path | None) -> Recorder | None:
        try:
            return open_recorder(self._chosen, earlier) if earlier is not None else None
        except TrackhooksError as error:
            warn(f"the run {earlier} cannot be resumed: {error} A new one is opened.")
            return None

    def _new(self, around: Recorder | None) -> Recorder:
        try:
            return open_recorder(self._chosen, parent=around)
        except TrackhooksError as error:
            if self._chosen.strict:
                raise
            warn(f"{error} Nothing is recorded.")
            return silent_recorder(self._chosen)

    def take_over(self, other: AutoRuns) -> None:
        """Take over the runs of another one, to continue and to close them."""
        with self._mutex:
            self._opened += other._opened

    def close(self) -> None:
        """Close its runs, except those that are training now; these end with the process."""
        with self._mutex:
            for opened in self._opened:
                if not opened.callbacks.state.training:
                    opened.close(*opened.status_at_exit(None))

    def _close_forgotten(self) -> None:
        """Close runs whose models have been garbage-collected."""
        for opened in open_runs.every():
            if opened.automatic and not opened.models and not opened.callbacks.state.training:
                opened.close(*opened.status_at_exit(None))
        self._opened = [opened for opened in self._opened if not opened.closed]
