"""Record the trials of a Ray Tune search: a run for each trial, in a group for the search.

The runs are recorded by the program that calls `Tuner.fit`, to which Ray brings what the trials report. So nothing is
lost, and the status is right, however Ray ends the processes of the trials.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.tune import Callback, TuneError
from ray.tune.experiment import Trial
from ray.tune.result import AUTO_RESULT_KEYS, DEBUG_METRICS, DONE, EXPERIMENT_TAG, SHOULD_CHECKPOINT
from ray.tune.schedulers import TrialScheduler

import trackhooks
from trackhooks.frameworks.patching import Patches

from .options import check, copies

_OF_RAY = {*AUTO_RESULT_KEYS, *DEBUG_METRICS, DONE, EXPERIMENT_TAG, SHOULD_CHECKPOINT}
"""What Ray adds to each result."""
_REPORTS = "training_iteration"
"""How many reports there are with this one, which Ray adds as well."""
_LONGEST = ("_max_t", "_max_t_attr")
"""Where schedulers keep how long a trial trains at most. What they stop then has finished."""


def record_trials(
    *trackers: Any, group: str | None = None, tags: Iterable[str] = (), **options: Any
) -> Callback:
    """Record each trial of a search as a run: `RunConfig(callbacks=[record_trials("mlflow", project="digits")])`.

    A run has the name that Ray gives the trial, the trial's config as parameters, and all numbers that the trial
    reports; each report is an epoch. Its status is finished; pruned, if the scheduler stopped the trial before the
    longest time that it allows; failed, with the error of the trial; or killed, if the search ended before the trial.
    A search that is restored continues the runs of its unfinished trials.

    Args:
        *trackers: as in `trackhooks.run`. Each trial gets a copy of a tracker that is passed as an object.
        group: the group of the runs. By default the name of the search, as in `RunConfig(name=…)`.
        tags: the tags of each run.
        **options: the other options of `trackhooks.run`, except `name`. The system is not measured, unless `system=`
            asks for it: trials run in other processes.

    Raises:
        InvalidValueError: `resume` or `name` was passed, or `tags` has another type. The other options are checked when
            the first trial starts.
    """
    check("record_trials", trackers, options, tags)
    if "name" in options:
        raise trackhooks.InvalidValueError(
            "record_trials does not take name: runs have the names of their trials, which"
            " tune.TuneConfig(trial_name_creator=…) sets."
        )
    return TrialRuns(trackers, {"system": None, "group": group, "tags": list(tags), **options})


class TrialRuns(Callback):
    """The callback that `record_trials` makes. Ray pickles it before it is used, to restore a search."""

    def __init__(self, trackers: tuple[Any, ...], options: Mapping[str, Any]) -> None:
        self._trackers = trackers
        self._options = dict(options)
        self._paths: dict[str, str] = {}
        """The folder of the run of each trial that was started, by the trial's id."""
        self._open: dict[str, trackhooks.Run] = {}
        self._stops = _Stops()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_open": {}, "_stops": _Stops()}

    def get_state(self) -> dict[str, Any]:
        """Return what a restored search needs to continue the runs."""
        return dict(self._paths)

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue the runs of a search that is restored."""
        self._paths = dict(state)

    def setup(self, *_: Any, **info: Any) -> None:
        """Start to note what the scheduler stops."""
        self._stops.watch()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Open the run of a trial. One that was paused, or that is tried again, continues its run."""
        if trial.trial_id not in self._open:
            self._open[trial.trial_id] = self._opened(trial)
        self._open[trial.trial_id].log_params(trial.config)  # a population-based search changes it

    def _opened(self, trial: Trial) -> trackhooks.Run:
        earlier = self._paths.get(trial.trial_id)
        place: dict[str, Any] = {"resume": earlier} if earlier else {"name": str(trial)}
        options = {**self._options, "group": self._options["group"] or trial.experiment_dir_name, **place}
        run = trackhooks.run(*copies(self._trackers), **options)
        self._paths[trial.trial_id] = str(run.path)
        return run

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Record what a trial reported."""
        reported = {name: value for name, value in result.items() if name not in _OF_RAY}
        self._open[trial.trial_id].log(reported, epoch=result[_REPORTS] - 1)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Close the run of a trial that returned or was stopped."""
        if trial.trial_id in self._open:
            by = self._stops.by(trial)
            end = ("pruned", f"stopped by {by}") if by else ("finished", "")
            self._open.pop(trial.trial_id).close(*end)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Close the run of a trial that failed."""
        error = _error_of(trial)
        if trial.trial_id in self._open:
            self._open.pop(trial.trial_id).__exit__(type(error), error, None)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Close the runs of trials that were not over: Ctrl-C, the time budget, `fail_fast`."""
        self._stops.release()
        for run in self._open.values():
            run.close("killed", "the search ended before the trial")
        self._open.clear()


def _error_of(trial: Trial) -> BaseException:
    """Return what a trial raised, or why its process died."""
    path = trial.pickled_error_file  # `get_pickled_error` looks in the storage, where it is not yet
    error: BaseException = (
        cloudpickle.loads(Path(path).read_bytes())
        if path and Path(path).exists()
        else TuneError("the search could not run the trial")
    )
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error


class _Stops:
    """The trials that the scheduler has stopped. Ray does not tell callbacks why a trial has been stopped."""

    def __init__(self) -> None:
        self._by: dict[str, str] = {}
        """The class of the scheduler that stopped a trial before the longest time that it allows, by the trial's id."""
        self._scheduler: Any = None
        self._patches: list[Patches] = []

    def watch(self) -> None:
        """Note the decisions of every scheduler from now on."""
        for kind in _kinds(TrialScheduler):
            self._patches.append(Patches())
            self._patches[-1].hold(self, kind, {"on_trial_result": self._decide})

    def _decide(self, decide: Any, scheduler: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._scheduler = scheduler
        decision = decide(scheduler, *args, **kwargs)
        if decision == TrialScheduler.STOP:
            self._note(scheduler, *_trial_and_result(*args, **kwargs))
        return decision

    def _note(self, scheduler: Any, trial: Trial, result: Mapping[str, Any]) -> None:
        if not _is_at_end(scheduler, result):
            self._by[trial.trial_id] = type(scheduler).__name__

    def by(self, trial: Trial) -> str:
        """Return what has stopped a trial early; empty if nothing has. Only the scheduler stops paused trials."""
        if trial.status in (Trial.PAUSED, Trial.PENDING) and self._scheduler is not None:
            self._note(self._scheduler, trial, trial.last_result or {})
        return self._by.get(trial.trial_id, "")

    def release(self) -> None:
        """Restore the schedulers."""
        for patches in self._patches:
            patches.release(self)
        self._patches.clear()


def _trial_and_result(
    tune_controller: Any, trial: Trial, result: dict[str, Any]
) -> tuple[Trial, dict[str, Any]]:
    """Return two of the arguments of `on_trial_result`."""
    return trial, result


def _kinds(base: type) -> Iterator[type]:
    """Return the classes that decide, which are all loaded classes of schedulers that have the method themselves."""
    for kind in {base, *base.__subclasses__()}:
        if kind is not base:
            yield from _kinds(kind)
        elif "on_trial_result" in vars(kind):
            yield kind


def _is_at_end(scheduler: Any, result: Mapping[str, Any]) -> bool:
    longest = next((getattr(scheduler, name) for name in _LONGEST if hasattr(scheduler, name)), float("inf"))
    done: Any = result.get(getattr(scheduler, "_time_attr", _REPORTS), 0)
    return bool(done >= longest)
