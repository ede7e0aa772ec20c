"""Record the trials of an Optuna study: a run for each trial, in a group for the study.

Optuna is not imported here: it calls the objective with a trial, which has everything that is recorded.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import trackhooks
from trackhooks.errors import InvalidValueError
from trackhooks.errors.foreign import shown

if TYPE_CHECKING:
    from optuna import Study, Trial

_Returned = TypeVar("_Returned")
Objective = Callable[["Trial", trackhooks.Run], _Returned]
"""An objective that also gets the run of its trial."""

_UNNAMED = "no-name-"
"""How the names begin that Optuna gives to studies without a name."""


def record_trials(
    *trackers: Any,
    name: str | None = None,
    group: str | None = None,
    tags: Sequence[str] = (),
    **options: Any,
) -> Callable[[Objective[_Returned]], Callable[[Trial], _Returned]]:
    """Record each trial of an objective as a run, whichever thread or process Optuna calls it in.

    It decorates a function `objective(trial, run)`. What it returns is a function `objective(trial)` for
    `study.optimize`. The parameters that were suggested, the values that the objective returned and the status are
    recorded: finished; pruned, if `TrialPruned` was raised; or failed, after any other exception and if Optuna does
    not accept the returned value.

    Args:
        *trackers: as in `trackhooks.run`. Each trial gets a copy of a tracker that is passed as an object.
        name: what the names of the runs begin with. The number of the trial follows: `digits-0`. By default the name
            of the study, or `trial` if it has none.
        group: the group of the runs. By default the name of the study.
        tags: the tags of each run, besides one such as `trial-0`.
        **options: the other options of `trackhooks.run`.

    Raises:
        InvalidValueError: a function was passed (`@record_trials` instead of `@record_trials()`), or `resume`, since
            each trial is a new run; or `name` is not a string. The other options are checked when a trial starts.
    """
    for tracker in trackers:
        if callable(tracker) and not isinstance(tracker, (type, trackhooks.Tracker)):
            raise InvalidValueError(
                f"record_trials takes trackers, got {shown(tracker)}. Use it as @record_trials() or"
                " @record_trials('csv', 'mlflow')."
            )
    if "resume" in options:
        raise InvalidValueError("record_trials does not take resume, because each trial is a new run.")
    if name is not None and not (isinstance(name, str) and name):
        raise InvalidValueError(f"name must be a non-empty string, got {shown(name)}.")

    def opened(trial: Trial) -> trackhooks.Run:
        study = trial.study.study_name
        first = name or ("trial" if study.startswith(_UNNAMED) else study)
        return trackhooks.run(
            *_copies(trackers), name=f"{first}-{trial.number}", group=group or study,
            tags=[*tags, f"trial-{trial.number}"], **options,
        )  # fmt: skip

    def decorate(objective: Objective[_Returned]) -> Callable[[Trial], _Returned]:
        if not callable(objective):
            raise InvalidValueError(f"the objective must be a function, got {shown(objective)}.")

        @functools.wraps(objective)
        def recorded(trial: Trial) -> _Returned:
            _check_trial(trial)
            with opened(trial) as run:
                with _params_recorded(run, trial):
                    returned = objective(trial, run)
                _record_values(run, trial.study, returned)
            return returned

        return recorded

    return decorate


def _copies(trackers: Sequence[Any]) -> list[Any]:
    """Return trackers for one run: a tracker that is an object holds one run at a time."""
    lists = [_copies(one) if isinstance(one, (list, tuple)) else one for one in trackers]
    return [copy.copy(one) if isinstance(one, trackhooks.Tracker) else one for one in lists]


def _check_trial(trial: Any) -> None:
    if not all(hasattr(trial, name) for name in ("number", "params", "study")):
        raise InvalidValueError(
            f"an objective that record_trials decorates must be called with a trial of Optuna, got {shown(trial)}."
        )


@contextmanager
def _params_recorded(run: trackhooks.Run, trial: Trial) -> Iterator[None]:
    """Record the parameters that were suggested so far when a training starts, after each epoch, and at the end."""
    recorded: dict[str, Any] = {}

    def record(_: Any = None) -> None:
        new = {name: value for name, value in trial.params.items() if name not in recorded}
        if new:
            recorded.update(new)
            run.log_params(new)

    for hook in ("on_train_start", "on_fit_epoch_end"):
        run.add_callback(hook, record)
    try:
        yield
    finally:
        record()


def _record_values(run: trackhooks.Run, study: Study, returned: Any) -> None:
    """Record the values of a trial. The run has failed if Optuna does not accept them, as the trial has."""
    names = _names(study)
    values = _numbers(returned)
    if len(values) == len(names) and all(value == value for value in values):
        run.log({f"objective/{name}": value for name, value in zip(names, values, strict=True)})
    else:
        run.close("failed", f"Optuna does not accept what the objective returned: {shown(returned)}")


def _names(study: Study) -> list[str]:
    """Return the names of the objectives. Those without a name get one that tells their better end."""
    if study.metric_names:
        return study.metric_names
    directions = [direction.name.lower() for direction in study.directions]
    return (
        directions if len(directions) == 1 else [f"{index}/{name}" for index, name in enumerate(directions)]
    )


def _numbers(returned: Any) -> list[float]:
    """Return the values as Optuna reads them; none if one of them is not a number."""
    try:
        return [float(value) for value in (returned if isinstance(returned, Sequence) else [returned])]
    except (TypeError, ValueError):
        return []
